"""What an auditor pages through: how far logs are signed, their blocks' headers and their checkpoints, newest first; never a log from its start."""

from typing import Final

from services.runtime.mongo import Database, translated
from services.sealing import documents
from services.sealing.indexes import CHECKPOINTS
from services.sealing.mongo import MongoBlockStore
from services.sealing.pins import Pins, SignedHeader
from services.sealing.values import Head, StoredCheckpoint

MOST_AT_ONCE: Final = 100


class LogBook:
    """The logs of one database. Every method raises UnavailableError where the store is away, CorruptError where what it holds is wrong."""

    def __init__(self, database: Database) -> None:
        """Read from a database."""
        self._database, self._store, self._pins = database, MongoBlockStore(database), Pins(database)

    async def heads(self) -> dict[str, Head]:
        """Tell how far each log is signed and published, by name; those without any checkpoint are left out."""
        return await self._store.heads_under("")

    async def blocks(self, log: str, low: int, high: int) -> list[SignedHeader]:
        """Give the headers of the blocks from height `low` to before `high`, newest first; at most 100. Raises: CorruptError where one is not there."""
        places = [(log, height) for height in range(max(low, high - MOST_AT_ONCE), high)]
        found = await self._pins.headers(places)
        return [found[place] for place in reversed(places)]

    async def checkpoints(self, log: str, limit: int) -> list[StoredCheckpoint]:
        """Give the newest checkpoints that are signed, published or not, newest first; at most 100."""
        async with translated():
            cursor = (
                self._database[CHECKPOINTS]
                .find({"log": log})
                .sort("size", -1)
                .limit(min(limit, MOST_AT_ONCE))
            )
            found = await cursor.to_list(None)
        return [documents.stored_checkpoint(document) for document in found]
