"""Logs in MongoDB: the adapter behind `ports.BlockStore` and `ports.LogScan`. The driver's errors end here.

Every write may be repeated: packs and blocks have unique names, tiles and heads only ever grow, checkpoints never change.
No call but those of LogScan costs more as a log grows, on stores without early end too (docs/decisions/0007): they use
equality, `$in` and ranges with two near bounds.
"""

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pymongo import UpdateOne

from goodstrace import key_changes
from goodstrace.key_changes import KeyChange
from goodstrace.merkle import HASH_SIZE
from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.mongo import Database, delete_named, find_all, find_named, translated
from services.sealing import documents
from services.sealing.core import MAX_BLOCK_ENTRIES
from services.sealing.errors import CorruptError, LostRaceError
from services.sealing.indexes import BLOCKS, CHECKPOINTS, HEADS, INSTANCE, LOGS, PACKS, TILES
from services.sealing.mongo_index import MongoTagIndex
from services.sealing.ports import TileNames
from services.sealing.values import Head, LogInfo, Pack, StoredBlock, StoredCheckpoint, block_id

_INSTANCE_ID = "instance"
_AFTER_NAMES = "\U0010ffff"  # sorts behind all that may go on after a prefix


class MongoBlockStore(MongoTagIndex):
    """Logs in one database."""

    def __init__(self, database: Database) -> None:
        """Take the database; its indexes were made by `services.sealing.provision`."""
        self._database = database
        self._heads_met: dict[str, tuple[documents.Document, Head]] = {}  # one a log, as it was last

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

    async def propose_change(self, change: KeyChange) -> None:
        """See BlockStore. The change said before is compared and swapped: a writer left behind takes nothing back."""
        before = await self._registered(change.log)
        if before.vkey != change.old or (before.pending and before.pending.height > change.height):
            raise LostRaceError(
                f"{change.log}: its key is not {change.old} any more; only one process may seal a log"
            )
        said = key_changes.statement(before.pending).decode() if before.pending else None
        query = {"_id": change.log, "vkey": change.old, "pending": said}
        update = {"$set": {"pending": key_changes.statement(change).decode()}}
        async with translated():
            done = await self._database[LOGS].update_one(query, update)
        if not done.matched_count:
            raise UnavailableError(f"{change.log}: another process changed its key meanwhile")

    async def apply_change(self, change: KeyChange) -> LogInfo:
        """See BlockStore. The key in force is compared and swapped: a key never comes back."""
        info = await self._registered(change.log)
        if info.vkey == change.old:
            after = msgspec.structs.replace(
                info, vkey=change.new, changes=(*info.changes, change), pending=None
            )
            query = {"_id": change.log, "vkey": change.old}
            async with translated():
                await self._database[LOGS].replace_one(query, documents.log_document(after))
            info = await self._registered(change.log)
        if info.vkey != change.new:
            raise LostRaceError(f"{change.log}: its key is neither the old nor the new one of its change")
        return info

    async def _registered(self, log: str) -> LogInfo:
        async with translated():
            return documents.log_info(await self._database[LOGS].find_one({"_id": log}) or {})

    async def block(self, log: str, height: int) -> StoredBlock | None:
        """See BlockStore."""
        async with translated():
            document = await self._database[BLOCKS].find_one({"_id": block_id(log, height)})
        return documents.stored_block(document) if document else None

    async def put_packs(self, packs: Sequence[Pack]) -> None:
        """See BlockStore."""
        try:
            async with translated():
                await self._database[PACKS].insert_many(map(documents.pack_document, packs), ordered=False)
        except ConflictError:
            await self._check_packs(packs)

    async def _check_packs(self, packs: Sequence[Pack]) -> None:
        """Make sure that what is there is what was to be written: a block must never name other records."""
        found = await find_named(self._database, PACKS, [pack.id for pack in packs])
        there = {document["_id"]: documents.pack(document) for document in found}
        for pack in packs:
            if pack.id not in there:
                raise UnavailableError(f"pack {pack.id} was not written")
            if there[pack.id] != pack:
                raise CorruptError(f"pack {pack.id} is stored with other records")

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
        lowest = {level: min(n for of, n in tiles if of == level) for level, _ in tiles}
        # Only the first of a level can be there already, narrower; the others are new, and to insert costs a sixth.
        new = {name: data for name, data in tiles.items() if name[1] != lowest[name[0]]}
        try:
            if new:
                made = [documents.tile_document(log, name, data) for name, data in new.items()]
                async with translated():
                    await self._database[TILES].insert_many(made, ordered=False)
        except ConflictError:  # written before, by a commit that was cut off: perhaps narrower
            new = {}
        await self._widen(log, {name: data for name, data in tiles.items() if name not in new})

    async def _widen(self, log: str, tiles: Mapping[tuple[int, int], bytes]) -> None:
        writes = [
            UpdateOne(
                # Does not match a tile as wide already; the insert then fails on `_id`, which is as good.
                {"_id": documents.tile_id(log, *name), "width": {"$lt": len(data) // HASH_SIZE}},
                {"$set": {field: value for field, value in document.items() if field != "_id"}},
                upsert=True,
            )
            for name, data in sorted(tiles.items())
            for document in (documents.tile_document(log, name, data),)
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
        found = await find_named(self._database, TILES, by_id)
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

    async def put_head(self, head: Head) -> None:
        """See BlockStore."""
        document = documents.head_document(head)
        size = head.checkpoint.size
        older: list[dict[str, Any]] = [{"size": {"$lt": size}}]
        if head.published is not None:  # signed while a quorum was asked for, which is no more
            older += [
                {"size": size, "published": {"$exists": False}},
                {"size": size, "published.size": {"$lt": size}},
            ]
        query = {"_id": document.pop("_id"), "$or": older}
        with contextlib.suppress(ConflictError):
            async with translated():
                await self._database[HEADS].update_one(query, {"$set": document}, upsert=True)

    async def put_published(self, checkpoint: StoredCheckpoint) -> None:
        """See BlockStore."""
        size, fewer = checkpoint.size, {"$lt": checkpoint.signatures}
        cosigned = {"note": checkpoint.note, "signatures": checkpoint.signatures}
        stored = {"_id": documents.checkpoint_id(checkpoint.log, size), "root": checkpoint.root}
        older = [
            {"published": {"$exists": False}},
            {"published.size": {"$lt": size}},
            {"published.size": size, "published.signatures": fewer},
        ]
        async with translated():
            # First where as_of finds it: what readers see as the newest must be there by its size too.
            await self._database[CHECKPOINTS].update_one({**stored, "signatures": fewer}, {"$set": cosigned})
            await self._database[HEADS].update_one(
                {"_id": checkpoint.log, "$or": older},
                {"$set": {"published": documents.published(checkpoint)}},
            )

    async def head(self, log: str) -> Head | None:
        """See BlockStore."""
        return (await self.heads([log])).get(log)

    async def heads(self, logs: Sequence[str]) -> dict[str, Head]:
        """Tell how far logs are signed and published, in one call; those without any checkpoint are left out."""
        return await self._heads({"_id": {"$in": list(logs)}})

    async def heads_under(self, prefix: str) -> dict[str, Head]:
        """Tell how far the logs are signed and published whose names begin with `prefix` ("goods/"), in one call."""
        return await self._heads({"_id": {"$gte": prefix, "$lt": prefix + _AFTER_NAMES}})

    async def _heads(self, query: dict[str, Any]) -> dict[str, Head]:
        found = await find_all(self._database, HEADS, query)
        return {document["_id"]: self._head_of(document) for document in found}

    def _head_of(self, document: documents.Document) -> Head:
        """Decode a log's head, unless it is still what it was: each look-up reads all of them, and few have changed."""
        met = self._heads_met.get(document["_id"])
        if met is None or met[0] != document:
            met = self._heads_met[document["_id"]] = document, documents.head(document)
        return met[1]

    async def remove_orphans(self, last: Sequence[StoredBlock]) -> int:
        """See BlockStore."""
        beside = {
            "log": last[-1].log,
            "first": {"$gte": last[0].first, "$lt": last[-1].first + MAX_BLOCK_ENTRIES},
        }
        # What is named is left out here: a store may compare each of 125 packs with each of as many names (0.8 s).
        named = {pack for block in last for pack in block.packs}
        async with translated():
            found = await self._database[PACKS].find(beside, {"_id": 1, "height": 1}).to_list(None)
        orphans = [
            each["_id"] for each in found if each["height"] <= last[-1].height and each["_id"] not in named
        ]
        await self._remove_pages(orphans)
        await delete_named(self._database, PACKS, orphans)
        return len(orphans)

    async def scan_blocks(self, log: str, height: int, end: int) -> list[StoredBlock]:
        """See LogScan."""
        query = {"log": log, "height": {"$gte": height, "$lt": end}}
        async with translated():
            found = await self._database[BLOCKS].find(query).sort("height", 1).to_list(None)
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

    async def scan_checkpoints(self, log: str, above: int, upto: int) -> list[StoredCheckpoint]:
        """See LogScan."""
        query = {"log": log, "size": {"$gt": above, "$lte": upto}}
        async with translated():
            found = await self._database[CHECKPOINTS].find(query).sort("size", 1).to_list(None)
        return [documents.stored_checkpoint(document) for document in found]
