"""A TCP proxy before an HTTP server that cuts connections at random: at a chosen moment of a request, with RST or FIN."""

import asyncio
import random
import re
import threading
from asyncio import StreamReader, StreamWriter
from collections import Counter
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self

from deploy.processes import HOST

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_PIECE_BYTES = 16 * 1024


class Moment(StrEnum):
    """When a connection is cut."""

    BEFORE = "before the request has come"
    BODY = "in the middle of the body"
    WORK = "after the body, before the answer"
    UNHEARD = "when the answer comes"
    ANSWER = "in the middle of the answer"


class CuttingProxy:
    """Passes HTTP/1.1 requests that say their length to a port of this machine, and cuts some of them off.

    Args:
        port: of the server; it may come and go.
        share: of the requests that are cut, 0..1.
        seed: of what is drawn; connections draw in the order in which they come.

    `cuts` counts by moment, `refused` the connections made while no server was there.
    """

    def __init__(self, port: int, share: float, seed: int) -> None:
        self._port, self._share = port, share
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cutting-proxy")
        self.cuts: Counter[Moment] = Counter()
        self.refused = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, HOST, 0), self._loop
        ).result(10)
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _ended(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self._port)
        except OSError:
            self.refused += 1
            writer.transport.abort()
            return
        link = _Link(self, reader, writer, server_reader, server_writer)
        try:
            await link.run()
        finally:
            link.cut(hard=False)

    def draw(self) -> Moment | None:
        """Draw what becomes of a request."""
        return self._rng.choice(list(Moment)) if self._rng.random() < self._share else None

    def below(self, bound: int) -> int:
        """Draw a number of 0..bound-1."""
        return self._rng.randrange(max(bound, 1))


class _Link:
    """One client's connection and the one to the server behind it."""

    def __init__(
        self,
        proxy: CuttingProxy,
        client_reader: StreamReader,
        client: StreamWriter,
        server_reader: StreamReader,
        server: StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client_reader, self._client = client_reader, client
        self._server_reader, self._server = server_reader, server
        self._moment: Moment | None = None

    async def run(self) -> None:
        """Pass on both ways until one side ends, or the connection is cut."""
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def cut(self, *, hard: bool) -> None:
        """End both connections: hard is RST, and what was not passed on yet is lost."""
        for writer in (self._server, self._client):
            if hard:
                writer.transport.abort()
            else:
                writer.close()

    def _cut_now(self) -> None:
        assert self._moment is not None
        self._proxy.cuts[self._moment] += 1
        self.cut(hard=self._proxy.below(2) == 0)

    async def _requests(self) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await self._client_reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(head)
                length = int(found.group(1)) if found else 0
                self._moment = self._proxy.draw()
                if self._moment is Moment.BEFORE:
                    return self._cut_now()
                self._server.write(head)
                passed = self._proxy.below(length) if self._moment is Moment.BODY else length
                while passed:
                    piece = await self._client_reader.readexactly(min(passed, _PIECE_BYTES))
                    self._server.write(piece)
                    await self._server.drain()
                    passed -= len(piece)
                if self._moment in (Moment.BODY, Moment.WORK):
                    return self._cut_now()

    async def _answers(self) -> None:
        with suppress(OSError):
            while data := await self._server_reader.read(_PIECE_BYTES):
                if self._moment is Moment.UNHEARD:
                    return self._cut_now()
                if self._moment is Moment.ANSWER:
                    self._client.write(data[: 1 + self._proxy.below(len(data) - 1)])
                    await self._client.drain()
                    return self._cut_now()
                self._client.write(data)
                await self._client.drain()
        return None
