"""How many calls of TraceService are answered at a time."""

import asyncio
from types import SimpleNamespace
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from goodstrace.query.v1 import trace_pb2
from services.query.metrics import QueryMetrics
from services.query.service import TraceServicer


class Reader:
    """Logs without entries; says how many calls read them at the same time."""

    def __init__(self) -> None:
        self.reading = self.most = 0

    async def newest(self, _prefix: str) -> dict[str, Any]:
        self.reading += 1
        self.most = max(self.most, self.reading)
        for _ in range(10):
            await asyncio.sleep(0)
        self.reading -= 1
        return {}

    async def find(self, tags: list[bytes], *_: Any) -> dict[bytes, list[Any]]:
        return {tag: [] for tag in tags}


class Recorder:
    async def record(self, _browse: Any) -> str:
        return "00"


class Pins:
    """Nothing is pinned."""


async def test_only_so_many_traces_are_walked_at_a_time() -> None:
    # Each may hold tens of megabytes: 250 traces of events of a MiB took 5 GB.
    reader = Reader()
    servicer = TraceServicer(
        reader,  # type: ignore[arg-type]
        Recorder(),  # type: ignore[arg-type]
        Pins(),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]  # nobody subscribes
        secret=bytes(32),
        max_events=10,
        page_bytes=1_000_000,
        max_walks=3,
        metrics=QueryMetrics(CollectorRegistry()),
        log=structlog.get_logger(),
    )
    context: Any = SimpleNamespace(invocation_metadata=lambda: ())
    traces = [servicer.Trace(trace_pb2.TraceRequest(key="urn:x:1"), context) for _ in range(10)]
    events = [servicer.GetEvent(trace_pb2.GetEventRequest(event_id="urn:x:1"), context) for _ in range(10)]
    answers: list[Any] = await asyncio.gather(*traces, *events)
    assert all(answer.browse_id == "00" for answer in answers)
    assert reader.most == 3
