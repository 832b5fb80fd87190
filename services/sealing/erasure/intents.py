"""Erasures under way, in the vault's database (`erasures`): written before a key is destroyed, gone when its record is sealed."""

from typing import Any, Final

import msgspec

from services.runtime.errors import ConflictError
from services.runtime.mongo import Database, translated
from services.sealing.erasure.records import Erasure

COLLECTION: Final = "erasures"


class Intents:
    """The erasures under way. Every method raises UnavailableError."""

    def __init__(self, database: Database) -> None:
        """Use the vault's database."""
        self._intents = database[COLLECTION]

    async def begin(self, erasure: Erasure) -> Erasure:
        """Note an erasure, durable when this returns; gives the one that was begun before for the same key, where there is one."""
        document: dict[str, Any] = msgspec.structs.asdict(erasure)
        document["_id"] = _id(erasure)
        try:
            async with translated():
                await self._intents.insert_one(document)
        except ConflictError:
            async with translated():
                found = await self._intents.find_one({"_id": _id(erasure)})
            return _erasure(found) if found else erasure
        return erasure

    async def of(self, subject: bytes) -> list[Erasure]:
        """List those of a subject: more than one where a key was made anew while the first was erased."""
        async with translated():
            return [_erasure(each) async for each in self._intents.find({"subject": subject})]

    async def all(self, most: int) -> list[Erasure]:
        """List those that are under way, at most so many."""
        async with translated():
            return [_erasure(each) async for each in self._intents.find().limit(most)]

    async def end(self, erasure: Erasure) -> None:
        """Forget one whose record is acknowledged."""
        async with translated():
            await self._intents.delete_one({"_id": _id(erasure)})


def _id(erasure: Erasure) -> bytes:
    return erasure.subject + bytes.fromhex(erasure.destroyed)


def _erasure(document: dict[str, Any]) -> Erasure:
    return msgspec.convert(document, Erasure)
