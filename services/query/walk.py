"""Driving the tracing engine: its look-ups are answered from the logs, as they were at a vector of sizes."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Final, Generic, Protocol, TypeVar

from goodstrace import entry as entries
from goodstrace.entry import Entry, Position, tag
from goodstrace.tracing.model import Lookup, Name, SealedFacts
from goodstrace.tracing.names import TAG_KINDS
from goodstrace.tracing.pool import Check
from goodstrace.tracing.reading import facts_at
from services.query.core import Cost
from services.query.metrics import QueryMetrics
from services.query.steps import Done, Steps
from services.query.thinking import Thinking
from services.query.whole_logs import AT_ONCE_BYTES, is_much
from services.runtime.tracing import spans
from services.sealing.showing import position, record_bytes
from services.sealing.values import SealedRecord

HELD_BYTES: Final = 16 * 1024 * 1024
MAX_RECORD_BYTES: Final = 1024 * 1024
Answer = TypeVar("Answer")
Walker = Generator[Lookup, Iterable[SealedFacts], Answer]


class Records(Protocol):
    """Where records are found; `services.sealing.reader.LogReader` is the real one, and says what the methods do."""

    async def find(
        self, tags: Sequence[bytes], sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        """Find records by tag."""
        ...

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        """Give the records at these indexes."""
        ...


class PartsGoneError(Exception):
    """What a walk went by was erased since: it is to be walked again."""


class Walk(Generic[Answer]):
    """One run of the engine over the logs.

    It remembers of each record what its place in an answer costs, and the records themselves as long as they fit into 16
    MiB: a trace of ten thousand events of a MiB must not be held at once.

    Attributes:
        rounds: how many rounds of look-ups there were.
        incomplete: positions of the records that lack a part their entry names.
        names: by tag the names of which records were found that came without any part.
    """

    def __init__(self, reader: Records, secret: bytes, sizes: Mapping[str, int], thinking: Thinking) -> None:
        """Look up in `reader`'s logs up to `sizes`; the engine computes as `thinking` has it."""
        self._reader = reader
        self._thinking = thinking
        self._secret = secret
        self._sizes = sizes
        self._costs: dict[Position, Cost] = {}
        self._held: dict[Position, SealedRecord] = {}
        self._facts: dict[
            Position, SealedFacts
        ] = {}  # of what is held: most is met by its key, and again by its ID
        self._held_bytes = 0
        self._met_at: dict[bytes, int] = {}
        self._is_over = False
        self.rounds = 0
        self.incomplete: set[Position] = set()
        self.names: dict[bytes, Name] = {}

    def read_by(self, reader: Records) -> "Walk[Answer]":
        """Give the same walk, over, with no record held: what its pages show is read from `reader`, and held against what was met."""
        over: Walk[Answer] = Walk(reader, self._secret, self._sizes, self._thinking)
        over._costs, over.incomplete, over.names = self._costs, self.incomplete, self.names
        over._is_over = True
        return over

    async def run(self, walker: "Callable[[Check], Walker[Answer]]") -> Answer:
        """Drive the engine to its answer, as `walker` begins it with what it is to call wherever it loops.

        Raises: UnavailableError, CorruptError, EntryError.
        """
        steps: Steps[Lookup, Iterable[SealedFacts], Answer] = Steps(self._thinking, walker)
        step = await steps.next(None)
        while not isinstance(step, Done):
            self.rounds += 1
            step = await steps.next(await self.look_up(step), at_once=self.is_small)
        return step.answer

    @property
    def is_small(self) -> bool:
        """Whether what was met may be thought over on the event loop."""
        return self._held_bytes <= AT_ONCE_BYTES

    def cost(self, place: Position) -> Cost:
        """Tell what a record met on the way takes in an answer."""
        return self._costs[place]

    def cost_of(self, place: Position) -> int:
        """Tell what a record takes with its parts; as much as the largest where it was not met by this walk."""
        known = self._costs.get(place)
        return known.full if known is not None else MAX_RECORD_BYTES

    async def records(self, places: Iterable[Position]) -> list[SealedRecord]:
        """Give records met on the way, in no particular order; those not held any more are read again.

        Raises: PartsGoneError where a walk that is over met a record with parts that it has no more; UnavailableError, CorruptError.
        """
        found: list[SealedRecord] = []
        away: dict[str, list[int]] = {}
        for place in places:
            if place in self._held:
                found.append(self._held[place])
            else:
                away.setdefault(place[0], []).append(place[1])
        for log, indexes in away.items():
            found.extend(await self._reader.records(log, indexes))
        if self._is_over and any(
            _lacks_parts(record) for record in found if position(record) not in self.incomplete
        ):
            raise PartsGoneError
        return found

    async def look_up(self, lookup: Lookup) -> list[SealedFacts]:
        """Find the records of names, and remember what they cost. Raises: UnavailableError, CorruptError, EntryError."""
        tags = {tag(self._secret, TAG_KINDS[kind], text): (kind, text) for kind, text in lookup.names}
        # In the order in which they were met, so that tags asked for together lie in few places of the store.
        ordered = sorted(tags, key=lambda each: (self._met_at.get(each, -1), each))
        found = await self._reader.find(ordered, self._sizes, lookup.limit)
        self.names.update(
            (each, tags[each]) for each, of_tag in found.items() if any(not record.parts for record in of_tag)
        )
        records = {position(record): record for of_tag in found.values() for record in of_tag}
        return await self.met(list(records.values()))

    async def met(self, records: Sequence[SealedRecord]) -> list[SealedFacts]:
        """Note records that were found, and give what tracing reads of them. Raises: EntryError."""
        if is_much(records):
            return await self._thinking.run(self._all_met, records)
        return self._all_met(records)

    def _all_met(self, records: Sequence[SealedRecord]) -> list[SealedFacts]:
        found = []
        for record in records:
            self._thinking.check()
            facts = self._met(record)
            if facts is not None:
                found.append(facts)
        return found

    def _met(self, record: SealedRecord) -> SealedFacts | None:
        """Note a record; None where it is neither event nor registration, or what tracing reads is not there any more."""
        place = position(record)
        if place in self._facts:
            return self._facts[place]
        entry = entries.decode(record.entry)
        found = facts_at(entry, record.log, record.index, {part.name: part.content for part in record.parts})
        if found is not None:
            self._note(record, entry)
            if place in self._held:
                self._facts[place] = found
        return found

    def _note(self, record: SealedRecord, entry: Entry) -> None:
        place = position(record)
        if place in self._costs:
            return
        for each in record.tags:
            self._met_at.setdefault(each, len(self._costs))
        size = self._sizes[record.log]
        cost = Cost(full=record_bytes(record, size), bare=record_bytes(record, size, with_parts=False))
        self._costs[place] = cost
        if len(record.parts) < len(entry.parts):
            self.incomplete.add(place)
        if self._held_bytes + cost.full <= HELD_BYTES:
            self._held_bytes += cost.full
            self._held[place] = record


async def walk_over(
    reader: Records,
    secret: bytes,
    sizes: Mapping[str, int],
    walker: Callable[[Check], "Walker[Answer]"],
    metrics: QueryMetrics,
    *,
    thinking: Thinking,
) -> tuple[Walk[Answer], Answer]:
    """Walk to an answer, as `walker` does with what it is to call wherever it loops, over the first `sizes` entries of `reader`'s logs, and count the rounds that it took.

    Raises: UnavailableError, CorruptError, EntryError.
    """
    walk: Walk[Answer] = Walk(reader, secret, sizes, thinking)
    with spans.span("walk"):
        answer = await walk.run(walker)
    metrics.rounds.observe(walk.rounds)
    return walk, answer


def _lacks_parts(record: SealedRecord) -> bool:
    return len(record.parts) < len(entries.decode(record.entry).parts)
