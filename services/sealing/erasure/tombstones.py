"""Who was erased, so that a store put back from an older copy is rid of them again: in the vault's database (`tombstones`).

A row is the subject's hash, which nobody reads without the vault's name key and the name, and when. It is not found by any look, and links to none.
"""

from typing import Final

from services.runtime.mongo import Database, translated

COLLECTION: Final = "tombstones"


class Tombstones:
    """The subjects that were erased. Every method raises UnavailableError."""

    def __init__(self, database: Database) -> None:
        """Use the vault's database."""
        self._tombstones = database[COLLECTION]

    async def add(self, subject: bytes, erased_ms: int) -> None:
        """Note that a subject was erased; the latest time counts."""
        async with translated():
            await self._tombstones.update_one(
                {"_id": subject}, {"$max": {"erased_ms": erased_ms}}, upsert=True
            )

    async def all(self) -> dict[bytes, int]:
        """Give all with their times, Unix ms."""
        async with translated():
            return {bytes(each["_id"]): int(each["erased_ms"]) async for each in self._tombstones.find()}
