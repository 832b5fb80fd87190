"""Faust's consumer, with its seeks in turn with its reading.

Faust 0.15.3 seeks to what is committed, after partitions were assigned, while its reading loop may be in the middle of what it fetched before. Both keep where reading has come to,
and then they differ: records below are dropped as read, and counted as done. And what has nothing committed is not sought at all (aiokafka 0.14), so that what
was fetched and dropped meanwhile never comes again. Here a seek waits for the end of what is being handed on, and is one for every partition.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP, Message


class OrderedConsumer(Consumer):  # type: ignore[misc,unused-ignore]
    """Hands on each record that follows what is committed, whenever partitions come."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Make it as Faust does."""
        super().__init__(*arguments, **named)
        self._turn = asyncio.Lock()
        self._reader: asyncio.Task[Any] | None = None

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 - Faust's signature
        """Fetch and hand on; no seek comes in between."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        async with self._turn:
            if not self.flow_active:
                return
            self._reader = asyncio.current_task()
            try:
                async for each in super().getmany(timeout):
                    yield each
            finally:
                self._reader = None

    async def perform_seek(self) -> None:
        """Go to what is committed, or to the oldest record where nothing is, once nothing is being handed on."""
        if self._reader is not None and self._reader is asyncio.current_task():
            await self._seek_all()  # the reading loop itself, which drops what it has
            return
        async with self._turn:
            await self._seek_all()

    async def _seek_all(self) -> None:
        await super().perform_seek()
        unread = {
            tp
            for tp in self.assignment()
            if self._read_offset[tp] in (None, 0) and not self._is_changelog_tp(tp)
        }
        if unread:
            await self.seek_wait(await self.earliest_offsets(*unread))
