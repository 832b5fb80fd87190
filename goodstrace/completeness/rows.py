"""Rows, pages and the root of a run. `tests/vectors/completeness.json` holds published examples.

A *row* says that an entry has a tag: the tag (16 bytes), the log's number (2) and the entry's index (6), numbers big-endian, so
that rows in the order of their bytes are in the order of tag, log and index. A *page* is PAGE_ROWS neighbouring rows, joined;
only the last one of a run may have fewer. The pages are the leaves of an RFC 6962 tree, whose root is the run's root.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import Final, NamedTuple

from goodstrace.entry import TAG_BYTES
from goodstrace.errors import ProofError
from goodstrace.merkle import Frontier, leaf_hashes

LOG_BYTES: Final = 2
INDEX_BYTES: Final = 6
ROW_BYTES: Final = TAG_BYTES + LOG_BYTES + INDEX_BYTES
PAGE_ROWS: Final = 16
"""docs/decisions/0024-completeness.md has the figures."""
PAGE_BYTES: Final = PAGE_ROWS * ROW_BYTES
MAX_LOG_NUMBER: Final = 2 ** (8 * LOG_BYTES) - 1
_AT_ONCE: Final = 4096
_PLACE: Final = struct.Struct(">HHL")  # the index's six bytes as two and four: struct has no six


class Row(NamedTuple):
    """A row: the entry with index `entry` of the log of this number has the tag."""

    tag: bytes
    log: int
    entry: int

    def encode(self) -> bytes:
        """Give the row's 24 bytes."""
        return self.tag + place_bytes(self.log, self.entry)


def place_bytes(log: int, index: int) -> bytes:
    """Give the last 8 bytes of a row: those after the tag."""
    return _PLACE.pack(log, index >> 32, index & 0xFFFFFFFF)


def decode(data: bytes) -> Row:
    """Take a row's 24 bytes apart. Raises: ProofError where they are not 24."""
    if len(data) != ROW_BYTES:
        raise ProofError(f"a row has {ROW_BYTES} bytes, not {len(data)}")
    log, high, low = _PLACE.unpack_from(data, TAG_BYTES)
    return Row(data[:TAG_BYTES], log, high << 32 | low)


def page_count(rows: int) -> int:
    """Tell how many pages hold so many rows."""
    return -(-rows // PAGE_ROWS)


def split(data: bytes, size_bytes: int = ROW_BYTES) -> list[bytes]:
    """Cut joined rows apart, or with PAGE_BYTES joined pages; what is over at the end is a shorter piece."""
    return [data[start : start + size_bytes] for start in range(0, len(data), size_bytes)]


def run_root(rows: Iterable[bytes]) -> tuple[int, bytes]:
    """Count sorted rows, 24 bytes each, and give the root of the run that they are; in bounded memory.

    Raises: ProofError where they are not strictly in order.
    """
    return drain(hashed(rows))


class Hashed(NamedTuple):
    """Some whole pages of a run in the making, joined (the last of the run may be short), and their number so far."""

    data: bytes
    rows: int
    frontier: Frontier


def hashed(rows: Iterable[bytes]) -> Iterator[Hashed]:
    """Hash sorted rows page by page, as they come. Raises: ProofError where they are not strictly in order."""
    source, count, frontier, before = iter(rows), 0, Frontier(), b""
    while some := list(islice(source, _AT_ONCE)):
        if before >= some[0] or any(a >= b for a, b in pairwise(some)):
            raise ProofError("the rows of a run are not in order")
        before, count, data = some[-1], count + len(some), b"".join(some)
        frontier = frontier.append(leaf_hashes(split(data, PAGE_BYTES)))
        yield Hashed(data, count, frontier)


def drain(parts: Iterable[Hashed]) -> tuple[int, bytes]:
    """Run `hashed` to its end: the number of rows and the root."""
    rows, frontier = 0, Frontier()
    for each in parts:
        rows, frontier = each.rows, each.frontier
    return rows, frontier.root()
