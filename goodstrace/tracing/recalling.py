"""A whole recall: step after step, level after level, each key, event, container, order and holder once. Pure."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from goodstrace.tracing.events import grade
from goodstrace.tracing.model import MAX_DEPTH, Certainty, Lookup, Node, SealedFacts, TracedEvent
from goodstrace.tracing.pool import Check, unchecked
from goodstrace.tracing.recall import Page, Party, Reached, Step, holders_of, recall_step
from goodstrace.tracing.recall_memory import Seen, Waiting

STEP_GOODS: Final = 100


@dataclass(frozen=True, slots=True)
class RecallQuery:
    """What to recall: all that is downstream of `key`.

    max_depth: levels, 1 to 100. limit: how many records of one name are looked at, but of a lot's own. max_goods: where it stops.
    """

    key: str
    max_depth: int = MAX_DEPTH
    limit: int = 10_000
    max_goods: int = 1_000_000


class Numbered(NamedTuple):
    """Goods with their running number, from 0, and their grade."""

    number: int
    grade: str
    reached: Reached


class Concerned(NamedTuple):
    """Goods that an event counts for, by number; `path` as in Mention."""

    number: int
    is_possible: bool
    path: tuple[str, ...]


class Counted(NamedTuple):
    """An event with the goods it counts for; `is_new` where it was not shown before."""

    event: TracedEvent
    is_new: bool
    goods: tuple[Concerned, ...]


class Order(NamedTuple):
    """A business transaction of goods that are recalled, and the event that says so first."""

    key: str
    type: str
    identity: str


class Holder(NamedTuple):
    """Who had goods that are recalled, or where they were, and the event that says so first."""

    party: Party
    identity: str


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of a recall, of goods of one level; goods, containers, orders and holders are each in one piece only."""

    level: int
    goods: tuple[Numbered, ...] = ()
    containers: tuple[Node, ...] = ()
    events: tuple[Counted, ...] = ()
    orders: tuple[Order, ...] = ()
    holders: tuple[Holder, ...] = ()


@dataclass(slots=True)
class Totals:
    """What there was in all; `goods` by grade. `is_truncated` where a limit was met."""

    goods: Counter[str] = field(default_factory=Counter)
    containers: int = 0
    events: int = 0
    orders: int = 0
    holders: int = 0
    levels: int = 0
    is_truncated: bool = False


Recall = Generator[Lookup | Page | Found, Iterable[SealedFacts] | None, Totals]


def recall(query: RecallQuery, secret: bytes, check: Check = unchecked) -> Recall:
    """Recall goods. Yields look-ups, pages and what was found; is sent records for the first two and None for the last.

    `secret`: random bytes, see `Seen`; they change nothing in what is found. `check` is called wherever it loops: what that raises ends it.
    Memory: some thousand records at a time, 32 bytes for each key and event met, and about 60 for each that is yet to be expanded.
    """
    return (yield from _Recall(query, secret, check).run())


class _Recall:
    def __init__(self, query: RecallQuery, secret: bytes, check: Check) -> None:
        self._query = query
        self._check = check
        self._seen = Seen(secret)
        self._totals = Totals()
        self._count = 0

    def run(self) -> Recall:
        self._seen.add(f"goods {self._query.key}")
        level, waiting = 0, Waiting()
        waiting.put(Reached(self._query.key))
        while len(waiting):
            self._totals.levels = level
            waiting = yield from self._level(level, waiting)
            level += 1
            if level > self._query.max_depth and len(waiting):
                self._totals.is_truncated = True
                break
        return self._totals

    def _level(
        self, level: int, waiting: Waiting
    ) -> Generator[Lookup | Page | Found, Iterable[SealedFacts] | None, Waiting]:
        following = Waiting()
        while len(waiting):
            # What is inside a container that is recalled is of its own level.
            inside = Waiting()
            for some in _batches(waiting.drain()):
                yield from self._some(level, some, inside, following)
            waiting = inside
        return following

    def _some(
        self, level: int, some: list[Reached], inside: Waiting, following: Waiting
    ) -> Generator[Lookup | Page | Found, Iterable[SealedFacts] | None, None]:
        numbers = {}
        goods = []
        for each in some:
            kind = grade(each.key).value
            self._totals.goods[kind] += 1
            numbers[each.key] = self._count
            goods.append(Numbered(self._count, kind, each))
            self._count += 1
        yield Found(level, tuple(goods))
        parts = [some]
        while parts:
            part = parts.pop()
            stepping = recall_step(self._query.key, level, part, self._query.limit, self._check)
            is_done = yield from self._stepped(level, stepping, numbers, inside, following)
            if not is_done:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]

    def _stepped(
        self,
        level: int,
        stepping: Generator[Lookup | Page | Step, Iterable[SealedFacts] | None, bool],
        numbers: dict[str, int],
        inside: Waiting,
        following: Waiting,
    ) -> Generator[Lookup | Page | Found, Iterable[SealedFacts] | None, bool]:
        sent: Iterable[SealedFacts] | None = None
        while True:
            try:
                asked = stepping.send(sent)
            except StopIteration as stop:
                return bool(stop.value)
            if isinstance(asked, Step):
                self._queue(asked.contents, inside)
                self._queue(asked.further, following)
                yield self._found(level, asked, numbers)
                sent = None
            else:
                sent = yield asked

    def _queue(self, reached: Iterable[Reached], queue: Waiting) -> None:
        for each in reached:
            if self._count + len(queue) >= self._query.max_goods:
                self._totals.is_truncated = True
                return
            if self._seen.add(f"goods {each.key}"):
                queue.put(each)

    def _found(self, level: int, step: Step, numbers: dict[str, int]) -> Found:
        totals = self._totals
        totals.is_truncated = totals.is_truncated or step.is_cut
        events = tuple(self._counted(event, numbers) for event in step.events)
        containers = tuple(each for each in step.containers if self._seen.add(f"container {each.key}"))
        concerning = [each.event for each in events if each.goods and not _is_taken_back(each.event)]
        orders = tuple(
            Order(listed.key, listed.type, event.identity)
            for event in concerning
            for listed in event.facts.transactions
            if self._seen.add(f"order {listed.type} {listed.key}")
        )
        holders = tuple(
            Holder(party, event.identity)
            for event in concerning
            for party in holders_of(event.facts)
            if self._seen.add(f"holder {party.role} {party.key}")
        )
        totals.containers += len(containers)
        totals.orders += len(orders)
        totals.holders += len(holders)
        return Found(level, (), containers, events, orders, holders)

    def _counted(self, event: TracedEvent, numbers: dict[str, int]) -> Counted:
        is_new = self._seen.add(f"event {event.identity}")
        self._totals.events += is_new
        goods = tuple(
            Concerned(numbers[each.key], each.certainty is Certainty.POSSIBLE, each.path)
            for each in event.mentions
        )
        return Counted(event, is_new, goods)


def _is_taken_back(event: TracedEvent) -> bool:
    return event.facts.correction is not None or "corrected" in event.marks


def _batches(waiting: Iterator[Reached]) -> Iterator[list[Reached]]:
    """Cut goods into a few at a time; a lot comes by itself, since it may be named by as many events as it has items."""
    some: list[Reached] = []
    for each in waiting:
        if grade(each.key) == "lot":
            yield [each]
            continue
        some.append(each)
        if len(some) >= STEP_GOODS:
            yield some
            some = []
    if some:
        yield some
