"""Putting a copy into an empty database: each document is checked before it is written, and the whole once more when all is there.

What is derived (tiles, index by tag, heads, pins) is not copied: fsck makes it from what is sealed, and then checks all of it as it does in a store in use.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from goodstrace.log_keys import INDEX_LOG
from services.backup.checking import Trust, log_infos, read_log, read_others
from services.backup.errors import BackupError
from services.backup.values import Manifest
from services.runtime.mongo import (
    DOCUMENTS_A_CALL,
    Database,
    Mongo,
    create_indexes,
    insert_missing,
    translated,
)
from services.runtime.settings import MongoSettings
from services.sealing.fsck import jobs
from services.sealing.fsck import store as fsck_store
from services.sealing.fsck.faults import Standing, Verdict
from services.sealing.fsck.index_log_check import check_index
from services.sealing.fsck.scan import MongoDocuments
from services.sealing.fsck.store import Options
from services.sealing.indexes import INSTANCE, RESTORED, indexes
from services.sealing.mongo import MongoBlockStore
from services.sealing.values import Head, StoredCheckpoint

BATCH_BYTES: Final = 8 * 1024 * 1024
Document = dict[str, Any]


class Inserting:
    """Writes documents in batches, from the thread that reads the copy."""

    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop) -> None:
        """Write into `database`, whose client belongs to `loop`."""
        self._database, self._loop = database, loop
        self._collection, self._batch, self._bytes = "", list[Document](), 0

    def put(self, collection: str, document: Document) -> None:
        """Add a document. Raises: UnavailableError."""
        if (
            collection != self._collection
            or len(self._batch) >= DOCUMENTS_A_CALL
            or self._bytes >= BATCH_BYTES
        ):
            self.flush()
            self._collection = collection
        self._batch.append(document)
        self._bytes += sum(len(each) for each in document.values() if isinstance(each, bytes)) + 512

    def flush(self) -> None:
        """Write what waits. Raises: UnavailableError."""
        if self._batch:
            work = insert_missing(self._database[self._collection], self._batch)
            asyncio.run_coroutine_threadsafe(work, self._loop).result()
            self._batch, self._bytes = [], 0


async def refuse_others(database: Database) -> None:
    """Make sure that a database is empty. Raises: BackupError, UnavailableError."""
    async with translated():
        names = [each for each in await database.list_collection_names() if not each.startswith("system.")]
    for name in names:
        async with translated():
            found = await database[name].find_one({}, {"_id": 1})
        if found is not None:
            raise BackupError(
                f"the database {database.name} holds other data ({name}): name another one with --into, or drop it first"
            )


async def put_store(database: Database, folder: Path, manifest: Manifest, trust: Trust) -> None:
    """Put the logs and all other collections of a copy into a database that `refuse_others` found empty. Raises: BackupError, DamagedError, UnavailableError; OSError."""
    infos = await asyncio.to_thread(log_infos, folder, manifest)
    await create_indexes(database, indexes())
    inserting = Inserting(database, asyncio.get_running_loop())
    for copy in manifest.logs:
        await asyncio.to_thread(read_log, folder, infos[copy.log], copy, trust, inserting.put)
    await asyncio.to_thread(read_others, folder, manifest, inserting.put)
    await asyncio.to_thread(inserting.flush)
    await _note(database, manifest)


async def put_vault(database: Database, folder: Path, manifest: Manifest) -> None:
    """Put a copy of the vault into a database that `refuse_others` found empty. Raises: BackupError, DamagedError, UnavailableError; OSError."""
    inserting = Inserting(database, asyncio.get_running_loop())
    await asyncio.to_thread(read_others, folder, manifest, inserting.put)
    await asyncio.to_thread(inserting.flush)


def derive(mongo: MongoSettings, options: Options, manifest: Manifest, workers: int) -> list[Verdict]:
    """Make again what is derived, then check all of the store; gives the verdicts.

    Raises: BackupError where a fault is left, or a log is not of the size and root of the copy; UnavailableError.
    """
    _checked(mongo, options, workers, repairing=True)
    verdicts = _checked(mongo, options, workers, repairing=False)
    for problem in _problems(verdicts, manifest):
        raise BackupError(f"the restored store is not sound: {problem}")
    return verdicts


def _checked(mongo: MongoSettings, options: Options, workers: int, *, repairing: bool) -> list[Verdict]:
    found = asyncio.run(_surveyed(mongo, options))
    chosen = [_repair(job) for job in found.jobs] if repairing else found.jobs
    verdicts = jobs.run(chosen, workers, lambda *_: None)
    asyncio.run(_finished(mongo, verdicts, repairing=repairing))
    return fsck_store.merged(verdicts, found)


def _repair(job: jobs.Job) -> jobs.Job:
    return msgspec.structs.replace(job, repair=True)


async def _surveyed(mongo: MongoSettings, options: Options) -> fsck_store.Survey:
    client = Mongo(mongo)
    try:
        return await fsck_store.survey(MongoDocuments(client.database), options, mongo, None)
    finally:
        client.close()


async def _finished(mongo: MongoSettings, verdicts: list[Verdict], *, repairing: bool) -> None:
    client = Mongo(mongo)
    try:
        await fsck_store.count_pins(MongoDocuments(client.database), verdicts)
        if not repairing or any(each.log == INDEX_LOG for each in verdicts):
            await check_index(client.database, verdicts, repair=repairing)
    finally:
        client.close()


def _problems(verdicts: list[Verdict], manifest: Manifest) -> Iterator[str]:
    by_log = {each.log: each for each in verdicts}
    for verdict in verdicts:
        for fault in verdict.faults:
            yield f"{fault.place}: {fault.problem}"
        if verdict.of(Standing.TRUST):
            yield f"{verdict.log}: it is not what is trusted"
    for copy in manifest.logs:
        found = by_log.get(copy.log)
        if found is None or (found.entries, found.root) != (copy.size, copy.root):
            yield f"{copy.log}: it has not the {copy.size} entries and the root of its signed checkpoint"


async def _note(database: Database, manifest: Manifest) -> None:
    """Say how far each log is published, and from which sizes on blocks were lost: what the root log pins of those is of no block here (`fsck.root_check`)."""
    store = MongoBlockStore(database)
    for copy in manifest.logs:
        checkpoint = StoredCheckpoint(copy.log, copy.size, bytes.fromhex(copy.root), copy.note)
        await store.put_head(Head(copy.height, checkpoint, checkpoint))
    sizes = [{"log": copy.log, "size": copy.size} for copy in manifest.logs]
    async with translated():
        await database[INSTANCE].update_one({"_id": RESTORED}, {"$push": {"times": sizes}}, upsert=True)
    if await store.instance_id() != manifest.instance:
        raise BackupError("the backup's documents are of another installation than its manifest says")
