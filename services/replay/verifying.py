"""`replay verify`: a log's topic is read again and compared with what is sealed, block by block."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from goodstrace.block import header_hash
from goodstrace.errors import TreeError
from services.replay.comparing import Comparison, Difference, Mark, leaf_count
from services.replay.reading import TopicReader
from services.replay.source import Change
from services.runtime.errors import ServiceError
from services.sealing import core
from services.sealing.core import Fetched, Sealable
from services.sealing.errors import CorruptError, UnprovableRecordError
from services.sealing.fsck.faults import Fault
from services.sealing.fsck.saved import Saved
from services.sealing.ports import LogScan
from services.sealing.values import StoredBlock, partition_of

PAGE_BLOCKS: Final = 8
READ_RECORDS: Final = 2000
READ_S: Final = 0.5


class Replayed(msgspec.Struct, kw_only=True):
    """What a comparison of one log came to.

    `entries` of `blocks` were the same, `resumed` of them in an earlier run; `root` is theirs; `waiting` records of the
    topic are not sealed yet (None where that was not counted: a difference was found before). `anew` says why what an
    earlier run had compared does not count; empty where it does, or there was none. `lost` is what the log is known to have had,
    by an earlier run or as published, and has not any more, however much of it Kafka gives: `rolled-back` or `rewritten`.
    """

    log: str
    topic: str
    blocks: int = 0
    entries: int = 0
    resumed: int = 0
    anew: str = ""
    root: str = ""
    waiting: int | None = None
    difference: Difference | None = None
    lost: Sequence[Fault] = ()

    @property
    def sound(self) -> bool:
        """Whether the log is what its topic gives, and all that it is known to have been."""
        return self.difference is None and not self.lost


class LogReplay:
    """Compares one log with one partition of a topic."""

    def __init__(
        self,
        scan: LogScan,
        reader: TopicReader,
        mark: Mark,
        change: Change | None,
        *,
        published: Sequence[Saved] = (),
    ) -> None:
        """Go on from `mark`.

        Args:
            scan: where the log is sealed.
            reader: the topic; nobody else reads with it meanwhile.
            mark: where to go on; an empty one begins with the first block.
            change: makes of the topic's records what was sealed of them; None for the sealed topic itself.
            published: checkpoints that the log must contain, read before the log.
        Raises: TreeError, where the mark is none.
        """
        self._scan = scan
        self._reader = reader
        self._log = mark.log
        self._change = change
        self._partition = partition_of(mark.log)
        self._first_offset = mark.offset
        self._comparison = Comparison(mark, offsets=change is None, published=published)
        self._waiting: deque[Sealable] = deque()

    async def run(self, found: Replayed, told: Callable[[int, Mark], None]) -> None:
        """Compare to the end of what is published, into `found`; `told` gets the entries of each block and where that is.

        Raises: OffsetGapError where Kafka no longer holds what is needed; CorruptError; UnavailableError.
        """
        start = 0 if self._change is not None else self._first_offset
        await asyncio.to_thread(self._reader.start, {self._partition: start})
        head = await self._scan.head(self._log)
        end = head.height + 1 if head else 0
        while self._comparison.mark.height < end and self._goes_on:
            height = self._comparison.mark.height
            page = await self._scan.scan_blocks(self._log, height, min(end, height + PAGE_BLOCKS))
            if not page:
                self._comparison.absent()
            for block in page:
                if not await self._block(block, found):
                    break
                told(leaf_count(block), self._comparison.mark)
        if self._goes_on:
            self._comparison.complete()
            found.waiting = await self._rest()
        found.difference, found.lost = self._comparison.difference, self._comparison.lost

    @property
    def _goes_on(self) -> bool:
        return self._comparison.difference is None and not self._comparison.lost

    async def _block(self, block: StoredBlock, found: Replayed) -> bool:
        count = leaf_count(block)
        try:
            replayed = await self._take(count)
        except UnprovableRecordError as error:
            self._comparison.unprovable(str(error))
            return False
        if len(replayed) < count:
            self._comparison.ended(count - len(replayed))
            return False
        packs = await self._scan.scan_packs(self._log, block.first, block.first + count)
        if not self._comparison.block(block, packs, replayed):
            return False
        for checkpoint in await self._scan.scan_checkpoints(self._log, block.first, block.size):
            if not self._comparison.checkpoint(checkpoint):
                return False
        mark = self._comparison.mark
        found.blocks, found.entries, found.root = mark.height, mark.size, mark.frontier.root().hex()
        return True

    async def _take(self, count: int) -> list[Sealable]:
        while len(self._waiting) < count and not self._reader.finished:
            self._waiting.extend(self._sealables(await self._read()))
        return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]

    async def _rest(self) -> int:
        count = len(self._waiting)
        while not self._reader.finished:
            count += len(await self._read())
        return count

    async def _read(self) -> list[Fetched]:
        batches = await asyncio.to_thread(self._reader.read, READ_RECORDS, READ_S)
        records: Sequence[Fetched] = [each for _, batch in batches for each in batch]
        if self._change is not None:
            records = self._change(self._partition, records)
        return [each for each in records if each.offset >= self._first_offset]

    def _sealables(self, records: Sequence[Fetched]) -> list[Sealable]:
        return [core.sealable(self._log, each) for each in records]


async def verify_log(
    scan: LogScan,
    reader: TopicReader,
    mark: Mark,
    change: Change | None,
    told: Callable[[int, Mark], None],
    *,
    published: Sequence[Saved] = (),
) -> Replayed:
    """Compare one log, see LogReplay. A fault of Kafka or the store ends it; what was compared until then was told.

    It goes on from `mark` where the store still holds the block that the mark is of, else from the first block; which of
    the two, `told` gets first, with no entries. A log that was begun with anew must come to contain what the mark knows of it.
    """
    found = Replayed(log=mark.log, topic=reader.topic)
    try:
        found.anew = await _stale(scan, mark)
        mark = mark.anew() if found.anew else mark
        found.blocks, found.entries, found.resumed = mark.height, mark.size, mark.size
        found.root = mark.frontier.root().hex() if mark.size else ""
        told(0, mark)
        await LogReplay(scan, reader, mark, change, published=published).run(found, told)
    except CorruptError as error:  # a document that is not even of the right form
        found.difference = Difference(log=mark.log, block=found.blocks, field="document", problem=str(error))
    except TreeError as error:
        raise _not_ours(mark, error) from error
    return found


def gone(mark: Mark, topic: str, published: Sequence[Saved] = ()) -> Replayed | None:
    """Say what was lost of a log that the store has not at all; None where nobody knows of anything in it. Raises: ServiceError."""
    try:
        comparison = Comparison(mark.anew(), offsets=False, published=published)
    except TreeError as error:
        raise _not_ours(mark, error) from error
    comparison.complete()
    return Replayed(log=mark.log, topic=topic, lost=comparison.lost) if comparison.lost else None


def _not_ours(mark: Mark, error: TreeError) -> ServiceError:
    return ServiceError(f"{mark.log}: what the state file says is none of ours: {error}")


async def _stale(scan: LogScan, mark: Mark) -> str:
    """Say why a mark is not of the store as it is now: made anew, restored, cut off; empty where it is."""
    if not mark.height:
        return ""
    head = await scan.head(mark.log)
    if head is None or head.height + 1 < mark.height:
        return f"the store ends before block {mark.height - 1}, up to which an earlier run compared"
    try:
        last = await scan.scan_blocks(mark.log, mark.height - 1, mark.height)
    except CorruptError:  # found again, with its place, by whoever begins anew
        last = []
    if [header_hash(block.header) for block in last] != [mark.header_hash]:
        return f"block {mark.height - 1} of the store is not the one up to which an earlier run compared"
    return ""
