"""How blocks come to be: when to cut, what to check, what the next block is. No I/O, no clock, no randomness.

A log's state is its head (the last block) and the right edge of its tree; `next_block` turns records into everything a
commit writes, `resume` gives the state back from what the last commit wrote.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from goodstrace import block as blocks
from goodstrace.block import GENESIS_HASH, BlockHeader, KafkaRange
from goodstrace.checkpoint import Checkpoint
from goodstrace.errors import BlockError, EntryError, TreeError
from goodstrace.merkle import HASH_SIZE, leaf_hashes
from goodstrace.tiles import TileEdge, Tiles
from services.runtime import envelope
from services.runtime.errors import EnvelopeError
from services.sealing import entries
from services.sealing.errors import CorruptError, UnprovableRecordError
from services.sealing.tag_index import Page, Run, block_run
from services.sealing.values import Pack, PackedRecord, StoredBlock

MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
MAX_BLOCK_ENTRIES: Final = 20_000
# docs/decisions/0009-sealing-speed.md has the figures behind these two.
PACK_ENTRIES: Final = 64
PACK_BYTES: Final = 48 * 1024
BUSY_ENTRIES: Final = 4
"""A log is busy where a block had so many entries: at a block each 250 ms, 16 records a second."""


class Fetched(msgspec.Struct, frozen=True):
    """A Kafka record of one partition as it was read: its offset and its value's bytes."""

    offset: int
    value: bytes


class TopicIdentity(msgspec.Struct, frozen=True):
    """Which topic this is: the cluster's ID, the topic's name, and the ID Kafka gave it when it was made."""

    cluster: str
    topic: str
    topic_id: str


class Sealable(msgspec.Struct, frozen=True):
    """A record that was found provable, with the offset it came from, its size for cutting, and when it was captured."""

    offset: int
    size_bytes: int
    record: PackedRecord
    time_ms: int = 0


class Limits(msgspec.Struct, frozen=True):
    """When a block is cut, whichever comes first: entries, bytes of records, or its time (see `due_s`).

    Its time is `age_ms` milliseconds after its first record came, and at the least `spacing_ms` after the block before it was
    cut, where that one was cut by time too and had `BUSY_ENTRIES` or more.
    """

    entries: int = 8000
    size_bytes: int = MAX_DOCUMENT_BYTES
    age_ms: int = 250
    spacing_ms: int = 0


class Cut(msgspec.Struct, frozen=True):
    """A block that was cut by time: when, in seconds of the clock that also says when records came, and of how many entries."""

    at_s: float = -math.inf
    entries: int = 0


class LogState(msgspec.Struct, frozen=True):
    """A log between two commits: what the next block needs to know of all those before it.

    Attributes:
        log: its name; `partition` the Kafka partition it seals.
        head: the last block's header and `head_hash` its hash; None and 64 zeros where there is none.
        edge: the right edge of its tree.
    """

    log: str
    partition: int
    head: BlockHeader | None = None
    head_hash: str = GENESIS_HASH
    edge: TileEdge = TileEdge()

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.edge.frontier.size

    @property
    def next_offset(self) -> int:
        """The Kafka offset to go on from."""
        return self.head.kafka.next if self.head else 0


class Block(msgspec.Struct, frozen=True):
    """All that one commit writes, except for the signatures.

    Attributes:
        header: exact bytes of the header. `leaves`: joined leaf hashes. `packs`: written before the block.
        tiles: the tiles that are new or wider, by (level, n). `after`: the log's state once this is committed.
        run: the block's part of the index by tag; its `pages`, by name, are written before the block too. None where the
            block was taken up again.
    """

    header: bytes
    leaves: bytes
    packs: tuple[Pack, ...]
    tiles: dict[tuple[int, int], bytes]
    after: LogState
    run: Run | None = None
    pages: dict[str, Page] = {}

    def stored(self, signature: bytes) -> StoredBlock:
        """Give the block's document, with the log's signature over the header."""
        head = self.after.head
        assert head is not None
        ids = tuple(pack.id for pack in self.packs)
        return StoredBlock(
            head.log, head.height, head.first, head.size, self.header, signature, self.leaves, ids
        )

    def checkpoint(self, origin: str) -> Checkpoint:
        """Give the statement to sign once the block is durable."""
        return Checkpoint(origin, self.after.size, self.after.edge.frontier.root())


def sealable(log: str, fetched: Fetched) -> Sealable:
    """Decode a record and check that its entry commits to exactly its parts and tags.

    Raises: UnprovableRecordError naming log and offset.
    """
    try:
        record = envelope.decode_committed(fetched.value)
        if not entries.is_provable(record):
            entries.check(record)  # which says why
    except (EnvelopeError, EntryError) as error:
        raise UnprovableRecordError(
            f"{log}: the record at offset {fetched.offset} is unprovable: {error}"
        ) from error
    packed = PackedRecord(record.entry, record.parts, record.tags)
    return Sealable(fetched.offset, len(fetched.value), packed, record.time_ms)


def cut(pending: Sequence[Sealable], limits: Limits) -> int:
    """Tell how many of the pending records the next block takes: as many as the limits let, at least one if any."""
    size_bytes = 0
    for count, each in enumerate(pending[: limits.entries]):
        size_bytes += each.size_bytes
        if size_bytes > limits.size_bytes and count > 0:
            return count
    return min(len(pending), limits.entries)


def due_s(limits: Limits, came_s: float, last: Cut) -> float:
    """Tell when the next block is to be cut, whose first record came at `came_s`, if nothing fills it before.

    `last` is the block before it, or `Cut()` where that one was full: the rest of what came with it waits for its age alone.
    A block costs its writes and signatures whatever it holds, so a busy log has fewer; in a quiet one nobody waits longer for that.
    """
    age_s = came_s + limits.age_ms / 1000
    return max(age_s, last.at_s + limits.spacing_ms / 1000) if last.entries >= BUSY_ENTRIES else age_s


def next_block(
    state: LogState, topic: TopicIdentity, records: Sequence[Sealable], now_ms: int, epoch: str
) -> Block:
    """Build the block that follows `state`. The same arguments give the same bytes.

    Args:
        state: the log's.
        topic: where the records come from.
        records: in offset order, from `state.next_offset` on, at least one.
        now_ms: Unix time in ms; where the clock went back, the block gets the time of the one before.
        epoch: random text of the writer's own, part of the packs' IDs only.
    Raises: BlockError, where the records do not follow the state or a field is out of its limits.
    Source: design.md "The sealed format"; RFC 6962 section 2.1 for the root.
    """
    if not records or records[0].offset < state.next_offset:
        raise BlockError(f"{state.log}: no records, or not those from offset {state.next_offset} on")
    hashes = leaf_hashes(each.record.entry for each in records)
    edge, tiles = state.edge.append(hashes)
    header = BlockHeader(
        count=len(records),
        first=state.size,
        height=state.head.height + 1 if state.head else 0,
        kafka=KafkaRange(
            cluster=topic.cluster,
            first=state.next_offset,
            next=records[-1].offset + 1,
            partition=state.partition,
            topic=topic.topic,
            topic_id=topic.topic_id,
        ),
        log=state.log,
        previous=state.head_hash,
        root=edge.frontier.root().hex(),
        size=edge.frontier.size,
        time=max(now_ms, state.head.time if state.head else 0),
    )
    data = blocks.encode(header)
    packs = tuple(_packs(header, records, epoch))
    run, pages = block_run(packs)
    return Block(
        header=data,
        leaves=b"".join(hashes),
        packs=packs,
        tiles=tiles,
        after=LogState(state.log, state.partition, header, blocks.header_hash(data), edge),
        run=run,
        pages=pages,
    )


def resume(partition: int, last: StoredBlock, tiles: Tiles) -> Block:
    """Give the last commit of a log again from its block and the edge tiles of the tree *before* it.

    With this a commit that was cut off after its block is finished, and the next block can be built; nothing else of
    the log is read. The packs are not read either.

    Args:
        partition: the Kafka partition that the log seals.
        last: the last block; its signature was checked.
        tiles: at least `edge_tiles(last.first)`; wider ones do no harm.
    Raises: CorruptError, where block and tiles do not give the root of the header.
    """
    try:
        header = blocks.decode(last.header)
        edge, changed = TileEdge.from_tiles(header.first, tiles).append(split_hashes(last.leaves))
    except (BlockError, TreeError) as error:
        raise CorruptError(f"{last.id}: {error}") from error
    if edge.frontier.root().hex() != header.root or edge.frontier.size != header.size:
        raise CorruptError(f"{last.id}: leaf hashes and tiles do not give the root of the header")
    after = LogState(header.log, partition, header, blocks.header_hash(last.header), edge)
    return Block(last.header, last.leaves, (), changed, after)


def check_topic(head: BlockHeader | None, topic: TopicIdentity) -> str:
    """Say how the topic differs from the one the log's last block came from; the empty text where it does not."""
    if head is None:
        return ""
    before = TopicIdentity(head.kafka.cluster, head.kafka.topic, head.kafka.topic_id)
    differing = [
        f"{field} is {getattr(topic, field)}, sealed from {getattr(before, field)}"
        for field in TopicIdentity.__struct_fields__
        if getattr(topic, field) != getattr(before, field)
    ]
    return "; ".join(differing)


def split_hashes(joined: bytes) -> list[bytes]:
    """Take joined 32-byte hashes apart."""
    return [joined[start : start + HASH_SIZE] for start in range(0, len(joined), HASH_SIZE)]


def _packs(header: BlockHeader, records: Sequence[Sealable], epoch: str) -> Iterator[Pack]:
    first = header.first
    for number, group in enumerate(_groups(records)):
        name = f"{header.log}#{header.height}.{number}@{epoch}"
        yield Pack(name, header.log, header.height, header.time, first, tuple(group))
        first += len(group)


def _groups(records: Sequence[Sealable]) -> Iterator[list[PackedRecord]]:
    group: list[PackedRecord] = []
    size_bytes = 0
    for each in records:
        if group and (len(group) == PACK_ENTRIES or size_bytes + each.size_bytes > PACK_BYTES):
            yield group
            group, size_bytes = [], 0
        group.append(each.record)
        size_bytes += each.size_bytes
    if group:
        yield group
