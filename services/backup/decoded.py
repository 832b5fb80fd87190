"""Documents of logs, read as what they must be: exactly what the ledger writes, with no field more and none other."""

from typing import Any, TypeVar

from services.backup.errors import BackupError
from services.sealing.fsck import rows
from services.sealing.fsck.rows import Malformed
from services.sealing.values import Pack, StoredBlock, StoredCheckpoint

T = TypeVar("T")
Document = dict[str, Any]


def block(document: Document) -> StoredBlock:
    """Decode a block. Raises: BackupError."""
    return _sound(rows.block(document))


def pack(document: Document) -> Pack:
    """Decode a pack. Raises: BackupError."""
    return _sound(rows.pack(document))


def checkpoint(document: Document) -> StoredCheckpoint:
    """Decode a checkpoint. Raises: BackupError."""
    row = _sound(rows.checkpoint(document))
    if row.wrong:
        raise BackupError(f"document {document.get('_id')}: not as written: {row.wrong}")
    return row.stored


def _sound(found: T | Malformed) -> T:
    if isinstance(found, Malformed):
        raise BackupError(found.problem)
    return found
