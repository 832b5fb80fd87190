"""The index by tag against the packs, both ways: every tag of every record is found, and nothing else is.

The runs in force are compared by the products of their rows (`row_sums`), reading each page once. Where one differs, its pages
are made again from the packs and compared row by row, in slices of bounded size: that names what is wrong and mends it.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from services.sealing import tag_index
from services.sealing.documents import Document
from services.sealing.fsck import rows
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.repair import Mend
from services.sealing.fsck.row_sums import RowSums, rows_of
from services.sealing.fsck.rows import Malformed
from services.sealing.fsck.scan import LogDocuments
from services.sealing.indexes import PACKS, PAGES, RUNS
from services.sealing.mongo_index import index_document, page_document
from services.sealing.tag_index import FANOUT, ROW_BYTES, Page, Run, TagIndex
from services.sealing.values import Pack, StoredBlock

PAGES_AT_ONCE: Final = 24
SLICE_ROWS: Final = 1_000_000
BLOCKS_AT_ONCE: Final = 32
MAX_LEVEL: Final = 20  # of runs, which no log reaches

Pages = dict[str, Page | Malformed]


class _Range(NamedTuple):
    """Blocks that one run covers."""

    level: int
    height: int

    @property
    def end(self) -> int:
        """The height after the last of them."""
        return self.height + int(FANOUT**self.level)


class IndexCheck:
    """Checks the index of one log, whose blocks were all fed to `sums`."""

    def __init__(self, store: LogDocuments, log: str, sums: RowSums, verdict: Verdict) -> None:
        """Take the log."""
        self._store = store
        self._log = log
        self._sums = sums
        self._verdict = verdict
        self.mends: list[Mend] = []

    async def run(self, document: Document | None, published: int, last: int) -> None:
        """Check all runs in force.

        Args:
            document: the list of them as stored, read before the blocks beyond the published ones were.
            published: height of the last block that is published, -1 where none is.
            last: height of the last that is committed.
        """
        if document is None and published < 0:
            return
        found = rows.index(document) if document is not None else None
        problem = _index_problem(found, published, last)
        if problem or not isinstance(found, TagIndex):
            self._verdict.found("index", problem)
            await self._rebuild(list(_ranges(last + 1)), last)
            return
        for run in found.runs:
            if not await self._same(run):
                await self._differences(found, run)

    # -- comparing -----------------------------------------------------------------------------------------------

    async def _same(self, run: Run) -> bool:
        """Tell whether a run has exactly the rows that its blocks' packs give."""
        wanted = self._sums.between(run.height, run.height + FANOUT**run.level)
        if wanted is None:
            return True  # packs are lost: that is the fault, and nothing to compare with is there
        product, count = 1, 0
        for start in range(0, 1 << run.bits, PAGES_AT_ONCE):
            numbers = range(start, min(1 << run.bits, start + PAGES_AT_ONCE))
            pages = await self._pages([tag_index.page_name(run.name, n) for n in numbers])
            more = [name for n in numbers for name in _more_chunks(pages, run, n)]
            pages |= await self._pages(more)
            for number in numbers:
                data = _joined(pages, run, number)
                if data is None or not _in_order(data, run, number):
                    return False
                product = self._sums.of_page(product, data)
                count += len(data) // ROW_BYTES
        return product == wanted and count == run.rows

    async def _pages(self, names: Sequence[str]) -> Pages:
        found: Pages = {}
        for start in range(0, len(names), PAGES_AT_ONCE):
            for document in await self._store.named(PAGES, names[start : start + PAGES_AT_ONCE]):
                found[document["_id"]] = rows.page(document)
        return found

    # -- making again --------------------------------------------------------------------------------------------

    async def _differences(self, index: TagIndex, run: Run) -> None:
        """Name what is wrong in a run, and how it should be."""
        right, made = await self._made(_Range(run.level, run.height))
        before = self._verdict.counts.get("index", 0)
        if (right.rows, right.bits, right.name) != (run.rows, run.bits, run.name):
            problem = (
                f"run {run.name} says it has {run.rows} rows, the packs give {right.rows} to run {right.name}"
            )
            self._verdict.found("index", problem, block=run.height)
            runs = tuple(right if each.height == run.height else each for each in index.runs)
            self._put_index(TagIndex(self._log, index.height, index.size, runs))
        await self._compare(made, told=True)
        if self._verdict.counts.get("index", 0) == before:
            self._verdict.found(
                "index", f"run {run.name} has rows that the packs do not give", block=run.height
            )

    async def _rebuild(self, ranges: Sequence[_Range], last: int) -> None:
        """Make the whole index again."""
        runs = []
        for each in ranges:
            if self._sums.lost(range(each.height, each.end)):
                return
            run, made = await self._made(each)
            await self._compare(made, told=False)
            runs.append(run)
        if runs:
            self._put_index(TagIndex(self._log, last, runs[-1].end, tuple(runs)))

    def _put_index(self, index: TagIndex) -> None:
        self.mends.append(Mend(RUNS, self._log, index_document(index)))

    async def _compare(self, made: AsyncIterator[dict[str, Page]], *, told: bool) -> None:
        async for pages in made:
            stored = await self._pages(list(pages))
            for name, page in pages.items():
                there = stored.get(name)
                if there == page:
                    continue
                if told:
                    self._tell(name, there, page)
                self.mends.append(Mend(PAGES, name, page_document(name, page)))

    def _tell(self, name: str, there: Page | Malformed | None, page: Page) -> None:
        if not isinstance(there, Page):
            self._verdict.found("index", there.problem if there else f"page {name} is missing")
            return
        stored, right = set(tag_index.split(there.data)), set(tag_index.split(page.data))
        for row in sorted(right - stored):
            problem = f"page {name}: the pack at this index is not found by one of its tags"
            self._verdict.found("index", problem, index=_first(row))
        for row in sorted(stored - right):
            problem = f"page {name}: a tag finds this index, and no pack there has it"
            self._verdict.found("index", problem, index=_first(row))
        if stored == right:
            self._verdict.found("index", f"page {name}: its order or its counts of rows and chunks are wrong")

    async def _made(self, blocks: _Range) -> tuple[Run, AsyncIterator[dict[str, Page]]]:
        """Make a run from its blocks' packs: the run, and its pages in slices."""
        if blocks.level == 0:
            packs = [pack async for found in self._packs(blocks) for pack in found]
            if not packs:
                return Run("", 0, blocks.height, 0, 0, 0, 0), _once({})
            run, pages = tag_index.block_run(packs)
            return run, _once(pages)
        count, first, end = 0, -1, 0
        async for packs in self._packs(blocks):
            count += sum(len(pack.tags) for pack in packs)
            first, end = packs[0].first if first < 0 else first, packs[-1].end
        source = Run("", blocks.level - 1, blocks.height, first, end, 0, count)
        result = tag_index.merged(self._log, [source])
        bits = min(result.bits, (count // SLICE_ROWS).bit_length())
        return result, self._slices(result, msgspec.structs.replace(source, bits=bits), blocks)

    async def _slices(self, result: Run, source: Run, blocks: _Range) -> AsyncIterator[dict[str, Page]]:
        for step in range(tag_index.merge_steps([source])):
            of_step: list[bytes] = []
            async for packs in self._packs(blocks):
                of_step += [row for row in rows_of(packs) if source.page_of(row) == step]
            yield tag_index.merge_step(result, [source], step, [b"".join(sorted(of_step))])

    async def _packs(self, blocks: _Range) -> AsyncIterator[list[Pack]]:
        """Read the packs of blocks again, block by block, in order."""
        for start in range(blocks.height, blocks.end, BLOCKS_AT_ONCE):
            documents = await self._store.blocks(self._log, start, min(blocks.end, start + BLOCKS_AT_ONCE))
            for block in map(rows.block, documents):
                packs = await self._packs_of(block) if isinstance(block, StoredBlock) else []
                if packs:
                    yield packs

    async def _packs_of(self, block: StoredBlock) -> list[Pack]:
        """Read all packs of a block, each where the block has it, whatever it says itself; none where one is lost."""
        decoded = [rows.pack(each) for each in await self._store.named(PACKS, block.packs)]
        found = {pack.id: pack for pack in decoded if isinstance(pack, Pack)}
        index, packs = block.first, []
        if len(found) < len(block.packs) or not 0 <= index <= tag_index.MAX_INDEX:
            return []
        for each in block.packs:
            packs.append(msgspec.structs.replace(found[each], first=index, height=block.height))
            index = packs[-1].end
        return packs


async def _once(pages: dict[str, Page]) -> AsyncIterator[dict[str, Page]]:
    yield pages


def _index_problem(found: TagIndex | Malformed | None, published: int, last: int) -> str:
    if found is None:
        return "the index by tag is missing"
    if isinstance(found, Malformed):
        return found.problem
    if any(not 0 <= run.level <= MAX_LEVEL for run in found.runs):
        return "the index by tag has a run of a level that no log reaches"
    problem = tag_index.problem_of(found)
    if problem:
        return f"the index by tag is not whole: {problem}"
    if not published <= found.height <= last:
        return f"the index by tag ends with block {found.height}, the log with {last}"
    return ""


def _ranges(height: int) -> Iterator[_Range]:
    """Cut blocks 0..height-1 into runs, the largest first, as a writer does that has merged all it could."""
    start = 0
    while start < height:
        level = 0
        while start % FANOUT ** (level + 1) == 0 and start + FANOUT ** (level + 1) <= height:
            level += 1
        yield _Range(level, start)
        start += FANOUT**level


def _whole(pages: Pages) -> dict[str, Page]:
    return {name: page for name, page in pages.items() if isinstance(page, Page)}


def _more_chunks(pages: Pages, run: Run, number: int) -> list[str]:
    first = pages.get(tag_index.page_name(run.name, number))
    few = isinstance(first, Page) and 1 <= first.chunks <= 1 + first.rows // tag_index.CHUNK_ROWS
    return tag_index.more_chunks(_whole(pages), run, number) if few else []


def _joined(pages: Pages, run: Run, number: int) -> bytes | None:
    """Join a page; None where it is missing, malformed, or says another run's counts."""
    whole = _whole(pages)
    names = [tag_index.page_name(run.name, number), *_more_chunks(pages, run, number)]
    chunks = [whole.get(name) for name in names]
    if any(
        each is None or (each.bits, each.rows, each.chunks) != (run.bits, run.rows, len(chunks))
        for each in chunks
    ):
        return None
    return tag_index.joined(whole, run, number)


def _in_order(data: bytes, run: Run, number: int) -> bool:
    """Tell whether a page's rows are whole, sorted, distinct, and the page's."""
    found = tag_index.split(data)
    return (
        len(data) % ROW_BYTES == 0
        and all(a < b for a, b in pairwise(found))
        and all(run.page_of(row) == number for row in (found[:1] + found[-1:]))
    )


def _first(row: bytes) -> int:
    return int.from_bytes(row[tag_index.PREFIX_BYTES :], "big")
