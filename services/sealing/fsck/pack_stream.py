"""Packs as they come from the store, for the blocks that they are of: read a step ahead, handed out as far as a block wants them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from services.sealing.documents import Document
from services.sealing.fsck import rows
from services.sealing.fsck.rows import Malformed
from services.sealing.values import Pack

T = TypeVar("T")


class PackStream:
    """Packs in order of their first index, taken from a stream as blocks want them."""

    def __init__(self, stream: AsyncIterator[list[Document]]) -> None:
        """Take them from `stream`, whose documents rise by their first index."""
        self._stream = stream
        self._read: list[tuple[int, Pack | Malformed]] = []
        self._ended = False

    async def upto(self, end: int) -> list[Pack | Malformed]:
        """Take those that begin before `end`."""
        while not self._ended and (not self._read or self._read[-1][0] < end):
            found = await anext(self._stream, None)
            self._ended = found is None
            self._read += [(document["first"], rows.pack(document)) for document in found or ()]
        taken = [row for first, row in self._read if first < end]
        del self._read[: len(taken)]
        return sorted(taken, key=lambda row: (row.first if isinstance(row, Pack) else 0, str(row.id)))


async def ahead(stream: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Read one step ahead: the store is at work while what it gave is checked."""
    waiting = asyncio.ensure_future(anext(stream, None))
    try:
        while (found := await waiting) is not None:
            waiting = asyncio.ensure_future(anext(stream, None))
            await asyncio.sleep(0)  # let it begin
            yield found
    finally:
        waiting.cancel()
