"""What TLS costs a port by itself: CPU time of both ends in one process, for requests on a connection that is there and for new ones."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import httpx
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from goodstrace.connections import Tls, channel_credentials, ssl_context
from services.runtime.grpc import Context
from services.runtime.http import HttpServer
from services.runtime.tls import ServedCertificate
from tests.certificates import World
from tests.integration.test_grpc_server import SERVICE, Running
from tests.integration.test_http_server import APP

BYTES: Final = 40_000
REQUESTS: Final = 300
CONNECTIONS: Final = 60


async def http_ms(world: World, *, secure: bool) -> dict[str, float]:
    """CPU ms of a POST, and of a new connection with a GET."""
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = HttpServer(
        APP, "127.0.0.1", 0, max_connections=500, drain_s=1, certificate=_certificate(world, secure=secure)
    )
    running = asyncio.create_task(server.run(stop, port.set_result))
    number, context = await port, ssl_context(Tls(world.ca))
    url = f"{'https' if secure else 'http'}://127.0.0.1:{number}/"

    async def connect() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=context if secure else None)
        writer.write(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with httpx.AsyncClient(verify=context) as client:
        posted = await _spent_ms(lambda: client.post(url, content=b"x" * BYTES), REQUESTS)
    connected = await _spent_ms(connect, CONNECTIONS)
    stop.set()
    await running
    return {"HTTP: POST of 40 kB": posted, "HTTP: a connection and a GET": connected}


async def grpc_ms(world: World, *, secure: bool) -> dict[str, float]:
    """CPU ms of a call, and of a new channel with a call."""
    running = Running(certificate=_certificate(world, secure=secure), max_call_s=60)

    async def answer(_context: Context) -> str:
        return "x" * BYTES

    running.servicer.behaviour = answer
    address = f"127.0.0.1:{await running.server.start('127.0.0.1', 0, [SERVICE.full_name])}"
    options = [("grpc.use_local_subchannel_pool", 1)]

    def channel() -> grpc.aio.Channel:
        if secure:
            return grpc.aio.secure_channel(address, channel_credentials(Tls(world.ca)), options)
        return grpc.aio.insecure_channel(address, options)

    async def call(on: grpc.aio.Channel) -> None:
        await audit_pb2_grpc.AuditServiceStub(on).ListBrowses(audit_pb2.ListBrowsesRequest())

    async def connect() -> None:
        async with channel() as made:
            await call(made)

    async with channel() as kept:
        called = await _spent_ms(lambda: call(kept), REQUESTS)
    connected = await _spent_ms(connect, CONNECTIONS)
    await running.server.stop(notice_s=0, drain_s=1)
    return {"gRPC: call answered with 40 kB": called, "gRPC: a channel and a call": connected}


def _certificate(world: World, *, secure: bool) -> ServedCertificate | None:
    return (
        ServedCertificate(world.settings(), structlog.get_logger(), CollectorRegistry()) if secure else None
    )


async def _spent_ms(work: Callable[[], Awaitable[Any]], times: int) -> float:
    await work()
    began = time.process_time()
    for _ in range(times):
        await work()
    return (time.process_time() - began) / times * 1000
