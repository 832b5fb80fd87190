"""The store as it lies: what `fsck` reads of it, and the few documents it makes again. MongoDB is the real one.

Everything is read by log in order, in ranges with two near bounds (docs/decisions/0007), so that no answer grows with the log.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any, Final, Protocol

from services.runtime.mongo import Database, find_named, translated, within
from services.sealing.documents import Document, checkpoint_id, tile_id
from services.sealing.fsck.rows import TileName
from services.sealing.indexes import BLOCKS, CHECKPOINTS, HEADS, INSTANCE, LOGS, PACKS, PINS, RUNS, TILES
from services.sealing.values import block_id

PACKS_AT_ONCE: Final = 32  # of at most 256 KiB and one record each
MAX_STRAYS: Final = 100
WHOLE_S: Final = 3600.0  # what reads a whole collection may take
# The field that says where in its log a document belongs, by collection.
PLACES: Final = {BLOCKS: "height", PACKS: "first", CHECKPOINTS: "size", TILES: "n", PINS: "size"}


class LogDocuments(Protocol):
    """The documents of logs. Every method raises UnavailableError where the store is away."""

    async def logs(self) -> list[Document]:
        """List the registered logs."""
        ...

    async def head(self, log: str) -> Document | None:
        """Give a log's head."""
        ...

    async def block(self, log: str, height: int) -> Document | None:
        """Give the block that is named for a height, whatever it says itself."""
        ...

    async def blocks(self, log: str, height: int, end: int) -> list[Document]:
        """Give the blocks of heights height..end-1, in order."""
        ...

    async def next_height(self, log: str, height: int) -> int | None:
        """Give the lowest height from `height` on that has a block."""
        ...

    def packs(self, log: str, first: int, end: int) -> AsyncIterator[list[Document]]:
        """Give all packs that begin in first..end-1, in order, few at a time."""
        ...

    async def runs(self, log: str) -> Document | None:
        """Give the list of a log's runs of the index by tag."""
        ...

    async def tiles(self, log: str, names: Iterable[TileName]) -> list[Document]:
        """Give the tiles that are there."""
        ...

    async def count_tiles(self, log: str) -> int:
        """Count a log's tiles."""
        ...

    def tile_names(self, log: str) -> AsyncIterator[Document]:
        """Give _id, level and n of all tiles of a log."""
        ...

    async def checkpoints(self, log: str, above: int, upto: int) -> list[Document]:
        """Give the checkpoints of sizes above+1..upto, in order."""
        ...

    async def checkpoint(self, log: str, size: int) -> Document | None:
        """Give the checkpoint that is named for a size, whatever it says itself."""
        ...

    async def named(self, collection: str, ids: Collection[str]) -> list[Document]:
        """Give the documents of a collection that have these IDs."""
        ...

    async def pins(self, log: str, above: int, upto: int) -> list[Document]:
        """Give the pins of sizes above+1..upto."""
        ...

    async def strays(self, collection: str, logs: Sequence[str]) -> list[Document]:
        """Give _id and log of documents of a collection of PLACES that are of none of `logs`, or of no place in one."""
        ...

    async def strays_by_log(self, collection: str, logs: Sequence[str]) -> list[Document]:
        """Give the documents of `heads` or `runs`, one a log, of logs that are none of `logs`."""
        ...

    async def instance(self) -> str:
        """Give the installation's ID, empty where there is none."""
        ...

    async def put(self, collection: str, key: str, document: Document | None) -> None:
        """Replace a derived document; None removes it."""
        ...


class MongoDocuments:
    """Logs in one MongoDB database."""

    def __init__(self, database: Database) -> None:
        """Take the database; it is read with the driver's own deadlines."""
        self._database = database

    async def logs(self) -> list[Document]:
        """See LogDocuments."""
        async with translated():
            return await self._database[LOGS].find().sort("_id", 1).to_list(None)

    async def head(self, log: str) -> Document | None:
        """See LogDocuments."""
        return await self._one(HEADS, log)

    async def block(self, log: str, height: int) -> Document | None:
        """See LogDocuments."""
        return await self._one(BLOCKS, block_id(log, height))

    async def blocks(self, log: str, height: int, end: int) -> list[Document]:
        """See LogDocuments."""
        query = {"log": log, "height": {"$gte": height, "$lt": end}}
        async with translated():
            return await self._database[BLOCKS].find(query).sort("height", 1).to_list(None)

    async def next_height(self, log: str, height: int) -> int | None:
        """See LogDocuments."""
        query = {"log": log, "height": {"$gte": height}}
        async with translated():
            found = self._database[BLOCKS].find(query, {"height": 1}).sort("height", 1).limit(1)
            return next((int(each["height"]) for each in await found.to_list(1)), None)

    async def packs(self, log: str, first: int, end: int) -> AsyncIterator[list[Document]]:
        """See LogDocuments."""
        query = {"log": log, "first": {"$gte": first, "$lt": end}}
        cursor = self._database[PACKS].find(query).sort("first", 1).batch_size(PACKS_AT_ONCE)
        while True:
            async with translated():
                found = await cursor.to_list(PACKS_AT_ONCE)
            if not found:
                return
            yield found

    async def runs(self, log: str) -> Document | None:
        """See LogDocuments."""
        return await self._one(RUNS, log)

    async def tiles(self, log: str, names: Iterable[TileName]) -> list[Document]:
        """See LogDocuments."""
        return await self.named(TILES, [tile_id(log, level, n) for level, n in names])

    async def count_tiles(self, log: str) -> int:
        """See LogDocuments."""
        async with translated():
            with within(WHOLE_S):
                return int(await self._database[TILES].count_documents({"log": log}))

    async def tile_names(self, log: str) -> AsyncIterator[Document]:
        """See LogDocuments."""
        async with translated():
            async for document in self._database[TILES].find({"log": log}, {"level": 1, "n": 1}):
                yield document

    async def checkpoints(self, log: str, above: int, upto: int) -> list[Document]:
        """See LogDocuments."""
        query = {"log": log, "size": {"$gt": above, "$lte": upto}}
        async with translated():
            return await self._database[CHECKPOINTS].find(query).sort("size", 1).to_list(None)

    async def checkpoint(self, log: str, size: int) -> Document | None:
        """See LogDocuments."""
        return await self._one(CHECKPOINTS, checkpoint_id(log, size))

    async def named(self, collection: str, ids: Collection[str]) -> list[Document]:
        """See LogDocuments."""
        return await find_named(self._database, collection, ids)

    async def pins(self, log: str, above: int, upto: int) -> list[Document]:
        """See LogDocuments."""
        query = {"log": log, "size": {"$gt": above, "$lte": upto}}
        async with translated():
            return await self._database[PINS].find(query).to_list(None)

    async def strays(self, collection: str, logs: Sequence[str]) -> list[Document]:
        """See LogDocuments."""
        nowhere = {PLACES[collection]: {"$not": {"$gte": 0}}}
        query = {"$or": [{"log": {"$nin": list(logs)}}, nowhere]}
        async with translated():
            found = self._database[collection].find(query, {"log": 1}).limit(MAX_STRAYS)
            with within(WHOLE_S):
                return await found.to_list(None)

    async def strays_by_log(self, collection: str, logs: Sequence[str]) -> list[Document]:
        """See LogDocuments."""
        query = {"_id": {"$nin": list(logs)}}
        async with translated():
            return await self._database[collection].find(query, {"_id": 1}).to_list(MAX_STRAYS)

    async def instance(self) -> str:
        """See LogDocuments."""
        document = await self._one(INSTANCE, "instance")
        return str((document or {}).get("value", ""))

    async def put(self, collection: str, key: str, document: Document | None) -> None:
        """See LogDocuments."""
        async with translated():
            if document is None:
                await self._database[collection].delete_one({"_id": key})
            else:
                await self._database[collection].replace_one({"_id": key}, document, upsert=True)

    async def _one(self, collection: str, key: str) -> Document | None:
        async with translated():
            found: dict[str, Any] | None = await self._database[collection].find_one({"_id": key})
        return found
