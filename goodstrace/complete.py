"""Checking that an answer leaves nothing out: the walk made again over all entries that the log `index` shows of each name.

A trace is walked once more, and each look-up of that walk is answered from proved rows alone: every entry of every name that the
walk asks for, up to what the index covers. Those that the answer did not show are asked for by their places. What comes out must be the
answer. Entries that are newer than the index are taken as the service names them; nothing is claimed of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from goodstrace.completeness.leaf import IndexLeaf
from goodstrace.entry import Kind, Position
from goodstrace.errors import AnswerError, LeftOutError, WrongIndexError
from goodstrace.retrace import ShownEvent, check_against
from goodstrace.tracing import Lookup, Query, SealedFacts, Trace, drive, trace
from goodstrace.tracing.events import names
from goodstrace.tracing.model import Name
from goodstrace.tracing.reading import facts_at
from goodstrace.tracing.wire import ABRIDGED
from goodstrace.verification import VerifiedCheckpoint, VerifiedEntry, VerifiedEvent

if TYPE_CHECKING:
    from goodstrace.query.v1 import trace_pb2

MAX_ROWS: Final = 100_000
"""So many rows of all names together are taken in."""


class TooMuchError(AnswerError):
    """The names of the walk have more rows than are taken in: completeness cannot be told this way."""


@dataclass(frozen=True, slots=True)
class NameRows:
    """What is known of a name: `proved` are all its entries under the leaf, `newer` those that the service names beyond it."""

    proved: tuple[Position, ...]
    newer: tuple[Position, ...]


class Prover(Protocol):
    """Where proofs and records come from; `goodstrace.completeness_calls` asks the service."""

    def rows(self, names: Sequence[Name]) -> Mapping[Name, NameRows]:
        """Give the verified rows of all these names, always under the same leaf."""
        ...

    def records(self, positions: Sequence[Position]) -> Sequence[VerifiedEntry]:
        """Give the verified records at these places, all of them. Raises: LeftOutError where one is not given."""
        ...

    @property
    def leaf(self) -> IndexLeaf:
        """The leaf that rows are proved under, once some were asked for."""
        ...

    def covers(self, log: str, index: int) -> bool:
        """Tell whether an entry is among those that are proved."""
        ...

    def wrong_index(self, entry: VerifiedEntry, name: Name) -> WrongIndexError:
        """Make the proof that the index leaves out an entry with a name."""
        ...


@dataclass(frozen=True, slots=True)
class Complete:
    """What was shown: the answer holds all entries of each name of the walk, in each log up to `sizes`.

    Attributes:
        sizes: how many entries of each log that is true of, by name.
        root_size: the size of the root log whose pins these sizes are; None where an answer of earlier sizes was checked.
        root_hash: that log's root at that size, hex.
        index_size: the size of the log `index` whose last entry covers it.
        names: how many names were proved.
        rows: how many rows they have.
        newer: how many entries of these names came later: they are taken into account, and nobody proved that they are all.
        withheld: of how many entries the content is withheld: they are there, and what they say is not known.
        proof_bytes: how large the proofs were.
    """

    sizes: Mapping[str, int]
    root_size: int | None
    root_hash: str
    index_size: int
    names: int
    rows: int
    newer: int
    proof_bytes: int
    withheld: int = 0


@dataclass(slots=True)
class _Held:
    """What the walk has: the facts by place, None where a record is neither event nor registration, or its facts are withheld."""

    facts: dict[Position, SealedFacts | None]
    withheld: bool = False
    rows: dict[Name, NameRows] = field(default_factory=dict)

    def of(self, asked: Iterable[Name]) -> list[Position]:
        places = {at: None for name in asked for at in (*self.rows[name].proved, *self.rows[name].newer)}
        return list(places)

    def show(self, event: VerifiedEvent) -> None:
        """Take in what an answer shows of an event: each place by its own facts alone.

        Of a place without them nothing is proved but that something is sealed there: taken for one more of this event it would hide any other
        of its merchant. Its record is asked for like one that the answer does not have.
        """
        for entry in (event.position, *event.also_at):
            if (found := _read(entry)) is not None:
                self.facts[entry.log, entry.index] = found
        self.withheld = self.withheld or _read(event.position) is None

    def take(self, entry: VerifiedEntry) -> None:
        """Take in a record that was asked for."""
        found = _read(entry)
        told = entry.entry.kind not in (Kind.EVENT, Kind.REGISTRATION) or found is not None
        self.withheld = self.withheld or not told
        self.facts[entry.log, entry.index] = found


def _read(entry: VerifiedEntry) -> SealedFacts | None:
    return facts_at(entry.entry, entry.log, entry.index, entry.parts)


def check_complete(
    query: Query,
    nodes: Sequence[trace_pb2.TraceNode],
    events: Sequence[ShownEvent],
    checkpoints: Mapping[str, VerifiedCheckpoint],
    prover: Prover,
) -> dict[str, int]:
    """Check that a whole, verified answer is what follows from all entries of each name of its walk.

    Args:
        query: what was asked, with the canonical key.
        nodes: of the answer, in order.
        events: of the answer, in order.
        checkpoints: that it was made from.
        prover: gives rows and records.
    Returns: the sizes up to which that is shown, by log.
    Raises: LeftOutError where something is left out; TooMuchError; whatever the prover raises.
    """
    held = _Held({})
    for each in events:
        held.show(each.event)
    shown = [facts for facts in held.facts.values() if facts is not None]
    first = _names_of(query, shown)
    _prove(first, held, prover)
    again = drive(trace(query), lambda lookup: _look_up(lookup, held, prover))
    _check_index(events, held, prover)
    _check_events(again, events)
    if not held.withheld and not any(ABRIDGED in each.marks for each in events):
        try:
            check_against(again, nodes, events)
        except AnswerError as error:
            raise LeftOutError(
                f"with all entries that the index shows another answer comes out: {error}"
            ) from error
    return _claimed(prover.leaf, checkpoints)


def _names_of(query: Query, shown: Sequence[SealedFacts]) -> set[Name]:
    """Give the names that the walk asks for over what was shown: all that there are, where nothing was left out."""
    asked: set[Name] = set()

    def note(lookup: Lookup) -> Sequence[SealedFacts]:
        asked.update(lookup.names)
        return shown

    drive(trace(query), note)
    return asked


def _prove(asked: Iterable[Name], held: _Held, prover: Prover) -> None:
    wanted = sorted(set(asked) - held.rows.keys())
    if wanted:
        held.rows |= prover.rows(wanted)


def _look_up(lookup: Lookup, held: _Held, prover: Prover) -> list[SealedFacts]:
    _prove(lookup.names, held, prover)
    places = held.of(lookup.names)
    missing = [at for at in places if at not in held.facts]
    if missing:
        for entry in prover.records(missing):
            held.take(entry)
    return [facts for at in places if (facts := held.facts[at]) is not None]


def _check_index(events: Sequence[ShownEvent], held: _Held, prover: Prover) -> None:
    """Check that the index has each event that was shown under each of its names that were proved."""
    for each in events:
        for entry in (each.event.position, *each.event.also_at):
            facts = entry.facts()
            for name in names(facts) if facts is not None else ():
                rows = held.rows.get(name)
                place = entry.log, entry.index
                if rows is not None and place not in (*rows.proved, *rows.newer) and prover.covers(*place):
                    raise prover.wrong_index(entry, name)


def _check_events(again: Trace, events: Sequence[ShownEvent]) -> None:
    """Check that every event of the walk is in the answer, whatever is said of it; an identity without facts is the service's word."""
    shown = {each.event.identity for each in events if each.event.facts is not None}
    for each in again.events:
        if each.identity not in shown:
            log, index = each.positions[0]
            raise LeftOutError(
                f"the answer leaves out {log}[{index}], the event {each.facts.event_id}, which belongs to it"
            )


def _claimed(leaf: IndexLeaf, checkpoints: Mapping[str, VerifiedCheckpoint]) -> dict[str, int]:
    return {log: min(size, checkpoints[log].checkpoint.size) for log, size in leaf.sizes().items()}


def claim(leaf: IndexLeaf, checkpoints: Mapping[str, VerifiedCheckpoint]) -> dict[str, int]:
    """Tell up to which size of each log an answer under these checkpoints can be shown to be complete by a leaf.

    Raises: LeftOutError where the answer was made without a log that the leaf covers.
    """
    missing = sorted(leaf.sizes().keys() - checkpoints.keys())
    if missing:
        raise LeftOutError(f"the answer was made without the log {missing[0]}")
    return _claimed(leaf, checkpoints)
