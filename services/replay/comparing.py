"""Is a sealed log what its topic says? One log is fed block by block with the records replayed for it. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from goodstrace import block as blocks
from goodstrace.block import BlockHeader
from goodstrace.errors import BlockError, TreeError
from goodstrace.merkle import HASH_SIZE, Frontier, leaf_hashes
from services.sealing.core import Sealable
from services.sealing.fsck.faults import Fault, Verdict
from services.sealing.fsck.saved import Saved, SavedCheck
from services.sealing.values import Pack, PackedRecord, StoredBlock, StoredCheckpoint

EARLIER_RUN: Final = "an earlier run of replay verify"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where replay and log part.

    `field` is document, header, count, offset, entry, part, tags, pack, leaves, root or checkpoint.
    """

    log: str
    block: int
    index: int | None = None
    offset: int | None = None
    field: str
    problem: str


class Mark(msgspec.Struct, frozen=True):
    """How far a log was compared: what is needed to go on behind it, a few hundred bytes however long the log is.

    `hashes` is the tree's frontier; `offset` the next one to replay; `header_hash` that of the last header compared (hex), which
    names all blocks up to it: a store that has another there, or none, is not the one that was compared. `earlier` is the most that
    a run before had compared of a store that was not this one any more: the log is held to it until it is seen to contain it.
    """

    log: str
    height: int = 0
    size: int = 0
    offset: int = 0
    hashes: tuple[bytes, ...] = ()
    header_hash: str = blocks.GENESIS_HASH
    earlier: Saved | None = None

    @property
    def frontier(self) -> Frontier:
        """The tree that was compared so far. Raises: TreeError."""
        return Frontier(self.size, self.hashes)

    def anew(self) -> "Mark":
        """Give the mark that begins with the first block, and holds the log to the most that this one knows of it. Raises: TreeError."""
        if self.earlier is not None or not self.size:  # an `earlier` that is still there is the larger one
            return Mark(self.log, earlier=self.earlier)
        return Mark(self.log, earlier=Saved(self.size, self.frontier.root(), EARLIER_RUN))


class Comparison:
    """Compares one log. Stops being of use after the first difference: what follows is shifted."""

    def __init__(self, mark: Mark, *, offsets: bool, published: Sequence[Saved] = ()) -> None:
        """Go on from a mark; `offsets`: the replayed records come from the very topic that was sealed.

        `published` is what else the log must contain, beside what the mark says of an earlier run.
        Raises: TreeError, where the mark is none.
        """
        self._log = mark.log
        self._offsets = offsets
        self._frontier = mark.frontier
        self._height = mark.height
        self._offset = mark.offset
        self._header_hash = mark.header_hash
        self._earlier = mark.earlier
        self._verdict = Verdict(log=mark.log)
        known = [*published, *([mark.earlier] if mark.earlier else [])]
        self._saved = SavedCheck([each for each in known if each.size > mark.size], self._verdict)
        self.difference: Difference | None = None

    @property
    def mark(self) -> Mark:
        """Where to go on from another time."""
        return Mark(
            self._log,
            self._height,
            self._frontier.size,
            self._offset,
            self._frontier.hashes,
            self._header_hash,
            self._earlier if self._earlier and self._earlier.size > self._frontier.size else None,
        )

    @property
    def lost(self) -> Sequence[Fault]:
        """What the log is known to have had and has not: of kinds `rolled-back` and `rewritten`."""
        return self._verdict.faults

    def block(self, block: StoredBlock, packs: Sequence[Pack], replayed: Sequence[Sealable]) -> bool:
        """Compare the next block, the packs in its range, and as many replayed records as it has leaves.

        Returns: whether they are the same, byte for byte, and what the log is known to have had; else `difference` or `lost` says where not.
        """
        self.difference = next(self._differences(block, packs, replayed), None)
        if self.difference is not None:
            return False
        self._saved.grown(self._frontier, block.leaves, self._height)
        if self.lost:
            return False
        self._frontier = self._frontier.append(leaf_hashes(each.record.entry for each in replayed))
        self._height += 1
        self._header_hash = blocks.header_hash(block.header)
        self._offset = replayed[-1].offset + 1
        return True

    def checkpoint(self, checkpoint: StoredCheckpoint) -> bool:
        """Compare a published checkpoint of the size reached with the root replayed."""
        if (checkpoint.size, checkpoint.root) == (self._frontier.size, self._frontier.root()):
            return True
        self.difference = self._found(
            "checkpoint", f"size {checkpoint.size} is published with a root that the topic does not give"
        )
        return False

    def complete(self) -> None:
        """Say that the log ends here: whatever it is known to have had beyond was lost."""
        self._saved.ended(self._frontier.size)

    def ended(self, missing: int) -> None:
        """Say that the topic ended before the log did."""
        self.difference = self._found("count", f"the topic ends {missing} records before this block does")

    def absent(self) -> None:
        """Say that the next block is not there, though later ones are published."""
        self.difference = self._found("header", "the block is missing")

    def unprovable(self, problem: str) -> None:
        """Say that a record of the topic is none that could have been sealed."""
        self.difference = self._found("entry", problem)

    def _differences(
        self, block: StoredBlock, packs: Sequence[Pack], replayed: Sequence[Sealable]
    ) -> Iterator[Difference]:
        try:
            header = blocks.decode(block.header)
        except BlockError as error:
            yield self._found("header", str(error))
            return
        if (header.height, header.first) != (self._height, self._frontier.size):
            yield self._found("header", f"is of height {header.height} and begins at {header.first}")
            return
        yield from self._wrong_offsets(header, replayed)
        yield from self._wrong_records(block, packs, replayed)
        yield from self._wrong_root(header, block, replayed)

    def _wrong_offsets(self, header: BlockHeader, replayed: Sequence[Sealable]) -> Iterator[Difference]:
        if not self._offsets:
            return
        for index, each in enumerate(replayed, header.first):
            if not header.kafka.first <= each.offset < header.kafka.next:
                said = f"the header covers offsets {header.kafka.first} to {header.kafka.next - 1}"
                yield self._found("offset", said, index, each.offset)

    def _wrong_records(
        self, block: StoredBlock, packs: Sequence[Pack], replayed: Sequence[Sealable]
    ) -> Iterator[Difference]:
        named = {pack.id: pack for pack in packs}
        sealed = [record for name in block.packs if name in named for record in named[name].records]
        if len(sealed) != len(replayed):
            yield self._found("pack", f"the block's packs hold {len(sealed)} records, not {len(replayed)}")
            return
        for index, (ours, theirs) in enumerate(zip(replayed, sealed, strict=True), block.first):
            for field in differing(ours.record, theirs):
                yield self._found(field, "replayed and sealed differ", index, ours.offset)

    def _wrong_root(
        self, header: BlockHeader, block: StoredBlock, replayed: Sequence[Sealable]
    ) -> Iterator[Difference]:
        hashes = leaf_hashes(each.record.entry for each in replayed)
        if b"".join(hashes) != block.leaves:
            yield self._found("leaves", "the leaf hashes are not those of the records")
        try:
            root = self._frontier.append(hashes).root().hex()
        except TreeError as error:
            yield self._found("root", str(error))
            return
        if root != header.root:
            yield self._found("root", f"replayed {root}, sealed {header.root}")

    def _found(
        self, field: str, problem: str, index: int | None = None, offset: int | None = None
    ) -> Difference:
        return Difference(
            log=self._log, block=self._height, index=index, offset=offset, field=field, problem=problem
        )


def differing(replayed: PackedRecord, sealed: PackedRecord) -> Iterator[str]:
    """Name the fields in which two records differ."""
    if replayed.entry != sealed.entry:
        yield "entry"
    ours, theirs = ({part.name: part for part in record.parts} for record in (replayed, sealed))
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield f"part {name}"
    if replayed.tags != sealed.tags:
        yield "tags"


def leaf_count(block: StoredBlock) -> int:
    """Count a block's leaves by its document."""
    return len(block.leaves) // HASH_SIZE
