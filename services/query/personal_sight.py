"""Who may read the personal data that was taken out of events: their own merchant, and auditors."""

from collections.abc import Collection, Sequence
from typing import Protocol

from goodstrace import entry as entries
from goodstrace.encrypted_parts import is_encrypted, record_key
from goodstrace.entry import Position
from goodstrace.personal_part import PART as PERSONAL
from services.sealing.showing import PartKey, position
from services.sealing.values import SealedRecord


class PersonalSource(Protocol):
    """Keys of what was taken out of events; `services.runtime.vault.personal.PersonalKeys` is the real one."""

    async def of_records(self, record_ids: Collection[bytes]) -> dict[bytes, bytes]:
        """Give the keys of records by their IDs, but for those that were destroyed. Raises: UnavailableError."""
        ...


class Opens:
    """What one caller may read of the personal data that was taken out of events: that of its own, or with `everything` of all."""

    def __init__(self, personal: PersonalSource | None, merchant: int, *, everything: bool) -> None:
        """Ask `personal` for keys; None: there are none."""
        self._personal, self._merchant, self._everything = personal, merchant, everything

    async def keys(self, records: Sequence[SealedRecord]) -> dict[Position, PartKey]:
        """Give what opens the parts `personal` of records that the caller may read, where it was not destroyed. Raises: UnavailableError."""
        if self._personal is None or not (self._everything or self._merchant):
            return {}
        own = {}
        for record in records:
            if any(part.name == PERSONAL and is_encrypted(part.content) for part in record.parts):
                entry = entries.decode(record.entry)
                if self._everything or entry.merchant == self._merchant:
                    own[position(record)] = bytes.fromhex(entry.id)
        found = await self._personal.of_records(own.values()) if own else {}
        return {
            place: PartKey(PERSONAL, record_key(found[record_id], record_id, PERSONAL))
            for place, record_id in own.items()
            if record_id in found
        }
