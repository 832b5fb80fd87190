"""How sealed records and checkpoints look in an answer, and what room they take. Pure, no I/O."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from goodstrace.entry import Position
from goodstrace.log.v1 import log_pb2
from services.sealing.values import SealedRecord, StoredCheckpoint

_MESSAGE_OVERHEAD: Final = 128
_PART_OVERHEAD: Final = 96  # name, salt and the tags and lengths of the message
_HASH_OVERHEAD: Final = 34


class PartKey(NamedTuple):
    """The name of an encrypted part, and the 32 bytes that open it."""

    name: str
    key: bytes


def position(record: SealedRecord) -> Position:
    """Give the place of a record."""
    return record.log, record.index


def record_bytes(record: SealedRecord, size: int, *, with_parts: bool = True) -> int:
    """Bound from above what a record takes in an answer, in bytes, with its proof in a tree of `size` entries."""
    parts = sum(_PART_OVERHEAD + len(part.content) for part in record.parts) if with_parts else 0
    return _MESSAGE_OVERHEAD + len(record.entry) + parts + _HASH_OVERHEAD * max(1, size).bit_length()


def checkpoint_message(stored: StoredCheckpoint) -> log_pb2.Checkpoint:
    """Show a checkpoint."""
    return log_pb2.Checkpoint(log=stored.log, note=stored.note)


def sizes_of(checkpoints: Mapping[str, StoredCheckpoint]) -> dict[str, int]:
    """Give the vector of sizes that a vector of checkpoints states."""
    return {log: stored.size for log, stored in checkpoints.items()}
