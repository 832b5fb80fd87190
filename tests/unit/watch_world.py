"""The watch without Kafka: what it is told, spread over partitions, observed, and counted by what is stored in memory."""

import random
from collections.abc import Sequence

from goodstrace.record.v1.record_pb2 import WatchedBrowse
from services.audit.watch import clock as clocks
from services.audit.watch import rules
from services.audit.watch import state as states
from services.audit.watch.activity import Activity
from services.audit.watch.alerts import Alert
from services.audit.watch.counting import Counted, Counter, Subject
from services.audit.watch.observing import observations, read
from services.audit.watch.sketches import hashed
from services.audit.watch.state import State
from services.audit.watch.values import Batch, Kind, Seen, decode_batch, encode_batch
from tests.watch_scenarios import MINUTE_MS

SOURCES = 2
BOOK = rules.load(rules.BUILT_IN)
Sent = tuple[int, bytes]


def source_of(told: WatchedBrowse) -> int:
    """Say in which partition of `browse.watched` something is."""
    first = min((told.record_id, *told.answered, *told.failed, *told.withheld), key=lambda each: -len(each))
    return first[0] % SOURCES


def sources(records: Sequence[WatchedBrowse]) -> list[list[WatchedBrowse]]:
    """Spread records over the partitions of `browse.watched`, as their IDs say."""
    return [[record for record in records if source_of(record) == source] for source in range(SOURCES)]


def observed(source: int, records: Sequence[WatchedBrowse], start: int, until_ms: int = 0) -> list[Sent]:
    """Observe a run of records of a partition; gives encoded batches with their partitions of `browse.observed`."""
    by_partition: list[list[Seen]] = [[] for _ in range(SOURCES)]
    for offset, record in enumerate(records, start):
        until_ms = max(until_ms, record.time_ms)
        for seen in observations(read(record.SerializeToString()), offset):
            by_partition[hashed(f"{seen.kind}:{seen.subject}") % SOURCES].append(seen)
    return [
        (partition, encode_batch(Batch(source, until_ms, tuple(seen))))
        for partition, seen in enumerate(by_partition)
    ]


def batches(records: Sequence[WatchedBrowse], size: int = 50) -> list[list[Sent]]:
    """Observe all records; gives for each partition of `browse.watched` what came of it, in order."""
    made = []
    for source, mine in enumerate(sources(records)):
        sent: list[Sent] = []
        for start in range(0, len(mine), size):
            sent += observed(source, mine[start : start + size], start)
        made.append(sent)
    return made


def mixed(by_source: Sequence[Sequence[Sent]], seed: int) -> list[Sent]:
    """Mix what came of the partitions in some way, each in its own order."""
    drawn, left = random.Random(seed), [list(each) for each in by_source]
    made = []
    while any(left):
        chosen = drawn.choice([each for each in left if each])
        run = drawn.randrange(1, 40)
        made += chosen[:run]
        del chosen[:run]
    return made


class World:
    """Counts, and keeps what is written: also where a crash comes before a write."""

    def __init__(self, book: rules.Book = BOOK) -> None:
        self.counter = Counter(book, SOURCES)
        self.stored: list[dict[bytes, bytes]] = [{} for _ in range(SOURCES)]
        self.alerts: list[Alert] = []
        self.activities: dict[tuple[Kind, str, int], Activity] = {}
        self.late = self.skipped = self.first_seen = 0

    def take(self, sent: Sent, *, crash_after: int | None = None) -> None:
        """Count a batch; with `crash_after` the process ends after so many of its writes."""
        partition, value = sent
        stored = self.stored[partition]
        loaded: dict[Subject, State | None] = {}

        def load(subject: Subject) -> State | None:
            if subject not in loaded:
                found = stored.get(repr(subject).encode())
                loaded[subject] = None if found is None else states.decode(found)
            return loaded[subject]

        waiting = clocks.decode_waiting(stored.get(b"waiting"))
        clock = clocks.decode_clock(stored.get(b"clock"))
        counted = self.counter.count(decode_batch(value), partition, clock, waiting, load)
        self.alerts += counted.alerts
        for row in counted.activities:
            self.activities[row.kind, row.subject, row.start_ms] = row
        for key, made in self._writes(counted)[:crash_after]:
            stored[key] = made
        self.late += counted.late
        self.skipped += counted.skipped
        self.first_seen += counted.first_seen

    def _writes(self, counted: Counted) -> list[tuple[bytes, bytes]]:
        return [
            (b"waiting", clocks.encode_waiting(counted.waiting)),
            *((repr(subject).encode(), states.encode(state)) for subject, state in counted.states.items()),
            (b"clock", clocks.encode_clock(counted.clock)),
        ]

    def end(self, time_ms: int) -> "World":
        """Let time go on without records, as idle partitions tell."""
        for source in range(SOURCES):
            for partition in range(SOURCES):
                self.take((partition, encode_batch(Batch(source, time_ms + 5 * MINUTE_MS))))
        return self

    def ids(self) -> set[bytes]:
        """Give the IDs of all alerts."""
        return {alert.id for alert in self.alerts}

    def looks(self, kind: Kind) -> int:
        """Count the looks in the statistics."""
        return sum(row.looks for row in self.activities.values() if row.kind is kind)


def watched(records: Sequence[WatchedBrowse], seed: int = 0, book: rules.Book = BOOK) -> World:
    """Watch records, mixed in some way."""
    world = World(book)
    for sent in mixed(batches(records), seed):
        world.take(sent)
    return world.end(max(record.time_ms for record in records) + 60 * MINUTE_MS)
