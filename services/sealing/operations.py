"""What was done to a store as a whole, and when: `fsck` and `backup` note it, `goodstrace doctor` reads it. It proves nothing."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from services.runtime.errors import UnavailableError
from services.runtime.mongo import Database, translated
from services.sealing.fsck.faults import Verdict

COLLECTION: Final = "operations"
_FSCK: Final = "fsck/"
_BACKUP: Final = "backup"
_AFTER: Final = "\U0010ffff"


class LastCheck(msgspec.Struct, frozen=True):
    """The last run of fsck over a log: when it ended (Unix ms), how many entries it checked, faults by kind."""

    log: str
    finished_ms: int
    entries: int
    faults: dict[str, int]


class LastBackup(msgspec.Struct, frozen=True):
    """The last whole backup: when it was begun (Unix ms), and how many entries of each log it has."""

    begun_ms: int
    sizes: Mapping[str, int]


class Operations:
    """Notes in the services' database. Every method raises UnavailableError."""

    def __init__(self, database: Database) -> None:
        """Use the collection `operations`: {_id: "fsck/<log>" or "backup", ...}."""
        self._notes = database[COLLECTION]

    async def check_ended(self, verdicts: Sequence[Verdict], finished_ms: int) -> None:
        """Note what fsck found, in the place of what it found before."""
        for each in verdicts:
            note = LastCheck(each.log, finished_ms, each.entries, each.counts)
            await self._put(_FSCK + each.log, msgspec.to_builtins(note))

    async def checked(self) -> list[LastCheck]:
        """Give the last run over each log."""
        query = {"_id": {"$gte": _FSCK, "$lt": _FSCK + _AFTER}}
        async with translated():
            rows = await self._notes.find(query, {"_id": 0}).to_list(None)
        try:
            return msgspec.convert(rows, list[LastCheck])
        except msgspec.ValidationError as error:
            raise UnavailableError(f"the notes of fsck are malformed: {error}") from error

    async def backup_ended(self, begun_ms: int, sizes: Mapping[str, int]) -> None:
        """Note that a whole backup, begun at this time (Unix ms), was made and verified, of so many entries of each log."""
        listed = [{"log": log, "size": size} for log, size in sorted(sizes.items())]
        await self._put(_BACKUP, {"begun_ms": begun_ms, "sizes": listed})

    async def backed_up(self) -> LastBackup | None:
        """Tell of the last backup; None where there was none."""
        async with translated():
            found = await self._notes.find_one({"_id": _BACKUP}, {"_id": 0})
        if found is None:
            return None
        sizes = {str(each["log"]): int(each["size"]) for each in found.get("sizes", [])}
        return LastBackup(int(found["begun_ms"]), sizes)

    async def _put(self, key: str, fields: dict[str, Any]) -> None:
        async with translated():
            await self._notes.replace_one({"_id": key}, {"_id": key, **fields}, upsert=True)
