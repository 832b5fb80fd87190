"""A block store in memory that can be told to fail, and a topic in memory: small real implementations of the ports."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum

import msgspec

from goodstrace.key_changes import KeyChange
from goodstrace.merkle import HASH_SIZE
from goodstrace.note import Signer
from services.runtime.errors import UnavailableError
from services.runtime.kafka import OffsetGapError
from services.sealing.core import Fetched, TopicIdentity
from services.sealing.errors import CorruptError, LogKeyError, LostRaceError
from services.sealing.ports import TileNames
from services.sealing.tag_index import Page, TagIndex
from services.sealing.values import Head, LogInfo, Pack, StoredBlock, StoredCheckpoint, block_id


class Killed(BaseException):
    """The process dies at this point: no handler of ours runs."""


class Failure(Enum):
    """What happens to a call."""

    NOT_DONE = "failed and not done"
    ANSWER_LOST = "done but the answer was lost"
    KILLED_BEFORE = "killed before it was done"
    KILLED_AFTER = "killed after it was done"


class MemoryStore:
    """Implements BlockStore and LogScan. `failures` says what happens to the n-th call from now on."""

    def __init__(self) -> None:
        self.infos: dict[str, LogInfo] = {}
        self.blocks: dict[str, StoredBlock] = {}
        self.page_data: dict[str, Page] = {}
        self.runs: dict[str, TagIndex] = {}
        self.packs: dict[str, Pack] = {}
        self.tile_data: dict[tuple[str, int, int], bytes] = {}
        self.checkpoints: dict[tuple[str, int], StoredCheckpoint] = {}
        self.heads: dict[str, Head] = {}
        self.failures: dict[int, Failure] = {}
        self.calls = 0
        self.dead = False  # the process was killed: none of its calls comes through any more

    def _call(self, do: Callable[[], object]) -> None:
        if self.dead:
            raise Killed
        failure = self.failures.get(self.calls)
        self.calls += 1
        if failure is Failure.NOT_DONE:
            raise UnavailableError("the store is away")
        if failure is Failure.KILLED_BEFORE:
            self.dead = True
            raise Killed
        do()
        if failure is Failure.ANSWER_LOST:
            raise UnavailableError("the store went away before it answered")
        if failure is Failure.KILLED_AFTER:
            self.dead = True
            raise Killed

    async def instance_id(self) -> str:
        self._call(lambda: None)
        return "00112233445566ff"

    async def logs(self) -> list[LogInfo]:
        return [self.infos[name] for name in sorted(self.infos)]

    async def register(self, info: LogInfo) -> LogInfo:
        self._call(lambda: self.infos.setdefault(info.name, info))
        return self.infos[info.name]

    async def propose_change(self, change: KeyChange) -> None:
        def write() -> None:
            info = self.infos[change.log]
            if info.vkey != change.old or (info.pending and info.pending.height > change.height):
                raise LostRaceError("another key is in force, or about to be")
            self.infos[change.log] = msgspec.structs.replace(info, pending=change)

        self._call(write)

    async def apply_change(self, change: KeyChange) -> LogInfo:
        def write() -> None:
            info = self.infos[change.log]
            if info.vkey == change.old:
                self.infos[change.log] = msgspec.structs.replace(
                    info, vkey=change.new, changes=(*info.changes, change), pending=None
                )

        self._call(write)
        if self.infos[change.log].vkey != change.new:
            raise LostRaceError("another key is in force")
        return self.infos[change.log]

    async def block(self, log: str, height: int) -> StoredBlock | None:
        self._call(lambda: None)
        return self.blocks.get(block_id(log, height))

    async def put_packs(self, packs: Sequence[Pack]) -> None:
        self._call(lambda: self.packs.update({pack.id: pack for pack in packs if pack.id not in self.packs}))
        for pack in packs:
            if self.packs[pack.id] != pack:
                raise CorruptError(f"pack {pack.id} is stored with other records")

    async def put_pages(self, pages: Mapping[str, Page]) -> None:
        self._call(lambda: self.page_data.update({**pages, **self.page_data}))
        for name, page in pages.items():
            if self.page_data[name] != page:
                raise CorruptError(f"page {name} is stored with other rows")

    async def pages(self, names: Collection[str]) -> dict[str, Page]:
        return {name: self.page_data[name] for name in names if name in self.page_data}

    async def put_index(self, index: TagIndex) -> None:
        def write() -> None:
            old = self.runs.get(index.log)
            if old is None or old.order < index.order:
                self.runs[index.log] = index

        self._call(write)

    async def indexes(self, logs: Collection[str]) -> dict[str, TagIndex]:
        return {log: self.runs[log] for log in logs if log in self.runs}

    async def index(self, log: str) -> TagIndex | None:
        return self.runs.get(log)

    async def insert_block(self, block: StoredBlock) -> None:
        self._call(lambda: self.blocks.setdefault(block.id, block))
        if self.blocks[block.id] != block:
            raise LostRaceError(f"{block.id}: another writer")

    async def put_tiles(self, log: str, tiles: Mapping[tuple[int, int], bytes]) -> None:
        def write() -> None:
            for (level, n), data in tiles.items():
                if len(data) > len(self.tile_data.get((log, level, n), b"")):
                    self.tile_data[log, level, n] = data

        assert all(0 < len(data) <= 256 * HASH_SIZE for data in tiles.values())
        self._call(write)

    async def tiles(self, log: str, names: TileNames) -> dict[tuple[int, int], bytes]:
        return {
            (level, n): self.tile_data[log, level, n]
            for level, n in names
            if (log, level, n) in self.tile_data
        }

    async def put_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        key = (checkpoint.log, checkpoint.size)
        self._call(lambda: self.checkpoints.setdefault(key, checkpoint))
        if self.checkpoints[key].root != checkpoint.root:
            raise CorruptError("published with another root")

    async def put_head(self, head: Head) -> None:
        def write() -> None:
            old = self.heads.get(head.checkpoint.log)
            if old is None or old.checkpoint.size < head.checkpoint.size:
                published = head.published or (old.published if old else None)
                self.heads[head.checkpoint.log] = msgspec.structs.replace(head, published=published)
            elif old.checkpoint.size == head.checkpoint.size and _more(head.published, old.published):
                self.heads[head.checkpoint.log] = head

        self._call(write)

    async def put_published(self, checkpoint: StoredCheckpoint) -> None:
        def write() -> None:
            key = (checkpoint.log, checkpoint.size)
            there, head = self.checkpoints.get(key), self.heads.get(checkpoint.log)
            if there and there.root == checkpoint.root and there.signatures < checkpoint.signatures:
                self.checkpoints[key] = checkpoint
            old = head.published if head else None
            fuller = old and old.size == checkpoint.size and old.signatures < checkpoint.signatures
            if head and (fuller or _more(checkpoint, old)):
                self.heads[checkpoint.log] = msgspec.structs.replace(head, published=checkpoint)

        self._call(write)

    async def head(self, log: str) -> Head | None:
        return self.heads.get(log)

    async def remove_orphans(self, last: Sequence[StoredBlock]) -> int:
        named = {pack for block in last for pack in block.packs}
        orphans = [
            pack.id
            for pack in self.packs.values()
            if pack.log == last[0].log and pack.height <= last[-1].height and pack.first >= last[0].first
            if pack.id not in named
        ]
        self._call(lambda: [self.packs.pop(each) for each in orphans])
        return len(orphans)

    async def scan_blocks(self, log: str, height: int, end: int) -> list[StoredBlock]:
        found = [block for block in self.blocks.values() if block.log == log and height <= block.height < end]
        return sorted(found, key=lambda block: block.height)

    async def scan_packs(self, log: str, first: int, size: int) -> list[Pack]:
        found = [pack for pack in self.packs.values() if pack.log == log and first <= pack.first < size]
        return sorted(found, key=lambda pack: (pack.first, pack.id))

    async def count_tiles(self, log: str) -> int:
        return sum(name == log for name, _, _ in self.tile_data)

    async def scan_checkpoints(self, log: str, above: int, upto: int) -> list[StoredCheckpoint]:
        found = [each for each in self.checkpoints.values() if each.log == log and above < each.size <= upto]
        return sorted(found, key=lambda each: each.size)


def _more(new: StoredCheckpoint | None, old: StoredCheckpoint | None) -> bool:
    return new is not None and (old is None or old.size < new.size)


class MemoryTopic:
    """A topic's partitions: lists of (offset, value); offsets may have holes, as transaction markers leave them."""

    def __init__(self, partitions: int = 1) -> None:
        self.records: list[list[Fetched]] = [[] for _ in range(partitions)]
        self.identity = TopicIdentity("cluster-1", "goods.stored", "topic-id-1")
        self.low = 0

    def append(self, partition: int, value: bytes, *, hole: int = 0) -> None:
        there = self.records[partition]
        there.append(Fetched((there[-1].offset + 1 if there else 0) + hole, value))

    def high(self, partition: int) -> int:
        there = self.records[partition]
        return there[-1].offset + 1 if there else 0


class MemorySource:
    """A member of a group that has all partitions of a MemoryTopic; `batch` records at a time."""

    def __init__(self, topic: MemoryTopic, *, batch: int = 3) -> None:
        self._topic = topic
        self._batch = batch
        self._next: dict[int, int] = {}
        self._held: set[int] = set()
        self.joined = False

    async def start(
        self, taken: Callable[[int], Awaitable[int]], given_up: Callable[[Sequence[int]], Awaitable[None]]
    ) -> None:
        for partition in range(len(self._topic.records)):
            offset = await taken(partition)
            if not self._topic.low <= offset <= self._topic.high(partition):
                raise OffsetGapError("gap")
            self._next[partition] = offset
        self.joined = True

    async def poll(self, max_records: int, timeout_s: float) -> list[tuple[int, list[Fetched]]]:
        await asyncio.sleep(0)
        batches = []
        for partition, start in self._next.items():
            found = [each for each in self._topic.records[partition] if each.offset >= start][: self._batch]
            if found and partition not in self._held:
                batches.append((partition, found))
                self._next[partition] = found[-1].offset + 1
        return batches

    async def identity(self) -> TopicIdentity:
        return self._topic.identity

    async def hold(self, partitions: Iterable[int]) -> None:
        self._held = set(partitions)

    async def close(self) -> None:
        self._next.clear()


class MemoryKeys:
    """Keys made from the log's name and a number; `prepare` makes the one that shall follow."""

    def __init__(self, salt: bytes = b"") -> None:
        self._salt = salt
        self.held: dict[str, list[int]] = {}

    def prepare(self, log: str) -> None:
        self.held[log].append(self.held[log][-1] + 1)

    def find(self, log: str, origin: str, *, create: bool) -> list[Signer]:
        if not create and log not in self.held:
            raise LogKeyError("no key")
        numbers = self.held.setdefault(log, [0])
        return [self._signer(log, origin, number) for number in numbers]

    def may_have_next(self, log: str) -> bool:
        return len(self.held[log]) > 1

    def settle(self, info: LogInfo) -> None:
        numbers = self.held[info.name]
        while self._signer(info.name, info.origin, numbers[0]).verifier.vkey() != info.vkey:
            del numbers[0]

    def _signer(self, log: str, origin: str, number: int) -> Signer:
        return Signer(origin, (self._salt + log.encode()).ljust(32, bytes([number + 1]))[:32])


class TestClock:
    """A clock that a test sets; it goes on by itself one ms per reading."""

    __test__ = False

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.value_ms = now_ms

    def now_ms(self) -> int:
        self.value_ms += 1
        return self.value_ms
