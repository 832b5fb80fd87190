"""Reading the goods logs forward: what was published since a position, and which of it somebody asked for.

Subscriptions and webhooks are two uses of it. Where there are tags to look for, only records that have one are read; else
every entry is, once for all who read the same place at the same time.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from goodstrace import entry as entries
from goodstrace import facts as sealed_facts
from goodstrace.entry import Entry, Kind, Position
from goodstrace.facts import Facts
from goodstrace.grouping import grouped
from services.query.sight import Eyes
from services.runtime.envelope import content_of
from services.sealing.reader import LogReader
from services.sealing.remembered import Remembered
from services.sealing.showing import position, record_bytes
from services.sealing.values import SealedRecord, StoredCheckpoint

CHUNK: Final = 64  # entries of a log read at a time: what a pack holds
AT_ONCE: Final = 4  # chunks read at a time: at the most a MiB an entry each
HELD_BYTES: Final = 32 * 2**20
_AS_OBJECTS: Final = 3  # what decoded facts take beside their bytes
LOOKED_AT: Final = 4096  # entries, for one answer: then others have their turn
PREFIX: Final = "goods/"
FACTS: Final = "facts"

Positions = Mapping[str, int]
"""By log the index of the next entry to be looked at; a log not named begins at 0."""


class Seen(msgspec.Struct, frozen=True):
    """An event that was read; `facts` is None where they are not there any more."""

    record: SealedRecord
    entry: Entry
    facts: Facts | None


class Interest(Protocol):
    """What somebody wants to see."""

    def tags(self) -> Sequence[bytes]:
        """Give the tags one of which every event meant has; none where every entry has to be read."""
        ...

    async def visible(self, events: Sequence[Seen]) -> Sequence[Seen]:
        """Give events as they may be seen: those that may not, without their parts and facts."""
        ...

    def wants(self, seen: Seen) -> bool:
        """Say whether an event is meant; where there are tags, of one that has one of them."""
        ...


class Meant(Protocol):
    """What somebody wants to see, whoever it is."""

    def tags(self) -> Sequence[bytes]:
        """Give the tags one of which every event meant has."""
        ...

    def wants(self, seen: Seen) -> bool:
        """Say whether an event is meant."""
        ...


class SeenBy(msgspec.Struct, frozen=True):
    """What is meant, of what somebody may see: nothing else is shown, and nothing told of it."""

    meant: Meant
    eyes: Eyes

    async def visible(self, events: Sequence[Seen]) -> Sequence[Seen]:
        """Give the events that may be seen. Raises: UnavailableError."""
        seen = await self.eyes.see([(each.entry, each.facts) for each in events])
        return [each for each, is_seen in zip(events, seen, strict=True) if is_seen]

    def tags(self) -> Sequence[bytes]:
        """Give the tags one of which every event meant has."""
        return self.meant.tags()

    def wants(self, seen: Seen) -> bool:
        """Say whether an event is meant."""
        return self.meant.wants(seen)


class Gathered(msgspec.Struct, frozen=True):
    """What was found: `after` says how far every log was looked at, `looked_at` how many entries were read for it."""

    events: tuple[Seen, ...]
    after: dict[str, int]
    looked_at: int


class Heads:
    """The newest published checkpoints, read from the store at most once in a while for all who ask."""

    def __init__(self, reader: LogReader, every_s: float) -> None:
        """Ask `reader` no more than once in `every_s` seconds."""
        self.every_s: Final = every_s
        self._reader = reader
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._newest: dict[str, StoredCheckpoint] = {}

    async def newest(self, *, at_once: bool = False) -> dict[str, StoredCheckpoint]:
        """Give the newest checkpoint of every goods log, at most `every_s` old; those of now where it shall be `at_once`.

        Raises: UnavailableError.
        """
        async with self._lock:
            if at_once or time.monotonic() - self._read_at >= self.every_s:
                self._newest = await self._reader.newest(PREFIX)
                self._read_at = time.monotonic()
            return self._newest


class Forward:
    """Reads logs forward for any number of readers, in bounded memory."""

    def __init__(self, reader: LogReader) -> None:
        """Read `reader`'s logs."""
        self._reader = reader
        self._held: Remembered[tuple[str, int, int], tuple[Seen, ...]] = Remembered(HELD_BYTES)
        self._reading: dict[tuple[str, int, int], asyncio.Task[tuple[Seen, ...]]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def gather(
        self,
        interest: Interest,
        positions: Positions,
        sizes: Mapping[str, int],
        *,
        most_events: int,
        most_bytes: int,
    ) -> Gathered:
        """Find the next events that are meant. The same arguments give the same events, whenever that is.

        Args:
            interest: what is meant.
            positions: where to begin in each log.
            sizes: how far to look in each log, published sizes.
            most_events: how many events at the most.
            most_bytes: how many bytes of an answer; one event in any case.
        Raises: UnavailableError, CorruptError, EntryError.
        """
        after = {log: positions.get(log, 0) for log in {*positions, *sizes}}
        found: list[Seen] = []
        looked_at, left = 0, most_bytes
        # The log that is the furthest behind comes first, so that none is forgotten over another that has much to show.
        for log in sorted(sizes, key=lambda each: (after[each] - sizes[each], each)):
            while after[log] < sizes[log] and looked_at < LOOKED_AT:
                events, end, read = await self._next(interest, log, after[log], sizes[log])
                looked_at += read
                for seen in events:
                    cost = record_bytes(seen.record, sizes[log])
                    if found and (len(found) >= most_events or cost > left):
                        after[log] = seen.record.index
                        return Gathered(tuple(found), after, looked_at)
                    found.append(seen)
                    left -= cost
                after[log] = end
        return Gathered(tuple(found), after, looked_at)

    async def at(self, interest: Interest, places: Sequence[Position]) -> tuple[Seen, ...]:
        """Give the events at places that were gathered before, in that order: those that are meant still, as they may be seen now.

        Raises: UnavailableError, CorruptError, EntryError.
        """
        async with self._turns:
            records = [
                each
                for log, some in grouped(places).items()
                for each in await self._reader.records(log, sorted(some))
            ]
        visible = await interest.visible(_events(records))
        found = {position(seen.record): seen for seen in visible if interest.wants(seen)}
        return tuple(found[place] for place in places if place in found)

    async def _next(
        self, interest: Interest, log: str, first: int, size: int
    ) -> tuple[Sequence[Seen], int, int]:
        """Give the next events meant in a log, how far it was looked at for them, and how many entries were read."""
        tags = interest.tags()
        if tags:
            async with self._turns:
                records = await self._reader.find_from(log, tags, first, size, CHUNK)
            end = records[-1].index + 1 if len(records) == CHUNK else size
            read = len(records) or 1
            events: Sequence[Seen] = _events(records)
        else:
            end = min(size, first - first % CHUNK + CHUNK)
            read = end - first
            events = await self._chunk(log, first, end)
        return [seen for seen in await interest.visible(events) if interest.wants(seen)], end, read

    async def _chunk(self, log: str, first: int, end: int) -> tuple[Seen, ...]:
        """Give the events among the entries first..end-1: from memory, or by the one read that is under way."""
        name = (log, first, end)
        held = self._held.get(name)
        if held is not None:
            return held
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = asyncio.create_task(self._read(name))
            reading.add_done_callback(lambda done: self._settled(name, done))
        return await asyncio.shield(reading)

    def _settled(self, name: tuple[str, int, int], done: "asyncio.Task[tuple[Seen, ...]]") -> None:
        self._reading.pop(name, None)
        if not done.cancelled():
            done.exception()  # whoever still waits gets it; where nobody does, it is nobody's

    async def _read(self, name: tuple[str, int, int]) -> tuple[Seen, ...]:
        log, first, end = name
        async with self._turns:
            events = tuple(_events(await self._reader.records(log, range(first, end))))
        size_bytes = _AS_OBJECTS * sum(record_bytes(each.record, 1) for each in events)
        self._held.put(name, events, size_bytes)
        return events


def _events(records: Iterable[SealedRecord]) -> list[Seen]:
    found = []
    for record in records:
        entry = entries.decode(record.entry)
        if entry.kind is Kind.EVENT:
            facts = content_of(record.parts, FACTS)
            found.append(Seen(record, entry, sealed_facts.decode(facts) if facts is not None else None))
    return found
