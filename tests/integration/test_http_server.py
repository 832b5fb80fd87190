"""What every HTTP port of the services bounds, and how it starts and stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from services.runtime import http
from services.runtime.errors import ServiceError, SettingsError
from services.runtime.http import MAX_HEADER_BYTES, HttpServer

ASK = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def greet(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes\n")


APP = Starlette(routes=[Route("/", greet, methods=["GET", "POST"])])


@asynccontextmanager
async def serving(max_connections: int = 20) -> AsyncIterator[Connect]:
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = HttpServer(APP, "127.0.0.1", 0, max_connections=max_connections, drain_s=1)
    running = asyncio.create_task(server.run(stop, port.set_result))
    number = await port
    try:
        yield lambda: asyncio.open_connection("127.0.0.1", number)
    finally:
        stop.set()
        await running
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", number)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read one whole answer of a known length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


async def test_several_requests_use_one_connection() -> None:
    async with serving() as connect:
        reader, writer = await connect()
        for body in (b"", b"x" * 300_000, b"y"):
            writer.write(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert (await answer(reader)).endswith(b"%d bytes\n" % len(body))
        writer.write(ASK + ASK)
        assert [(await answer(reader))[:15] for _ in range(2)] == [b"HTTP/1.1 200 OK"] * 2
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHost: te"])
async def test_a_header_that_does_not_come_is_given_up(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEADER_TIMEOUT_S", 0.1)
    async with serving() as connect:
        for before in (b"", ASK):
            reader, writer = await connect()
            if before:
                writer.write(before)
                await answer(reader)
            writer.write(sent)
            if sent or not before:  # an idle connection is kept, for KEEP_ALIVE_S
                assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()


async def test_a_slow_body_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application bounds that: a large capture over a slow line is well."""
    monkeypatch.setattr(http, "HEADER_TIMEOUT_S", 0.05)
    async with serving() as connect:
        reader, writer = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\na")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        writer.write(b"b")
        assert (await answer(reader)).endswith(b"2 bytes\n")
        writer.close()


async def send_a_long_header(writer: asyncio.StreamWriter, size_bytes: int) -> None:
    line = b"X-More: " + b"x" * 1000 + b"\r\n"
    writer.write(ASK[:-2])
    for _ in range(size_bytes // len(line)):
        writer.write(line)
        await writer.drain()
        await asyncio.sleep(0)


async def test_a_header_has_an_end() -> None:
    async with serving() as connect:
        _, writer = await connect()
        with pytest.raises(ConnectionError):
            await send_a_long_header(writer, 1000 * MAX_HEADER_BYTES)
        writer.close()
        reader, writer = await connect()
        await send_a_long_header(writer, MAX_HEADER_BYTES // 2)
        writer.write(b"\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_too_many_connections_are_told_so() -> None:
    async with serving(max_connections=3) as connect:
        held = [await connect() for _ in range(4)]
        told = []
        for reader, writer in held:
            writer.write(ASK)
            told.append((await answer(reader))[9:12])
        assert b"503" in told
        for _, writer in held:
            writer.close()


async def test_who_keeps_a_connection_is_told_that_it_is_closed_before_it_is() -> None:
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = HttpServer(APP, "127.0.0.1", 0, max_connections=20, drain_s=1, notice_s=0.5)
    running = asyncio.create_task(server.run(stop, port.set_result))
    reader, writer = await asyncio.open_connection("127.0.0.1", await port)
    writer.write(ASK)
    assert b"connection: close" not in await answer(reader)
    stop.set()
    await asyncio.sleep(0)
    writer.write(ASK)
    assert b"connection: close" in await answer(reader)
    assert await reader.read() == b""
    _, late = await asyncio.open_connection("127.0.0.1", port.result())  # the port is open still
    late.close()
    await running
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port.result())
    writer.close()


async def test_a_port_that_is_taken() -> None:
    async with serving() as connect:
        _, writer = await connect()
        port = writer.get_extra_info("peername")[1]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
            await HttpServer(APP, "127.0.0.1", port, max_connections=1, drain_s=1).run(
                asyncio.Event(), lambda _: None
            )
        writer.close()


async def test_an_end_that_nobody_asked_for_is_an_error() -> None:
    server = HttpServer(APP, "127.0.0.1", 0, max_connections=1, drain_s=1)
    running = asyncio.create_task(
        server.run(asyncio.Event(), lambda _: setattr(server._server, "should_exit", True))
    )
    with pytest.raises(ServiceError, match="ended by itself"):
        await running
