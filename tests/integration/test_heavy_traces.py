"""Traces that take long to compute: with their deadlines their work ends, and small ones beside them are answered."""

import asyncio

import grpc
import pytest

from bench.processes import cpu_s
from goodstrace.query.v1 import recall_pb2, trace_pb2, trace_pb2_grpc
from tests.handmade import event
from tests.integration.looking import PARTITIONS, Looking, eventually
from tests.recalled_goods import case_key, spread, stays_of

ITEMS, STAYS = 400, 400
CALLS = 8
DEADLINE_S = 4.0  # time enough for the look-ups, so that all compute when it comes
SMALL_S = 20.0  # one event takes milliseconds; behind these traces it had no answer in this time
QUIET_S = 20.0  # what had missed its deadline computed on for minutes
SMALL = "https://id.gs1.org/01/09521234543213/21/alone"


@pytest.fixture
async def looking(looking: Looking) -> Looking:
    records = [*stays_of(ITEMS, STAYS, looking.secret), event(1, SMALL, secret=looking.secret)]
    await looking.seal(spread(records, PARTITIONS))
    await looking.start("query")
    return looking


async def test_deadlines_end_the_work_and_a_small_trace_is_answered_beside_it(looking: Looking) -> None:
    running = looking.daemons["query"].process
    assert running is not None
    pid = running.pid
    heavy = trace_pb2.TraceRequest(key=case_key(0), direction=trace_pb2.DIRECTION_BOTH)
    small = trace_pb2.TraceRequest(key=SMALL)
    async with looking.query_channel() as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)

        async def missed(call: int) -> grpc.StatusCode:
            try:
                match call % 3:
                    case 0:
                        async for _ in stub.StreamTrace(
                            trace_pb2.StreamTraceRequest(trace=heavy), timeout=DEADLINE_S
                        ):
                            pass
                    case 1:
                        async for _ in stub.Recall(
                            recall_pb2.RecallRequest(key=case_key(0)), timeout=DEADLINE_S
                        ):
                            pass
                    case _:
                        await stub.Trace(heavy, timeout=DEADLINE_S)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        async def answered() -> None:
            assert len((await stub.Trace(small, timeout=SMALL_S)).events) == 1
            streamed = [
                each
                async for each in stub.StreamTrace(trace_pb2.StreamTraceRequest(trace=small), timeout=SMALL_S)
            ]
            assert streamed[-1].summary.last

        hits = [asyncio.create_task(missed(call)) for call in range(CALLS)]
        await answered()
        assert set(await asyncio.gather(*hits)) == {grpc.StatusCode.DEADLINE_EXCEEDED}
        await answered()

        async def is_quiet() -> bool:
            before_s = cpu_s(pid)
            await asyncio.sleep(1)
            return cpu_s(pid) - before_s < 0.5

        await eventually(is_quiet, "nothing is computed any more", QUIET_S)
        await answered()
