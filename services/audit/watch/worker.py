"""A worker of the watch: observes browse records, counts observations, keeps alerts. The shell around the pure parts.

browse.watched ─observe▶ browse.observed ─count▶ table (changelog browse.counted), MongoDB statistics, browse.alerts ─keep▶ MongoDB alerts and blocks

`browse.watched` is partitioned by random IDs; `browse.observed` by who or what is counted, so that each subject has one state in one place.
An error that is not foreseen ends the process at once, as a kill would: Faust would count the record as done and go on.
"""

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NoReturn

import faust
import structlog

from goodstrace.audit.v1 import watch_pb2
from goodstrace.grouping import grouped
from services.audit.watch import alerts as alert_values
from services.audit.watch import clock as clocks
from services.audit.watch import state as states
from services.audit.watch.activity import Activity
from services.audit.watch.clock import Waiting
from services.audit.watch.counting import Counted, Counter, Subject
from services.audit.watch.faust_app import WatchApp
from services.audit.watch.metrics import TOPICS, WatchMetrics
from services.audit.watch.observing import observations, read
from services.audit.watch.rules import Book
from services.audit.watch.settings import WatchSettings
from services.audit.watch.sketches import hashed
from services.audit.watch.state import State
from services.audit.watch.store import WatchStore
from services.audit.watch.values import MAX_OBSERVATIONS, Batch, Kind, Seen, decode_batch, encode_batch
from services.runtime import clock
from services.runtime.errors import EnvelopeError, ServiceError
from services.runtime.kafka import OffsetGapError
from services.runtime.retry import retried

_CLOCK: Final = b"clock"
_WAITING: Final = b"waiting"
_IDLE_S: Final = 5.0
_SHOW_S: Final = 0.25
_MOST_UNSHOWN: Final = 5_000
_SWEPT: Final = 64
_COMPACT_S: Final = 3600.0
_LAG_S: Final = 10.0
_DAY_S: Final = 86_400.0
_EXIT_UNFORESEEN: Final = 70


class Worker:
    """The agents of one worker, put onto the application."""

    def __init__(
        self,
        watch: WatchApp,
        book: Book,
        store: WatchStore,
        settings: WatchSettings,
        *,
        partitions: int,
        metrics: WatchMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Register the agents; `partitions` is how many `browse.watched` has, and `browse.observed`."""
        self._watch, self._book, self._store, self._settings = watch, book, store, settings
        self._partitions, self._metrics, self._log = partitions, metrics, log
        self._counter = Counter(book, partitions)
        self._until: dict[int, int] = {}
        self._idle: dict[int, int] = {}
        self._next: dict[Any, int] = {}
        self._swept: dict[int, bytes] = {}
        self._dropped: dict[int, float] = {}
        self._unshown: dict[tuple[Kind, str, int], Activity] = {}
        self._counted: list[Any] = []
        self._gathered: list[Any] = []
        self._sending, self._counting = asyncio.Lock(), asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()
        app = watch.app
        app.agent(watch.watched, name="observe")(self._observe)
        app.agent(watch.observed, name="count")(self._count)
        app.agent(watch.alerts, name="keep")(self._keep)
        app.timer(_IDLE_S)(self._tell_idle)
        app.timer(_COMPACT_S)(self._tidy)
        app.timer(_LAG_S)(self._measure_lag)
        app.on_partitions_revoked.connect(self._settle)
        app.task(self._send_often)
        app.task(self._show_often)

    async def _observe(self, stream: Any) -> None:
        """Gather what is told of looks; a record is done with, for Faust, once its observations are durable.

        Faust's own `take` marks as done what came while the batch before was being worked on.
        """
        async for event in stream.noack().events():
            self._gathered.append(event)
            if len(self._gathered) >= self._settings.batch_records:
                await self._certainly(self._send_gathered())

    async def _send_often(self) -> None:
        while not self._watch.app.should_stop:
            await asyncio.sleep(self._settings.batch_s)
            await self._certainly(self._send_gathered())

    async def _send_gathered(self) -> None:
        """Send what is gathered; one batch after the other, so that each partition's records stay in order."""
        async with self._sending:
            events, self._gathered = self._gathered, []
            if events:
                await self._send_observations(events)
            for event in events:
                event.ack()

    async def _count(self, stream: Any) -> None:
        """Count batch after batch; one is done with, for Faust, once its statistics are stored: see `_show`."""
        async for event in stream.noack().events():
            async with self._counting:
                await self._certainly(self._count_batch(event))
            if len(self._unshown) > _MOST_UNSHOWN:
                self._room.clear()
            await self._room.wait()  # a store that is slow, or away, slows counting down

    async def _settle(self, *_: Any, **__: Any) -> None:
        """Let the batch that is being counted end before partitions go: its values must not come after those of another worker.

        What is gathered and not sent is read again, by whoever has its partition then.
        """
        async with self._sending, self._counting:
            self._gathered.clear()
            self._next.clear()

    async def _keep(self, stream: Any) -> None:
        async for event in stream.events():
            await self._certainly(self._keep_alert(event))

    async def _certainly(self, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the top of a loop; see above
            self._end(error)

    def _end(self, error: BaseException) -> NoReturn:
        self._log.critical("ended by an unforeseen fault: nothing is committed", exc_info=error)
        os._exit(_EXIT_UNFORESEEN)

    async def _send_observations(self, events: Sequence[Any]) -> None:
        """Give each partition what concerns its subjects, in the order of the records; all of it is durable when this returns."""
        await self._check_next(events)
        waits = []
        for source, mine in grouped((event.message.partition, event) for event in events).items():
            batches = self._observed(source, mine)
            waits += [
                await self._watch.send(self._watch.observed, None, encode_batch(batch), partition)
                for partition, batch in batches
            ]
        await asyncio.gather(*waits)
        self._metrics.records.inc(len(events))

    def _observed(self, source: int, events: Sequence[Any]) -> list[tuple[int, Batch]]:
        by_partition: list[list[Seen]] = [[] for _ in range(self._partitions)]
        until_ms = self._until.get(source, 0)
        for event in events:
            try:
                told = read(event.message.value)
            except EnvelopeError as error:
                self._metrics.unreadable.inc()
                self._log.warning(
                    "a record cannot be read", source=source, offset=event.message.offset, cause=str(error)
                )
                continue
            until_ms = max(until_ms, told.time_ms)
            for each in observations(told, event.message.offset):
                by_partition[partition_for((each.kind, each.subject), self._partitions)].append(each)
        self._until[source] = until_ms
        return [
            (partition, Batch(source, until_ms if is_last else 0, part))
            for partition, listed in enumerate(by_partition)
            for part, is_last in _parts(listed)
        ]

    async def _check_next(self, events: Sequence[Any]) -> None:
        """Notice a record that was not handed on, also the first after what is committed: Faust loses one at times. Ending reads it again.

        Neither topic has holes: what goes into them is in no transaction. Raises: OffsetGapError; UnavailableError.
        """
        for event in events:
            tp, offset = event.message.tp, event.message.offset
            if tp not in self._next:
                asked = asyncio.to_thread(self._watch.progress.committed, tp.topic, tp.partition)
                self._next[tp] = await asked
            if offset > self._next[tp]:
                raise OffsetGapError(
                    f"{tp.topic}/{tp.partition}: record {offset} came where {self._next[tp]} should"
                )
            self._next[tp] = offset + 1

    async def _count_batch(self, event: Any) -> None:
        """Count a batch and write what came of it, in the order that `Counted` tells."""
        began = time.perf_counter()
        await self._check_next([event])
        partition = event.message.partition
        stored = self._watch.store(partition)
        loaded: dict[Subject, State | None] = {}

        def load(subject: Subject) -> State | None:
            if subject not in loaded:
                value = stored.get(_key(subject))
                loaded[subject] = None if value is None else states.decode(value)
            return loaded[subject]

        waiting = clocks.decode_waiting(stored.get(_WAITING))
        counted = self._counter.count(
            decode_batch(event.message.value),
            partition,
            clocks.decode_clock(stored.get(_CLOCK)),
            waiting,
            load,
        )
        await self._tell(counted)
        await self._write(partition, counted, waiting)
        self._unshown.update({(row.kind, row.subject, row.start_ms): row for row in counted.activities})
        self._counted.append(event)
        await self._sweep(partition, counted.clock.now_ms(self._partitions))
        self._measure(counted, time.perf_counter() - began)

    async def _tell(self, counted: Counted) -> None:
        waits = []
        for found in counted.alerts:
            message = alert_values.message(found)
            subject = (found.about, found.subject)
            partition = partition_for(subject, self._partitions)
            value = message.SerializeToString(deterministic=True)
            waits.append(await self._watch.send(self._watch.alerts, found.id, value, partition))
            self._metrics.alerts.labels(found.rule).inc()
            self._log.info(
                "alert", rule=found.rule, alert=message.id, about=found.about, start_ms=found.start_ms
            )
        await asyncio.gather(*waits)

    async def _show_often(self) -> None:
        while not self._watch.app.should_stop:
            await asyncio.sleep(_SHOW_S)
            await self._certainly(self._show())

    async def _show(self) -> None:
        """Store the statistics that changed, once each however many batches changed them; then the batches are done with."""
        rows, self._unshown = self._unshown, {}
        events, self._counted = self._counted, []
        self._room.set()
        size_ms = self._book.statistics_ms
        await self._patiently(lambda: self._store.put_activities(list(rows.values()), size_ms))
        for event in events:
            event.ack()

    async def _write(self, partition: int, counted: Counted, waiting_before: list[Waiting]) -> None:
        """Write what has changed, in order, and return when the changelog has all of it.

        Faust's own `table[key] = value` leaves the changelog's record in a buffer, and a commit waits for that a tenth of a second only.
        """
        values = {_key(subject): states.encode(state) for subject, state in counted.states.items()}
        if counted.waiting != waiting_before:
            values = {_WAITING: clocks.encode_waiting(counted.waiting), **values}
        values[_CLOCK] = clocks.encode_clock(counted.clock)
        await self._watch.put(partition, values)

    async def _sweep(self, partition: int, now_ms: int) -> None:
        """Look at some of the partition's states, further each time, and drop those that are over: from the disk within the hour."""
        if not now_ms:
            return
        found = self._watch.store(partition).iter()
        found.seek(self._swept.get(partition, b""))
        over: dict[bytes, bytes | None] = {}
        for _ in range(_SWEPT):
            if not found.valid():
                self._swept[partition] = b""
                break
            key = self._swept[partition] = bytes(found.key())
            kind, separator, _ = key.partition(b":")
            if separator and self._counter.is_over(Kind(kind.decode()), states.decode(found.value()), now_ms):
                over[key] = None
            found.next()
        await self._watch.put(partition, over)
        self._metrics.forgotten.inc(len(over))
        if over:
            self._dropped.setdefault(partition, time.monotonic())
        if time.monotonic() - self._dropped.get(partition, math.inf) >= _COMPACT_S:
            await asyncio.to_thread(self._watch.compact, partition)
            del self._dropped[partition]

    async def _tidy(self) -> None:
        if not self._watch.app.rebalancing:
            self._watch.tidy(_DAY_S)

    def _measure(self, counted: Counted, seconds: float) -> None:
        metrics = self._metrics
        metrics.batch_seconds.observe(seconds)
        for outcome, number in (
            ("counted", counted.counted),
            ("skipped", counted.skipped),
            ("late", counted.late),
        ):
            metrics.observations.labels(outcome).inc(number)
        metrics.first_seen.inc(counted.first_seen)
        metrics.not_waited_for.inc(counted.not_waited_for)
        metrics.clock.set(counted.clock.now_ms(self._partitions) / 1000)

    async def _measure_lag(self) -> None:
        """Ask Kafka how much waits in the partitions that this worker has; where it does not answer, what it told last is shown on.

        Not what Faust has fetched: where it fetches no more, its ends stand still.
        """
        read = (self._watch.watched, self._watch.observed, self._watch.alerts)
        for name, topic in zip(TOPICS, read, strict=True):
            mine = [tp.partition for tp in self._watch.assigned(topic)]
            try:
                lag = await asyncio.to_thread(self._watch.progress.behind, topic.get_topic_name(), mine)
            except ServiceError as error:
                self._log.warning("Kafka does not say how much waits", cause=str(error))
                return
            self._metrics.lag.labels(name).set(lag)

    async def _keep_alert(self, event: Any) -> None:
        value = event.message.value
        found = watch_pb2.Alert.FromString(value)

        async def put() -> None:
            await self._store.put_alert(found, value)

        await self._patiently(put)

    async def _patiently(self, call: Callable[[], Awaitable[None]]) -> None:
        def noticed(error: ServiceError) -> None:
            self._log.warning("MongoDB does not answer: trying again", cause=str(error))

        await retried(call, noticed)

    async def _tell_idle(self) -> None:
        """Let the clock go on where a partition of `browse.watched` has nothing more: its time is now, less the grace.

        Only where all up to its end is committed, so everything of it is sent, at two looks in a row.
        """
        consumer: Any = self._watch.app.consumer
        if self._watch.app.rebalancing:
            self._idle.clear()
            return
        now_ms = clock.now_ms() - self._book.grace_ms
        waits = []
        for tp in self._watch.assigned(self._watch.watched):
            end, done = consumer.highwater(tp), consumer._committed_offset[tp]  # noqa: SLF001 - it tells nobody else
            at_end = end is not None and (done or 0) >= end
            was = self._idle.pop(tp.partition, -1)
            if at_end:
                self._idle[tp.partition] = end
            if at_end and was == end:
                told = encode_batch(Batch(tp.partition, now_ms))
                waits += [
                    await self._watch.send(self._watch.observed, None, told, partition)
                    for partition in range(self._partitions)
                ]
        await asyncio.gather(*waits)


def partition_for(subject: Subject, partitions: int) -> int:
    """Give the partition of `browse.observed` in which a subject is counted."""
    return hashed(f"{subject[0]}:{subject[1]}") % partitions


def _key(subject: Subject) -> bytes:
    return f"{subject[0]}:{subject[1]}".encode()


def _parts(listed: list[Seen]) -> list[tuple[tuple[Seen, ...], bool]]:
    """Cut observations into batches; says of each whether it is the last. One without any says how far time has come."""
    starts = range(0, max(1, len(listed)), MAX_OBSERVATIONS)
    return [(tuple(listed[start : start + MAX_OBSERVATIONS]), start == starts[-1]) for start in starts]


async def run_app(app: faust.App, stop: asyncio.Event) -> None:
    """Run an application until `stop`. Raises: ServiceError where it stopped by itself."""
    await app.start()
    try:
        while not stop.is_set():
            if app.should_stop:
                raise ServiceError("Faust stopped: its log says why")
            await asyncio.sleep(0.1)
    finally:
        await app.stop()
