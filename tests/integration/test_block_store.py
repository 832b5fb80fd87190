"""One contract for the store in memory and the one in MongoDB; and the reader over MongoDB."""

from collections.abc import Sequence

import msgspec
import pytest

from goodstrace import key_changes
from goodstrace.block import SIGNATURE_DOMAIN
from goodstrace.checkpoint import sign_checkpoint
from goodstrace.entry import TagKind, tag
from goodstrace.errors import ProofError
from goodstrace.key_changes import KeyChange
from goodstrace.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from goodstrace.note import Signer
from services.runtime.errors import UnavailableError
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from services.sealing import core
from services.sealing.core import PACK_ENTRIES, Block, Fetched, LogState, Sealable, TopicIdentity
from services.sealing.errors import CorruptError, LostRaceError
from services.sealing.mongo import MongoBlockStore
from services.sealing.provision import provision
from services.sealing.reader import LogReader
from services.sealing.tag_index import TagIndex
from services.sealing.values import Head, LogInfo, StoredBlock, StoredCheckpoint
from tests.conftest import Names
from tests.log_checks import assert_log_intact
from tests.memory_store import MemoryStore
from tests.records import SECRET, make_record, make_value

LOG = "goods/0"
TOPIC = TopicIdentity("cluster", "goods.stored", "topic-id")
SIGNER = Signer("test.local/00/goods/0", b"k" * 32)
Store = MemoryStore | MongoBlockStore


@pytest.fixture
async def mongo(mongo: Mongo) -> Mongo:
    await provision(mongo.database)
    return mongo


@pytest.fixture(params=["memory", "mongo"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return MongoBlockStore(request.getfixturevalue("mongo").database)


def sealable(numbers: Sequence[int]) -> list[Sealable]:
    return [core.sealable(LOG, Fetched(number, make_value(number))) for number in numbers]


def make_block(state: LogState, count: int, *, epoch: str = "e1", time_ms: int = 1_700_000_000_000) -> Block:
    return core.next_block(state, TOPIC, sealable(range(state.size, state.size + count)), time_ms, epoch)


def sign(block: Block) -> StoredBlock:
    return block.stored(SIGNER.sign(SIGNATURE_DOMAIN + block.header))


async def seal(store: Store, state: LogState, count: int) -> LogState:
    """Commit a block whole, as the writer does."""
    block = make_block(state, count)
    await store.put_packs(block.packs)
    await store.put_pages(block.pages)
    await store.insert_block(sign(block))
    await store.put_tiles(LOG, block.tiles)
    assert block.run is not None
    index = await store.index(LOG) or TagIndex(LOG, -1, 0, ())
    await store.put_index(TagIndex(LOG, block.run.height, block.run.end, (*index.runs, block.run)))
    checkpoint = block.checkpoint(SIGNER.name)
    note = sign_checkpoint(checkpoint, SIGNER)
    stored = StoredCheckpoint(LOG, checkpoint.size, checkpoint.root, note)
    await store.put_checkpoint(stored)
    assert block.after.head is not None
    await store.put_head(Head(block.after.head.height, stored, stored))
    return block.after


async def test_the_instance_has_one_id(store: Store) -> None:
    assert await store.instance_id() == await store.instance_id() != ""


async def test_a_log_is_registered_once(store: Store) -> None:
    first = LogInfo(LOG, "origin", "vkey")
    assert await store.register(first) == first
    assert await store.register(LogInfo(LOG, "origin", "another")) == first
    assert await store.logs() == [first]


def changed(old: Signer, new: Signer, height: int, time: int = 5) -> KeyChange:
    return key_changes.sign(
        log=LOG, height=height, size=10 * height, previous="ab" * 32, time=time, old=old, new=new
    )


async def test_a_logs_key_changes_by_compare_and_swap(store: Store) -> None:
    keys = [SIGNER, *(Signer(SIGNER.name, bytes([number]) * 32) for number in range(3))]
    first = LogInfo(LOG, SIGNER.name, SIGNER.verifier.vkey())
    await store.register(first)
    change, other = changed(keys[0], keys[1], 1), changed(keys[0], keys[2], 1)
    for proposed in (other, change, change):
        await store.propose_change(proposed)
        assert await store.logs() == [msgspec.structs.replace(first, pending=proposed)]
    after = LogInfo(LOG, SIGNER.name, change.new, (change,))
    for _ in range(2):
        assert await store.apply_change(change) == after
    assert await store.logs() == [after]
    for late in (store.propose_change, store.apply_change):
        with pytest.raises(LostRaceError):
            await late(other)
    second = changed(keys[1], keys[3], 3)
    await store.propose_change(second)
    with pytest.raises(LostRaceError):  # a writer that slept meanwhile: the block of `second` may be there
        await store.propose_change(changed(keys[1], keys[2], 2))
    assert (await store.apply_change(second)).changes == (change, second)
    with pytest.raises(LostRaceError):
        await store.propose_change(change)
    assert await store.logs() == [LogInfo(LOG, SIGNER.name, second.new, (change, second))]


async def test_a_block_is_inserted_once_and_the_same_again_is_no_error(store: Store) -> None:
    block = sign(make_block(LogState(LOG, 0), 3))
    assert await store.block(LOG, 0) is None
    await store.insert_block(block)
    await store.insert_block(block)
    with pytest.raises(LostRaceError, match="goods/0#0"):
        await store.insert_block(sign(make_block(LogState(LOG, 0), 3, time_ms=1_700_000_000_001)))
    assert await store.block(LOG, 0) == block
    assert await store.scan_blocks(LOG, 0, 10) == [block]
    assert await store.scan_blocks(LOG, 1, 10) == []


async def test_packs_are_written_once(store: Store) -> None:
    block = make_block(LogState(LOG, 0), 2 * PACK_ENTRIES + 8)
    await store.put_packs(block.packs[:1])
    await store.put_packs(block.packs)
    assert await store.scan_packs(LOG, 0, 2 * PACK_ENTRIES + 8) == list(block.packs)
    assert await store.scan_packs(LOG, 1, PACK_ENTRIES + 1) == [block.packs[1]]
    assert await store.scan_packs("goods/1", 0, 2 * PACK_ENTRIES) == []


async def test_other_packs_under_the_same_ids_are_no_repetition(store: Store) -> None:
    first = make_block(LogState(LOG, 0), 3)
    await store.put_packs(first.packs)
    for other in (
        make_block(LogState(LOG, 0), 20),
        make_block(LogState(LOG, 0), 3, time_ms=1_700_000_000_001),
    ):
        with pytest.raises(CorruptError, match=r"pack goods/0#0\.0@e1"):
            await store.put_packs(other.packs)
    found = {pack.id: pack for pack in await store.scan_packs(LOG, 0, 20)}
    assert found[first.packs[0].id] == first.packs[0]


async def test_tiles_only_grow(store: Store) -> None:
    await store.put_tiles(LOG, {(0, 0): b"a" * 64, (1, 0): b"b" * 32})
    await store.put_tiles(LOG, {(0, 0): b"c" * 32, (0, 1): b"d" * 32})
    await store.put_tiles(LOG, {(1, 0): b"e" * 64})
    found = await store.tiles(LOG, [(0, 0), (0, 1), (1, 0), (7, 7)])
    assert found == {(0, 0): b"a" * 64, (0, 1): b"d" * 32, (1, 0): b"e" * 64}
    assert await store.count_tiles(LOG) == 3
    assert await store.tiles(LOG, []) == {}


async def test_checkpoints_never_change_and_heads_only_grow(store: Store) -> None:
    two, four = (StoredCheckpoint(LOG, size, bytes([size]) * 32, f"note {size}") for size in (2, 4))
    await store.put_checkpoint(two)
    await store.put_checkpoint(two)
    await store.put_checkpoint(four)
    with pytest.raises(CorruptError):
        await store.put_checkpoint(msgspec.structs.replace(two, root=b"x" * 32))
    assert await store.scan_checkpoints(LOG, 0, 4) == [two, four]
    assert await store.scan_checkpoints(LOG, 2, 4) == [four]
    assert await store.head(LOG) is None
    await store.put_head(Head(1, four))
    await store.put_head(Head(0, two))
    assert await store.head(LOG) == Head(1, four)


def cosigned(size: int, cosignatures: int) -> StoredCheckpoint:
    note = f"log\n{size}\nroot\n\n— log c2ln\n" + "— witness c2ln\n" * cosignatures
    return StoredCheckpoint(LOG, size, bytes([size]) * 32, note)


async def test_published_heads_grow_by_size_and_then_by_signatures(store: Store) -> None:
    await store.put_published(cosigned(2, 1))
    assert await store.head(LOG) is None, "nothing is published before it is signed"
    for size in (2, 4):
        await store.put_checkpoint(cosigned(size, 0))
        await store.put_head(Head(size, cosigned(size, 0)))
    assert await store.head(LOG) == Head(4, cosigned(4, 0), None)
    for size, given, wanted in [
        (2, 1, cosigned(2, 1)),
        (4, 2, cosigned(4, 2)),
        (4, 1, cosigned(4, 2)),
        (2, 3, cosigned(4, 2)),
        (4, 3, cosigned(4, 3)),
    ]:
        await store.put_published(cosigned(size, given))
        assert await store.head(LOG) == Head(4, cosigned(4, 0), wanted)
    assert await store.scan_checkpoints(LOG, 0, 4) == [cosigned(2, 3), cosigned(4, 3)]
    await store.put_checkpoint(cosigned(4, 0))
    assert await store.scan_checkpoints(LOG, 2, 4) == [cosigned(4, 3)], "cosignatures stay"


async def test_a_head_without_quorum_is_published_at_once_and_later_where_one_was_asked_before(
    store: Store,
) -> None:
    two, four = cosigned(2, 0), cosigned(4, 0)
    await store.put_head(Head(0, two, two))
    assert await store.head(LOG) == Head(0, two, two)
    await store.put_head(Head(1, four))
    assert await store.head(LOG) == Head(1, four, two)
    await store.put_head(Head(0, two, two))
    assert await store.head(LOG) == Head(1, four, two)
    await store.put_head(Head(1, four, four))
    assert await store.head(LOG) == Head(1, four, four)
    await store.put_published(cosigned(4, 1))
    await store.put_head(Head(1, four, four))
    assert await store.head(LOG) == Head(1, four, cosigned(4, 1))


async def test_readers_see_nothing_that_is_not_published(mongo: Mongo) -> None:
    store, reader = MongoBlockStore(mongo.database), LogReader(mongo.database)
    await store.register(LogInfo(LOG, "origin", "vkey"))
    for size in (2, 4, 6):
        await store.put_checkpoint(cosigned(size, 0))
        await store.put_head(Head(size, cosigned(size, 0)))
    assert (await reader.checkpoint(LOG), await reader.checkpoint(LOG, 2)) == (None, None)
    assert await reader.newest() == {}
    assert [info.name for info in await reader.signed_logs()] == [LOG]
    await store.put_published(cosigned(4, 1))
    assert await reader.newest() == {LOG: cosigned(4, 1)}
    assert [await reader.checkpoint(LOG, size) for size in (None, 2, 3, 4, 5, 6)] == [
        cosigned(4, 1),
        cosigned(2, 0),
        None,
        cosigned(4, 1),
        None,
        None,
    ]


async def test_only_packs_that_nobody_can_name_any_more_are_removed(store: Store) -> None:
    state = await seal(store, LogState(LOG, 0), 20)
    block, lost = make_block(state, 20, epoch="mine"), make_block(state, 30, epoch="lost")
    await store.put_packs([*block.packs, *lost.packs])
    first = await store.block(LOG, 0)
    assert first is not None
    assert await store.remove_orphans([first]) == 0, "the next height is not taken yet"
    await store.insert_block(sign(block))
    assert await store.remove_orphans([first, sign(block)]) == len(lost.packs)
    assert [pack.id for pack in await store.scan_packs(LOG, 20, 100)] == [pack.id for pack in block.packs]


async def test_packs_of_a_height_that_was_cut_elsewhere_are_removed_too(store: Store) -> None:
    """A writer that died had packs for two heights; the next one's block of the first height reaches into the second."""
    state = await seal(store, LogState(LOG, 0), 20)
    lost = make_block(state, 5, epoch="lost")
    await store.put_packs([*lost.packs, *make_block(lost.after, 5, epoch="lost").packs])
    first = await store.block(LOG, 0)
    assert first is not None
    blocks = [first]
    for count in (8, 9):
        ours = make_block(state, count, epoch="mine")
        await store.put_packs(ours.packs)
        blocks.append(sign(ours))
        await store.insert_block(blocks[-1])
        await store.remove_orphans(blocks)
        state = ours.after
    found = {pack.id for pack in await store.scan_packs(LOG, 0, 100)}
    assert found == {pack for block in blocks for pack in block.packs}


def key_tag(text: str) -> bytes:
    return tag(SECRET, TagKind.KEY, text)


async def test_reading_by_tag_index_and_size(mongo: Mongo) -> None:
    store, state = MongoBlockStore(mongo.database), LogState(LOG, 0)
    await store.register(LogInfo(LOG, SIGNER.name, SIGNER.verifier.vkey()))
    for count in (1, 30, 300, 5):
        state = await seal(store, state, count)
        await assert_log_intact(mongo.database, LOG)
    reader, expected = LogReader(mongo.database, SECRET), [make_record(number) for number in range(336)]
    one, shared, none = key_tag("key:17"), reader.tag(TagKind.KEY, "key:shared"), key_tag("key:none")
    found = await reader.find([one, none, shared], {LOG: 331, "goods/1": 0}, 20)
    assert [record.index for record in found[one]] == [17]
    assert found[none] == []
    assert [record.index for record in found[shared]] == list(range(20))
    record = found[one][0]
    assert (record.entry, record.parts, record.tags) == (
        expected[17].entry,
        expected[17].parts,
        expected[17].tags,
    )
    assert (await reader.find([one], {LOG: 17}, 5))[one] == [], "not beyond the size asked for"
    everything = (await reader.find([shared, one], {LOG: 336}, 1000))[shared]
    assert [each.entry for each in everything] == [each.entry for each in expected]

    pages, before = [], None
    while page := await reader.find_newest(shared, {LOG: 331}, 100, before):
        pages.append([each.index for each in page])
        before = (page[-1].log, page[-1].index)
    assert [len(page) for page in pages] == [100, 100, 100, 31]
    assert [index for page in pages for index in page] == list(range(330, -1, -1))

    assert [each.index for each in await reader.records(LOG, [335, 0, 17, 0])] == [335, 0, 17, 0]
    with pytest.raises(CorruptError, match="entry 336"):
        await reader.records(LOG, [336])


async def test_checkpoints_and_proofs_at_every_published_size(mongo: Mongo) -> None:
    store, state = MongoBlockStore(mongo.database), LogState(LOG, 0)
    await store.register(LogInfo(LOG, SIGNER.name, SIGNER.verifier.vkey()))
    reader = LogReader(mongo.database)
    assert await reader.newest() == {}
    assert await reader.checkpoint(LOG) is None
    for count in (3, 253, 1, 600):
        state = await seal(store, state, count)
    leaves = [leaf_hash(make_record(number).entry) for number in range(857)]
    newest = (await reader.newest("goods/"))[LOG]
    assert newest == await reader.checkpoint(LOG) == await reader.checkpoint(LOG, 857)
    assert await reader.newest("browse/") == {}
    assert await reader.checkpoint(LOG, 5) is None
    for size in (3, 256, 257, 857):
        checkpoint = await reader.checkpoint(LOG, size)
        assert checkpoint is not None
        assert checkpoint.root == root_of(leaves[:size])
        indexes = [0, size // 2, size - 1]
        for index, proof in zip(indexes, await reader.inclusion_proofs(LOG, indexes, size), strict=True):
            verify_inclusion(leaves[index], index, size, proof, checkpoint.root)
        proof = await reader.consistency_proof(LOG, size, 857)
        verify_consistency(size, checkpoint.root, 857, newest.root, proof)
    with pytest.raises(ProofError):
        await reader.inclusion_proofs(LOG, [857], 857)
    await mongo.database["tiles"].delete_one({"_id": f"{LOG}/0/3"})
    with pytest.raises(CorruptError, match="missing"):
        await LogReader(mongo.database).inclusion_proofs(LOG, [800], 857)


async def test_an_orphan_is_read_as_what_is_sealed(mongo: Mongo) -> None:
    store = MongoBlockStore(mongo.database)
    await store.register(LogInfo(LOG, SIGNER.name, SIGNER.verifier.vkey()))
    orphan = make_block(LogState(LOG, 0), 20, epoch="orphan").packs[0]
    forged = msgspec.structs.replace(orphan, id="forged", records=orphan.records[::-1])
    await store.put_packs([orphan, forged])
    await seal(store, LogState(LOG, 0), 20)
    reader = LogReader(mongo.database)
    assert [each.entry for each in await reader.records(LOG, range(20))] == [
        make_record(number).entry for number in range(20)
    ]
    found = (await reader.find([key_tag("key:shared")], {LOG: 20}, 100))[key_tag("key:shared")]
    assert [each.entry for each in found] == [make_record(number).entry for number in range(20)]


async def test_a_store_that_is_away_is_unavailable(names: Names) -> None:
    client = Mongo(MongoSettings(uri="mongodb://127.0.0.1:1", database=names.database, timeout_ms=200))
    try:
        with pytest.raises(UnavailableError):
            await LogReader(client.database).newest()
        with pytest.raises(UnavailableError):
            await MongoBlockStore(client.database).insert_block(sign(make_block(LogState(LOG, 0), 1)))
    finally:
        client.close()
