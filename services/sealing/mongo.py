"""Logs in MongoDB: the adapter behind `ports.BlockStore` and `ports.LogScan`. The driver's errors end here.

Every write may be repeated: packs and blocks have unique names, tiles only ever grow, checkpoints never change.
"""

import secrets
from collections.abc import Mapping, Sequence

from pymongo import UpdateOne

from goodstrace.merkle import HASH_SIZE
from services.runtime.errors import ConflictError
from services.runtime.mongo import Database, translated
from services.sealing import documents
from services.sealing.errors import CorruptError, LostRaceError
from services.sealing.indexes import BLOCKS, CHECKPOINTS, INSTANCE, LOGS, PACKS, TILES
from services.sealing.ports import TileNames
from services.sealing.values import LogInfo, Pack, StoredBlock, StoredCheckpoint

_INSTANCE_ID = "instance"


class MongoBlockStore:
    """Logs in one database."""

    def __init__(self, database: Database) -> None:
        """Take the database; its indexes were made by `services.sealing.provision`."""
        self._database = database

    async def instance_id(self) -> str:
        """See BlockStore."""
        collection = self._database[INSTANCE]
        async with translated():
            document = await collection.find_one({"_id": _INSTANCE_ID})
        if document is None:
            try:
                async with translated():
                    await collection.insert_one({"_id": _INSTANCE_ID, "value": secrets.token_hex(8)})
            except ConflictError:
                pass  # another process was first: its ID counts
            return await self.instance_id()
        return str(document["value"])

    async def logs(self) -> list[LogInfo]:
        """See BlockStore."""
        async with translated():
            return [documents.log_info(each) async for each in self._database[LOGS].find().sort("_id", 1)]

    async def register(self, info: LogInfo) -> LogInfo:
        """See BlockStore."""
        try:
            async with translated():
                await self._database[LOGS].insert_one(documents.log_document(info))
        except ConflictError:
            async with translated():
                document = await self._database[LOGS].find_one({"_id": info.name})
            return documents.log_info(document or {})
        return info

    async def last_block(self, log: str) -> StoredBlock | None:
        """See BlockStore."""
        async with translated():
            found = await self._database[BLOCKS].find({"log": log}).sort("height", -1).limit(1).to_list(1)
        return documents.stored_block(found[0]) if found else None

    async def put_packs(self, packs: Sequence[Pack]) -> None:
        """See BlockStore."""
        try:
            async with translated():
                await self._database[PACKS].insert_many(map(documents.pack_document, packs), ordered=False)
        except ConflictError:
            pass  # only those that this writer wrote before: their IDs hold its epoch

    async def insert_block(self, block: StoredBlock) -> None:
        """See BlockStore."""
        try:
            async with translated():
                await self._database[BLOCKS].insert_one(documents.block_document(block))
        except ConflictError as error:
            async with translated():
                there = await self._database[BLOCKS].find_one({"_id": block.id})
            if there is None or documents.stored_block(there) != block:
                raise LostRaceError(
                    f"{block.id}: another writer has sealed other bytes at this height; only one process may seal a log"
                ) from error

    async def put_tiles(self, log: str, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """See BlockStore."""
        writes = [
            UpdateOne(
                # Does not match a tile as wide already; the insert then fails on `_id`, which is as good.
                {"_id": documents.tile_id(log, level, n), "width": {"$lt": len(data) // HASH_SIZE}},
                {"$set": {"log": log, "level": level, "n": n, "width": len(data) // HASH_SIZE, "data": data}},
                upsert=True,
            )
            for (level, n), data in sorted(tiles.items())
        ]
        try:
            async with translated():
                await self._database[TILES].bulk_write(writes, ordered=False)
        except ConflictError:
            pass

    async def tiles(self, log: str, names: TileNames) -> dict[tuple[int, int], bytes]:
        """See BlockStore."""
        by_id = {documents.tile_id(log, level, n): (level, n) for level, n in names}
        if not by_id:
            return {}
        async with translated():
            found = await self._database[TILES].find({"_id": {"$in": list(by_id)}}).to_list(None)
        return {by_id[document["_id"]]: documents.tile_data(document) for document in found}

    async def put_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """See BlockStore."""
        document = documents.checkpoint_document(checkpoint)
        try:
            async with translated():
                await self._database[CHECKPOINTS].insert_one(document)
        except ConflictError as error:
            async with translated():
                there = await self._database[CHECKPOINTS].find_one({"_id": document["_id"]})
            if there is None or documents.stored_checkpoint(there).root != checkpoint.root:
                raise CorruptError(f"checkpoint {document['_id']} is published with another root") from error

    async def newest_checkpoint(self, log: str) -> StoredCheckpoint | None:
        """See BlockStore."""
        async with translated():
            found = await self._database[CHECKPOINTS].find({"log": log}).sort("size", -1).limit(1).to_list(1)
        return documents.stored_checkpoint(found[0]) if found else None

    async def remove_orphans(self, last: StoredBlock) -> int:
        """See BlockStore."""
        orphans = {
            "log": last.log,
            "first": {"$gte": last.first},
            "height": {"$lte": last.height},
            "_id": {"$nin": list(last.packs)},
        }
        async with translated():
            return int((await self._database[PACKS].delete_many(orphans)).deleted_count)

    async def scan_blocks(self, log: str, height: int, limit: int) -> list[StoredBlock]:
        """See LogScan."""
        query = {"log": log, "height": {"$gte": height}}
        async with translated():
            found = await self._database[BLOCKS].find(query).sort("height", 1).limit(limit).to_list(limit)
        return [documents.stored_block(document) for document in found]

    async def scan_packs(self, log: str, first: int, size: int) -> list[Pack]:
        """See LogScan."""
        query = {"log": log, "first": {"$gte": first, "$lt": size}}
        async with translated():
            found = await self._database[PACKS].find(query).sort("first", 1).to_list(None)
        return sorted(map(documents.pack, found), key=lambda pack: (pack.first, pack.id))

    async def count_tiles(self, log: str) -> int:
        """See LogScan."""
        async with translated():
            return int(await self._database[TILES].count_documents({"log": log}))

    async def scan_checkpoints(self, log: str, above: int, limit: int) -> list[StoredCheckpoint]:
        """See LogScan."""
        query = {"log": log, "size": {"$gt": above}}
        async with translated():
            found = await self._database[CHECKPOINTS].find(query).sort("size", 1).limit(limit).to_list(limit)
        return [documents.stored_checkpoint(document) for document in found]
