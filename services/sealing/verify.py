"""Checking everything that is stored of a log, from its first block on: what is sealed, and what is derived from it.

`LogVerifier` is pure: it takes a log block by block and remembers only the tree's right edge, so its memory does not grow
with the log. `verify_log` feeds it from a store. Every fault names log, block, index and field.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from goodstrace import block as blocks
from goodstrace import entry as entries
from goodstrace.block import BlockHeader
from goodstrace.checkpoint import open_checkpoint
from goodstrace.errors import EntryError, NoteError, TreeError, VerificationError
from goodstrace.merkle import HASH_SIZE, leaf_hash
from goodstrace.note import Verifier
from goodstrace.tiles import TILE_BYTES, TILE_WIDTH, TileEdge, changed_tiles
from services.sealing import core
from services.sealing.errors import CorruptError
from services.sealing.ports import LogScan
from services.sealing.values import (
    Head,
    LogInfo,
    Pack,
    PackedRecord,
    StoredBlock,
    StoredCheckpoint,
    partition_of,
)

PAGE_BLOCKS: Final = 32
MAX_FAULTS: Final = 100  # of one log; a log with more is past counting

TileData = Mapping[tuple[int, int], bytes]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something stored that is not what the log says: where it is, and what is wrong.

    `block` is a height, `index` an entry's; None where the fault is in no block, or in no single entry. `field` is what
    is wrong: key, document, header, signature, chain, leaves, root, pack, pack.tags, entry, part, tags, tile, checkpoint,
    head.
    """

    log: str
    block: int | None = None
    index: int | None = None
    field: str
    problem: str


class Verdict(msgspec.Struct, kw_only=True):
    """What was checked of one log, and what was found; `orphans` are packs of commits cut off, which do no harm."""

    log: str
    blocks: int = 0
    entries: int = 0
    orphans: int = 0
    root: str = ""
    faults: list[Fault] = []

    def missing(self, field: str, problem: str) -> None:
        """Add a fault of the log as a whole."""
        self.faults.append(Fault(log=self.log, field=field, problem=problem))


class LogVerifier:
    """Checks one log, fed in order."""

    def __init__(self, info: LogInfo, trusted: Verifier | None = None) -> None:
        """Check with the trusted key, or where there is none with the one that the store names."""
        self.verdict = Verdict(log=info.name)
        self._log = info.name
        self._info = info
        self._verifier = self._key(info, trusted)
        self._edge = TileEdge()
        self._previous: bytes | None = None
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._newest: StoredCheckpoint | None = None
        self.height = 0
        self.block_first = 0

    @property
    def size(self) -> int:
        """The size of the tree checked so far."""
        return self._edge.frontier.size

    def block(self, block: StoredBlock, packs: Sequence[Pack]) -> None:
        """Check the next block and all packs that begin in its range."""
        height = self.height
        self.block_first = self.size
        self._header(block, height)
        hashes = core.split_hashes(block.leaves)
        try:
            self._edge, changed = self._edge.append(hashes)
        except TreeError as error:
            self._fault("leaves", error, block=height)
            changed = {}
        self._tiles |= changed
        self._records(block, height, packs, self.size - len(hashes), hashes)
        self.height = max(height, block.height) + 1  # after a gap each block is told of in its own place
        self.verdict.blocks += 1
        self.verdict.entries += len(hashes)
        self.verdict.root = self._edge.frontier.root().hex()

    def full_tiles(self) -> list[tuple[int, int]]:
        """Name the full tiles that were not checked yet."""
        return [name for name, data in self._tiles.items() if len(data) == TILE_BYTES]

    def edge_tiles(self) -> dict[tuple[int, int], bytes]:
        """Give the tiles that were not checked yet, as the blocks make them."""
        return dict(self._tiles)

    def tiles(
        self, names: Sequence[tuple[int, int]], stored: TileData, unpublished: TileData | None = None
    ) -> None:
        """Check stored tiles against those that the blocks give.

        With a last block that is not published yet, a tile may also be as it was before that block (`unpublished`).
        """
        for level, n in names:
            allowed = [self._tiles.pop((level, n))]
            if unpublished is not None:
                allowed.append(unpublished.get((level, n), b""))
            if stored.get((level, n), b"") not in allowed:
                there = "differs" if (level, n) in stored else "is missing"
                self._fault("tile", f"tile {level}/{n} {there}", index=n << 8 * (level + 1))

    def checkpoint(self, block: StoredBlock, stored: StoredCheckpoint | None) -> None:
        """Check the checkpoint of the block that was checked last."""
        height = self.height - 1
        self._newest = stored
        if stored is None:
            self._fault("checkpoint", f"size {block.size} has no checkpoint", block=height)
            return
        if self._verifier is None:
            return
        try:
            signed = open_checkpoint(stored.note, [self._verifier_at(height)])
        except VerificationError as error:
            self._fault("checkpoint", f"size {stored.size}: {error}", block=height)
            return
        said = (self._log, signed.origin, signed.size, signed.root)
        if (stored.log, self._verifier.name, stored.size, stored.root) != said:
            self._fault("checkpoint", f"size {stored.size}: note and document differ", block=height)
        if (signed.size, signed.root) != (self.size, self._edge.frontier.root()):
            self._fault(
                "checkpoint", f"size {stored.size}: not the size and root of the blocks", block=height
            )

    def stray_checkpoint(self, stored: StoredCheckpoint) -> None:
        """Report a checkpoint of a size at which no block ends: the log was cut off, or never was so."""
        self._fault("checkpoint", f"size {stored.size} is published, but no block ends there")

    def head(self, head: Head | None) -> None:
        """Check what the log is published as, once all that is published was fed."""
        if head is not None and (not _is_of(head, self._newest) or head.height != self.height - 1):
            self._fault("head", f"is not the checkpoint of the last block, {self.height - 1}")
        elif head is not None and head.published is not None:
            self._published(head.published)

    def _published(self, shown: StoredCheckpoint) -> None:
        """Check what readers are shown: signed by the log, and with the root and size that the note has."""
        newest = self._newest
        if newest is not None and shown.size == newest.size and not _same_note(shown, newest):
            self._fault("head", f"published size {shown.size}: not the checkpoint of that size")
        if self._verifier is None:
            return
        try:
            signed = open_checkpoint(shown.note, [self._verifier])
        except VerificationError as error:
            self._fault("head", f"published size {shown.size}: {error}")
            return
        if (signed.origin, signed.size, signed.root) != (self._verifier.name, shown.size, shown.root):
            self._fault("head", f"published size {shown.size}: note and document differ")

    def failed(self, field: str, problem: object) -> None:
        """Report a fault in no particular place."""
        self._fault(field, problem)

    def _key(self, info: LogInfo, trusted: Verifier | None) -> Verifier | None:
        try:
            named = Verifier.parse(info.vkey)
        except NoteError as error:
            self._fault("key", error)
            return trusted
        known = (info.vkey, *(change.old for change in info.changes))
        if trusted is not None and trusted.vkey() not in known:
            self._fault("key", f"the store names {info.vkey}, not the trusted key")
            return trusted
        if named.name != info.origin:
            self._fault("key", f"the key is named {named.name}, the log {info.origin}")
        return named

    def _verifier_at(self, height: int) -> Verifier:
        """Give the key in force at a height, that of a change about to be included."""
        assert self._verifier is not None
        if self._verifier.vkey() != self._info.vkey:
            return self._verifier
        pending = self._info.pending
        if pending is not None and pending.height == height:
            return Verifier.parse(pending.new)
        return self._info.verifier_at(height)

    def _header(self, block: StoredBlock, height: int) -> None:
        """Check a header: bytes, signature, chain, and what the document repeats of it."""
        try:
            header = blocks.decode(block.header)
        except VerificationError as error:
            self._fault("header", error, block=height)
            self._previous = block.header
            return
        if self._verifier is not None:
            key = Ed25519PublicKey.from_public_bytes(self._verifier_at(height).public_key)
            try:
                blocks.verify_header(block.header, block.signature, key)
            except VerificationError as error:
                self._fault("signature", error, block=height)
        self._chain(block, header, height)
        said = (header.log, header.height, header.first, header.size, header.count)
        if said != (block.log, block.height, block.first, block.size, len(block.leaves) // HASH_SIZE):
            self._fault("document", "document and header differ", block=height)
        root = self._root_after(block.leaves)
        if root != header.root:
            self._fault("root", "leaf hashes do not give the root of the header", block=height)

    def _chain(self, block: StoredBlock, header: BlockHeader, height: int) -> None:
        try:
            if self._previous is not None or height == 0:
                blocks.verify_link(self._previous, block.header)
        except VerificationError as error:
            self._fault("chain", error, block=height)
        if header.log != self._log or header.kafka.partition != partition_of(self._log):
            self._fault("chain", f"the header is of {header.log}, not {self._log}", block=height)
        if header.height != height or header.first != self.size:
            self._fault("chain", f"found height {header.height} in the place of {height}", block=height)
        if height == 0 and header.kafka.first != 0:
            self._fault("chain", f"begins at Kafka offset {header.kafka.first}, not 0", block=height)
        self._previous = block.header

    def _root_after(self, leaves: bytes) -> str:
        try:
            return self._edge.append(core.split_hashes(leaves))[0].frontier.root().hex()
        except TreeError:
            return ""

    def _records(
        self, block: StoredBlock, height: int, packs: Sequence[Pack], first: int, hashes: Sequence[bytes]
    ) -> None:
        named = {pack.id: pack for pack in packs if pack.id in block.packs}
        index = first
        for pack_id in block.packs:
            pack = named.get(pack_id)
            if pack is None:
                self._fault("pack", f"pack {pack_id} is missing", block=height, index=index)
                return
            self._pack(block, height, pack, index, hashes[index - first :])
            index += len(pack.records)
        if index != first + len(hashes):
            self._fault("pack", f"packs hold {index - first} entries, not {len(hashes)}", block=height)
        for pack in packs:
            if pack.id not in named:
                self._orphan(pack, height, first, hashes)

    def _pack(self, block: StoredBlock, height: int, pack: Pack, index: int, hashes: Sequence[bytes]) -> None:
        time = _time_of(block)
        if (pack.log, pack.height, pack.first) != (self._log, height, index) or pack.time != (
            time or pack.time
        ):
            self._fault("pack", f"pack {pack.id} is not of this place", block=height, index=index)
        if pack.tags != tuple(sorted({tag for record in pack.records for tag in record.tags})):
            self._fault(
                "pack.tags", f"pack {pack.id} is found by other tags than it holds", block=height, index=index
            )
        for place, (record, leaf) in enumerate(zip(pack.records, hashes, strict=False), index):
            for field, problem in _record_problems(record, leaf):
                self._fault(field, problem, block=height, index=place)

    def _orphan(self, pack: Pack, height: int, first: int, hashes: Sequence[bytes]) -> None:
        """Check a pack that the block does not name: harmless where it holds nothing but what is sealed there."""
        sealed = hashes[pack.first - first :]
        for place, (record, leaf) in enumerate(zip(pack.records, sealed, strict=False), pack.first):
            for field, problem in _record_problems(record, leaf):
                self._fault(
                    field, f"in pack {pack.id} that no block names: {problem}", block=height, index=place
                )
        self.verdict.orphans += 1

    def _fault(
        self, field: str, problem: object, *, block: int | None = None, index: int | None = None
    ) -> None:
        if len(self.verdict.faults) < MAX_FAULTS:
            fault = Fault(log=self._log, block=block, index=index, field=field, problem=str(problem))
            self.verdict.faults.append(fault)


async def verify_log(
    scan: LogScan, info: LogInfo, trusted: Verifier | None, progress: Callable[[Verdict], None]
) -> Verdict:
    """Check all that a store holds of one log.

    A writer may be at work: what it commits meanwhile is checked too, up to the newest block that is published.

    Args:
        scan: where the log is kept.
        info: the log.
        trusted: its public key from elsewhere than the store, or None.
        progress: called after each page of blocks.
    Raises: UnavailableError.
    """
    verifier = LogVerifier(info, trusted)
    try:
        await _feed(scan, verifier, progress)
    except CorruptError as error:  # a document that is not even of the right form
        verifier.failed("document", error)
    return verifier.verdict


async def _feed(scan: LogScan, verifier: LogVerifier, progress: Callable[[Verdict], None]) -> None:
    """Feed a log.

    1. What is published, block by block. Where a writer went on meanwhile, again from there.
    2. A block that is committed and not published yet: its writer is about to do so, or died and does at its next start.
    3. What must not be there: checkpoints and tiles beyond the blocks.
    """
    log = verifier.verdict.log
    while True:
        head = await scan.head(log)
        await _feed_published(scan, verifier, head.height + 1 if head else 0, progress)
        before = verifier.edge_tiles()
        tail = await scan.scan_blocks(log, verifier.height, verifier.height + 2)
        stored = await scan.tiles(log, {**before, **_tail_tiles(verifier, tail)})
        strays = await scan.scan_checkpoints(log, verifier.size, blocks.MAX_INTEGER)
        count = await scan.count_tiles(log)
        if head == await scan.head(log):
            break
    verifier.head(head)
    counts = {tile_count(verifier.size)}
    for block in tail:
        await _feed_block(scan, verifier, block)
        counts.add(tile_count(verifier.size))
    if len(tail) > 1:
        verifier.failed("head", f"blocks go on beyond height {head.height if head else -1}")
    verifier.tiles(list(verifier.edge_tiles()), stored, before if tail else None)
    if count not in counts:
        verifier.failed("tile", f"{count} tiles are stored, the tree has {min(counts)}")
    for stray in strays:
        if not tail or stray.size != tail[0].size:
            verifier.stray_checkpoint(stray)
        else:
            verifier.checkpoint(tail[0], stray)
    progress(verifier.verdict)


def tile_count(size: int) -> int:
    """Count the tiles of a tree of `size` leaves, partial ones too."""
    count = 0
    while size:
        count += -(-size // TILE_WIDTH)
        size //= TILE_WIDTH
    return count


def _is_of(head: Head, newest: StoredCheckpoint | None) -> bool:
    """Tell whether a head names this checkpoint, which may have got cosignatures since, and publishes no larger one."""
    if newest is None or (head.published is not None and head.published.size > newest.size):
        return False
    signed = head.checkpoint
    return (signed.size, signed.root) == (newest.size, newest.root) and _same_note(signed, newest)


def _same_note(one: StoredCheckpoint, other: StoredCheckpoint) -> bool:
    """Tell whether two notes are the same up to the cosignatures that one has and the other has not yet."""
    return one.note.startswith(other.note) or other.note.startswith(one.note)


def _tail_tiles(verifier: LogVerifier, tail: Sequence[StoredBlock]) -> TileData:
    """Name the tiles that unpublished blocks may have changed already."""
    end = verifier.size + sum(len(block.leaves) // HASH_SIZE for block in tail)
    return {(tile.level, tile.n): b"" for tile in changed_tiles(verifier.size, end)}


async def _feed_published(
    scan: LogScan, verifier: LogVerifier, end: int, progress: Callable[[Verdict], None]
) -> None:
    log = verifier.verdict.log
    while verifier.height < end:
        page = await scan.scan_blocks(log, verifier.height, min(end, verifier.height + PAGE_BLOCKS))
        if not page:
            verifier.failed(
                "chain", f"block {verifier.height} is missing, blocks up to {end - 1} are published"
            )
            return
        for block in page:
            await _feed_block(scan, verifier, block)
            published = await scan.scan_checkpoints(log, verifier.block_first, verifier.size)
            by_size = {checkpoint.size: checkpoint for checkpoint in published}
            verifier.checkpoint(block, by_size.pop(verifier.size, None))
            for stray in by_size.values():
                verifier.stray_checkpoint(stray)
            names = verifier.full_tiles()
            verifier.tiles(names, await scan.tiles(log, names) if names else {})
        progress(verifier.verdict)


async def _feed_block(scan: LogScan, verifier: LogVerifier, block: StoredBlock) -> None:
    end = verifier.size + len(block.leaves) // HASH_SIZE
    verifier.block(block, await scan.scan_packs(block.log, verifier.size, end))


def _record_problems(record: PackedRecord, leaf: bytes) -> Iterator[tuple[str, str]]:
    """Say what of a record is not what its leaf commits to, field by field."""
    if leaf_hash(record.entry) != leaf:
        yield "entry", "the entry is not the one in the tree"
    try:
        entry = entries.decode(record.entry)
    except EntryError as error:
        yield "entry", str(error)
        return
    held = {part.name: part for part in record.parts}
    for promised in entry.parts:
        part = held.pop(promised.name, None)
        if part is None:
            yield "part", f"part {promised.name!r} is missing"
            continue
        try:
            entries.verify_part(entry, part.name, part.salt, part.content)
        except EntryError as error:
            yield "part", str(error)
    for name in held:
        yield "part", f"part {name!r} is not in the entry"
    try:
        if entries.tags_commitment(record.tags) != entry.tags:
            yield "tags", "the tags are not those that the entry commits to"
    except EntryError as error:
        yield "tags", str(error)


def _time_of(block: StoredBlock) -> int | None:
    try:
        return blocks.decode(block.header).time
    except VerificationError:
        return None
