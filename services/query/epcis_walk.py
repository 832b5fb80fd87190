"""Reading the sealed events that a query may mean, a place at a time, so that a page can end and go on anywhere.

There are three ways: by tag, newest first; by tag and in order, where all events are found before the first is shown; and
without an index from the newest record to the oldest. Each looks no further than the sizes of its place, and each step says
from where to go on.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Protocol

import msgspec

from goodstrace import entry as entries
from goodstrace import facts as sealed_facts
from goodstrace.entry import Kind, Position
from goodstrace.facts import Facts
from goodstrace.grouping import grouped
from services.query.epcis_matching import matches
from services.query.epcis_parameters import EventsQuery
from services.query.epcis_problems import TooLargeError
from services.query.whole_logs import UntoldRecord
from services.sealing.showing import position
from services.sealing.values import SealedRecord

BATCH: Final = 100  # records read at a time: at the most a MiB and more each
CHUNK: Final = 64  # records of each log read at a time where there is no index: what a pack holds
LATEST_CLOCK_MS: Final = 60_000
"""By so much the clock of a collector may be ahead of the ledger's: a record may seem to be later than its block."""
EVENT: Final = "event"
FACTS: Final = "facts"
_SINCE: Final = "GE_recordTime"


class Place(msgspec.Struct, frozen=True):
    """Where an answer goes on: what page tokens carry.

    sizes: of the checkpoints, by log: the same for all pages. tag: number of the tag that is being read; before: log and
    index of the last record of it that was looked at. ends: where there is no index, by log the index before which to go on.
    offset: where the answer is in order, or a list that does not change, how much of it was shown; in a list of values, how
    many of those that the next record names.
    """

    sizes: dict[str, int]
    tag: int = 0
    before: Position | None = None
    ends: dict[str, int] = {}
    offset: int = 0


class Found(msgspec.Struct, frozen=True):
    """A sealed event: its exact bytes, its facts, and its record time in Unix milliseconds."""

    log: str
    index: int
    content: bytes
    facts: Facts
    record_ms: int


class Step(msgspec.Struct, frozen=True):
    """One record looked at: `found` where it is an event with all its content; `after` is the place behind it.

    hidden: how many events were passed over since content or facts are not shown any more. is_untold: not even that there is such a
    record may be told, so that it counts nowhere.
    """

    found: Found | None
    after: Place
    hidden: int = 0
    is_untold: bool = False


class NewestFirst(Protocol):
    """Where records are found; `services.sealing.reader.LogReader` is the real one, and says what the methods do."""

    async def find_newest(
        self, tag: bytes, sizes: Mapping[str, int], limit: int, before: Position | None = None
    ) -> list[SealedRecord]:
        """Find records by one tag, newest first."""
        ...

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        """Give the records at these indexes."""
        ...

    async def sealed_ms(self, log: str, index: int) -> int:
        """Tell when an entry was sealed."""
        ...


async def by_tag(
    reader: NewestFirst, tags: Sequence[bytes], place: Place, query: EventsQuery | None = None
) -> AsyncGenerator[Step, None]:
    """Go through the records of tags: one tag after the other, each newest first, no record twice."""
    for number in range(place.tag, len(tags)):
        earlier = frozenset(tags[:number])
        before = place.before if number == place.tag else None
        while True:
            records = await reader.find_newest(tags[number], place.sizes, BATCH, before)
            for record in records:
                before = position(record)
                if earlier.isdisjoint(record.tags):
                    after = Place(place.sizes, number, before)
                    is_untold = isinstance(record, UntoldRecord)
                    yield Step(found_in(record), after, _hidden(record, query), is_untold)
            if len(records) < BATCH:
                break


async def without_index(
    reader: NewestFirst, place: Place, query: EventsQuery | None = None
) -> AsyncGenerator[Step, None]:
    """Go through all records from the newest to the oldest: of each log from its end, between logs by record time.

    A log ends where all that is left of it was sealed before the earliest record time that `query` asks for.
    """
    ends = {log: min(size, place.ends.get(log, size)) for log, size in place.sizes.items()}
    waiting: dict[str, deque[tuple[int, SealedRecord]]] = {log: deque() for log in ends}
    since_ms = query.times.get(_SINCE, 0) // 1000 if query else 0
    while True:
        for log, queue in waiting.items():
            if not queue and ends[log]:
                if since_ms and await reader.sealed_ms(log, ends[log] - 1) + LATEST_CLOCK_MS < since_ms:
                    ends[log] = 0
                    continue
                indexes = range(max(0, ends[log] - CHUNK), ends[log])
                read = await reader.records(log, indexes)
                queue.extend((entries.decode(each.entry).time, each) for each in reversed(read))
        heads = [(queue[0][0], log) for log, queue in waiting.items() if queue]
        if not heads:
            return
        _, log = max(heads)
        _, record = waiting[log].popleft()
        ends[log] = record.index
        yield Step(found_in(record), Place(place.sizes, ends=dict(ends)), _hidden(record, query))


async def in_order(
    reader: NewestFirst, tags: Sequence[bytes], query: EventsQuery, place: Place, most: int
) -> AsyncGenerator[Step, None]:
    """Find all events that `query` means, put them in its order, and go through them from `place` on.

    Raises: TooLargeError where over `most` records have the tags, or more events match than `query` allows.
    """
    places, hidden = await _ordered(reader, tags, query, place, most)
    if hidden and not place.offset:
        yield Step(None, place, hidden)
    for start in range(place.offset, len(places), BATCH):
        records = await _read(reader, places[start : start + BATCH])
        for offset, record in enumerate(records, start + 1):
            yield Step(found_in(record), Place(place.sizes, offset=offset))


async def _ordered(
    reader: NewestFirst, tags: Sequence[bytes], query: EventsQuery, place: Place, most: int
) -> tuple[list[Position], int]:
    """Give the places of the events in order, and how many are hidden."""
    keys: list[tuple[int, int, str, int]] = []
    looked_at = hidden = 0
    async with aclosing(by_tag(reader, tags, Place(place.sizes), query)) as steps:
        async for step in steps:
            looked_at += not step.is_untold
            hidden += step.hidden
            if looked_at > most:
                detail = f"over {most} events have it: ask for less, or without orderBy and maxEventCount"
                raise TooLargeError(detail)
            found = step.found
            if found is not None and matches(query, found.facts, found.record_ms):
                first = found.facts.time_us if query.order == "eventTime" else found.record_ms
                keys.append((first, found.record_ms, found.log, found.index))
    if query.most_events and len(keys) > query.most_events:
        raise TooLargeError(f"there are {len(keys)} events", "maxEventCount")
    keys.sort(reverse=query.descending)
    return [(log, index) for _, _, log, index in keys[: query.count_limit or len(keys)]], hidden


async def _read(reader: NewestFirst, places: Iterable[Position]) -> list[SealedRecord]:
    """Read records in the order of their places."""
    wanted = list(places)
    read: dict[Position, SealedRecord] = {}
    for log, indexes in grouped(wanted).items():
        read |= {position(record): record for record in await reader.records(log, indexes)}
    return [read[place] for place in wanted]


def found_in(record: SealedRecord) -> Found | None:
    """Take a record apart; None where it is no event, or its content or facts are not there any more."""
    parts = {part.name: part.content for part in record.parts}
    entry = entries.decode(record.entry)
    if entry.kind is not Kind.EVENT or EVENT not in parts or FACTS not in parts:
        return None
    facts = sealed_facts.decode(parts[FACTS])
    return Found(record.log, record.index, parts[EVENT], facts, entry.time)


def _hidden(record: SealedRecord, query: EventsQuery | None) -> int:
    """Give 1 for an event of which content or facts are withheld or erased; not where its facts say that it is not meant."""
    names = {part.name: part.content for part in record.parts}
    if isinstance(record, UntoldRecord):
        return 0
    if EVENT in names and FACTS in names:
        return 0
    entry = entries.decode(record.entry)
    if entry.kind is not Kind.EVENT:
        return 0
    if FACTS in names and query is not None:
        return int(matches(query, sealed_facts.decode(names[FACTS]), entry.time))
    return 1
