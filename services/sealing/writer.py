"""One log being sealed: records come in, blocks are cut, each is committed before the next is.

While one block is committed the packs of the next are written already: nothing names them yet.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog

from services.runtime.errors import ServiceError
from services.runtime.retry import retried
from services.runtime.tracing import spans
from services.runtime.tracing.context import TraceContext
from services.runtime.waiting import until_set
from services.sealing import core, seal_spans
from services.sealing.core import Block, Cut, Fetched, Limits, LogState, Sealable, TopicIdentity
from services.sealing.errors import LostRaceError, TopicChangedError, UnprovableRecordError
from services.sealing.indexing import LogIndexer
from services.sealing.log_key import LogKey
from services.sealing.metrics import SealMetrics
from services.sealing.ports import BlockStore, RecordSource
from services.sealing.publishing import AtOnce, Publishing
from services.sealing.seal_spans import BlockSpans
from services.sealing.tag_index import TagIndex
from services.sealing.values import Head, StoredBlock, StoredCheckpoint

HOLD_FACTOR = 2  # how many blocks' worth of records may wait before Kafka is left unread
LEFT_BEHIND = (
    2  # heights above the last block for which a writer that died may have left packs: see `LogWriter.run`
)


class SealerParts(msgspec.Struct, frozen=True):
    """What all writers of a process share.

    Attributes:
        new_epoch: gives random text, another at every call. Each writer draws one of its own for the IDs of its packs:
            a log that is given up and taken up again by the same process may be cut into other blocks than before.
    """

    store: BlockStore
    source: RecordSource
    now_ms: Callable[[], int]
    limits: Limits
    new_epoch: Callable[[], str]
    metrics: SealMetrics
    log: structlog.stdlib.BoundLogger
    publishing: Publishing = AtOnce()

    def noticed(self, error: ServiceError) -> None:
        """Count and log a fault that is retried."""
        self.metrics.faults.labels(error.category).inc()
        self.log.warning("retrying", category=error.category, error=str(error))


class LogWriter:
    """Seals one log. `add` and `finish` are called from the event loop that runs `run`."""

    def __init__(
        self,
        parts: SealerParts,
        state: LogState,
        topic: TopicIdentity,
        key: LogKey,
        index: TagIndex | None = None,
    ) -> None:
        """Take up a log at `state`, its records coming from `topic`; `index` is its index by tag, None where it is new."""
        self._parts = parts
        self._epoch = parts.new_epoch()
        self._state = self._built = state
        self._topic = topic
        self._key = key
        self._pending: list[Sealable] = []
        self._pending_bytes = 0
        self._first_came_s = 0.0
        self._last_cut = Cut()
        self._unsealed_ms: deque[int] = (
            deque()
        )  # of each block that was cut and is not sealed: see _tell_oldest
        self._fault: UnprovableRecordError | None = None
        self._finishing = False
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._taken_up: list[StoredBlock] = []
        self._commits = 0
        self._problem: str | None = None
        self._indexer = LogIndexer(parts.store, index or TagIndex(state.log, -1, 0, ()), parts.noticed)
        self._committing: asyncio.Task[None] | None = None
        self._arrivals = seal_spans.arrivals()

    @property
    def next_offset(self) -> int:
        """The Kafka offset after the last sealed record."""
        return self._state.next_offset

    @property
    def size(self) -> int:
        """Number of sealed entries."""
        return self._state.size

    @property
    def problem(self) -> str | None:
        """Why the last try of what is being retried failed; None where nothing is."""
        return self._problem

    @property
    def full(self) -> bool:
        """Whether enough records wait; more may come, but should not."""
        limits = self._parts.limits
        return (
            len(self._pending) >= HOLD_FACTOR * limits.entries
            or self._pending_bytes >= HOLD_FACTOR * limits.size_bytes
            or self._fault is not None
        )

    @property
    def _fills_a_block(self) -> bool:
        limits = self._parts.limits
        return len(self._pending) >= limits.entries or self._pending_bytes >= limits.size_bytes

    async def room(self) -> None:
        """Return when no longer enough records wait."""
        while self.full:
            self._taken.clear()
            await self._taken.wait()

    def add(self, records: Sequence[Fetched]) -> None:
        """Check records and let them wait for their block. After an unprovable one nothing more is taken."""
        if self._finishing or self._fault:
            return
        self._parts.metrics.read.inc(len(records))
        if not self._pending:
            self._first_came_s = asyncio.get_running_loop().time()
        before = len(self._pending)
        try:
            for fetched in records:
                sealable = core.sealable(self._state.log, fetched)
                self._pending.append(sealable)
                self._pending_bytes += sealable.size_bytes
            if self._arrivals is not None:
                self._arrivals.note(records)
        except UnprovableRecordError as error:
            self._fault = error
        self._parts.metrics.waiting.inc(len(self._pending) - before)
        self._tell_oldest()
        self._changed.set()

    def finish(self, *, drop: bool) -> None:
        """Let `run` return: after sealing what waits, or dropping it (it is in Kafka still)."""
        self._finishing = True
        if drop:
            self._parts.metrics.waiting.dec(len(self._pending))
            self._pending.clear()
            self._pending_bytes = 0
        self._changed.set()

    async def run(self) -> None:
        """Seal until `finish`.

        Raises: LostRaceError, UnprovableRecordError (after sealing what came before it), TopicChangedError,
            CorruptError. While store or Kafka are away it waits.
        """
        try:
            while await self._due():
                came_s, records = self._first_came_s, self._take()
                now_ms = self._parts.now_ms()
                block = await asyncio.to_thread(
                    core.next_block, self._built, self._topic, records, now_ms, self._epoch
                )
                self._built = block.after
                await self._in_turn(block)
                traced = self._arrivals.taken(records) if self._arrivals is not None else None
                self._committing = asyncio.create_task(self._commit(block, records, came_s, traced))
                self._committing.add_done_callback(lambda _: self._changed.set())
            await self._committed()
        finally:
            await self._stop()
        if self._fault:
            self._parts.metrics.unprovable.inc()
            raise self._fault

    async def publish(self, block: Block) -> None:
        """Write a durable block's tiles, then sign and publish its checkpoint. May be repeated."""
        parts, log = self._parts, self._state.log
        await asyncio.gather(
            retried(lambda: parts.store.put_tiles(log, block.tiles), self._noticed),
            *([self._indexer.add(block.run)] if block.run else []),
        )
        statement = block.checkpoint(self._key.origin)
        note = await retried(lambda: self._key.sign_checkpoint(statement), self._noticed)
        checkpoint = StoredCheckpoint(log, statement.size, statement.root, note)
        await retried(lambda: parts.store.put_checkpoint(checkpoint), self._noticed)
        assert block.after.head is not None
        published = checkpoint if parts.publishing.at_once else None
        head = Head(block.after.head.height, checkpoint, published)
        await retried(lambda: parts.store.put_head(head), self._noticed)
        parts.publishing.signed(checkpoint)
        self._problem = None

    async def remove_orphans(self, last: StoredBlock) -> None:
        """Remove what a writer before us left beside the last block, and beside those before it that we saw."""
        self._taken_up.append(last)
        removed = await retried(lambda: self._parts.store.remove_orphans(self._taken_up), self._noticed)
        self._problem = None
        if removed:
            self._parts.metrics.orphans.inc(removed)
            self._parts.log.info("orphan packs removed", log=last.log, height=last.height, packs=removed)

    def _noticed(self, error: ServiceError) -> None:
        self._problem = str(error)
        self._parts.noticed(error)

    async def _in_turn(self, block: Block) -> None:
        """Write what comes before a block, while the block before it is being committed; return when both are done.

        Raises: what stopped the commit, else what stopped the rest.
        """
        done = await asyncio.gather(self._committed(), self._prepare(block), return_exceptions=True)
        for error in done:
            if error is not None:
                raise error

    async def _committed(self) -> None:
        """Wait for the commit that is going on. Raises: what stopped it."""
        if self._committing is not None:
            await self._committing

    async def _stop(self) -> None:
        """Leave what is still going on after a fault or when cancelled: a restart finds out how far it came."""
        await self._indexer.stop()
        if self._committing is not None:
            self._committing.cancel()
            await asyncio.gather(self._committing, return_exceptions=True)

    async def _prepare(self, block: Block) -> None:
        """Write a block's packs and pages, and ask Kafka whether its records still are those of the topic we seal."""
        store = self._parts.store
        await asyncio.gather(
            retried(lambda: store.put_packs(block.packs), self._noticed),
            retried(lambda: store.put_pages(block.pages), self._noticed),
            retried(self._check_topic, self._noticed),
            self._indexer.keep_up(),
        )

    async def _commit(
        self, block: Block, records: Sequence[Sealable], came_s: float, traced: BlockSpans | None
    ) -> None:
        """Make a block durable, then visible. Its packs and pages are, and the block before it is published.

        1. The block is inserted: the commit point, of a change of key too (see LogKey). Of an unknown outcome the store
           is asked again until it is known.
        2. Tiles and index are written, then the checkpoint is signed and published: only now do readers see the block.
        """
        parts = self._parts
        stored = block.stored(await retried(lambda: self._key.sign_header(block), self._noticed))
        try:
            await retried(lambda: parts.store.insert_block(stored), self._noticed)
        except LostRaceError:
            parts.metrics.conflicts.inc()
            raise
        if traced is not None:
            traced.committed()
        parts.metrics.sealed_entries.labels(stored.log).set(stored.size)
        await retried(self._key.committed, self._noticed)
        await self.publish(block)
        trace = traced.published(stored) if traced is not None else None
        self._state = block.after
        if self._commits < LEFT_BEHIND:
            # A writer before us may have left packs for this very height; now nobody can name them any more.
            self._commits += 1
            await self.remove_orphans(stored)
        self._count(records, came_s, trace)

    async def _check_topic(self) -> None:
        """Make sure that all that was read came from the topic we seal: an ID never comes back."""
        now = await self._parts.source.identity()
        if now != self._topic:
            raise TopicChangedError(f"{self._state.log}: the topic was made anew: {self._topic} is now {now}")

    async def _due(self) -> bool:
        """Wait until a block is to be cut; False when there will be none any more."""
        limits = self._parts.limits
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if self._committing is not None and self._committing.done():
                self._committing.result()
            if self._finishing or self._fault:
                return bool(self._pending)
            if self._fills_a_block:
                return True
            due_s = core.due_s(limits, self._first_came_s, self._last_cut) if self._pending else None
            left_s = due_s - loop.time() if due_s is not None else None
            if left_s is not None and left_s <= 0:
                return True
            await until_set(self._changed, left_s)

    def _take(self) -> list[Sealable]:
        records = self._pending[: core.cut(self._pending, self._parts.limits)]
        full = self._fills_a_block
        self._last_cut = Cut() if full else Cut(asyncio.get_running_loop().time(), len(records))
        del self._pending[: len(records)]
        self._unsealed_ms.append(records[0].time_ms)
        self._pending_bytes -= sum(each.size_bytes for each in records)
        self._taken.set()
        return records

    def _count(self, records: Sequence[Sealable], came_s: float, trace: TraceContext | None) -> None:
        metrics = self._parts.metrics
        exemplar = spans.exemplar(trace) if trace is not None else None
        metrics.latency.observe(asyncio.get_running_loop().time() - came_s, exemplar)
        now_s = self._parts.now_ms() / 1000
        metrics.ages.observe((max(0.0, now_s - each.time_ms / 1000) for each in records), exemplar)
        self._unsealed_ms.popleft()
        self._tell_oldest()
        metrics.waiting.dec(len(records))
        metrics.sealed.inc(len(records))
        metrics.sealed_bytes.inc(sum(each.size_bytes for each in records))
        metrics.blocks.inc()
        metrics.last_sealed.set(now_s)

    def _tell_oldest(self) -> None:
        """Say since when the first record waits that is not sealed: Kafka gives them in the order of their capture, more or less."""
        waiting = self._unsealed_ms or [each.time_ms for each in self._pending[:1]]
        self._parts.metrics.waits(self._state.log, waiting[0] if waiting else None)
