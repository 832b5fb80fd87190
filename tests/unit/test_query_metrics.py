"""The query service's metrics: every call that it answers is there from the start, and what is shown is counted."""

import pytest
import structlog
from prometheus_client import CollectorRegistry

from services.query.metrics import LOGIN_SERVICES, SERVICES, QueryMetrics
from services.query.shown import Shown
from services.runtime.errors import UnavailableError
from services.sealing.browse import Browse
from tests.memory_recorder import MemoryRecorder

SHOWN = "goodstrace_query_records_shown_total"


def look(events: int) -> Browse:
    return Browse(
        user="ann",
        method="GetRegistrations",
        keys=("urn:x:1",),
        sizes={"goods/0": 9},
        purpose="",
        events=events,
    )


def test_every_call_is_counted_from_the_start() -> None:
    registry = CollectorRegistry()
    QueryMetrics(registry)
    for service in (*SERVICES, *LOGIN_SERVICES):
        for method in service.methods:
            labels = {"method": method.name, "code": "OK"}
            assert registry.get_sample_value("goodstrace_query_calls_total", labels) == 0, method.name


async def test_what_is_recorded_is_counted_and_told() -> None:
    registry, recorder = CollectorRegistry(), MemoryRecorder()
    shown = Shown(recorder, QueryMetrics(registry), structlog.get_logger())
    with structlog.testing.capture_logs() as told:
        assert await shown.record(look(3)) == "ab" * 16
    assert recorder.browses == [look(3)]
    assert registry.get_sample_value(SHOWN) == 3
    assert [(each["event"], each["method"], each["events"]) for each in told] == [
        ("shown", "GetRegistrations", 3)
    ]


async def test_what_could_not_be_recorded_counts_nowhere() -> None:
    registry, recorder = CollectorRegistry(), MemoryRecorder()
    recorder.away = True
    shown = Shown(recorder, QueryMetrics(registry), structlog.get_logger())
    with pytest.raises(UnavailableError):
        await shown.record(look(3))
    assert registry.get_sample_value(SHOWN) == 0
