"""The loop of a service that seals: poll Kafka, hand records to the log they belong to, stop at the first fault."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

import msgspec

from goodstrace import block as blocks
from goodstrace.block import BlockHeader
from goodstrace.errors import BlockError
from goodstrace.note import Verifier
from goodstrace.tiles import edge_tiles
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.monitoring import Readiness
from services.runtime.retry import retried
from services.sealing import core, tag_index
from services.sealing.core import Fetched, LogState, TopicIdentity
from services.sealing.errors import CorruptError, TopicChangedError
from services.sealing.log_key import LogKey
from services.sealing.ports import Keys
from services.sealing.tag_index import Run, TagIndex, page_name
from services.sealing.values import StoredBlock, log_name
from services.sealing.writer import LogWriter, SealerParts

POLL_RECORDS: Final = 2000
ADD_AT_ONCE: Final = 200
"""So many records are checked, in about 2 ms, before commits get a turn: each of their calls waits for two or more."""
POLL_S: Final = 0.25
"""So long Kafka is waited for where nothing comes; what stopped a writer is noticed, and a stop is followed, so much later."""
RETRY_S: Final = 0.5
HOLD_AFTER_S: Final = 1.0
FINISH_S: Final = 15.0
CONDITION: Final = "sealing"  # of readiness

T = TypeVar("T")


class Sealer:
    """Seals the partitions of a topic that its consumer group gives it, each into a log of its own.

    Several processes may run it: they share the partitions. It goes on from each log's last block; the consumer group
    remembers nothing.
    """

    def __init__(
        self,
        parts: SealerParts,
        keys: Keys,
        *,
        prefix: str,
        name: str,
        readiness: Readiness,
        condition: str = CONDITION,
    ) -> None:
        """Seal into logs `<prefix>/<partition>` of origins `<name>/<instance ID>/<log>`.

        `condition` is what `readiness` calls it: each sealer of a process has its own.
        """
        self._parts = parts
        self._keys = keys
        self._prefix = prefix
        self._name = name
        self._readiness = readiness
        self._writers: dict[int, LogWriter] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()
        self._held: set[int] = set()
        self._condition = condition
        readiness.set(condition, problem="no partitions were assigned yet")

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions whose logs this process seals now."""
        return frozenset(self._writers)

    async def run(self, stop: asyncio.Event) -> None:
        """Seal until `stop` is set, then seal what was read and leave the group.

        Raises: LostRaceError, UnprovableRecordError, OffsetGapError, TopicChangedError, LogKeyError, CorruptError,
            RolledBackError: each wants an operator, none is skipped.
        """
        self._stop = stop
        try:
            await self._parts.source.start(self._taken, self._given_up)
            while not stop.is_set():
                await self._poll()
            await self._finish(list(self._writers), drop=False)
        except ServiceError as error:
            if stop.is_set() and error.retry:
                return
            self._parts.metrics.faults.labels(error.category).inc()
            self._readiness.set(self._condition, problem=str(error))
            await self._finish_others()
            raise
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._parts.publishing.give_up(self._log(partition) for partition in self._tasks)
            await self._parts.source.close()

    async def _poll(self) -> None:
        """Take the next records from Kafka. Raises: what stopped a writer, or the publishing of its log."""
        for task in self._tasks.values():
            if task.done():
                task.result()
        self._check_published()
        await self._hold()
        try:
            batches = await self._parts.source.poll(POLL_RECORDS, POLL_S)
        except UnavailableError as error:
            self._parts.noticed(error)
            self._readiness.set(self._condition, problem=str(error))
            await asyncio.sleep(RETRY_S)
            return
        if self._parts.source.joined:
            problems = [writer.problem for writer in self._writers.values() if writer.problem]
            self._readiness.set(self._condition, problem=problems[0] if problems else None)
        for partition, records in batches:
            writer = self._writers.get(partition)
            if writer is not None:
                await _add(writer, records)

    async def _hold(self) -> None:
        """Leave Kafka unread while a log has enough waiting; after a while read the other logs' partitions only.

        A partition that is paused loses what was fetched of it ahead: that is for when the store is away or slow.
        """
        full = {partition for partition, writer in self._writers.items() if writer.full}
        if full - self._held:
            waited = [self._writers[each] for each in full - self._held]
            rooms = asyncio.create_task(_room_in_all(waited))
            ends: list[asyncio.Future[None]] = [rooms, *(self._tasks[each] for each in full - self._held)]
            await asyncio.wait(ends, timeout=HOLD_AFTER_S, return_when=asyncio.FIRST_COMPLETED)
            rooms.cancel()
            full = {partition for partition, writer in self._writers.items() if writer.full}
        self._held = full
        await self._parts.source.hold(full)

    async def _taken(self, partition: int) -> int:
        """Take up a partition's log; give the offset to go on from."""
        log = self._log(partition)
        self._readiness.set(self._condition, problem=f"{log} is being taken up")
        writer = await self._unless_stopped(retried(lambda: self._take_up(partition), self._parts.noticed))
        self._writers[partition] = writer
        self._tasks[partition] = asyncio.create_task(writer.run(), name=f"seal-{partition}")
        self._parts.publishing.take_up(log)
        self._parts.metrics.logs.set(len(self._writers))
        self._parts.metrics.sealed_entries.labels(log).set(writer.size)
        self._parts.log.info("log taken up", log=log, next_offset=writer.next_offset)
        return writer.next_offset

    def _log(self, partition: int) -> str:
        return log_name(self._prefix, partition)

    def _check_published(self) -> None:
        """Raise what stopped the publishing of a log; nothing more is sealed of that one."""
        for partition, writer in self._writers.items():
            try:
                self._parts.publishing.check(self._log(partition))
            except ServiceError:
                writer.finish(drop=True)
                raise

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that may last as long as the store is away. Raises: UnavailableError where asked to stop."""
        task, asked = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((task, asked), return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not task.done():
            task.cancel()
            raise UnavailableError("asked to stop before the log could be taken up")
        return task.result()

    async def _given_up(self, partitions: Sequence[int]) -> None:
        """Give partitions up: what is not sealed is dropped, the next owner reads it again."""
        await self._finish(partitions, drop=True)
        self._parts.metrics.logs.set(len(self._writers))

    async def _finish_others(self) -> None:
        """Seal what the healthy logs have read: a restart may come no further with them than this one did."""
        for writer in self._writers.values():
            writer.finish(drop=False)
        running = [task for task in self._tasks.values() if not task.done()]
        if running:
            await asyncio.wait(running, timeout=FINISH_S)

    async def _finish(self, partitions: Sequence[int], *, drop: bool) -> None:
        for partition in partitions:
            self._writers.pop(partition).finish(drop=drop)
        tasks = [self._tasks[partition] for partition in partitions]
        if not tasks:
            return
        done, late = await asyncio.wait(tasks, timeout=FINISH_S)
        for task in late:
            task.cancel()  # the store is away; whether its block gets there is found out by whoever goes on
        for task in done:
            task.result()
        await self._parts.publishing.give_up(self._log(partition) for partition in partitions)
        for partition in partitions:
            self._parts.metrics.forget(self._log(partition))
            del self._tasks[partition]

    async def _take_up(self, partition: int) -> LogWriter:
        """Go on with a log.

        1. Its key must be the one that is registered (a new log gets a key and is registered; see LogKey).
        2. Its last block must be signed by that key and come from the topic that Kafka has now.
        3. Nothing may have been published beyond that block: else the tail was cut off, and going on would fork the log.
        4. What the last commit may not have come to do is done again: tiles, checkpoint, removing orphans.
        """
        store, log = self._parts.store, self._log(partition)
        topic = await self._parts.source.identity()
        last = await self._last_block(log)
        origin = f"{self._name}/{await store.instance_id()}/{log}"
        key = await LogKey.take_up(
            store, self._keys, log=log, origin=origin, last=last, report=self._parts.log
        )
        if last is None:
            return LogWriter(self._parts, LogState(log, partition), topic, key)
        header = _checked_header(log, last, key.verifier)
        _check_source(log, partition, header, topic)
        tiles = await store.tiles(log, {(tile.level, tile.n) for tile in edge_tiles(header.first)})
        block = core.resume(partition, last, tiles)
        index = await self._index(last)
        if index.height < last.height:
            block = msgspec.structs.replace(block, run=await self._run_of(last))
        writer = LogWriter(self._parts, block.after, topic, key, index)
        await writer.publish(block)
        await writer.remove_orphans(last)
        return writer

    async def _index(self, last: StoredBlock) -> TagIndex:
        """Read the log's index by tag, which has at least all blocks before the last one."""
        index = await self._parts.store.index(last.log) or TagIndex(last.log, -1, 0, ())
        problem = tag_index.problem_of(index)
        if index.height > last.height and await self._parts.store.block(last.log, index.height) is not None:
            raise UnavailableError(f"{last.log}: another writer went on with it while it was taken up")
        if not problem and not last.height - 1 <= index.height <= last.height:
            problem = f"it has blocks up to {index.height}"
        if problem:
            raise CorruptError(
                f"{last.id}: the index by tag is damaged, run goodstrace fsck --repair: {problem}"
            )
        return index

    async def _run_of(self, last: StoredBlock) -> Run:
        """Read which run the last block has in the index by tag: its pages were durable before the block was."""
        name = page_name(last.packs[0], 0)
        page = (await self._parts.store.pages([name])).get(name)
        if page is None:
            raise CorruptError(f"{last.id}: page {name} is missing: run goodstrace fsck --repair")
        return Run(last.packs[0], 0, last.height, last.first, last.size, page.bits, page.rows)

    async def _last_block(self, log: str) -> StoredBlock | None:
        """Find the last block from how far the log is published, without a search through the log."""
        store = self._parts.store
        head = await store.head(log)
        last = None
        if head is not None:
            last = await store.block(log, head.height)
            if last is None or last.size != head.checkpoint.size:
                raise CorruptError(
                    f"{log}: size {head.checkpoint.size} is published, but no block {head.height} ends with it"
                )
        while (after := await store.block(log, last.height + 1 if last else 0)) is not None:
            last = after  # committed, but its writer died before it was published
        return last


async def _add(writer: LogWriter, records: Sequence[Fetched]) -> None:
    for start in range(0, len(records), ADD_AT_ONCE):
        writer.add(records[start : start + ADD_AT_ONCE])
        await asyncio.sleep(0)


async def _room_in_all(writers: Sequence[LogWriter]) -> None:
    for writer in writers:
        await writer.room()


def _checked_header(log: str, last: StoredBlock, verifier: Verifier) -> BlockHeader:
    if not verifier.is_valid(last.signature, blocks.SIGNATURE_DOMAIN + last.header):
        raise CorruptError(f"{last.id}: the last block is not signed by the log's key")
    try:
        header = blocks.decode(last.header)
    except BlockError as error:
        raise CorruptError(f"{last.id}: {error}") from error
    if (header.log, header.height, header.first, header.size) != (log, last.height, last.first, last.size):
        raise CorruptError(f"{last.id}: header and document differ")
    return header


def _check_source(log: str, partition: int, header: BlockHeader, topic: TopicIdentity) -> None:
    problem = core.check_topic(header, topic)
    if header.kafka.partition != partition:
        problem = f"partition is {partition}, sealed from {header.kafka.partition}"
    if problem:
        raise TopicChangedError(f"{log}: not the topic that this log was sealed from: {problem}")
