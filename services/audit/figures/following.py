"""Counting what is told of looks, beside the index and by the same reader: figures over windows, and who looked at merchants' goods."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from goodstrace.grouping import grouped
from goodstrace.record.v1 import record_pb2
from services.audit.figures.goods import GoodsViewers
from services.audit.figures.store import Statistics
from services.audit.figures.watched import counted
from services.runtime import clock

NOTE_S: Final = 10.0
"""How often it is noted how far partitions are counted, and looked whether a day can be closed."""

Placed = tuple[int, int, record_pb2.WatchedBrowse]
"""Partition, offset, and what is told there."""


class FigureMetrics:
    """How far counting has come."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them."""
        self.counted = Counter(
            "goodstrace_audit_figures_records_total",
            "Messages of browse.watched that were taken into the statistics; one that is read again counts again here alone.",
            registry=registry,
        )
        self.until = Gauge(
            "goodstrace_audit_figures_until_timestamp_seconds",
            "Up to when everything that was told of looks is counted, in every partition; 0 until that is known of all of them.",
            registry=registry,
        )
        self.days = Counter(
            "goodstrace_audit_goods_days_closed_total",
            "Days that are over and of which it is fixed now what merchants may be told of looks at their goods.",
            registry=registry,
        )


class Figuring:
    """Counts batches; what comes again is counted once."""

    def __init__(
        self,
        statistics: Statistics,
        viewers: GoodsViewers,
        partitions: int,
        metrics: FigureMetrics,
        log: structlog.stdlib.BoundLogger,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count into `statistics` and `viewers`; `partitions` is how many the topic has."""
        self._statistics, self._viewers, self._partitions = statistics, viewers, partitions
        self._metrics, self._log, self._clock_s = metrics, log, clock_s
        self._note_at_s = clock_s()
        self._reached_ms: dict[int, int] = {}

    async def take(self, batch: Sequence[Placed]) -> None:
        """Count a batch, in its order, and what is before its last record is counted then: where looks never cease nobody comes to an end.

        Raises: UnavailableError: it may come again.
        """
        by_partition = grouped((partition, counted(told, offset)) for partition, offset, told in batch)
        for partition, said in by_partition.items():
            await self._viewers.add(said)
            await self._statistics.add(partition, said)
        self._metrics.counted.inc(len(batch))
        now_ms = clock.now_ms()
        await self._reached(
            {
                partition: min(now_ms, max(each.time_ms for each in said))  # another's clock may be ahead
                for partition, said in by_partition.items()
            }
        )

    async def at_end(self, partitions: Iterable[int], time_ms: int) -> None:
        """Take note that these partitions were read to their ends at a time. Raises: UnavailableError."""
        await self._reached(dict.fromkeys(partitions, time_ms))

    async def _reached(self, times_ms: Mapping[int, int]) -> None:
        """Note until when partitions are counted, each NOTE_S; then close the days that are over."""
        for partition, time_ms in times_ms.items():
            self._reached_ms[partition] = max(time_ms, self._reached_ms.get(partition, 0))
        if self._clock_s() < self._note_at_s:
            return
        self._note_at_s = self._clock_s() + NOTE_S
        for partition, time_ms in self._reached_ms.items():
            await self._statistics.caught_up(partition, time_ms)
        self._reached_ms.clear()
        until_ms = await self._statistics.counted_until(self._partitions)
        self._metrics.until.set(until_ms / 1000)
        closed = await self._viewers.close_days(until_ms)
        if closed:
            self._metrics.days.inc(closed)
            self._log.info("counted who looked at merchants' goods", days=closed)
