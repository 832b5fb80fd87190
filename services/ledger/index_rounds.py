"""The rounds of the log `index`: what the root log has pinned of the goods logs since the last leaf becomes a run and a leaf.

Only the process that owns partition 0 of that topic makes rounds, and fences the one before as the rounds of the root log do.
It goes on from the last leaf on the topic, and reads nothing else to start. A run follows from what it covers: a round that was
cut off is made again with the same run, and what is left of one that no leaf names is removed after a while. Runs are merged
beside the rounds; the next leaf names the merged one.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from goodstrace.completeness import leaf as leaves
from goodstrace.completeness import merging
from goodstrace.completeness.leaf import IndexLeaf, RootAt, Run
from goodstrace.entry import ID_BYTES, SALT_BYTES
from services.ledger import index_records
from services.ledger.index_records import Growth
from services.ledger.metrics import IndexMetrics
from services.ledger.root_rounds import RoundTopic
from services.runtime import envelope
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.kafka import FencedError
from services.runtime.sorting import Sorter
from services.runtime.waiting import until_set
from services.sealing.completeness import building
from services.sealing.completeness.layout import run_id
from services.sealing.completeness.source import PINS_AT_ONCE, IndexSource
from services.sealing.completeness.store import MongoRuns, lacking
from services.sealing.errors import CorruptError

MOST_RUNS: Final = 64
"""So many live runs may there be before a round waits for the merging."""
COLLECT_EVERY_S: Final = 60.0


class IndexRounds:
    """Makes rounds as long as `owns` says that this process seals the log `index`."""

    def __init__(
        self,
        source: IndexSource,
        store: MongoRuns,
        topic: RoundTopic,
        owns: Callable[[], bool],
        *,
        secret: str,
        interval_s: float,
        keep_s: float,
        now_ms: Callable[[], int],
        metrics: IndexMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Index what `source` gives into `store` and onto `topic`, at most every `interval_s` seconds.

        `secret` is the commitment to the index secret. A run that was merged is kept for `keep_s` seconds.
        """
        self._source, self._store, self._topic, self._owns = source, store, topic, owns
        self._secret, self._interval_s, self._keep_s = secret, interval_s, keep_s
        self._now_ms, self._metrics, self._log = now_ms, metrics, log
        self._leaf: IndexLeaf | None = None  # the last one on the topic, while this process is the writer
        self._growth = Growth(leaves.empty(secret))
        self._merging: asyncio.Task[Run] | None = None
        self._collected_s = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Make rounds until `stop`. What cannot be reached is tried again with the next round.

        Raises: CorruptError, where what is sealed or stored is not as it must be: it wants an operator.
        """
        try:
            while not stop.is_set():
                is_behind = False
                try:
                    is_behind = await self.round()
                except ServiceError as error:
                    await self._forget()
                    if not (error.retry or isinstance(error, FencedError)):
                        raise
                    self._metrics.failures.inc()
                    self._log.warning("index round not made", category=error.category, error=str(error))
                await until_set(stop, 0 if is_behind else self._interval_s)
        finally:
            await self._forget()

    async def round(self) -> bool:
        """Index what the root log has pinned since the last leaf; tell whether there is more waiting already.

        1. Who has just become the owner fences the writers before it, then reads the last leaf; what it has not the runs
           of is made again (the store was made anew), and the runs that it does not name are retired.
        2. The pins of the next entries of the root log are read; where none is of an indexed log there is no leaf.
        3. The run of what they pinned is written, then the leaf goes onto the topic: with a merged run, where one is ready.
        """
        if not self._owns():
            self._metrics.lag.set(0)  # it is the owner's to tell: what was known here grows old
            await self._forget()
            return False
        leaf = self._leaf or await self._take_over()
        size = await self._source.root_size()
        await self._scan(size)
        if self._growth.reached > leaf.root.size:
            await self._index(leaf)
        else:
            self._begin_merging(leaf)
        await self._collect()
        self._metrics.lag.set(size - self._growth.scanned)
        self._metrics.rounds.inc()
        return self._growth.scanned < size

    async def _take_over(self) -> IndexLeaf:
        await self._topic.take_over()
        values = await self._topic.newest(1)
        leaf = index_records.leaf_in(values[-1]) if values else leaves.empty(self._secret)
        if leaf.secret != self._secret:
            raise CorruptError("the log `index` commits to another index secret than the one set")
        self._growth = Growth(leaf)
        await self._make_again(leaf)
        live = {run_id(run.since, run.to) for run in leaf.runs}
        await self._retire(run.id for run in await self._store.runs() if run.id not in live)
        self._leaf = leaf
        self._show(leaf)
        return leaf

    async def _make_again(self, leaf: IndexLeaf) -> None:
        """Write the runs of a leaf that are not there. Raises: CorruptError where they do not come out as it says."""
        missing = lacking(leaf.runs, await self._store.runs())
        if missing and not await self._source.reaches(leaf.root.size, leaf.sizes()):
            raise UnavailableError("the logs are not as long yet as the index covers them")
        vectors = await self._source.vectors(size for run in missing for size in (run.since, run.to))
        for run in missing:
            self._log.warning("making a run of the index again", run=run_id(run.since, run.to), rows=run.rows)
            made = await self._build(leaf.numbers(), vectors[run.since], vectors[run.to], (run.since, run.to))
            if made != run:
                raise CorruptError(
                    f"the run {run_id(run.since, run.to)} of the index comes out as {made.rows} rows under {made.root}"
                )

    async def _scan(self, size: int) -> None:
        """Read the pins of the next entries of the root log, up to some that pin an indexed log."""
        first = self._growth.scanned
        if first < size:
            end = min(size, first + PINS_AT_ONCE)
            self._growth.add(await self._source.pins(first, end), end)

    async def _index(self, leaf: IndexLeaf) -> None:
        growth = self._growth
        logs = index_records.grown_logs(leaf, growth.sizes)
        numbers = {each.log: number for number, each in enumerate(logs)}
        run = await self._build(numbers, leaf.sizes(), growth.sizes, (leaf.root.size, growth.reached))
        root = RootAt((await self._source.root_hash(growth.reached)).hex(), growth.reached)
        if must_end := len(leaf.runs) >= MOST_RUNS:
            self._begin_merging(leaf)
        merged = await self._merged(must_end=must_end)
        runs = (*index_records.with_merged(leaf.runs, merged), run)
        after = index_records.next_leaf(leaf, logs, root, runs)
        record = index_records.index_record(
            after, record_id=os.urandom(ID_BYTES), salt=os.urandom(SALT_BYTES), time_ms=self._now_ms()
        )
        await self._topic.write([envelope.encode(record)])
        self._leaf, self._growth = after, Growth(after)
        self._growth.scanned = growth.scanned
        await self._retire(run_id(each.since, each.to) for each in leaf.runs if each not in after.runs)
        self._metrics.leaves.inc()
        self._show(after)
        self._begin_merging(after)

    async def _build(
        self, numbers: dict[str, int], since: dict[str, int], to: dict[str, int], covers: tuple[int, int]
    ) -> Run:
        with Sorter() as sorter:
            async for rows in self._source.rows(since, to, numbers):
                sorter.add(rows)
                await asyncio.sleep(0)
            ordered = await asyncio.to_thread(sorter.sorted)
            run = await building.build(self._store, *covers, ordered, sorter.rows)
            self._metrics.rows.inc(run.rows)
            return run

    def _begin_merging(self, leaf: IndexLeaf) -> None:
        count = merging.next_merge([run.rows for run in leaf.runs])
        if self._merging is None and count:
            self._merging = asyncio.create_task(self._merge(leaf.runs[-count:]), name="merge-index")

    async def _merge(self, runs: tuple[Run, ...]) -> Run:
        began = time.perf_counter()
        merged = await building.merge(self._store, runs)
        self._metrics.merge_seconds.observe(time.perf_counter() - began)
        return merged

    async def _merged(self, *, must_end: bool) -> Run | None:
        """Give the run that was merged, if it is ready. Raises: what stopped the merging."""
        if self._merging is None or not (must_end or self._merging.done()):
            return None
        task, self._merging = self._merging, None
        return await task

    async def _retire(self, runs: Iterable[str]) -> None:
        await self._store.retire(runs, self._now_ms())

    async def _collect(self) -> None:
        """Remove runs that were retired long ago, now and then."""
        if time.monotonic() - self._collected_s < min(COLLECT_EVERY_S, self._keep_s):
            return
        self._collected_s = time.monotonic()
        before = self._now_ms() - int(self._keep_s * 1000)
        for run in await self._store.runs():
            if 0 < run.retired_ms <= before:
                await self._store.remove(run)
                self._metrics.removed.inc()

    def _show(self, leaf: IndexLeaf) -> None:
        self._metrics.runs.set(len(leaf.runs))
        self._metrics.live_rows.set(sum(run.rows for run in leaf.runs))

    async def _forget(self) -> None:
        if self._merging is not None:
            self._merging.cancel()
            await asyncio.gather(self._merging, return_exceptions=True)
            self._merging = None
        self._leaf = None
        await self._topic.give_up()
