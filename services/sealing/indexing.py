"""Keeping the index by tag of one log: each block's run is added, and runs are merged beside the commits."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final

from services.runtime.errors import ServiceError
from services.runtime.retry import retried
from services.sealing import tag_index
from services.sealing.errors import CorruptError
from services.sealing.ports import BlockStore
from services.sealing.tag_index import FANOUT, Page, Run, TagIndex

MOST_WAITING: Final = 4 * FANOUT
"""So many runs of one level may wait to be merged before no more is sealed: what a look-up reads stays bounded."""
MOST_UNTOLD: Final = 2 * FANOUT
"""So many runs fewer than the store knows there may be until the next block, which may never come: what a look-up reads stays bounded."""
STEPS_AT_ONCE: Final = 8


class LogIndexer:
    """The index by tag of one log, as its only writer has it."""

    def __init__(self, store: BlockStore, index: TagIndex, noticed: Callable[[ServiceError], None]) -> None:
        """Go on from an index; `noticed` is told of faults that are retried."""
        self._store = store
        self._index = index
        self._noticed = noticed
        self._merging: asyncio.Task[None] | None = None
        self._told = len(index.runs)  # so many runs are in force by what the store was told last

    async def add(self, run: Run) -> None:
        """Add the run of the next block, which is durable as its pages are; durable when this returns."""
        if run.height > self._index.height:
            runs = (*self._index.runs, run)
            self._index = TagIndex(self._index.log, run.height, run.end, runs)
        await self._put()

    async def keep_up(self) -> None:
        """See that runs are being merged where there are enough; wait where too many wait already.

        Raises: what stopped the merging: CorruptError.
        """
        if self._merging is not None and self._merging.done():
            self._merging.result()
            self._merging = None
        if self._merging is None and tag_index.next_merge(self._index.runs):
            self._merging = asyncio.create_task(self._merge(), name=f"merge-{self._index.log}")
        levels = [run.level for run in self._index.runs]
        if self._merging is not None and max(map(levels.count, levels)) > MOST_WAITING:
            await self._merging

    async def settle(self) -> None:
        """See that all runs are merged of which there are enough, and the store is told. Raises: CorruptError."""
        await self.keep_up()
        if self._merging is not None:
            await self._merging
        if self._told != len(self._index.runs):
            await self._put()

    async def stop(self) -> None:
        """Leave a merge that is going on: whoever seals next begins it again."""
        if self._merging is not None:
            self._merging.cancel()
            await asyncio.gather(self._merging, return_exceptions=True)

    async def _merge(self) -> None:
        while runs := tag_index.next_merge(self._index.runs):
            result = tag_index.merged(self._index.log, runs)
            steps = tag_index.merge_steps(runs)
            for first in range(0, steps, STEPS_AT_ONCE):
                await self._steps(result, runs, range(first, min(steps, first + STEPS_AT_ONCE)))
            self._replace(runs, result)
        if self._told - len(self._index.runs) >= MOST_UNTOLD:
            await self._put()

    async def _steps(self, result: Run, runs: Sequence[Run], steps: range) -> None:
        """Take some steps of a merge: one read, one write."""
        needs = [tag_index.step_needs(runs, step) for step in steps]
        rows = await self._rows({place for of_step in needs for place in of_step})
        made: dict[str, Page] = {}
        for step, of_step in zip(steps, needs, strict=True):
            made |= tag_index.merge_step(result, runs, step, [rows[place] for place in of_step])
            await asyncio.sleep(0)
        await retried(lambda: self._store.put_pages(made), self._noticed)

    async def _rows(self, places: Collection[tuple[Run, int]]) -> dict[tuple[Run, int], bytes]:
        chunks = await self._pages([tag_index.page_name(run.name, page) for run, page in places])
        further = [name for run, page in places for name in tag_index.more_chunks(chunks, run, page)]
        if further:
            chunks |= await self._pages(further)
        rows = {}
        for run, page in places:
            data = tag_index.joined(chunks, run, page)
            if data is None:
                raise CorruptError(
                    f"page {tag_index.page_name(run.name, page)} is missing: run goodstrace fsck --repair"
                )
            rows[run, page] = data
        return rows

    async def _put(self) -> None:
        self._told = len(self._index.runs)
        await retried(lambda index=self._index: self._store.put_index(index), self._noticed)  # type: ignore[misc]

    async def _pages(self, names: Sequence[str]) -> dict[str, Page]:
        return await retried(lambda: self._store.pages(names), self._noticed)

    def _replace(self, runs: Sequence[Run], result: Run) -> None:
        """Put a merged run in the place of those it was made of.

        The store is told with the next block, unless it spares readers MOST_UNTOLD runs: until then they go by the runs before,
        whose pages stay, and whoever takes the log up meanwhile merges those again, byte for byte the same.
        """
        there = self._index.runs
        place = there.index(runs[0])
        after = (*there[:place], result, *there[place + len(runs) :])
        self._index = TagIndex(self._index.log, self._index.height, self._index.size, after)
