"""The keys of encrypted parts of browse records, for whoever may read them."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from goodstrace import asked_user
from goodstrace.encrypted_parts import is_encrypted, record_key
from goodstrace.entry import Position
from goodstrace.log.v1 import log_pb2
from services.audit.browse_index import BrowseIndex
from services.runtime.vault import Vault
from services.sealing.showing import position
from services.sealing.values import SealedRecord


class PartKeys:
    """Finds whose records are, and by the vault what opens their parts."""

    def __init__(self, vault: Vault, index: BrowseIndex) -> None:
        """Ask `index` whose a record is where that is not said."""
        self._vault, self._index = vault, index

    async def add(
        self,
        shown: Mapping[Position, log_pb2.SealedEntry],
        records: Sequence[SealedRecord],
        subject: bytes | None = None,
    ) -> None:
        """Put into an answer the keys of its encrypted parts. Those of whom the index or the vault knows nothing stay withheld.

        Args:
            shown: the records as the answer shows them, by position.
            records: the same.
            subject: the hash of the user whose they all are; None where the index is to say whose each is.
        Raises: UnavailableError, VaultError.
        """
        closed = [record for record in records if any(is_encrypted(part.content) for part in record.parts)]
        encrypted = {record_id_of(record): shown[position(record)] for record in closed}
        whose = dict.fromkeys(encrypted, subject) if subject else await self._subjects(closed)
        asked = await self._vault.asked_of(encrypted) if encrypted else {}
        for record_id, message in encrypted.items():
            owner = whose.get(record_id)
            user_key = await self._vault.key_by_hash(owner) if owner else None
            if user_key is not None:
                _open(message, record_id, user_key, asked.get(record_id))

    async def _subjects(self, records: Sequence[SealedRecord]) -> dict[bytes, bytes | None]:
        rows = await self._index.rows_of({record_id_of(each): time_of(each) for each in records})
        return {record_id: row.subject for record_id, row in rows.items()}


def record_id_of(record: SealedRecord) -> bytes:
    """Give the ID of a sealed record, 16 bytes."""
    return bytes.fromhex(json.loads(record.entry)["id"])


def time_of(record: SealedRecord) -> int:
    """Give the record time of a sealed record, Unix milliseconds."""
    return int(json.loads(record.entry)["time"])


def opens(key: bytes, content: bytes) -> bool:
    """Say whether encrypted content is encrypted under a part's key: it commits to it."""
    return is_encrypted(content) and hashlib.sha256(key).hexdigest().encode() in content[-90:]


def _open(message: log_pb2.SealedEntry, record_id: bytes, user_key: bytes, asked: bytes | None) -> None:
    for part in message.parts:
        if is_encrypted(part.content):
            key = record_key(user_key, record_id, part.name)
            if opens(key, part.content):  # else the index is wrong about whose it is
                part.key = key
                if asked is not None and part.name == asked_user.PART:
                    part.asked_key = record_key(asked, record_id, asked_user.MEMBER)
