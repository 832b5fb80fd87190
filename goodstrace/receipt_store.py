"""Receipts kept between commands: one line of JSON each, in a file that only its owner may read, bounded.

Lines are added at the end, durably; one that is proved is marked so by writing the file anew. When it is full the oldest proved receipts go. One that is
not proved never goes to make room: the newest is not kept then, and who adds it is told.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from goodstrace.durable import replace_file
from goodstrace.errors import RememberedError
from goodstrace.file_lock import alone, lock_beside
from goodstrace.receipts import Receipt

MAX_BYTES: Final = 8 * 2**20
_LEFT_AFTER: Final = 0.75
_OTHERS: Final = 0o077
_MAX_LINE: Final = 8192


@dataclass(frozen=True, slots=True)
class Kept:
    """A receipt as it is kept.

    target: of the query service that gave it. index: in its log, once it was proved to be sealed there. received_ms: when it came, by
    the clock of whoever keeps it; None in lines of a release that did not note it.
    """

    target: str
    receipt: Receipt
    index: int | None = None
    received_ms: int | None = None


class ReceiptStore:
    """The file; any number of processes may share it."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        """Use the file at `path`, made with its folder at the first receipt."""
        self._path, self._max_bytes = path, max_bytes

    def add(self, kept: Kept) -> bool:
        """Keep a receipt, durably when this returns; False where there is no room that proved ones could make. Raises: RememberedError."""
        line = msgspec.json.encode(kept) + b"\n"
        with self._alone():
            if self._size() + len(line) > self._max_bytes and not self._make_room(len(line)):
                return False
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.lseek(descriptor, _whole(descriptor), os.SEEK_SET)
                os.write(descriptor, line)
                os.ftruncate(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return True

    def all(self) -> list[Kept]:
        """Give all receipts, oldest first. Raises: RememberedError."""
        with self._alone():
            return self._read()

    def proved(self, indexes: dict[str, int]) -> None:
        """Note where receipts are sealed, by browse ID. Raises: RememberedError."""
        with self._alone():
            kept = self._read()
            self._write(
                [replace(each, index=indexes.get(each.receipt.browse_id, each.index)) for each in kept]
            )

    def forget(self, browse_ids: Collection[str]) -> None:
        """Drop receipts. Raises: RememberedError."""
        with self._alone():
            self._write([each for each in self._read() if each.receipt.browse_id not in browse_ids])

    def _make_room(self, wanted: int) -> bool:
        kept = self._read()
        limit = round(self._max_bytes * _LEFT_AFTER)
        size = self._size() + wanted
        stays: list[Kept] = []
        for each in kept:
            if each.index is not None and size > limit:
                size -= len(msgspec.json.encode(each)) + 1
            else:
                stays.append(each)
        self._write(stays)
        return size <= self._max_bytes

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _read(self) -> list[Kept]:
        if not self._path.exists():
            return []
        mode = stat.S_IMODE(self._path.stat().st_mode)
        if mode & _OTHERS:
            raise RememberedError(f"{self._path} is open to others (mode {mode:o}): chmod 600 it")
        # The last line may have been cut off by a crash; what was acknowledged to be kept ends with its line's end.
        lines = self._path.read_bytes().split(b"\n")[:-1]
        try:
            return [msgspec.json.decode(line, type=Kept) for line in lines if line]
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RememberedError(f"{self._path} does not hold receipts: {error}") from error

    def _write(self, kept: list[Kept]) -> None:
        replace_file(self._path, b"".join(msgspec.json.encode(each) + b"\n" for each in kept).decode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with alone(lock_beside(self._path)):
                yield
        except OSError as error:
            raise RememberedError(f"cannot keep receipts in {self._path}: {error}") from error


def _whole(descriptor: int) -> int:
    """Give where the last whole line ends: a crash may have cut off the one behind it."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _MAX_LINE, max(0, size - _MAX_LINE))
    return size - len(tail) + tail.rfind(b"\n") + 1
