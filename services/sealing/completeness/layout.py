"""How a run lies in the store: chunks of pages, and above them nodes that lead to a tag and hold the tree's hashes. Pure.

A *chunk* is CHUNK_PAGES pages of the run, joined: a subtree of the run's tree, since that number is a power of two. A *node* of level 1
lists up to FANOUT chunks, a node of level 2 as many nodes of level 1, and so on up to one *top*: of each child its first row and its
hash, 56 bytes. So a proof reads the chunk that has the tag's place and the nodes above it, and nothing else: four documents at
10^8 rows, of which the upper ones stay in memory. What a document holds depends on the run's rows alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from goodstrace.completeness.rows import PAGE_BYTES, PAGE_ROWS, ROW_BYTES, page_count, split
from goodstrace.entry import TAG_BYTES
from goodstrace.merkle import EMPTY_ROOT, HASH_SIZE, Range, leaf_hashes, root_of
from services.sealing.errors import CorruptError

CHUNK_PAGES: Final = 32
CHUNK_ROWS: Final = CHUNK_PAGES * PAGE_ROWS
CHUNK_BYTES: Final = CHUNK_ROWS * ROW_BYTES
FANOUT: Final = 256
CHILD_BYTES: Final = ROW_BYTES + HASH_SIZE

Documents = Mapping["Place", bytes]


class Place(NamedTuple):
    """Where a document is in its run: level 0 are the chunks, above them the nodes; `n` counts from 0."""

    level: int
    n: int


class Built(NamedTuple):
    """A run that was built: its number of rows, and its root (32 bytes)."""

    rows: int
    root: bytes


def run_id(since: int, to: int) -> str:
    """Name a run."""
    return f"{since}-{to}"


def document_id(run: str, place: Place) -> str:
    """Name a document of a run."""
    return f"{run}/{place.level}.{place.n:x}"


def counts(rows: int) -> list[int]:
    """Tell how many documents each level of a run has, from the chunks to the top; none where there is no row."""
    found = [-(-page_count(rows) // CHUNK_PAGES)] if rows else []
    while found and found[-1] > 1:
        found.append(-(-found[-1] // FANOUT))
    return found


def places(rows: int) -> Iterator[Place]:
    """List all documents of a run of so many rows."""
    for level, count in enumerate(counts(rows)):
        for n in range(count):
            yield Place(level, n)


class Builder:
    """Lays a run out as its sorted rows come; holds less than a chunk, and of each level less than a node."""

    def __init__(self) -> None:
        """Begin an empty run."""
        self._rows = bytearray()
        self._count = 0
        self._waiting: list[list[bytes]] = []  # children of the next node of levels 1, 2, ...
        self._made: list[int] = []  # how many nodes those levels have
        self._root = EMPTY_ROOT

    def add(self, rows: bytes) -> Iterator[tuple[Place, bytes]]:
        """Take joined rows that follow those before; give the documents that are whole now."""
        self._rows += rows
        while len(self._rows) >= CHUNK_BYTES:
            chunk = bytes(self._rows[:CHUNK_BYTES])
            del self._rows[:CHUNK_BYTES]
            yield from self._chunk(chunk)

    def finish(self) -> Iterator[tuple[Place, bytes]]:
        """Give the documents that are left; then `built` says what the run is."""
        if self._rows:
            yield from self._chunk(bytes(self._rows))
            self._rows.clear()
        for level, waiting in enumerate(self._waiting, 1):  # it grows meanwhile, up to the top
            if len(waiting) == 1 and not self._made[level - 1]:
                self._root = waiting[0][ROW_BYTES:]
            elif waiting:
                yield from self._node(level)

    @property
    def built(self) -> Built:
        """What the run is, once `finish` has come to its end."""
        return Built(self._count, self._root)

    def _chunk(self, data: bytes) -> Iterator[tuple[Place, bytes]]:
        yield Place(0, self._count // CHUNK_ROWS), data
        self._count += len(data) // ROW_BYTES
        yield from self._child(1, data[:ROW_BYTES] + chunk_hash(data))

    def _child(self, level: int, child: bytes) -> Iterator[tuple[Place, bytes]]:
        if len(self._waiting) < level:
            self._waiting.append([])
            self._made.append(0)
        self._waiting[level - 1].append(child)
        if len(self._waiting[level - 1]) == FANOUT:
            yield from self._node(level)

    def _node(self, level: int) -> Iterator[tuple[Place, bytes]]:
        children = self._waiting[level - 1]
        data = b"".join(children)
        yield Place(level, self._made[level - 1]), data
        self._made[level - 1] += 1
        first, hash_ = data[:ROW_BYTES], root_of([each[ROW_BYTES:] for each in children])
        children.clear()
        yield from self._child(level + 1, first + hash_)


def chunk_hash(data: bytes) -> bytes:
    """Hash a chunk: the root over its pages. Source: RFC 6962 section 2.1."""
    return root_of(leaf_hashes(split(data, PAGE_BYTES)))


def top(rows: int) -> Place:
    """Name the document that looking up begins with, of a run that has rows."""
    return Place(len(counts(rows)) - 1, 0)


def child_before(node: bytes, bound: bytes) -> int:
    """Find in a node the child that holds the last row below `bound`; the first one where there is none."""
    firsts = range(len(node) // CHILD_BYTES)
    at = bisect_left(firsts, bound, key=lambda n: node[n * CHILD_BYTES : n * CHILD_BYTES + ROW_BYTES])
    return max(0, at - 1)


def row_from(chunk: bytes, bound: bytes) -> int:
    """Count a chunk's rows below `bound`."""
    rows = range(len(chunk) // ROW_BYTES)
    return bisect_left(rows, bound, key=lambda n: chunk[n * ROW_BYTES : (n + 1) * ROW_BYTES])


def ancestors(chunk: int, rows: int) -> list[Place]:
    """Name the nodes above a chunk, lowest first."""
    return [Place(level, chunk // FANOUT**level) for level in range(1, len(counts(rows)))]


def hash_of(subtree: Range, rows: int, documents: Documents) -> bytes:
    """Look the hash of a subtree of a run up, 32 bytes.

    Args:
        subtree: pages of the run that are a subtree of it, as `range_path` names them.
        rows: of the run.
        documents: those above and of the pages that the range proof is about; others are not needed.
    Raises: CorruptError where a document that is needed is not there, or too short.
    """
    start, end, level, width, size_bytes = *subtree, 0, CHUNK_PAGES, PAGE_BYTES
    number = counts(rows)
    total = page_count(rows)
    while level + 1 < len(number) and start % width == 0 and (end % width == 0 or end == total):
        start, end, total = start // width, -(-end // width), number[level]
        level, width, size_bytes = level + 1, FANOUT, CHILD_BYTES
    n, first = divmod(start, width)
    data = documents.get(Place(level, n), b"")[first * size_bytes : (end - n * width) * size_bytes]
    pieces = split(data, size_bytes)
    if n != (end - 1) // width or len(pieces) != end - start:
        raise CorruptError(f"document {level}.{n:x} of a run is missing or too short")
    return root_of(leaf_hashes(pieces) if level == 0 else [each[ROW_BYTES:] for each in pieces])


def tag_bounds(tag: bytes) -> tuple[bytes, bytes]:
    """Give what is not above any row of a tag, and what is above all of them and not above any other row behind."""
    after = (int.from_bytes(tag) + 1).to_bytes(TAG_BYTES + 1)
    return tag, after[1:] if after[0] == 0 else b"\xff" * (ROW_BYTES + 1)
