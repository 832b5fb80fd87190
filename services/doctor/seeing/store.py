"""What the store says: its time, its indexes, its logs, and what fsck and backup noted. Every function raises UnavailableError."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from pymongo import IndexModel

from goodstrace import block as blocks
from goodstrace.errors import NoteError
from goodstrace.note import parse_note
from goodstrace.policy import Policy
from services.audit import browse_index
from services.audit.figures import goods as viewers
from services.audit.figures import store as figures
from services.audit.watch import store as watch
from services.collector import delegation_store, flagged_store, rejection_store, state_store
from services.collector import mongo as jobs
from services.collector.registry import store as registry
from services.doctor.checks.lag import Place
from services.doctor.checks.logs import FsckSeen, LogSeen
from services.doctor.checks.store import IndexWanted, RoomSeen
from services.query.accounts import account_store, counters, session_store
from services.query.webhooks import store as webhooks
from services.runtime.mongo import Database, translated
from services.runtime.vault import opening as vault
from services.sealing import indexes as logs
from services.sealing.mongo import MongoBlockStore
from services.sealing.operations import Operations
from services.sealing.values import Head, StoredBlock

Models = Mapping[str, list[IndexModel]]


def wanted_indexes(database: str, vault_database: str) -> dict[tuple[str, str], list[IndexWanted]]:
    """List the indexes that services and provisioning make, by database and collection."""
    ours: list[Models] = [
        logs.indexes(),
        account_store.indexes(),
        session_store.indexes(),
        counters.indexes(),
        figures.indexes(),
        watch.indexes(),
        jobs.INDEXES,
        rejection_store.INDEXES,
        registry.INDEXES,
        flagged_store.INDEXES,
        delegation_store.INDEXES,
        state_store.INDEXES,
        webhooks.INDEXES,
    ]
    of_vault: list[Models] = [vault.indexes(), browse_index.indexes(), viewers.indexes()]
    found: dict[tuple[str, str], list[IndexWanted]] = {}
    for name, models in (
        *((database, each) for each in ours),
        *((vault_database, each) for each in of_vault),
    ):
        for collection, listed in models.items():
            found.setdefault((name, collection), []).extend(map(_wanted, listed))
    return found


def _wanted(model: IndexModel) -> IndexWanted:
    document = model.document
    keys = tuple((str(name), order) for name, order in document["key"].items())
    return IndexWanted(str(document["name"]), keys, bool(document.get("unique")))


async def indexes_there(database: Database, collections: list[str]) -> dict[str, dict[str, IndexWanted]]:
    """Give the indexes of these collections of a database."""
    found = {}
    for collection in collections:
        async with translated():
            told: Mapping[str, Any] = await database[collection].index_information()
        found[collection] = {
            name: IndexWanted(
                name, tuple((key, order) for key, order in each["key"]), bool(each.get("unique"))
            )
            for name, each in told.items()
        }
    return found


async def store_ahead_s(database: Database) -> float | None:
    """Tell how many seconds the store's clock is ahead of ours, None where it does not say."""
    begun = time.time()
    async with translated():
        told = await database.command("hello")
    local = told.get("localTime")
    return local.timestamp() - (begun + time.time()) / 2 if local is not None else None


async def store_room(database: Database) -> RoomSeen | None:
    """Tell how much room the store has, None where it does not say."""
    async with translated():
        told = await database.command("dbStats")
    total, used = int(told.get("fsTotalSize", 0)), int(told.get("fsUsedSize", 0))
    return RoomSeen("the store's disk", total - used, total) if total else None


async def has_webhooks(database: Database) -> bool:
    """Tell whether webhooks were ever kept here."""
    async with translated():
        return webhooks.SUBSCRIPTIONS in await database.list_collection_names()


async def next_offsets(database: Database) -> dict[str, tuple[Place, int]]:
    """Give from which place and offset each log goes on, by its newest block."""
    store = MongoBlockStore(database)
    names = [info.name for info in await store.logs()]
    heads = await store.heads(names)
    found = {}
    for name in names:
        newest = await _newest_block(store, name, heads.get(name))
        if newest is not None:
            said = blocks.decode(newest.header).kafka
            found[name] = ((said.topic, said.partition), said.next)
    return found


async def logs_seen(database: Database, policy: Policy | None) -> list[LogSeen]:
    """Tell how far each registered log is."""
    store = MongoBlockStore(database)
    names = [info.name for info in await store.logs()]
    heads = await store.heads(names)
    found = []
    for name in names:
        head = heads.get(name)
        newest = await _newest_block(store, name, head)
        seen = _log(name, head, newest, policy)
        if newest is not None and seen.signed < seen.sealed:
            unsigned = await store.block(name, head.height + 1 if head is not None else 0)
            seen = msgspec.structs.replace(seen, unsigned_s=_age_s(unsigned))
        if head is not None and seen.published < seen.signed:
            unpublished = await _block_of(store, name, seen.published, head.height)
            seen = msgspec.structs.replace(seen, unpublished_s=_age_s(unpublished))
        found.append(seen)
    return found


async def newest_block_s(database: Database) -> float | None:
    """Give the time that the newest block of any log states, Unix seconds; None where there is none."""
    store = MongoBlockStore(database)
    heads = await store.heads([info.name for info in await store.logs()])
    times = [
        blocks.decode(block.header).time / 1000
        for name, head in heads.items()
        if (block := await store.block(name, head.height)) is not None
    ]
    return max(times, default=None)


async def fsck_seen(database: Database) -> list[FsckSeen]:
    """Give what fsck noted of its last run, by log."""
    now = time.time()
    return [
        FsckSeen(each.log, now - each.finished_ms / 1000, each.entries, each.faults)
        for each in await Operations(database).checked()
    ]


async def backup_seen(database: Database) -> tuple[float | None, list[str]]:
    """Tell how long ago the last whole backup was made, None where there was none; and the logs whose key has changed since."""
    last = await Operations(database).backed_up()
    if last is None:
        return None, []
    infos = await MongoBlockStore(database).logs()
    changed = [
        info.name
        for info in infos
        if info.changes and info.changes[-1].size >= last.sizes.get(info.name, info.changes[-1].size + 1)
    ]
    return time.time() - last.begun_ms / 1000, changed


async def _newest_block(store: MongoBlockStore, log: str, head: Head | None) -> StoredBlock | None:
    """Give a log's newest block: those after its head are at most a few, whose checkpoint is being signed."""
    height = head.height if head is not None else 0
    newest = await store.block(log, height)
    while newest is not None and (following := await store.block(log, newest.height + 1)) is not None:
        newest = following
    return newest


async def _block_of(store: MongoBlockStore, log: str, index: int, highest: int) -> StoredBlock | None:
    """Give the block that has an entry, of the blocks up to `highest`: by halves, since blocks are found by their height alone."""
    low, high, found = 0, highest, None
    while low <= high:
        middle = (low + high) // 2
        block = await store.block(log, middle)
        if block is None:
            return None  # fsck says more
        if block.size > index:
            found, high = block, middle - 1
        else:
            low = middle + 1
    return found


def _age_s(block: StoredBlock | None) -> float | None:
    return time.time() - blocks.decode(block.header).time / 1000 if block is not None else None


def _log(name: str, head: Head | None, newest: StoredBlock | None, policy: Policy | None) -> LogSeen:
    published = head.published if head is not None else None
    missing, cosigned_s = _cosigned(published.note, policy) if published and policy else ((), None)
    return LogSeen(
        name,
        sealed=newest.size if newest is not None else 0,
        signed=head.checkpoint.size if head is not None else 0,
        published=published.size if published is not None else 0,
        sealed_s=_age_s(newest),
        missing=missing,
        cosigned_s=cosigned_s,
    )


def _cosigned(note: str, policy: Policy) -> tuple[tuple[str, ...], float | None]:
    """Tell which witnesses of the policy have not cosigned a note, and how long ago the newest that has did."""
    try:
        parsed = parse_note(note)
        by_key = {(each.verifier.name, each.verifier.key_id): each for each in policy.witnesses}
        times = {
            witness.name: witness.verifier.verify(signature, parsed.text)
            for signature in parsed.signatures
            if (witness := by_key.get((signature.name, signature.key_id))) is not None
        }
    except NoteError:
        times = {}
    missing = tuple(sorted({each.name for each in policy.witnesses} - times.keys()))
    return missing, time.time() - max(times.values()) if times else None
