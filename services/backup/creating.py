"""Making a copy: logs up to checkpoints that were published, everything else as it is, the vault apart.

The order: (1) where the consumer groups are, so that what is copied after it lacks nothing that they have passed; (2) the checkpoints of `root` and
`index`, then those of the other logs, so that what is pinned is there; (3) the logs, verified as they are read; (4) all other collections.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from goodstrace.log_keys import SINGLE_LOGS
from services.backup import decoded
from services.backup.errors import BackupError
from services.backup.folder import FileWriter, FolderWriter
from services.backup.log_check import LogCheck
from services.backup.values import FORMAT, FileEntry, GroupOffsets, LogCopy, Manifest
from services.runtime.access.accounts import SESSIONS
from services.runtime.mongo import Database, find_named, translated
from services.sealing import documents
from services.sealing.erasure.tombstones import COLLECTION as TOMBSTONES
from services.sealing.indexes import BLOCKS, CHECKPOINTS, LOGS, OF_LOGS, PACKS
from services.sealing.mongo import MongoBlockStore
from services.sealing.operations import COLLECTION as OPERATIONS
from services.sealing.values import LogInfo, StoredCheckpoint

_NOT_COPIED: Final = OF_LOGS | {OPERATIONS, SESSIONS}
"""Sessions are left out: one that was ended since would count again."""
_BLOCKS_A_READ: Final = 16
_TRIES: Final = 5
Told = Callable[[int], None]
Document = dict[str, Any]


class Planned:
    """A log, and the published checkpoint up to which it is copied."""

    def __init__(self, info: LogInfo, checkpoint: StoredCheckpoint) -> None:
        """Copy the log `info` up to `checkpoint`."""
        self.info, self.checkpoint = info, checkpoint


async def plan(database: Database) -> list[Planned]:
    """Choose what is copied of each log: as far as it is published now. Raises: BackupError where a key is being changed; UnavailableError."""
    store = MongoBlockStore(database)
    for _ in range(_TRIES):
        infos = {info.name: info for info in await store.logs()}
        single = [name for name in infos if name in SINGLE_LOGS]
        heads = {
            **await store.heads(single),
            **await store.heads([each for each in infos if each not in single]),
        }
        if {info.name: info for info in await store.logs()} != infos:
            continue  # a log was registered, or a key changed, between: the keys must be those of the blocks
        chosen = [
            Planned(infos[name], head.published) for name, head in sorted(heads.items()) if head.published
        ]
        if all(_is_settled(each) for each in chosen):
            return chosen
    raise BackupError(
        "a log's key is being changed: try again when `goodstrace keys list` shows that it is done"
    )


def _is_settled(planned: Planned) -> bool:
    """Tell whether the last change of key is within what is copied: else the old key, which is gone, would have to sign on."""
    changes = planned.info.changes
    return not changes or changes[-1].size < planned.checkpoint.size


async def copy_store(
    database: Database,
    planned: Sequence[Planned],
    folder: FolderWriter,
    *,
    made_ms: int,
    groups: Sequence[GroupOffsets],
    told: Told,
) -> Manifest:
    """Copy the services' database, logs as it was planned; `told` gets numbers of entries. Raises: BackupError, CorruptError, UnavailableError; OSError."""
    instance = await MongoBlockStore(database).instance_id()
    logs = [await _copy_log(database, folder, each, told) for each in planned]
    others = await _copy_others(database, folder, _NOT_COPIED)
    infos = folder.file("logs.bson")
    for each in planned:
        infos.write(LOGS, documents.log_document(_without_pending(each.info)))
    return Manifest(FORMAT, "store", instance, made_ms, logs, [infos.close(), *others], list(groups))


async def copy_vault(
    database: Database, instance: str, folder: FolderWriter, made_ms: int, groups: Sequence[GroupOffsets]
) -> Manifest:
    """Copy the vault: keys as they lie there, wrapped. Raises: UnavailableError; OSError."""
    others = await _copy_others(database, folder, frozenset())
    return Manifest(FORMAT, "vault", instance, made_ms, collections=others, groups=list(groups))


def _without_pending(info: LogInfo) -> LogInfo:
    """Leave out a change of key that is only said: the next key's file says it again."""
    return LogInfo(info.name, info.origin, info.vkey, info.changes)


async def _copy_log(database: Database, folder: FolderWriter, planned: Planned, told: Told) -> LogCopy:
    name, checkpoint = planned.info.name, planned.checkpoint
    check, file = LogCheck(planned.info), folder.file(f"logs/{name.replace('/', '-')}.bson")
    while check.size < checkpoint.size:
        before = check.size
        blocks = await _blocks(database, name, check.height + 1)
        ends = [documents.checkpoint_id(name, each.get("size", 0)) for each in blocks]
        signed = await _named(database, CHECKPOINTS, ends)
        for document, end in zip(blocks, ends, strict=True):
            if check.size < checkpoint.size:
                await _copy_block(database, file, check, document)
                if end in signed:
                    check.checkpoint(decoded.checkpoint(signed[end]))
                    file.write(CHECKPOINTS, signed[end])
        if check.size == before:
            raise BackupError(f"{name}: block {check.height + 1} is missing")
        told(check.size - before)
    root = checkpoint.root.hex()
    kafka = check.ended(checkpoint.size, root, checkpoint.note)
    return LogCopy(name, checkpoint.size, check.height, root, checkpoint.note, kafka, file.close())


async def _copy_block(database: Database, file: FileWriter, check: LogCheck, document: Document) -> None:
    """Write a block's packs, in its order, and then the block, as they lie in the store."""
    names = list(document.get("packs", ()))
    packs = await _named(database, PACKS, names)
    there = [packs[each] for each in names if each in packs]
    check.block(decoded.block(document), list(map(decoded.pack, there)))
    for each in there:
        file.write(PACKS, each)
    file.write(BLOCKS, document)


async def _blocks(database: Database, log: str, height: int) -> list[Document]:
    query = {"log": log, "height": {"$gte": height, "$lt": height + _BLOCKS_A_READ}}
    async with translated():
        return await database[BLOCKS].find(query).sort("height", 1).to_list(None)


async def _named(database: Database, collection: str, names: Sequence[str]) -> dict[str, Document]:
    return {each["_id"]: each for each in await find_named(database, collection, names)}


async def _copy_others(database: Database, folder: FolderWriter, but: frozenset[str]) -> list[FileEntry]:
    """Copy collections as they are, document by document; tombstones last, so that a key which goes meanwhile is in the copy, or its tombstone is."""
    async with translated():
        names = sorted(await database.list_collection_names(), key=lambda each: (each == TOMBSTONES, each))
    found = []
    for name in names:
        if name in but or name.startswith("system."):
            continue
        file = folder.file(f"collections/{name}.bson")
        async with translated():
            async for document in database[name].find():
                file.write(name, document)
        found.append(file.close())
    return found
