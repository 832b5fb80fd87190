"""Marks of looks on their way: collected, and sealed in batches. Nobody waits for a mark, and none is lost without being counted.

A batch that Kafka does not acknowledge is sent again as it is, so it may be sealed twice, which says the same.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from goodstrace.entry import ID_BYTES, SALT_BYTES
from services.runtime import clock, envelope
from services.runtime.acknowledged import AcknowledgedProducer, Outgoing
from services.runtime.errors import UnavailableError
from services.runtime.looks import Outcome
from services.runtime.partitioner import partition_of
from services.runtime.waiting import until_set
from services.sealing.mark_records import mark_record, watched_marks

MAX_BATCH: Final = 200
BATCH_S: Final = 1.0
MAX_WAITING: Final = 20_000
DRAIN_S: Final = 5.0
_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


class MarkMetrics:
    """Marks by outcome; every label pair exists from the start."""

    def __init__(self, service: str, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them for `service`."""
        self._service = service
        self._marked = Counter(
            "goodstrace_browse_outcomes_total",
            "Looks whose outcome was recorded, by service and outcome.",
            ["service", "outcome"],
            registry=registry,
        )
        self._waiting = Gauge(
            "goodstrace_browse_outcomes_waiting",
            "Outcomes of looks that wait to be recorded.",
            ["service"],
            registry=registry,
        ).labels(service)
        self._lost = Counter(
            "goodstrace_browse_outcomes_lost_total",
            "Outcomes of looks that could not be recorded, so that they stay unknown; should stay 0.",
            ["service"],
            registry=registry,
        ).labels(service)
        for outcome in Outcome:
            self._marked.labels(service, outcome.value)

    def marked(self, outcomes: Iterable[Outcome]) -> None:
        """Count those that are durable now."""
        for outcome in outcomes:
            self._marked.labels(self._service, outcome.value).inc()

    def waiting(self, count: int) -> None:
        """Say how many wait."""
        self._waiting.set(count)

    def lost(self, count: int) -> None:
        """Count those that are given up."""
        self._lost.inc(count)


class Marks:
    """Collects outcomes and seals them in batches of 200 or a second; `note` is what is told of them."""

    def __init__(
        self,
        producer: AcknowledgedProducer,
        *,
        topic: str,
        watched: str,
        partitions: int,
        secret: bytes,
        timeout_s: float,
        metrics: MarkMetrics,
        log: structlog.stdlib.BoundLogger,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Send to `topic`, and tell the topic `watched`; an acknowledgement is waited for `timeout_s` at the most."""
        self._producer, self._topic, self._watched = producer, topic, watched
        self._partitions = partitions
        self._secret, self._timeout_s, self._max_waiting = secret, timeout_s, max_waiting
        self._metrics, self._log = metrics, log
        self._waiting: deque[tuple[bytes, Outcome]] = deque()
        self._is_full = False
        self._something, self._enough = asyncio.Event(), asyncio.Event()

    def note(self, record_id: bytes, outcome: Outcome) -> None:
        """Note an outcome, without waiting; called from the event loop. Where too many wait it is lost, which is counted and logged."""
        if len(self._waiting) >= self._max_waiting:
            self._metrics.lost(1)
            if not self._is_full:  # once, not for each
                self._log.error(
                    "too many outcomes of looks wait: more stay unknown", waiting=len(self._waiting)
                )
            self._is_full = True
            return
        self._waiting.append((record_id, outcome))
        self._metrics.waiting(len(self._waiting))
        self._something.set()
        if len(self._waiting) >= MAX_BATCH:
            self._enough.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Seal what is noted until `stop`; then what is left, for a few seconds. An error that nobody foresaw ends it, and is raised."""
        sealing = asyncio.create_task(self._seal_all())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([sealing, stopped], return_when=asyncio.FIRST_COMPLETED)
        if sealing.done():
            stopped.cancel()
            sealing.result()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._waiting:
                    self._enough.set()
                    await asyncio.sleep(0.01)
        sealing.cancel()
        await asyncio.wait([sealing])
        if self._waiting:
            self._metrics.lost(len(self._waiting))
            self._log.error("outcomes of looks were not recorded: they stay unknown", lost=len(self._waiting))

    async def _seal_all(self) -> None:
        while True:
            await self._something.wait()
            await until_set(self._enough, BATCH_S)
            batch = dict(list(self._waiting)[:MAX_BATCH])
            await self._seal(batch)
            for _ in batch:
                self._waiting.popleft()
            self._is_full = False
            self._metrics.waiting(len(self._waiting))
            if len(self._waiting) < MAX_BATCH:
                self._enough.clear()
            if not self._waiting:
                self._something.clear()

    async def _seal(self, batch: Mapping[bytes, Outcome]) -> None:
        """Have a batch acknowledged, however long that takes."""
        record = mark_record(
            batch,
            record_id=os.urandom(ID_BYTES),
            time_ms=clock.now_ms(),
            salt=os.urandom(SALT_BYTES),
            secret=self._secret,
        )
        partition = partition_of(record.id, self._partitions)
        told = watched_marks(batch, record.time_ms).SerializeToString()
        outgoing = (
            Outgoing(self._topic, partition, record.id, envelope.encode(record)),
            Outgoing(self._watched, partition, record.id, told),
        )
        tried = 0
        while True:
            try:
                await self._producer.send_together(outgoing, self._timeout_s)
            except UnavailableError as error:
                if not tried:
                    self._log.warning("outcomes of looks wait to be recorded", cause=str(error))
                await asyncio.sleep(_PAUSES_S[min(tried, len(_PAUSES_S) - 1)])
                tried += 1
                continue
            self._metrics.marked(batch.values())
            return
