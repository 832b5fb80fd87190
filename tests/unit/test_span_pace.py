"""How long a batch of the stages waits for company: while there is much to do, and never after a pause."""

import time
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from services.collector.flow import StageName
from services.collector.metrics import Metrics
from services.collector.runner import Runner
from services.collector.settings import CollectorSettings
from services.collector.stages import Span
from services.runtime.settings import KafkaSettings, load

INTERVAL_S = 0.2


class Batches:
    """A source that gives these batches, and notes until when each was waited for, seconds from then."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = list(sizes)
        self.waited: list[float] = []

    def poll(self, _records: int, _size: int, _wait_s: float, until_s: float) -> list[object]:
        self.waited.append(until_s - time.monotonic())
        return [object()] * self._sizes.pop(0)


@pytest.fixture
def runner() -> Runner:
    async def checked() -> None: ...

    return Runner(
        Span(StageName.SUMMARISE, StageName.STORE),
        kafka=load(KafkaSettings),
        settings=CollectorSettings(span_interval_ms=int(INTERVAL_S * 1000)),
        secret=bytes(32),
        check=checked,
        metrics=Metrics(CollectorRegistry()),
        log=structlog.get_logger(),
    )


def polled(runner: Runner, *sizes: int) -> list[float]:
    source: Any = Batches(*sizes)
    for _ in sizes:
        runner._poll(source)
    waited: list[float] = source.waited
    return waited


def test_what_follows_a_batch_waits_for_company(runner: Runner) -> None:
    first, second = polled(runner, 1, 1)
    assert first <= 0
    assert 0 < second <= INTERVAL_S


def test_looking_in_vain_delays_nothing(runner: Runner) -> None:
    assert all(each <= 0 for each in polled(runner, 0, 0, 1))
