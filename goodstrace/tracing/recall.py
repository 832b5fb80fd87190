"""A recall, step by step: goods downstream of a lot, an item or a class, in memory that does not grow with their number.

Each step expands a few goods of one level and is forgotten; the caller remembers which keys were met. A lot, which may be named by as
many events as it has items, is gone through page by page. Pure: a generator that yields look-ups, as in goodstrace.tracing.engine.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, TypeVar

import msgspec

from goodstrace.entry import Position
from goodstrace.facts import Facts, Role
from goodstrace.identifiers import Grade
from goodstrace.tracing.containers import Containers
from goodstrace.tracing.events import ASSOCIATION, Event, grade
from goodstrace.tracing.links import Links
from goodstrace.tracing.model import (
    MAX_DEPTH,
    Certainty,
    Direction,
    Link,
    LinkKind,
    Lookup,
    Mention,
    Name,
    NameKind,
    Node,
    NodeRole,
    Query,
    SealedFacts,
    TracedEvent,
)
from goodstrace.tracing.pool import Check, Pool, unchecked
from goodstrace.tracing.walk import Walk

PAGE_RECORDS: Final = 64
FIRST_PAGE_RECORDS: Final = 8  # so that something is shown at once
STEP_RECORDS: Final = 3_000
_DECIDING: Final = (NameKind.EVENT_ID, NameKind.REGISTRATION)
_ELSEWHERE: Final = (Role.LOCATION, Role.PARTY, Role.TRANSACTION, Role.SENSOR)
_UNLIMITED: Final = 10**9
_MOST: Final = 40_000  # events of a step, contents of a container
Result = TypeVar("Result")


class Reached(NamedTuple):
    """Goods that were met: `kind` is empty for the root, else that of the link by which it was met from `from_key`.

    identities: up to four of the events that make the link. is_possible: the link, or one on the way to it, is not certain.
    """

    key: str
    kind: str = ""
    from_key: str = ""
    identities: tuple[str, ...] = ()
    is_possible: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What one step found.

    containers: those that carried the goods, each with the links that say whom and when. events: with the goods they count for, and
    those that make links. further: goods of the next level, or for a container as root of the same, which may have been met before.
    is_cut: more records of one name exist than are looked at, or more contents.
    """

    events: tuple[TracedEvent, ...] = ()
    containers: tuple[Node, ...] = ()
    contents: tuple[Reached, ...] = ()
    further: tuple[Reached, ...] = ()
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Asks for the next records of one name, `limit` at the most: all of them in any order, none where there are no more."""

    name: Name
    limit: int


Recalling = Generator[Lookup | Page | Step, Iterable[SealedFacts] | None, bool]


def recall_step(
    root: str, level: int, goods: Sequence[Reached], limit: int, check: Check = unchecked
) -> Recalling:
    """Expand goods of one level.

    Yields look-ups, pages and steps; is sent records for the first two and None for a step.

    Args:
        root: what is recalled.
        level: of these goods, 0 for the root.
        goods: a few of them; of lots one at a time.
        limit: how many records of one name are looked at, but of a lot's own.
        check: called wherever it loops; what it raises ends it.
    Returns: False where they are too many to be expanded at once: nothing was yielded as a step then, ask for fewer.
    """
    pool = Pool(limit, check)
    if len(goods) == 1 and grade(goods[0].key) is Grade.LOT:
        outlines = yield from _pages(goods[0], limit, check)
        pool.add_outlines(outlines.name, outlines.names, outlines.found.values())
        pool.is_cut = pool.is_cut or outlines.is_cut
    expansion = _Expansion(root, level, goods)
    while True:
        found = expansion.run(pool)
        if found is not None:
            break
        names = frozenset(pool.missing)
        pool.add(names, (yield Lookup(names, limit + 1)) or ())
        if pool.size > STEP_RECORDS and len(goods) > 1:
            return False
    yield found
    return True


class _Expansion:
    def __init__(self, root: str, level: int, goods: Sequence[Reached]) -> None:
        self._query = Query(root, Direction.DOWNSTREAM, MAX_DEPTH, _UNLIMITED, _MOST)
        self._level = level
        self._goods = goods
        self._paged = {each.key for each in goods if grade(each.key) is Grade.LOT}

    def run(self, pool: Pool) -> Step | None:
        """Return what was found; None where look-ups are missing. Most of them are found without the work of a whole walk."""
        walk = Walk(self._query, pool)
        walk.probe(each.key for each in self._goods)
        step = self._walked(walk, pool) if not pool.missing else None
        return step if not pool.missing else None

    def _walked(self, walk: Walk, pool: Pool) -> Step:
        new = walk.run_level([(each.key, _link(each)) for each in self._goods], self._level)
        nodes = walk.nodes()
        doubtful = {each.key for each in self._goods if each.is_possible}
        met = {each.key: each for each in nodes if each.role is NodeRole.GOODS and each.key in new}
        reached = [(new[key], _reached(met[key], doubtful)) for key in new if key in met]
        return Step(
            events=tuple(self._events(walk, pool)),
            containers=tuple(each for each in nodes if each.role is NodeRole.CONTAINER),
            contents=tuple(each for level, each in reached if level == self._level),
            further=tuple(each for level, each in reached if level > self._level),
            is_cut=walk.is_truncated or pool.is_cut,
        )

    def _events(self, walk: Walk, pool: Pool) -> Iterable[TracedEvent]:
        mentions: dict[str, list[Mention]] = {}
        for (identity, key), mention in walk.mentions.items():
            # What names a lot was shown with its pages.
            if key not in self._paged or mention.path:
                mentions.setdefault(identity, []).append(mention)
        expanded = {each.key for each in self._goods}
        for identity in sorted({*mentions, *walk.link_events}):
            event = pool.get(identity)
            concerned = [each for each in mentions.get(identity, ()) if each.key in expanded]
            if concerned or (identity in walk.link_events and self._paged.isdisjoint(event.named)):
                yield traced(event, pool, concerned)


class _Outlines:
    """What is kept of the events of a lot, and of those with their IDs: enough to tell where the lot itself was.

    It is up to a limit of what may tell that, and up to the same of what names only serials of the lot.
    """

    def __init__(self, lot: str, limit: int) -> None:
        self._lot = lot
        self._room = {True: limit, False: limit}
        self._has_left = self._is_without_serials = False
        self.name: Name = (NameKind.KEY, lot)
        self.names: set[Name] = set()
        self._ids: set[str] = set()
        self.found: dict[Position, SealedFacts] = {}
        self._is_cut = False

    @property
    def is_cut(self) -> bool:
        """Whether something may be missing that tells where the lot was.

        What only names serials of it tells that in one case: a DELETE of the lot without ADD reaches back to the event before (rule 4).
        """
        return self._is_cut or (self._is_without_serials and self._has_left)

    def add(self, page: Iterable[SealedFacts]) -> None:
        """Take in a page of the lot's events."""
        for each in page:
            is_itself = any(self._lot in keys for keys in each.facts.keys.values())
            has_more = each.facts.correction is not None or each.registration is not None
            self._add(each, may_tell=is_itself or has_more)

    def add_deciding(self, names: Iterable[Name], found: Iterable[SealedFacts]) -> None:
        """Take in what was looked up to decide which events count (rule 3), as far as it is about events that were kept."""
        self.names.update(
            (kind, text) for kind, text in names if kind in _DECIDING and self._is_kept(kind, text)
        )
        for each in found:
            if each.registration is not None or not self._ids.isdisjoint(
                (each.facts.event_id, each.facts.event_hash)
            ):
                self._add(each, may_tell=True)

    def _is_kept(self, kind: NameKind, text: str) -> bool:
        return kind is not NameKind.EVENT_ID or text in self._ids

    def _add(self, sealed: SealedFacts, *, may_tell: bool) -> None:
        place, facts = (sealed.log, sealed.index), sealed.facts
        if place in self.found:
            return
        if not self._room[may_tell]:
            self._is_cut = self._is_cut or may_tell
            self._is_without_serials = self._is_without_serials or not may_tell
            return
        self._room[may_tell] -= 1
        self._ids.add(facts.event_id)
        is_end = facts.action == "DELETE" and self._lot in facts.keys.get(Role.CHILD, ())
        self._has_left = self._has_left or is_end
        self.found[place] = _outline(sealed, self._lot)


def _pages(
    lot: Reached, limit: int, check: Check
) -> Generator[Lookup | Page | Step, Iterable[SealedFacts] | None, _Outlines]:
    """Go through the events of a lot; return the outlines of them."""
    outlines = _Outlines(lot.key, limit)
    name = (NameKind.KEY, lot.key)
    records = FIRST_PAGE_RECORDS
    while True:
        page = list((yield Page(name, records)) or ())
        records = min(2 * records, PAGE_RECORDS)
        if not page:
            return outlines
        outlines.add(page)
        pool = Pool(limit, check)
        pool.add({name}, page)
        while True:
            found = _direct(lot, pool)
            if not pool.missing:
                break
            names = frozenset(pool.missing)
            more = list((yield Lookup(names, limit + 1)) or ())
            outlines.add_deciding(names, more)
            pool.add(names, more)
        yield found


def _direct(lot: Reached, pool: Pool) -> Step:
    """What the events of a page say of the lot by themselves: what was made of it, and its serials."""
    links = Links(pool, Containers(pool, 0), Containers(pool, 0, ASSOCIATION))
    own = pool.naming(lot.key)
    further = tuple(
        Reached(
            key,
            link.kind.value,
            link.key,
            link.identities[:4],
            lot.is_possible or link.certainty is Certainty.POSSIBLE,
        )
        for key, link in links.direct(lot.key)
        if key != lot.key
    )
    makers = {identity for each in further for identity in each.identities} - {
        event.identity for event in own
    }
    events = [traced(event, pool, [Mention(lot.key, _certainty(event, lot.key), ())]) for event in own]
    return Step((*events, *(traced(pool.get(each), pool, ()) for each in sorted(makers))), further=further)


def _certainty(event: Event, lot: str) -> Certainty:
    return Certainty.CERTAIN if event.names_itself(lot) else Certainty.POSSIBLE


def _outline(sealed: SealedFacts, key: str) -> SealedFacts:
    """Keep of an event what says where `key` was: else a lot of 100,000 items is held whole. The event was shown from its page."""
    if sealed.registration is not None:
        return sealed
    facts = sealed.facts
    return SealedFacts(
        sealed.log,
        sealed.index,
        sealed.merchant,
        sealed.record_ms,
        msgspec.structs.replace(
            facts,
            context=None,
            destinations=(),
            keys={role: _fewer(listed, key) for role, listed in facts.keys.items() if role not in _ELSEWHERE},
            lot_of=dict(islice(((serial, lot) for serial, lot in facts.lot_of.items() if lot == key), 1)),
            quantities={
                role: tuple(each for each in listed if each.key == key) or listed[:1]
                for role, listed in facts.quantities.items()
            },
            sources=(),
            transactions=(),
            verdicts=(),
        ),
    )


def _fewer(listed: tuple[str, ...], key: str) -> tuple[str, ...]:
    return (key,) if key in listed else listed[:1]


def _link(reached: Reached) -> Link | None:
    if not reached.kind:
        return None
    certainty = Certainty.POSSIBLE if reached.is_possible else Certainty.CERTAIN
    return Link(reached.from_key, LinkKind(reached.kind), reached.identities, certainty)


def _reached(node: Node, doubtful: set[str]) -> Reached:
    """Take the surest of the links by which goods were met."""
    link = min(node.links, key=lambda each: each.key in doubtful or each.certainty is Certainty.POSSIBLE)
    is_possible = link.key in doubtful or link.certainty is Certainty.POSSIBLE
    return Reached(node.key, link.kind.value, link.key, link.identities[:4], is_possible)


def traced(event: Event, pool: Pool, mentions: Iterable[Mention]) -> TracedEvent:
    """Show an event with its marks and the goods it counts for."""
    return TracedEvent(
        event.identity,
        tuple((log, index) for _, log, index in event.places),
        event.merchant,
        event.record_ms,
        event.facts,
        pool.marks(event),
        tuple(sorted(mentions, key=lambda each: each.key)),
        event.registration,
    )


# ---- what else an event says


class Party(NamedTuple):
    """Who or what place had goods by an event: `role` is owning_party, possessing_party, location (a destination) or seen_at."""

    key: str
    role: str


def holders_of(facts: Facts) -> list[Party]:
    """List who had the goods of an event after it, and where they were."""
    found = [Party(each.key, each.type) for each in facts.destinations]
    where = facts.business_location or facts.read_point
    return [*found, *([Party(where, "seen_at")] if where else [])]
