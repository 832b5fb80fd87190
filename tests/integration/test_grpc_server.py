"""The gRPC server that the services share: deadlines, errors, cancelling, limits, on a small service of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from goodstrace.connections import aio_channel
from services.runtime.access.values import NOBODY
from services.runtime.calls import COMMON_FAILURES
from services.runtime.errors import OutOfTimeError, SettingsError, UnavailableError
from services.runtime.grpc import (
    CONNECTION_AGE_S,
    MAX_CONNECTION_STREAMS,
    CallInterceptor,
    CallMetrics,
    Context,
    Server,
    caller,
    full_names,
)
from services.runtime.open_calls import OpenCalls
from services.runtime.tls import ServedCertificate
from tests.deadlines import DEADLINE_S
from tests.open_guard import open_guard

SERVICE = audit_pb2.DESCRIPTOR.services_by_name["AuditService"]
SECRET = "mongodb://user:secret@host"
Stub: TypeAlias = "audit_pb2_grpc.AuditServiceAsyncStub"
Behaviour = Callable[[Context], Awaitable[str]]


class Servicer(audit_pb2_grpc.AuditServiceServicer):
    """Does what the test says."""

    behaviour: Behaviour

    async def ListBrowses(  # noqa: N802 - the name in the proto
        self, request: audit_pb2.ListBrowsesRequest, context: Context
    ) -> audit_pb2.ListBrowsesResponse:
        return audit_pb2.ListBrowsesResponse(browse_id=await self.behaviour(context))


class Running:
    """A server with a servicer, a stub to call it, and its metrics."""

    def __init__(
        self,
        max_call_s: float = 0.3,
        certificate: ServedCertificate | None = None,
        connection_age_s: float = CONNECTION_AGE_S,
        open_calls: OpenCalls | None = None,
        max_concurrent_calls: int = 4,
    ) -> None:
        self.registry = CollectorRegistry()
        self.servicer = Servicer()  # type: ignore[abstract]  # has what is called
        metrics = CallMetrics("test", ["ListBrowses"], self.registry)
        interceptor = CallInterceptor(
            full_names(SERVICE),
            metrics,
            COMMON_FAILURES,
            max_call_s,
            structlog.get_logger(),
            guard=open_guard("audit"),
            open_calls=open_calls,
        )
        self.server = Server(
            interceptor,
            max_concurrent_calls=max_concurrent_calls,
            certificate=certificate,
            connection_age_s=connection_age_s,
        )
        audit_pb2_grpc.add_AuditServiceServicer_to_server(self.servicer, self.server.grpc)
        self.port = 0

    def counted(self, code: str) -> float | None:
        """How many calls ended so."""
        labels = {"method": "ListBrowses", "code": code}
        return self.registry.get_sample_value("goodstrace_test_calls_total", labels)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    made = Running()
    made.port = await made.server.start("127.0.0.1", 0, [SERVICE.full_name])
    yield made
    await made.server.stop(notice_s=0, drain_s=1)


@pytest.fixture
async def stub(running: Running) -> AsyncIterator[Stub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        yield audit_pb2_grpc.AuditServiceStub(channel)


async def _code(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value.details() or ""


async def test_a_call_is_answered_counted_and_its_caller_named(running: Running, stub: Stub) -> None:
    async def name(context: Context) -> str:
        return caller(context)

    running.servicer.behaviour = name
    request = audit_pb2.ListBrowsesRequest()
    assert running.counted("OK") == 0
    assert (await stub.ListBrowses(request)).browse_id == NOBODY.name
    assert (await stub.ListBrowses(request, metadata=(("goodstrace-user", "ann"),))).browse_id == "ann"
    assert running.counted("OK") == 2


async def test_errors_reach_the_caller_without_their_cause(running: Running, stub: Stub) -> None:
    errors = {
        UnavailableError(SECRET): grpc.StatusCode.UNAVAILABLE,
        RuntimeError(SECRET): grpc.StatusCode.INTERNAL,
        TimeoutError(SECRET): grpc.StatusCode.DEADLINE_EXCEEDED,
    }
    for error, code in errors.items():

        async def fail(_: Context, error: Exception = error) -> str:
            raise error

        running.servicer.behaviour = fail
        with capture_logs() as logged:
            given, details = await _code(stub.ListBrowses(audit_pb2.ListBrowsesRequest()))
        assert given is code
        assert SECRET not in details
        assert "Traceback" not in details
        assert SECRET in logged[0]["cause"]
        while not running.counted(code.name):  # the answer may be here before the call is counted out  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert running.counted(code.name) == 1


async def test_a_client_calls_again_only_where_no_service_answered() -> None:
    """A service that answers that a neighbour is away is believed; one that is not there yet is tried again."""
    asked = 0

    async def fail(_: Context) -> str:
        nonlocal asked
        asked += 1
        raise UnavailableError("the store is away")

    async def answer(_: Context) -> str:
        return "answered"

    first, request = Running(), audit_pb2.ListBrowsesRequest()
    port = await first.server.start("127.0.0.1", 0, [SERVICE.full_name])
    first.servicer.behaviour = fail
    async with aio_channel(f"127.0.0.1:{port}") as channel:
        stub: Stub = audit_pb2_grpc.AuditServiceStub(channel)
        assert (await _code(stub.ListBrowses(request)))[0] is grpc.StatusCode.UNAVAILABLE
        assert asked == 1
        await first.server.stop(notice_s=0, drain_s=0)
        call = asyncio.ensure_future(stub.ListBrowses(request, timeout=DEADLINE_S))
        await asyncio.sleep(0.2)  # it has found nobody by now
        second = Running()
        second.servicer.behaviour = answer
        await second.server.start("127.0.0.1", port, [SERVICE.full_name])
        assert (await call).browse_id == "answered"
    await second.server.stop(notice_s=0, drain_s=0)


@pytest.mark.parametrize("timeout_s", [None, 0.1, 60.0])
async def test_no_call_outlives_its_deadline_nor_that_of_the_service(
    running: Running, stub: Stub, timeout_s: float | None
) -> None:
    ended = asyncio.Event()

    async def forever(_: Context) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    running.servicer.behaviour = forever
    code, _ = await _code(stub.ListBrowses(audit_pb2.ListBrowsesRequest(), timeout=timeout_s))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(ended.wait(), 5)


@pytest.mark.parametrize(
    ("timeout_s", "code"),
    [
        (0.2, grpc.StatusCode.DEADLINE_EXCEEDED),
        (10.0, grpc.StatusCode.UNAVAILABLE),
        (None, grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_a_store_is_only_called_away_after_it_had_a_fair_time(
    timeout_s: float | None, code: grpc.StatusCode
) -> None:
    running = Running(max_call_s=30)
    port = await running.server.start("127.0.0.1", 0, [SERVICE.full_name])

    async def fail(_: Context) -> str:
        raise OutOfTimeError("operation would exceed time limit")

    running.servicer.behaviour = fail
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Stub = audit_pb2_grpc.AuditServiceStub(channel)
        given, _ = await _code(stub.ListBrowses(audit_pb2.ListBrowsesRequest(), timeout=timeout_s))
    await running.server.stop(notice_s=0, drain_s=1)
    assert given is code
    assert running.counted(code.name) == 1


async def test_a_cancelled_call_stops_its_work(running: Running, stub: Stub) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def forever(_: Context) -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    running.servicer.behaviour = forever
    call = stub.ListBrowses(audit_pb2.ListBrowsesRequest())
    await asyncio.wait_for(began.wait(), 5)
    call.cancel()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_request_over_the_limit_is_refused(running: Running, stub: Stub) -> None:
    async def answer(_: Context) -> str:
        return "never"

    running.servicer.behaviour = answer
    code, _ = await _code(stub.ListBrowses(audit_pb2.ListBrowsesRequest(key="k" * 300_000)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_taken_port_is_a_clear_error(running: Running) -> None:
    second = Running()
    with pytest.raises(SettingsError, match=str(running.port)):
        await second.server.start("127.0.0.1", running.port, [SERVICE.full_name])


async def _watching(port: int, channels: contextlib.AsyncExitStack) -> tuple[Any, int]:
    """Watch the health over a connection of its own; gives the stream, and what it tells first."""
    channel = await channels.enter_async_context(
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
    )
    stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
    return stream, (await stream.read()).status


async def test_streams_of_who_has_not_signed_in_have_a_number_and_leave_room_for_calls() -> None:
    made = Running(open_calls=OpenCalls(max_streams=2, stream_s=DEADLINE_S))
    port = await made.server.start("127.0.0.1", 0, [SERVICE.full_name])
    try:
        async with contextlib.AsyncExitStack() as channels, asyncio.timeout(DEADLINE_S):
            held = [await _watching(port, channels) for _ in range(2)]
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await _watching(port, channels)
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            channel = await channels.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
            code, _ = await _code(_read_all(reflection))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            check = health_pb2_grpc.HealthStub(channel).Check
            assert (await check(health_pb2.HealthCheckRequest())).status == 1, (
                "a probe is answered in any case"
            )
            held[0][0].cancel()
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    assert (await _watching(port, channels))[1] == 1
                    break
    finally:
        await made.server.stop(notice_s=0, drain_s=0)


async def test_streams_of_who_has_not_signed_in_have_an_end() -> None:
    made = Running(open_calls=OpenCalls(stream_s=0.2))
    port = await made.server.start("127.0.0.1", 0, [SERVICE.full_name])
    try:
        async with contextlib.AsyncExitStack() as channels:
            stream, status = await _watching(port, channels)
            assert status == health_pb2.HealthCheckResponse.SERVING
            assert (await _code(stream.read()))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
            channel = await channels.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                timeout=DEADLINE_S
            )
            await reflection.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            assert (await reflection.read()).list_services_response.service
            code, told = await _code(reflection.read())
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "begin anew" in told
    finally:
        await made.server.stop(notice_s=0, drain_s=0)


async def _read_all(stream: Any) -> None:
    async for _ in stream:
        pass


async def test_one_connection_has_no_more_than_its_share_of_the_calls() -> None:
    made = Running(max_call_s=DEADLINE_S, max_concurrent_calls=2 * MAX_CONNECTION_STREAMS)
    begun, most, go_on = 0, 0, asyncio.Event()

    async def wait(_: Context) -> str:
        nonlocal begun, most
        begun += 1
        most = max(most, begun)
        await go_on.wait()
        begun -= 1
        return "done"

    made.servicer.behaviour = wait
    port = await made.server.start("127.0.0.1", 0, [SERVICE.full_name])
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(DEADLINE_S):
            call = audit_pb2_grpc.AuditServiceStub(channel).ListBrowses
            calls = [
                asyncio.ensure_future(call(audit_pb2.ListBrowsesRequest(), timeout=DEADLINE_S))
                for _ in range(MAX_CONNECTION_STREAMS + 20)
            ]
            while begun < MAX_CONNECTION_STREAMS:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
            async with grpc.aio.insecure_channel(
                f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]
            ) as other:
                made.servicer.behaviour = _at_once
                another = audit_pb2_grpc.AuditServiceStub(other).ListBrowses
                assert (await another(audit_pb2.ListBrowsesRequest())).browse_id == "at once"
            assert most == MAX_CONNECTION_STREAMS
            go_on.set()
            await asyncio.gather(*calls)
    finally:
        await made.server.stop(notice_s=0, drain_s=1)


async def _at_once(_: Context) -> str:
    return "at once"


async def test_a_caller_connects_anew_from_time_to_time_and_loses_no_call() -> None:
    """Behind one address of several processes a connection that never ended would keep all calls at one of them."""
    made, ages = Running(max_call_s=DEADLINE_S, connection_age_s=0.2), asyncio.Event()
    begun = asyncio.Event()

    async def from_where(context: Context) -> str:
        return context.peer()

    async def long(context: Context) -> str:
        begun.set()
        await ages.wait()
        return context.peer()

    made.servicer.behaviour = long
    port = await made.server.start("127.0.0.1", 0, [SERVICE.full_name])
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = audit_pb2_grpc.AuditServiceStub(channel)
            running = asyncio.ensure_future(
                stub.ListBrowses(audit_pb2.ListBrowsesRequest(), timeout=DEADLINE_S)
            )
            async with asyncio.timeout(DEADLINE_S):
                await begun.wait()
                made.servicer.behaviour = from_where
                seen: set[str] = set()
                while len(seen) < 3:  # no call of these fails
                    seen.add((await stub.ListBrowses(audit_pb2.ListBrowsesRequest(), timeout=5)).browse_id)
                    await asyncio.sleep(0.01)
                ages.set()
                assert (await running).browse_id, "what had begun on the first connection was cut off"
    finally:
        await made.server.stop(notice_s=0, drain_s=1)
