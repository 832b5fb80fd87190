"""The index by tag: which packs hold records with a tag. Pure: rows, pages, and how runs become larger runs.

A *row* is the first 10 bytes of a tag and the first index of a pack that holds it. A *run* is all rows of some
neighbouring blocks, cut into pages by the leading bits of the tag: tags are keyed hashes, so pages fill evenly, and the
page that has a tag is known without looking. Each block has a run of its own; four runs of a level become one of
the next, page by page, so a log of n blocks is looked up in at most 3 pages for each of its log4(n) levels. Nothing here is
sealed: every page follows from the packs. docs/decisions/0009-sealing-speed.md has the figures.
"""

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from services.sealing.values import Pack

PREFIX_BYTES: Final = (
    10  # of a tag, in a row: two tags that share them cost one pack read in vain, and no more
)
ROW_BYTES: Final = 16
MAX_INDEX: Final = 2 ** (8 * (ROW_BYTES - PREFIX_BYTES)) - 1
PAGE_ROWS: Final = 512
"""How many rows a page has at most on average: 8 KiB."""
CHUNK_ROWS: Final = 4096
"""How many rows one document has at most, where a tag that many packs hold makes its page longer than others: 64 KiB."""
FANOUT: Final = 4
MAX_BITS: Final = 40
MAX_RUNS: Final = 4095


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Rows of the blocks `height`..`height` + FANOUT**`level` - 1, whose entries are `first`..`end` - 1.

    `name` begins the names of its pages, 2**`bits` of them; `rows` is their rows in all.
    """

    name: str
    level: int
    height: int
    first: int
    end: int
    bits: int
    rows: int

    def page_of(self, tag: bytes) -> int:
        """Give the number of the page that has a tag's rows."""
        return self.page_at(leading(tag))

    def page_at(self, number: int) -> int:
        """Give the number of the page that has the rows of tags that begin with a number, as `leading` gives it."""
        return number >> (8 * PREFIX_BYTES - self.bits)


class TagIndex(msgspec.Struct, frozen=True):
    """The index of a log: the runs in order, which together cover its blocks 0..`height` and entries 0..`size` - 1."""

    log: str
    height: int
    size: int
    runs: tuple[Run, ...]

    @property
    def order(self) -> int:
        """Grows with each block, and with each merge between two blocks, which leaves fewer runs."""
        return self.height * (MAX_RUNS + 1) + MAX_RUNS - min(len(self.runs), MAX_RUNS)


class Page(msgspec.Struct, frozen=True):
    """A page, or where it is long a chunk of it: sorted rows, joined.

    `bits` and `rows` are those of its run, `chunks` is the number of chunks that the page has.
    """

    bits: int
    rows: int
    chunks: int
    data: bytes


def leading(tag: bytes) -> int:
    """Give the number that the beginning of a tag is, by which its page is known in any run."""
    return int.from_bytes(tag[:PREFIX_BYTES], "big")


def page_name(run: str, page: int, chunk: int = 0) -> str:
    """Name the document of a page, or of a chunk of it."""
    return f"{run}/{page:x}" + (f".{chunk}" if chunk else "")


def block_run(packs: Sequence[Pack]) -> tuple[Run, dict[str, Page]]:
    """Make the run of one block from all its packs, named after the first of them: its pages by name."""
    rows: list[bytes] = []
    for pack in packs:
        first = pack.first.to_bytes(ROW_BYTES - PREFIX_BYTES, "big")
        rows += [tag[:PREFIX_BYTES] + first for tag in pack.tags]
    rows.sort()
    run = Run(packs[0].id, 0, packs[0].height, packs[0].first, packs[-1].end, _bits(len(rows)), len(rows))
    return run, dict(_pages(run, 0, 0, rows))


def next_merge(runs: Sequence[Run]) -> Sequence[Run]:
    """Give the oldest FANOUT runs of one level, of the lowest level that has so many; none where there are none."""
    for level in sorted({run.level for run in runs}):
        of_level = [run for run in runs if run.level == level]
        if len(of_level) >= FANOUT:
            return of_level[:FANOUT]
    return ()


def merged(log: str, runs: Sequence[Run]) -> Run:
    """Give the run that takes the place of FANOUT neighbours of one level."""
    level = runs[0].level + 1
    rows = sum(run.rows for run in runs)
    name = f"{log}^{level}.{runs[0].height // FANOUT**level}"
    return Run(name, level, runs[0].height, runs[0].first, runs[-1].end, _bits(rows), rows)


def merge_steps(runs: Sequence[Run]) -> int:
    """Tell in how many steps runs are merged, each of which reads at most one page of each run."""
    return 1 << max(run.bits for run in runs)


def step_needs(runs: Sequence[Run], step: int) -> list[tuple[Run, int]]:
    """Name the pages that a step of a merge reads: a run and a page's number each."""
    bits = max(run.bits for run in runs)
    return [(run, step >> (bits - run.bits)) for run in runs]


def merge_step(result: Run, runs: Sequence[Run], step: int, pages: Sequence[bytes]) -> dict[str, Page]:
    """Make the pages of a merged run that a step gives.

    Args:
        result: as `merged` gives it.
        runs: those to merge.
        step: from 0 to `merge_steps(runs)` - 1.
        pages: the rows of the pages that `step_needs` names, in its order.
    Returns: by name.
    """
    bits = max(run.bits for run in runs)
    low, high = _bound(step, bits), _bound(step + 1, bits)
    rows: list[bytes] = []
    for data in pages:
        rows += split(data[position(data, low) * ROW_BYTES : position(data, high) * ROW_BYTES])
    rows.sort()
    return dict(_pages(result, step, bits, rows))


def split(data: bytes) -> list[bytes]:
    """Take joined rows apart; what is over at the end of damaged ones is a shorter row."""
    whole = len(data) // ROW_BYTES
    rows = list(struct.unpack_from(f"{ROW_BYTES}s" * whole, data))  # a third of the time that slicing takes
    return [*rows, data[whole * ROW_BYTES :]] if len(data) % ROW_BYTES else rows


def position(data: bytes, bound: bytes, first: int = 0) -> int:
    """Count the rows of sorted, joined rows that come before `bound`: at least `first`."""
    return bisect_left(
        range(len(data) // ROW_BYTES),
        bound,
        lo=first,
        key=lambda row: data[row * ROW_BYTES : (row + 1) * ROW_BYTES],
    )


class Rows:
    """The rows of a page, and beside them the first eight bytes of each as a number: a look-up asks every run, and most have no row of the tag.

    To find that out takes 0.3 us by these, 1.5 us by seeking the tag's bytes, 4 us by bisecting the rows. A page of several chunks, which is joined for a
    single look-up, is bisected: to make its numbers would take longer.
    """

    __slots__ = ("_data", "_heads")

    def __init__(self, data: bytes) -> None:
        """Take rows, sorted and joined; what is over at the end of damaged ones is none."""
        few = data[: len(data) // ROW_BYTES * ROW_BYTES] if len(data) <= CHUNK_ROWS * ROW_BYTES else b""
        words = array("Q", few)
        if sys.byteorder == "little":
            words.byteswap()
        self._data, self._heads = data, words[:: ROW_BYTES // words.itemsize]

    @property
    def size_bytes(self) -> int:
        """What they take in memory."""
        return len(self._data) + len(self._heads) * self._heads.itemsize

    def firsts(self, tag: bytes, begin: int = 0, most: int = MAX_INDEX) -> list[int]:
        """Find the first indexes of the packs that hold a tag, in order: `most` of them from `begin` on."""
        row, rows = 0, len(self._data) // ROW_BYTES
        if len(self._heads) == rows:
            head = int.from_bytes(tag[: self._heads.itemsize], "big")
            row = bisect_left(self._heads, head)
            if row == rows or self._heads[row] != head:
                return []
        prefix = tag[:PREFIX_BYTES]
        found: list[int] = []
        row = position(self._data, prefix + begin.to_bytes(ROW_BYTES - PREFIX_BYTES, "big"), row)
        for start in range(row * ROW_BYTES, rows * ROW_BYTES, ROW_BYTES):
            if len(found) >= most or self._data[start : start + PREFIX_BYTES] != prefix:
                break
            found.append(int.from_bytes(self._data[start + PREFIX_BYTES : start + ROW_BYTES], "big"))
        return found


def runs_between(index: TagIndex, first: int, size: int) -> list[Run]:
    """Give the runs that have rows of the log's entries `first`..`size` - 1, oldest first."""
    return [run for run in index.runs if run.first < size and run.end > first]


def problem_of(index: TagIndex) -> str:
    """Say why the runs of an index do not cover its blocks and entries in order; the empty text where they do."""
    height = end = 0
    for run in index.runs:
        if (run.height, run.first) != (height, end) or not 0 <= run.bits <= MAX_BITS:
            return f"run {run.name} does not follow the one before"
        height, end = height + FANOUT**run.level, run.end
    if (height, end) != (index.height + 1, index.size):
        return f"its runs end with block {height - 1} and size {end}"
    return ""


def joined(chunks: Mapping[str, Page], run: Run, page: int) -> bytes | None:
    """Join the chunks of a page; None where one of them is not there."""
    first = chunks.get(page_name(run.name, page))
    if first is None or first.chunks == 1:
        return first.data if first else None
    found = [chunks.get(page_name(run.name, page, chunk)) for chunk in range(first.chunks)]
    return b"".join(each.data for each in found if each) if None not in found else None


def more_chunks(chunks: Mapping[str, Page], run: Run, page: int) -> list[str]:
    """Name the chunks of a page beyond the first, which is there."""
    first = chunks.get(page_name(run.name, page))
    return [page_name(run.name, page, chunk) for chunk in range(1, first.chunks)] if first else []


def _bits(rows: int) -> int:
    """Tell how many leading bits of a tag number the pages."""
    return max(0, -(-rows // PAGE_ROWS) - 1).bit_length()


def _bound(step: int, bits: int) -> bytes:
    """Give what is not above any tag of a step, and above those of the steps before."""
    shifted = step << (8 * PREFIX_BYTES - bits)
    if shifted >> 8 * PREFIX_BYTES:
        return b"\xff" * (ROW_BYTES + 1)
    return shifted.to_bytes(PREFIX_BYTES, "big")


def _pages(run: Run, step: int, bits: int, rows: Sequence[bytes]) -> Iterator[tuple[str, Page]]:
    """Cut the sorted rows whose tags begin with the `bits` bits of `step` into the run's pages."""
    first, count = step << (run.bits - bits), 1 << (run.bits - bits)
    start = 0
    for page in range(first, first + count):
        end = bisect_left(rows, _bound(page + 1, run.bits), lo=start)
        chunks = max(1, -(-(end - start) // CHUNK_ROWS))
        for chunk in range(chunks):
            begin = start + chunk * CHUNK_ROWS
            data = b"".join(rows[begin : min(end, begin + CHUNK_ROWS)])
            yield page_name(run.name, page, chunk), Page(run.bits, run.rows, chunks, data)
        start = end
