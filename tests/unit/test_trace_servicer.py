"""How many calls of TraceService are answered at a time."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.query.v1 import recall_pb2, trace_pb2
from services.query.metrics import QueryMetrics
from services.query.service import TraceServicer
from services.query.sight import Sight
from services.runtime.page_tokens import fixed_key
from services.sealing.browse import NotRecordedError


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

    async def find_newest(self, *_: Any) -> list[Any]:
        return []


class Recorder:
    async def record(self, _browse: Any) -> str:
        return "00"


class Pins:
    """Nothing is pinned."""


class Unrecorded:
    async def record(self, _browse: Any) -> str:
        raise NotRecordedError("Kafka is away")


class Writing:
    """The context of a call that answers with a stream."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def write(self, message: Any) -> None:
        self.written.append(message)


def servicer_of(reader: Reader, recorder: Any) -> TraceServicer:
    return TraceServicer(
        reader,  # type: ignore[arg-type]
        recorder,
        Pins(),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]  # nobody subscribes
        sight=Sight(None),
        secret=bytes(32),
        page_key=fixed_key(b"p" * 32),
        max_events=10,
        page_bytes=1_000_000,
        max_walks=3,
        max_streams=2,
        metrics=QueryMetrics(CollectorRegistry()),
        log=structlog.get_logger(),
    )


async def test_only_so_many_traces_are_walked_at_a_time() -> None:
    # Each may hold tens of megabytes: 250 traces of events of a MiB took 5 GB.
    reader = Reader()
    servicer = servicer_of(reader, Recorder())
    context: Any = SimpleNamespace(invocation_metadata=lambda: ())
    traces = [servicer.Trace(trace_pb2.TraceRequest(key="urn:x:1"), context) for _ in range(10)]
    events = [servicer.GetEvent(trace_pb2.GetEventRequest(event_id="urn:x:1"), context) for _ in range(10)]
    answers: list[Any] = await asyncio.gather(*traces, *events)
    assert all(answer.browse_id == "00" for answer in answers)
    assert reader.most == 3


TRACE = trace_pb2.StreamTraceRequest(trace=trace_pb2.TraceRequest(key="urn:x:1"))
RECALL = recall_pb2.RecallRequest(key="urn:x:1")


async def test_only_so_many_streams_are_answered_at_a_time_and_each_is_whole() -> None:
    reader = Reader()
    servicer = servicer_of(reader, Recorder())
    contexts: list[Any] = [Writing() for _ in range(20)]
    await asyncio.gather(
        *(servicer.StreamTrace(TRACE, context) for context in contexts[:10]),
        *(servicer.Recall(RECALL, context) for context in contexts[10:]),
    )
    assert reader.most == 2
    assert all(context.written[0].browse_id == "00" for context in contexts)
    assert all(context.written[-1].summary.last for context in contexts[:10])
    assert all(context.written[-1].summary.goods == {"other": 1} for context in contexts[10:])


async def test_no_piece_of_a_stream_leaves_unrecorded() -> None:
    servicer = servicer_of(Reader(), Unrecorded())
    context: Any = Writing()
    with pytest.raises(NotRecordedError):
        await servicer.StreamTrace(TRACE, context)
    with pytest.raises(NotRecordedError):
        await servicer.Recall(RECALL, context)
    assert context.written == []
