"""How far looks are counted is noted, and days are closed, also where looks never cease and no reader comes to an end."""

import time
from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from goodstrace.record.v1 import record_pb2
from services.audit.figures.following import NOTE_S, FigureMetrics, Figuring

PARTITIONS = 2


class _Statistics:
    """Remembers until when each partition is counted."""

    def __init__(self) -> None:
        self.until_ms: dict[int, int] = {}

    async def add(self, partition: int, said: Sequence[Any]) -> None:
        """Nothing to do."""

    async def caught_up(self, partition: int, time_ms: int) -> None:
        self.until_ms[partition] = max(time_ms, self.until_ms.get(partition, 0))

    async def counted_until(self, partitions: int) -> int:
        return min(self.until_ms.get(each, 0) for each in range(partitions))


class _Viewers:
    """Remembers up to when days might be closed."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def add(self, said: Sequence[Any]) -> None:
        """Nothing to do."""

    async def close_days(self, counted_until_ms: int) -> int:
        self.asked.append(counted_until_ms)
        return 0


class _Counting:
    """A reader of two partitions whose clock is set by hand."""

    def __init__(self) -> None:
        self.statistics, self.viewers, self.now_s = _Statistics(), _Viewers(), 0.0
        parts: list[Any] = [self.statistics, self.viewers, PARTITIONS]
        parts += [FigureMetrics(CollectorRegistry()), structlog.get_logger()]
        self.figuring = Figuring(*parts, clock_s=lambda: self.now_s)

    async def take(self, *looks: tuple[int, int]) -> None:
        """Count a look in each of these partitions, made at these times."""
        await self.figuring.take(
            [
                (partition, number, record_pb2.WatchedBrowse(kind="look", time_ms=time_ms))
                for number, (partition, time_ms) in enumerate(looks)
            ]
        )


async def test_what_is_before_the_last_look_is_counted_though_the_end_is_never_reached() -> None:
    counting = _Counting()
    await counting.take((0, 1_000), (1, 900), (0, 1_100))
    assert counting.viewers.asked == [900]
    await counting.take((1, 2_000))
    assert counting.viewers.asked == [900], "not with each batch"
    counting.now_s += NOTE_S
    await counting.take((0, 3_000))
    assert counting.viewers.asked == [900, 2_000], "what was reached between two notes is noted, too"
    counting.now_s += NOTE_S
    await counting.figuring.at_end([0, 1], 4_000)
    assert counting.viewers.asked[-1] == 4_000


async def test_a_look_from_the_future_closes_no_day() -> None:
    counting = _Counting()
    ahead_ms = int(time.time() * 1000) + 86_400_000
    await counting.take((0, ahead_ms), (1, ahead_ms))
    assert counting.viewers.asked[-1] <= time.time() * 1000
