"""What is stored of a log, as values: the documents of `mongo.py` and the arguments of `core.py` and `verify.py`."""

from itertools import chain

import msgspec

from goodstrace import key_changes
from goodstrace.key_changes import KeyChange
from goodstrace.log_keys import SINGLE_LOGS
from goodstrace.note import Verifier
from services.runtime.envelope import Part


class LogInfo(msgspec.Struct, frozen=True):
    """A log as registered.

    Attributes:
        name: such as "goods/3".
        origin: the name of its keys.
        vkey: its public key (C2SP), the one in force now.
        changes: of its key, oldest first, each verified by `documents.log_info`.
        pending: the change that is about to be: in force once a block of its height is signed by its new key.
    """

    name: str
    origin: str
    vkey: str
    changes: tuple[KeyChange, ...] = ()
    pending: KeyChange | None = None

    def verifier_at(self, height: int) -> Verifier:
        """Give the key that must have signed the block at `height` and that block's checkpoint. Raises: NoteError."""
        return Verifier.parse(key_changes.key_at(self.changes, self.vkey, height))

    def verifier_of(self, size: int) -> Verifier:
        """Give the key that must have signed a checkpoint of `size`. Raises: NoteError."""
        return Verifier.parse(key_changes.key_of_size(self.changes, self.vkey, size))


class PackedRecord(msgspec.Struct, frozen=True):
    """A sealed record in its pack: the entry's exact bytes, its parts with salts, its tags (16 bytes each, sorted)."""

    entry: bytes
    parts: tuple[Part, ...]
    tags: tuple[bytes, ...]


class Pack(msgspec.Struct, frozen=True):
    """Neighbouring records of one block, stored together.

    Attributes:
        id: log, height, number within the block and the writer's epoch: no two writers share one.
        log, height: the block it was written for; `time` that block's.
        first: index of its first record in the log.
        records: at least one.
    """

    id: str
    log: str
    height: int
    time: int
    first: int
    records: tuple[PackedRecord, ...]

    @property
    def tags(self) -> set[bytes]:
        """The distinct tags of all its records: what look-ups find it by."""
        return set(chain.from_iterable([record.tags for record in self.records]))

    @property
    def end(self) -> int:
        """The index after its last record."""
        return self.first + len(self.records)


class StoredBlock(msgspec.Struct, frozen=True):
    """One commit to a log, as its document has it.

    Attributes:
        log, height, first, size: as in the header, for finding it.
        header: the header's exact bytes (goodstrace.block); `signature` 64 bytes over them.
        leaves: the 32-byte leaf hashes of its entries, joined.
        packs: the IDs of its packs, in log order.
    """

    log: str
    height: int
    first: int
    size: int
    header: bytes
    signature: bytes
    leaves: bytes
    packs: tuple[str, ...]

    @property
    def id(self) -> str:
        """The document's unique ID: the commit point."""
        return block_id(self.log, self.height)


class StoredCheckpoint(msgspec.Struct, frozen=True):
    """A signed checkpoint: `root` 32 bytes, `note` the full signed note (C2SP tlog-checkpoint), cosignatures with it."""

    log: str
    size: int
    root: bytes
    note: str

    @property
    def signatures(self) -> int:
        """Number of the note's signature lines: a note of more of them replaces one of fewer."""
        return self.note.count("\n— ")


class Head(msgspec.Struct, frozen=True):
    """How far a log is signed, and how far it is published.

    Attributes:
        height: of the block that the newest checkpoint ends with.
        checkpoint: the newest one that the log has signed: what its writer goes on from.
        published: the newest one that the witnesses' quorum has cosigned, all that readers see of the log; None where
            there is none yet. Where no quorum is asked for it is `checkpoint`.
    """

    height: int
    checkpoint: StoredCheckpoint
    published: StoredCheckpoint | None = None


class SealedRecord(msgspec.Struct, frozen=True):
    """A record read back from a log: entry bytes, all its stored parts with salts, its tags."""

    log: str
    index: int
    entry: bytes
    parts: tuple[Part, ...]
    tags: tuple[bytes, ...]


def log_name(prefix: str, partition: int) -> str:
    """Name the log of a Kafka partition, such as "goods/3"; "root" and "index" are the only ones of their kinds.

    Raises: ValueError for a partition of the topic of one of these other than 0.
    """
    if prefix not in SINGLE_LOGS:
        return f"{prefix}/{partition}"
    if partition:
        raise ValueError(f"the log {prefix} has one partition, 0")
    return prefix


def partition_of(log: str) -> int:
    """Give the Kafka partition that a log seals. Raises: ValueError where it is not the name of a log."""
    if log in SINGLE_LOGS:
        return 0
    _, slash, number = log.rpartition("/")
    if not (slash and number.isascii() and number.isdigit()):
        raise ValueError(f"{log!r} is not the name of a log")
    return int(number)


def block_id(log: str, height: int) -> str:
    """Name a block's document."""
    return f"{log}#{height}"
