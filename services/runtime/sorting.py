"""Sorting rows of bytes in bounded memory: sorted parts go to a temporary file, and are merged as they are read."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from typing import Final

from goodstrace.closing import Closing
from goodstrace.completeness.rows import ROW_BYTES, split

PART_ROWS: Final = 2**18
"""So many rows are held: some 20 MB with what Python puts around each."""
_READ_ROWS: Final = 512


class Sorter(Closing):
    """Takes rows in any order and gives them sorted; few of them never leave the memory."""

    def __init__(self, part_rows: int = PART_ROWS) -> None:
        """Hold at most `part_rows` rows."""
        self._part_rows = part_rows
        self._held: list[bytes] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._parts: list[tuple[int, int]] = []
        self.rows = 0

    def add(self, rows: Iterable[bytes]) -> None:
        """Take rows, 24 bytes each. Raises: OSError where they do not fit onto the disk."""
        self._held += rows
        if len(self._held) >= self._part_rows:
            self._spill()

    def sorted(self) -> Iterator[bytes]:
        """Give all rows in order, once."""
        self.rows += len(self._held)
        self._held.sort()
        if not self._parts:
            return iter(self._held)
        return heapq.merge(*(self._read(start, end) for start, end in self._parts), self._held)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def _spill(self) -> None:
        self._held.sort()
        start = self._file.seek(0, 2)
        self._file.write(b"".join(self._held))
        self._parts.append((start, self._file.tell()))
        self.rows += len(self._held)
        self._held = []

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            self._file.seek(start)
            data = self._file.read(min(_READ_ROWS * ROW_BYTES, end - start))
            start += len(data)
            yield from split(data)
