"""A log derived again from its blocks and packs, up to a signed checkpoint: while it is copied, and when the copy is read. Pure."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from goodstrace import block as blocks
from goodstrace.checkpoint import open_checkpoint
from goodstrace.errors import GoodstraceError
from goodstrace.merkle import Frontier, leaf_hashes
from services.backup.errors import BackupError
from services.sealing import core
from services.sealing.values import LogInfo, Pack, StoredBlock


class LogCheck:
    """Takes a log's blocks in order."""

    def __init__(self, info: LogInfo) -> None:
        """Begin with the empty log; signatures are checked by the keys that `info` names."""
        self._info = info
        self._tree = Frontier()
        self._previous: bytes | None = None
        self.height = -1

    @property
    def size(self) -> int:
        """The number of entries so far."""
        return self._tree.size

    def block(self, block: StoredBlock, packs: Sequence[Pack]) -> None:
        """Check the next block with its packs, in its order: signature, chain, every entry's hash, root. Raises: BackupError with the place."""
        place = f"{self._info.name}, block {self.height + 1}"
        try:
            key = Ed25519PublicKey.from_public_bytes(self._info.verifier_at(self.height + 1).public_key)
            header = blocks.verify_header(block.header, block.signature, key)
            blocks.verify_link(self._previous, block.header)
        except GoodstraceError as error:
            raise BackupError(f"{place}: {error}") from error
        if (header.log, header.first) != (self._info.name, self._tree.size):
            raise BackupError(f"{place}: it is of {header.log}, from index {header.first} on")
        self._entries(place, block, packs)
        self._tree = self._tree.append(core.split_hashes(block.leaves))
        if (self._tree.size, self._tree.root().hex()) != (header.size, header.root):
            raise BackupError(f"{place}: its leaves do not give the root in its header")
        self._previous, self.height = block.header, self.height + 1

    def checkpoint(self, size: int, root: str, note: str) -> None:
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

    def _entries(self, place: str, block: StoredBlock, packs: Sequence[Pack]) -> None:
        if tuple(pack.id for pack in packs) != block.packs:
            raise BackupError(f"{place}: its packs are not those that it names")
        hashes = core.split_hashes(block.leaves)
        entries = [record.entry for pack in packs for record in pack.records]
        if len(entries) != len(hashes):
            raise BackupError(f"{place}: it has {len(entries)} entries and {len(hashes)} hashes")
        for number, (found, wanted) in enumerate(zip(leaf_hashes(entries), hashes, strict=True)):
            if found != wanted:
                raise BackupError(
                    f"{place}, index {self._tree.size + number}: the entry is not the one that was sealed"
                )
