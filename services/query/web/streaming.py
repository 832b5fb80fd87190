"""Answers that are made while they are sent, and may take longer than a page: nothing is sent before the first of it is there."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Final

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

Made = Callable[[], AsyncGenerator[bytes, None]]
_OF_BODIES: Final = (b"content-type", b"content-length", b"content-disposition", b"cache-control")


class Streamed(StreamingResponse):
    """An answer in pieces. Where its first one fails it is answered as any error is; later ones have to say themselves what went wrong."""

    def __init__(
        self,
        made: Made,
        failed: Callable[[Exception], Response],
        *,
        first_s: float,
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        """Send what `made` gives, its first piece within `first_s` seconds; `failed` answers errors until then."""
        super().__init__(iter(()), headers=headers, media_type=media_type)
        self._made, self._failed, self._first_s = made, failed, first_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, outside of the deadline of pages."""
        pieces = self._made()
        try:
            try:
                async with asyncio.timeout(self._first_s):
                    first = await anext(pieces)
            except Exception as error:  # noqa: BLE001 - the top of a request: logged, answered without a traceback
                response = self._failed(error)
                kept = [each for each in self.raw_headers if each[0] not in _OF_BODIES]
                response.raw_headers.extend(kept)
                await response(scope, receive, send)
                return
            self.body_iterator = _whole(first, pieces)
            await super().__call__(scope, receive, send)
        finally:
            await pieces.aclose()


async def _whole(first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    yield first
    async for each in pieces:
        yield each
