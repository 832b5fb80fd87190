"""Verifying which rows a tag has: the pages around the place where its rows are or would be, in each live run.

What is believed is the leaf, which its caller has verified; nothing else. An answer may come in pieces, since a tag may have
any number of rows: `TagRows` says from where the next piece must go on, and no piece can leave a page out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from goodstrace.completeness.leaf import IndexLeaf, Run
from goodstrace.completeness.rows import PAGE_BYTES, PAGE_ROWS, ROW_BYTES, Row, decode, split
from goodstrace.entry import TAG_BYTES, Position
from goodstrace.errors import ProofError
from goodstrace.merkle import leaf_hashes
from goodstrace.merkle_ranges import verify_range

MAX_PAGES: Final = 8192
"""The most pages in one piece: 3 MiB."""


@dataclass(frozen=True, slots=True)
class RunPages:
    """Neighbouring pages of a run with one range proof: what a server sends, nothing of it verified.

    Attributes:
        first_page: the number of the first page, from 0.
        pages: the pages, joined.
        hashes: the range proof, 32 bytes each, from left to right; see `goodstrace.merkle_ranges`.
    """

    first_page: int
    pages: bytes
    hashes: tuple[bytes, ...]


@dataclass(slots=True)
class TagRows:
    """The rows of a tag under an index leaf, as far as they are proved.

    Attributes:
        leaf: a verified one.
        tag: 16 bytes.
        rows: found so far, by run and then in order.
        run: place of the run that is to be proved next; all are where it is their number.
        page: the page of that run to go on from; None where the run is to be begun.
    """

    leaf: IndexLeaf
    tag: bytes
    rows: list[Row] = field(default_factory=list)
    run: int = 0
    page: int | None = None

    def __post_init__(self) -> None:
        if len(self.tag) != TAG_BYTES:
            raise ProofError(f"a tag has {TAG_BYTES} bytes, not {len(self.tag)}")
        self._skip_empty()

    @property
    def is_whole(self) -> bool:
        """Whether every run is proved: then `rows` are all there are."""
        return self.run == len(self.leaf.runs)

    def add(self, pages: RunPages) -> None:
        """Take in the next piece. Raises: ProofError where it does not verify, or is not the next one."""
        if self.is_whole:
            raise ProofError("the proof of a tag has more pages than there are runs")
        run = self.leaf.runs[self.run]
        found = verify_pages(run, pages)
        first, end = pages.first_page, pages.first_page + -(-len(pages.pages) // PAGE_BYTES)
        if self.page is None and first > 0 and found[0][:TAG_BYTES] >= self.tag:
            raise ProofError(f"the pages of the run {run.since}..{run.to} begin behind the tag's first row")
        if self.page is not None and first != self.page:
            raise ProofError(f"the pages of the run {run.since}..{run.to} do not go on where they ended")
        self._take(run, found)
        if end == run.pages or found[-1][:TAG_BYTES] > self.tag:
            self.run, self.page = self.run + 1, None
            self._skip_empty()
        else:
            self.page = end

    def positions(self) -> list[Position]:
        """Give the log and index of each row found, in the order of the log's name and the index."""
        return sorted((self.leaf.logs[row.log].log, row.entry) for row in self.rows)

    def _take(self, run: Run, found: Sequence[bytes]) -> None:
        for data in found:
            if data[:TAG_BYTES] == self.tag:
                row = decode(data)
                if row.log >= len(self.leaf.logs) or row.entry >= self.leaf.logs[row.log].size:
                    raise ProofError(f"the run {run.since}..{run.to} has a row of no entry that is covered")
                self.rows.append(row)

    def _skip_empty(self) -> None:
        while self.run < len(self.leaf.runs) and self.leaf.runs[self.run].rows == 0:
            self.run += 1


def verify_pages(run: Run, given: RunPages) -> list[bytes]:
    """Check that pages are those of a run, and give their rows, 24 bytes each.

    Raises: ProofError where they are not, also where the rows are not strictly in order.
    """
    if not 0 < len(given.pages) <= MAX_PAGES * PAGE_BYTES:
        raise ProofError(f"a piece of a run has 1 to {MAX_PAGES} pages")
    pages = split(given.pages, PAGE_BYTES)
    end = given.first_page + len(pages)
    last = run.rows - (run.pages - 1) * PAGE_ROWS if end == run.pages else PAGE_ROWS
    if given.first_page < 0 or end > run.pages or len(pages[-1]) != last * ROW_BYTES:
        raise ProofError(f"the run {run.since}..{run.to} has not these pages: {given.first_page}..{end - 1}")
    verify_range(leaf_hashes(pages), given.first_page, run.pages, given.hashes, bytes.fromhex(run.root))
    rows = split(given.pages)
    if any(a >= b for a, b in pairwise(rows)):
        raise ProofError(f"the rows of the run {run.since}..{run.to} are not in order")
    return rows
