"""Lines of a body that never needs to end: cut as the bytes come, a bounded number of bytes ahead of who takes them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final

from services.collector.bodies import Hold
from services.collector.preparing import Line

AHEAD_BYTES: Final = 1024 * 1024
GROUP_LINES: Final = 1_000
GROUP_BYTES: Final = 1024 * 1024
_LINE_BYTES: Final = 256  # what a line takes beside its bytes


class LineCutter:
    """Cuts chunks into lines; a line over `max_bytes` is passed over up to its end, and told as too long."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._number = 0
        self._too_long = False
        self.held_bytes = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """Give the lines that a chunk completes; blank ones are counted and left out."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for part in ended:
            self._take(part)
            lines.append(self._cut())
        self._take(rest)
        return [line for line in lines if line is not None]

    def end(self) -> list[Line]:
        """Give the last line, where it has no line feed."""
        line = self._cut()
        return [line] if line is not None else []

    def _take(self, part: bytes) -> None:
        if self.held_bytes + len(part) > self._max_bytes:
            self._too_long = True
            self._parts.clear()
            self.held_bytes = 0
        if part and not self._too_long:
            self._parts.append(part)
            self.held_bytes += len(part)

    def _cut(self) -> Line | None:
        self._number += 1
        content = None if self._too_long else b"".join(self._parts)
        self._parts.clear()
        self._too_long = False
        self.held_bytes = 0
        if content is not None and not content.strip():
            return None
        return Line(self._number, content)


class LineFeed:
    """Reads lines ahead while others are being captured; what is in memory is held until the next lines are taken."""

    def __init__(self, chunks: AsyncIterator[bytes], max_line_bytes: int, hold: Hold) -> None:
        """Read `chunks`, once `run` does so."""
        self._chunks = chunks
        self._cutter = LineCutter(max_line_bytes)
        self._hold = hold
        self._waiting: deque[Line] = deque()
        self._waiting_bytes = 0
        self._taken_bytes = 0
        self._held_bytes = 0
        self._came = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    async def run(self) -> None:
        """Read until the end, or until something is wrong: `take` tells, after the lines that came before."""
        try:
            async for chunk in self._chunks:
                self._add(self._cutter.feed(chunk))
                while self._waiting_bytes > AHEAD_BYTES:
                    self._room.clear()
                    await self._room.wait()
            self._add(self._cutter.end())
        except Exception as error:  # noqa: BLE001 - whoever takes the lines gets it, and knows what to do with it
            self._error = error
        finally:
            self._ended = True
            self._came.set()

    async def take(self) -> Sequence[Line]:
        """Wait for lines, and give those that are there, up to a group; none at the end. Raises: what ended the reading."""
        self._taken_bytes = 0
        self._account()
        while not self._waiting and not self._ended:
            self._came.clear()
            await self._came.wait()
        if not self._waiting and self._error is not None:
            raise self._error
        group: list[Line] = []
        while self._waiting and len(group) < GROUP_LINES and self._taken_bytes < GROUP_BYTES:
            line = self._waiting.popleft()
            group.append(line)
            self._taken_bytes += _size(line)
        self._waiting_bytes -= self._taken_bytes
        self._room.set()
        return group

    def release(self) -> None:
        """Hold nothing any more."""
        self._hold(-self._held_bytes)
        self._held_bytes = 0

    def _add(self, lines: Sequence[Line]) -> None:
        self._waiting.extend(lines)
        self._waiting_bytes += sum(map(_size, lines))
        self._account()
        if lines:
            self._came.set()

    def _account(self) -> None:
        """Hold as much as there is now. Raises: OverloadedError where that is too much for all."""
        size = self._cutter.held_bytes + self._waiting_bytes + self._taken_bytes
        self._hold(size - self._held_bytes)
        self._held_bytes = size


def _size(line: Line) -> int:
    return len(line.content or b"") + _LINE_BYTES
