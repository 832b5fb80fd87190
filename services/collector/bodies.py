"""Reading request bodies: as they come, inflated where they are compressed, never more than the limits in memory."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import Request

from services.collector.documents import Limits
from services.collector.errors import DocumentError, Fault
from services.collector.headers import is_compressed
from services.collector.problems import BodyTooLargeError, BodyTooSlowError

STEP_BYTES: Final = 64 * 1024
"""How much is inflated at a time: others get their turn between two steps, and a bomb is seen after one."""
_GZIP: Final = 16 + zlib.MAX_WBITS

Hold = Callable[[int], None]
"""Accounts for bytes in memory, negative where they are released; raises OverloadedError."""


@asynccontextmanager
async def whole(request: Request, limits: Limits, hold: Hold, timeout_s: float) -> AsyncIterator[bytes]:
    """Read a body, within `timeout_s` seconds, and hold its bytes while it is used.

    Room is taken as it comes, so that senders who halt take none from others.

    Raises: BodyTooLargeError, BodyTooSlowError, OverloadedError, RefusedHeaderError; DocumentError for broken gzip.
    """
    _refuse_announced(request, limits)
    held: list[bytes] = []
    size = 0
    try:
        try:
            async with asyncio.timeout(timeout_s):
                async for chunk in _inflated(request):
                    if size + len(chunk) > limits.body:
                        raise BodyTooLargeError
                    hold(len(chunk))
                    size += len(chunk)
                    held.append(chunk)
        except TimeoutError as error:
            raise BodyTooSlowError from error
        yield b"".join(held)
    finally:
        hold(-size)


async def endless(request: Request, idle_timeout_s: float) -> AsyncIterator[bytes]:
    """Give a body's chunks as they come, however many; each must come within `idle_timeout_s` seconds.

    Raises: BodyTooSlowError, RefusedHeaderError; DocumentError for broken gzip; ClientDisconnect.
    """
    chunks = aiter(_inflated(request))
    while True:
        try:
            async with asyncio.timeout(idle_timeout_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise BodyTooSlowError from error
        yield chunk


def _refuse_announced(request: Request, limits: Limits) -> None:
    text = request.headers.get("content-length", "")
    if text.isascii() and text.isdigit() and int(text[:16]) > limits.body:
        raise BodyTooLargeError


async def _inflated(request: Request) -> AsyncIterator[bytes]:
    if not is_compressed(request.headers):
        async for chunk in request.stream():
            yield chunk
        return
    inflater = Inflater()
    async for chunk in request.stream():
        for piece in inflater.feed(chunk):
            yield piece
            await asyncio.sleep(0)  # a small chunk may be many pieces
    inflater.end()


class Inflater:
    """Undoes gzip step by step; several members one after another are one body. Source: RFC 1952."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give what `data` inflates to, in pieces of at most STEP_BYTES. Raises: DocumentError where it is no gzip."""
        while data:
            self._begun = True
            try:
                piece = self._member.decompress(data, STEP_BYTES)
            except zlib.error as error:
                raise DocumentError(Fault("", "the body is not gzip, as Content-Encoding says")) from error
            if piece:
                yield piece
            data = self._member.unconsumed_tail
            if self._member.eof:
                data = self._member.unused_data
                self._member = zlib.decompressobj(_GZIP)
                self._begun = False

    def end(self) -> None:
        """Say that nothing more comes. Raises: DocumentError where something is missing."""
        if self._begun:
            raise DocumentError(Fault("", "the gzip body ends too early"))
