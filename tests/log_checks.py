"""`assert_log_intact`: what every test of the ledger asks after every step."""

from collections.abc import Sequence

from goodstrace.merkle import EMPTY_ROOT, leaf_hash, root_of, verify_consistency, verify_inclusion
from services.runtime.mongo import Database
from services.sealing.fsck.feeding import Check, check_log
from services.sealing.fsck.scan import LogDocuments, MongoDocuments
from services.sealing.mongo import MongoBlockStore
from services.sealing.ports import LogScan
from services.sealing.reader import LogReader
from services.sealing.values import StoredBlock
from tests.memory_documents import MemoryDocuments
from tests.memory_store import MemoryStore


def documents_of(store: LogScan) -> LogDocuments:
    """The store's documents, as fsck reads them."""
    if isinstance(store, MemoryStore):
        return MemoryDocuments.of(store)
    assert isinstance(store, MongoBlockStore)
    return MongoDocuments(store._database)


async def all_blocks(store: LogScan, log: str) -> list[StoredBlock]:
    """Every block of a log."""
    return await store.scan_blocks(log, 0, 1_000_000)


async def assert_store_intact(store: LogScan, log: str, *, orphans: bool = True) -> list[bytes]:
    """Check every block, pack, proof-carrying tile, signature and checkpoint of a log; give its entries in order."""
    infos = {info.name: info for info in await store.logs()}
    if log not in infos:
        return []
    verdict = await check_log(documents_of(store), Check(info=infos[log]))
    assert verdict.faults == []
    assert orphans or verdict.orphans == 0
    found: dict[int, bytes] = {}
    for block in await all_blocks(store, log):
        for pack in await store.scan_packs(log, block.first, block.size):
            if pack.id in block.packs:
                found.update(enumerate((record.entry for record in pack.records), pack.first))
    assert sorted(found) == list(range(verdict.entries))
    return [found[index] for index in sorted(found)]


async def assert_log_intact(
    database: Database, log: str, *, expected: Sequence[bytes] | None = None
) -> list[bytes]:
    """The same over MongoDB, and that readers see the same log, with proofs that verify to its checkpoint."""
    entries = await assert_store_intact(MongoBlockStore(database), log)
    assert expected is None or entries == list(expected)
    reader = LogReader(database)
    newest = await reader.checkpoint(log)
    size, root = (newest.size, newest.root) if newest else (0, EMPTY_ROOT)
    assert root_of([leaf_hash(entry) for entry in entries[:size]]) == root
    indexes = sorted({0, size // 3, size // 2, size - 1} & set(range(size)))
    records = await reader.records(log, indexes)
    for record, proof in zip(records, await reader.inclusion_proofs(log, indexes, size), strict=True):
        assert record.entry == entries[record.index]
        verify_inclusion(leaf_hash(record.entry), record.index, size, proof, root)
    if size:
        old = size // 2
        old_root = root_of([leaf_hash(entry) for entry in entries[:old]])
        verify_consistency(old, old_root, size, root, await reader.consistency_proof(log, old, size))
    return entries
