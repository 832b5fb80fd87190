"""A log derived again from its blocks, packs and checkpoints, up to a signed one: while it is copied, and when the copy is read. Pure.

Each record must be what its leaf commits to, each block's end signed, and what stands beside a block what its header says: where fsck would find a fault there is no copy.
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from goodstrace import block as blocks
from goodstrace.block import BlockHeader, KafkaRange
from goodstrace.checkpoint import open_checkpoint
from goodstrace.errors import GoodstraceError
from goodstrace.merkle import Frontier
from services.backup.errors import BackupError
from services.sealing import core
from services.sealing.fsck import records
from services.sealing.values import LogInfo, Pack, StoredBlock, StoredCheckpoint


class LogCheck:
    """Takes a log's blocks in order, after each the checkpoint that ends with it."""

    def __init__(self, info: LogInfo) -> None:
        """Begin with the empty log; signatures are checked by the keys that `info` names."""
        self._info = info
        self._tree = Frontier()
        self._previous: bytes | None = None
        self._signed = 0
        self.height = -1
        self.kafka: KafkaRange | None = None

    @property
    def size(self) -> int:
        """The number of entries so far."""
        return self._tree.size

    def block(self, block: StoredBlock, packs: Sequence[Pack]) -> None:
        """Check the next block with its packs, in its order: signature, chain, every record with parts and tags, root. Raises: BackupError with the place."""
        self._check_signed()
        place = f"{self._info.name}, block {self.height + 1}"
        try:
            key = Ed25519PublicKey.from_public_bytes(self._info.verifier_at(self.height + 1).public_key)
            header = blocks.verify_header(block.header, block.signature, key)
            blocks.verify_link(self._previous, block.header)
        except GoodstraceError as error:
            raise BackupError(f"{place}: {error}") from error
        if (header.log, header.first) != (self._info.name, self._tree.size):
            raise BackupError(f"{place}: it is of {header.log}, from index {header.first} on")
        if (block.log, block.height, block.first, block.size) != (
            header.log,
            header.height,
            header.first,
            header.size,
        ):
            raise BackupError(f"{place}: what stands beside its header is not what the header says")
        self._records(place, block, header, packs)
        self._tree = self._tree.append(core.split_hashes(block.leaves))
        if (self._tree.size, self._tree.root().hex()) != (header.size, header.root):
            raise BackupError(f"{place}: its leaves do not give the root in its header")
        self._previous, self.height, self.kafka = block.header, self.height + 1, header.kafka

    def checkpoint(self, stored: StoredCheckpoint) -> None:
        """Check the checkpoint that ends with the block taken last. Raises: BackupError."""
        if stored.log != self._info.name:
            raise BackupError(f"{self._info.name}: a checkpoint of {stored.log} where none belongs")
        self.signed(stored.size, stored.root.hex(), stored.note)
        self._signed = stored.size

    def signed(self, size: int, root: str, note: str) -> None:
        """Check that a signed checkpoint is of all that was taken. Raises: BackupError."""
        name = self._info.name
        try:
            signed = open_checkpoint(note, [self._info.verifier_of(size)])
        except GoodstraceError as error:
            raise BackupError(f"{name}: the checkpoint of size {size}: {error}") from error
        if (signed.size, signed.root.hex()) != (size, root):
            raise BackupError(f"{name}: the signed checkpoint is of another size or root than is said")
        if (self._tree.size, self._tree.root()) != (signed.size, signed.root):
            raise BackupError(
                f"{name}: {self._tree.size} entries do not give the root of the checkpoint of size {size}"
            )

    def ended(self, size: int, root: str, note: str) -> KafkaRange:
        """Check that the log ends with this signed checkpoint; gives what its last block says of Kafka. Raises: BackupError."""
        self.signed(size, root, note)
        self._check_signed()
        if self.kafka is None:
            raise BackupError(f"{self._info.name}: it has no block")
        return self.kafka

    def is_of(self, height: int, kafka: KafkaRange) -> None:
        """Check that the last block is at this height, and of these records. Raises: BackupError."""
        if self.height != height:
            raise BackupError(
                f"{self._info.name}: its last block is {self.height}, and {height} is said to be"
            )
        if self.kafka != kafka:
            raise BackupError(f"{self._info.name}: its last block is of other records than is said")

    def _check_signed(self) -> None:
        if self._signed != self._tree.size:
            raise BackupError(
                f"{self._info.name}, block {self.height}: the checkpoint of size {self._tree.size} is missing"
            )

    def _records(self, place: str, block: StoredBlock, header: BlockHeader, packs: Sequence[Pack]) -> None:
        if tuple(pack.id for pack in packs) != block.packs:
            raise BackupError(f"{place}: its packs are not those that it names")
        hashes, first = core.split_hashes(block.leaves), 0
        for pack in packs:
            index = self._tree.size + first
            if (pack.log, pack.height, pack.first, pack.time) != (
                header.log,
                header.height,
                index,
                header.time,
            ):
                raise BackupError(f"{place}: pack {pack.id} says that it is of another place or time")
            for number, _field, problem in records.problems(pack.records, hashes[first:]):
                raise BackupError(f"{place}, index {index + number}: {problem}")
            first += len(pack.records)
        if first != len(hashes):
            raise BackupError(f"{place}: it has {first} entries and {len(hashes)} hashes")
