"""`fsck`: rows taken away, added, exchanged or signed anew; saved checkpoints; repair; going on after an interruption."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from goodstrace import block as blocks
from goodstrace.block import SIGNATURE_DOMAIN
from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.cosignature import Cosigner
from goodstrace.log_keys import LogKeys
from goodstrace.note import Signature, Signer, parse_note
from services.runtime.errors import SettingsError
from services.runtime.state_file import StateFile
from services.sealing import documents
from services.sealing.documents import Document
from services.sealing.fsck import feeding, records, repair
from services.sealing.fsck.against import SavedNote, read_saved
from services.sealing.fsck.faults import KINDS, Standing, Verdict
from services.sealing.fsck.feeding import Check, Progress, check_log
from services.sealing.fsck.state import is_of
from services.sealing.fsck.store import Options
from services.sealing.fsck.verifier import tile_count
from services.sealing.indexes import BLOCKS, CHECKPOINTS, HEADS, LOGS, PACKS, PAGES, PINS, RUNS, TILES
from services.sealing.mongo_index import index_document, stored_index
from services.sealing.pack_format import encode_plain
from services.sealing.tag_index import TagIndex
from services.sealing.values import PackedRecord
from tests.memory_documents import MemoryDocuments, all_faults, as_read, check_store
from tests.memory_store import MemoryStore
from tests.packs import packed
from tests.unit.sealing_bench import LOG, Bench

OTHER = "goods/1"
ORIGIN = f"test.local/00112233445566ff/{LOG}"
Change = Callable[[MemoryDocuments], object]


def sealed_store(entries: int = 7, *, of_block: int = 2, partitions: int = 2) -> MemoryStore:
    bench = Bench(partitions)
    for partition in range(partitions):
        bench.fill(entries, partition=partition)
    asyncio.run(bench.run(entries=of_block))
    return bench.store


@pytest.fixture(scope="module")
def values() -> MemoryStore:
    """Two logs of four blocks, with 2, 2, 2 and 1 entries."""
    return sealed_store()


@pytest.fixture(scope="module")
def sealed(values: MemoryStore) -> MemoryDocuments:
    return MemoryDocuments.of(values)


@pytest.fixture
def store(sealed: MemoryDocuments) -> MemoryDocuments:
    """A copy to be changed."""
    return sealed.copy()


def key_of(log: str) -> Signer:
    """The key that MemoryKeys makes for a log."""
    return Signer(f"test.local/00112233445566ff/{log}", log.encode().ljust(32, b"\x01")[:32])


def updated(store: MemoryDocuments, collection: str, key: str, **fields: Any) -> None:
    store.collections[collection][key] = {**store.collections[collection][key], **fields}


def resigned(store: MemoryDocuments, height: int, *, signer: Signer | None = None, **fields: Any) -> None:
    """A header changed by somebody who has the key, or another one."""
    block = store.collections[BLOCKS][f"{LOG}#{height}"]
    header = blocks.encode(msgspec.structs.replace(blocks.decode(block["header"]), **fields))
    signature = (signer or key_of(LOG)).sign(SIGNATURE_DOMAIN + header)
    updated(store, BLOCKS, block["_id"], header=header, signature=signature)


def kafka_moved(store: MemoryDocuments) -> None:
    header = blocks.decode(store.collections[BLOCKS][f"{LOG}#1"]["header"])
    resigned(
        store,
        1,
        kafka=msgspec.structs.replace(header.kafka, first=header.kafka.first + 1, next=header.kafka.next + 1),
    )


def checkpoint_resigned(store: MemoryDocuments) -> None:
    note = sign_checkpoint(Checkpoint(ORIGIN, 4, b"\7" * 32), key_of(LOG))
    updated(store, CHECKPOINTS, f"{LOG}@4", note=note, root=b"\7" * 32)


def exchanged(store: MemoryDocuments, collection: str, one: str, other: str, fields: Sequence[str]) -> None:
    of = store.collections[collection]
    first, second = of[one], of[other]
    of[one] = {**first, **{field: second[field] for field in fields}}
    of[other] = {**second, **{field: first[field] for field in fields}}


def pack_ids(store: MemoryDocuments, height: int) -> list[str]:
    return list(store.collections[BLOCKS][f"{LOG}#{height}"]["packs"])


def packs_exchanged(store: MemoryDocuments) -> None:
    exchanged(store, PACKS, pack_ids(store, 0)[0], pack_ids(store, 1)[0], ("entries", "parts", "tags"))


def entries_swapped(store: MemoryDocuments) -> None:
    pack = documents.pack(store.collections[PACKS][pack_ids(store, 1)[0]])
    swapped = msgspec.structs.replace(pack, records=pack.records[::-1])
    store.collections[PACKS][pack.id] = documents.pack_document(swapped)


def cut_off(store: MemoryDocuments, *, told: bool) -> None:
    """The last blocks gone; unless `told`, with all that speaks of them."""
    for height in (2, 3):
        del store.collections[BLOCKS][f"{LOG}#{height}"]
    if told:
        return
    for size in (6, 7):
        del store.collections[CHECKPOINTS][f"{LOG}@{size}"]
    updated(store, TILES, f"{LOG}/0/0", data=store.collections[TILES][f"{LOG}/0/0"]["data"][:128], width=4)
    index = stored_index(store.collections[RUNS][LOG])
    store.collections[RUNS][LOG] = as_read(index_document(TagIndex(LOG, 1, 4, index.runs[:2])))
    last = store.collections[CHECKPOINTS][f"{LOG}@4"]
    published = {name: last[name] for name in ("size", "root", "note", "signatures")}
    head = store.collections[HEADS][LOG]
    same = {name: last[name] for name in ("size", "root", "note")}
    updated(store, HEADS, LOG, height=1, published={**head["published"], **published}, **same)


def junk_pack(store: MemoryDocuments) -> None:
    """A pack that no block names, found by what it does not hold."""
    other = documents.pack(store.collections[PACKS][f"{OTHER}#0.0@epoch2"])
    forged = msgspec.structs.replace(other, id=f"{LOG}#1.9@evil", log=LOG, height=1, first=2)
    store.collections[PACKS][forged.id] = documents.pack_document(forged)


def page_changed(store: MemoryDocuments, change: Callable[[bytes], bytes]) -> None:
    name = next(name for name in store.collections[PAGES] if name.startswith(f"{LOG}#1."))
    updated(store, PAGES, name, data=change(store.collections[PAGES][name]["data"]))


TAMPERED: dict[str, tuple[Change, tuple[str, int | None, int | None, str]]] = {
    "two entries swapped": (entries_swapped, (LOG, 1, 2, "entry")),
    "block removed from the middle": (
        lambda s: s.collections[BLOCKS].pop(f"{LOG}#1"),
        (LOG, 1, None, "chain"),
    ),
    "tail cut off": (lambda s: cut_off(s, told=True), (LOG, 2, None, "chain")),
    "header signed with another key": (
        lambda s: resigned(s, 1, signer=Signer(ORIGIN, b"k" * 32)),
        (LOG, 1, None, "signature"),
    ),
    "count, signed by the log's key": (
        lambda s: resigned(s, 1, count=1, size=3),
        (LOG, 1, None, "document"),
    ),
    "time, signed by the log's key": (lambda s: resigned(s, 1, time=5), (LOG, 1, None, "chain")),
    "previous, signed by the log's key": (
        lambda s: resigned(s, 1, previous="ab" * 32),
        (LOG, 1, None, "chain"),
    ),
    "offset range, signed by the log's key": (kafka_moved, (LOG, 1, None, "kafka")),
    "height of the document": (
        lambda s: updated(s, BLOCKS, f"{LOG}#1", height=9),
        (LOG, 1, None, "document"),
    ),
    "leaf hashes": (lambda s: updated(s, BLOCKS, f"{LOG}#1", leaves=b"\1" * 64), (LOG, 1, None, "root")),
    "leaf hashes not whole": (
        lambda s: updated(s, BLOCKS, f"{LOG}#1", leaves=b"\1" * 63),
        (LOG, 1, None, "leaves"),
    ),
    "packs exchanged between blocks": (packs_exchanged, (LOG, 1, 2, "entry")),
    "pack removed": (lambda s: s.collections[PACKS].pop(pack_ids(s, 1)[0]), (LOG, 1, 2, "pack")),
    "pack of another place": (
        lambda s: updated(s, PACKS, pack_ids(s, 1)[0], first=900),
        (LOG, 1, 2, "pack.row"),
    ),
    "pack of another log": (
        lambda s: updated(s, PACKS, pack_ids(s, 1)[0], log=OTHER),
        (LOG, 1, 2, "pack.row"),
    ),
    "pack added": (junk_pack, (LOG, 1, 2, "stray")),
    "two logs' blocks exchanged": (
        lambda s: exchanged(s, BLOCKS, f"{LOG}#1", f"{OTHER}#1", ("header", "signature", "leaves", "packs")),
        (LOG, 1, None, "chain"),
    ),
    "tile removed": (lambda s: s.collections[TILES].pop(f"{LOG}/0/0"), (LOG, None, 0, "tile")),
    "tile whose level is false": (
        lambda s: updated(s, TILES, f"{LOG}/0/0", level=False),
        (LOG, None, 0, "tile"),
    ),
    "tile whose number is no integer": (
        lambda s: updated(s, TILES, f"{LOG}/0/0", n=0.0),
        (LOG, None, 0, "tile"),
    ),
    "tile added": (
        lambda s: s.collections[TILES].update(
            {f"{LOG}/0/1": {**s.collections[TILES][f"{LOG}/0/0"], "_id": f"{LOG}/0/1", "n": 1}}
        ),
        (LOG, None, None, "tile"),
    ),
    "index row added": (
        lambda s: page_changed(s, lambda data: data + data[-16:]),
        (LOG, None, None, "index"),
    ),
    "index row of another pack": (
        lambda s: page_changed(s, lambda data: data[:-1] + bytes((data[-1] ^ 4,))),
        (LOG, None, 2, "index"),
    ),
    "index row removed": (lambda s: page_changed(s, lambda data: data[16:]), (LOG, None, 2, "index")),
    "index page removed": (
        lambda s: s.collections[PAGES].pop(
            next(n for n in s.collections[PAGES] if n.startswith(f"{LOG}#1."))
        ),
        (LOG, None, None, "index"),
    ),
    "list of runs removed": (lambda s: s.collections[RUNS].pop(LOG), (LOG, None, None, "index")),
    "checkpoint removed": (
        lambda s: s.collections[CHECKPOINTS].pop(f"{LOG}@4"),
        (LOG, 1, None, "checkpoint"),
    ),
    "checkpoint of another root, signed by the log's key": (
        checkpoint_resigned,
        (LOG, 1, None, "checkpoint"),
    ),
    "checkpoint's document": (
        lambda s: updated(s, CHECKPOINTS, f"{LOG}@4", root=b"\0" * 32),
        (LOG, 1, None, "checkpoint.row"),
    ),
    "checkpoint where no block ends": (
        lambda s: s.collections[CHECKPOINTS].update(
            {f"{LOG}@3": {**s.collections[CHECKPOINTS][f"{LOG}@2"], "_id": f"{LOG}@3", "size": 3}}
        ),
        (LOG, None, None, "checkpoint"),
    ),
    "head rolled back": (
        lambda s: s.collections[HEADS].update(
            {
                LOG: {
                    **s.collections[HEADS][LOG],
                    "height": 1,
                    **_statement(s.collections[CHECKPOINTS][f"{LOG}@4"]),
                }
            }
        ),
        (LOG, None, None, "head"),
    ),
    "head's height": (lambda s: updated(s, HEADS, LOG, height=1 << 50), (LOG, None, None, "head")),
    "head removed": (lambda s: s.collections[HEADS].pop(LOG), (LOG, None, None, "head")),
    "published checkpoint of another log": (
        lambda s: updated(s, HEADS, LOG, published=s.collections[HEADS][OTHER]["published"]),
        (LOG, None, None, "published"),
    ),
    "key exchanged": (
        lambda s: updated(s, LOGS, LOG, vkey=Signer(ORIGIN, b"k" * 32).verifier.vkey()),
        (LOG, 1, None, "signature"),
    ),
    "key and origin of another log": (
        lambda s: exchanged(s, LOGS, LOG, OTHER, ("vkey", "origin")),
        (LOG, None, None, "key"),
    ),
    "pin of no block": (
        lambda s: s.collections[PINS].update(
            {f"{LOG}@3": {"_id": f"{LOG}@3", "log": LOG, "size": 3, "height": 1}}
        ),
        (LOG, None, None, "pinned"),
    ),
    "log forgotten": (lambda s: s.collections[LOGS].pop(LOG), (LOG, None, None, "stray")),
    "block of a log that never was": (
        lambda s: s.collections[BLOCKS].update(
            {"goods/9#0": {**s.collections[BLOCKS][f"{LOG}#0"], "_id": "goods/9#0", "log": "goods/9"}}
        ),
        ("goods/9", None, None, "stray"),
    ),
    "a field more": (lambda s: updated(s, BLOCKS, f"{LOG}#1", more=1), (LOG, 1, None, "document")),
}


def _statement(checkpoint: Document) -> Document:
    return {name: checkpoint[name] for name in ("size", "root", "note")}


async def test_a_sound_store_has_no_fault(sealed: MemoryDocuments) -> None:
    verdicts = await check_store(sealed)
    assert [(v.log, v.blocks, v.entries, v.counts) for v in verdicts] == [(LOG, 4, 7, {}), (OTHER, 4, 7, {})]


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_was_tampered_with_is_named(store: MemoryDocuments, what: str) -> None:
    change, wanted = TAMPERED[what]
    change(store)
    faults = await all_faults(store)
    places = [(fault.log, fault.block, fault.index, fault.field) for fault in faults]
    assert wanted in places, faults
    assert all(fault.field in KINDS for fault in faults)
    mine = {fault.log for fault in faults}
    assert mine <= {LOG, "goods/9"} or "another log" in what or "two logs" in what


async def test_one_broken_block_is_not_told_again_of_those_that_follow(store: MemoryDocuments) -> None:
    """The tree is taken up again from the tiles, which give the root that the next header says."""
    updated(store, BLOCKS, f"{LOG}#1", leaves=b"\1" * 64)
    faults = await all_faults(store)
    assert {fault.block for fault in faults} == {1}
    store = store.copy()
    store.collections[BLOCKS].pop(f"{LOG}#1")
    assert {fault.block for fault in await all_faults(store)} - {None} == {1}


async def test_a_head_and_a_last_block_that_cannot_be_read_are_told_of_and_looked_at_once(
    store: MemoryDocuments,
) -> None:
    """The block is found by its ID alone: a look for the last one by log and height does not meet it."""
    store.collections[HEADS][LOG] = {
        name: value for name, value in store.collections[HEADS][LOG].items() if name != "root"
    }
    last = max(int(key.partition("#")[2]) for key in store.collections[BLOCKS] if key.startswith(f"{LOG}#"))
    updated(store, BLOCKS, f"{LOG}#{last}", log=7)
    faults = await asyncio.wait_for(all_faults(store), 20)
    assert {(fault.log, fault.block) for fault in faults} >= {(LOG, None), (LOG, last)}


async def test_an_orphan_is_no_fault(store: MemoryDocuments) -> None:
    pack = store.collections[PACKS][pack_ids(store, 1)[0]]
    store.collections[PACKS][f"{LOG}#1.0@cut-off"] = {**pack, "_id": f"{LOG}#1.0@cut-off"}
    verdict = (await check_store(store))[0]
    assert (verdict.counts, verdict.orphans) == ({}, 1)


async def test_a_block_not_yet_published_is_no_fault(values: MemoryStore) -> None:
    """As a writer leaves it that dies between the block and its checkpoint, or while it writes tiles."""
    store = MemoryDocuments.of(values)
    cut = _statement(store.collections[CHECKPOINTS][f"{LOG}@6"])
    updated(store, HEADS, LOG, height=2, **cut, published={**cut, "signatures": 1})
    assert await all_faults(store) == []
    del store.collections[CHECKPOINTS][f"{LOG}@7"]
    assert await all_faults(store) == []
    tile = store.collections[TILES][f"{LOG}/0/0"]
    updated(store, TILES, f"{LOG}/0/0", data=tile["data"][: 6 * 32], width=6)
    assert await all_faults(store) == []


async def test_a_writer_at_work_is_no_fault(values: MemoryStore) -> None:
    """The head moves on between two readings: the blocks that came are checked too."""
    whole = MemoryDocuments.of(values)
    store = whole.copy()
    cut_off(store, told=False)
    assert await all_faults(store) == []
    seen = 0

    async def head(log: str) -> Document | None:
        nonlocal seen
        seen += log == LOG
        if seen == 3:  # asked for by the survey, at the start, and at the end
            store.collections = whole.copy().collections
        return store.collections[HEADS].get(log)

    store.head = head  # type: ignore[method-assign]
    verdicts = await check_store(store)
    assert [(v.entries, v.faults) for v in verdicts] == [(7, []), (7, [])]


def trusted(*signers: Signer) -> LogKeys:
    return LogKeys([signer.verifier for signer in signers])


async def test_trusted_keys(store: MemoryDocuments) -> None:
    keys = trusted(key_of(LOG), key_of(OTHER))
    assert await all_faults(store, Options(trusted=keys)) == []
    stranger = trusted(Signer(ORIGIN, b"k" * 32), key_of(OTHER))
    faults = await all_faults(store, Options(trusted=stranger))
    assert {"key", "signature", "checkpoint"} <= {fault.field for fault in faults}
    faults = await all_faults(store, Options(trusted=trusted(key_of(LOG))))
    assert [(fault.log, fault.field) for fault in faults] == [(OTHER, "key")]
    faults = await all_faults(store, Options(trusted=trusted(key_of(LOG), key_of(OTHER), key_of("goods/7"))))
    assert [(fault.log, fault.field) for fault in faults] == [("goods/7", "log")]
    faults = await all_faults(store, Options(names=("goods/9",)))
    assert [(fault.log, fault.field) for fault in faults] == [("goods/9", "log")]


# -- witnesses ------------------------------------------------------------------------------------------------------


async def test_cosignatures_and_the_quorum_of_what_is_published(store: MemoryDocuments) -> None:
    witness = Cosigner("witness.example/w", b"w" * 32)
    policy = f"witness w {witness.verifier.vkey()}\nquorum w\n".encode()
    options = Options(names=(LOG,), policy=policy)
    faults = await all_faults(store, options)
    assert [(fault.log, fault.field) for fault in faults] == [(LOG, "published")]

    checkpoint = store.collections[CHECKPOINTS][f"{LOG}@7"]
    text = parse_note(checkpoint["note"]).text
    line = witness.cosign(text, 1_700_000_000).line()
    cosigned = checkpoint["note"] + line
    updated(store, CHECKPOINTS, f"{LOG}@7", note=cosigned, signatures=2)
    assert {fault.field for fault in await all_faults(store, options)} == {"published"}
    await check_store(store, options, repair=True)
    assert store.collections[HEADS][LOG]["published"]["note"] == cosigned
    assert await all_faults(store, options) == []

    other = Cosigner("witness.example/w", b"v" * 32).cosign(text, 1_700_000_000)
    forged = Signature(witness.verifier.name, witness.verifier.key_id, other.signature).line()
    updated(
        store,
        CHECKPOINTS,
        f"{LOG}@4",
        note=store.collections[CHECKPOINTS][f"{LOG}@4"]["note"] + forged,
        signatures=2,
    )
    faults = await all_faults(store, options)
    assert [(fault.block, fault.field) for fault in faults] == [(1, "cosignature")]


# -- saved checkpoints ----------------------------------------------------------------------------------------------


def saved_of(store: MemoryDocuments, folder: Path) -> tuple[SavedNote, ...]:
    for size in (2, 4, 7):
        (folder / f"{size}.checkpoint").write_text(store.collections[CHECKPOINTS][f"{LOG}@{size}"]["note"])
    return tuple(read_saved([folder]))


async def test_saved_checkpoints_agree(sealed: MemoryDocuments, tmp_path: Path) -> None:
    saved = saved_of(sealed, tmp_path)
    verdicts = await check_store(sealed, Options(saved=saved))
    assert [(v.log, v.saved, v.counts) for v in verdicts] == [(LOG, 3, {}), (OTHER, 0, {})]


async def test_a_log_rolled_back_by_somebody_who_hides_it(store: MemoryDocuments, tmp_path: Path) -> None:
    saved = saved_of(store, tmp_path)
    cut_off(store, told=False)
    assert await all_faults(store) == []
    faults = await all_faults(store, Options(saved=saved))
    assert [(fault.field, fault.index) for fault in faults] == [("rolled-back", 4)]
    assert "7.checkpoint" in faults[0].problem


async def test_a_log_rewritten_by_somebody_who_has_its_key(sealed: MemoryDocuments, tmp_path: Path) -> None:
    saved = saved_of(sealed, tmp_path)
    bench = Bench(2)
    bench.fill(2)
    bench.fill(5, partition=1)
    for number in (90, 91, 92, 93, 94):
        bench.topic.append(0, bench.topic.records[1][number - 90].value)
    await bench.run(entries=2)
    rewritten = MemoryDocuments.of(bench.store)
    assert await all_faults(rewritten, Options(names=(LOG,))) == []
    faults = await all_faults(rewritten, Options(names=(LOG,), saved=saved))
    assert [(fault.field, fault.block, fault.index) for fault in faults] == [
        ("rewritten", 1, 2),
        ("rewritten", 3, 2),
    ]


async def test_saved_files_that_are_none(store: MemoryDocuments, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no saved checkpoint"):
        read_saved([tmp_path])
    note = sign_checkpoint(Checkpoint(ORIGIN, 2, b"\7" * 32), Signer(ORIGIN, b"k" * 32))
    saved = (SavedNote(LOG, 2, note, "forged"),)
    faults = await all_faults(store, Options(saved=saved))
    assert [(fault.log, fault.field) for fault in faults] == [(LOG, "against")]
    (tmp_path / "junk").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="junk is no saved checkpoint"):
        read_saved([tmp_path])


# -- repair ---------------------------------------------------------------------------------------------------------

DERIVED = [what for what, (_, place) in TAMPERED.items() if KINDS[place[3]].standing is Standing.DERIVED]


@pytest.mark.parametrize("what", DERIVED)
async def test_what_is_derived_is_made_again_exactly(
    store: MemoryDocuments, sealed: MemoryDocuments, what: str
) -> None:
    TAMPERED[what][0](store)
    verdicts = await check_store(store)
    assert not list(repair.refusals([each for each in verdicts if each.log == LOG]))
    assert list(repair.plan(verdicts))
    await check_store(store, repair=True)
    assert await all_faults(store) == []
    assert store.collections == sealed.collections or what == "list of runs removed"
    assert {collection for collection, _ in store.written} <= {
        PACKS,
        PAGES,
        RUNS,
        TILES,
        CHECKPOINTS,
        HEADS,
        PINS,
    }


@pytest.mark.parametrize("what", [what for what in TAMPERED if what not in DERIVED])
async def test_what_is_sealed_is_refused(store: MemoryDocuments, what: str) -> None:
    TAMPERED[what][0](store)
    refused = {verdict.log for verdict, _ in repair.refusals(await check_store(store))}
    assert refused & {LOG, "goods/9"}


def test_an_index_of_many_runs_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """21 blocks: runs of three levels, whose pages were merged; all pages lost, and in slices."""
    monkeypatch.setattr("services.sealing.tag_index.PAGE_ROWS", 4)
    monkeypatch.setattr("services.sealing.fsck.index_check.SLICE_ROWS", 8)
    whole = MemoryDocuments.of(sealed_store(21, of_block=1, partitions=1))
    assert asyncio.run(all_faults(whole)) == []
    for lost in (PAGES, RUNS):
        store = whole.copy()
        store.collections[lost] = {}
        assert {fault.field for fault in asyncio.run(all_faults(store))} == {"index"}
        asyncio.run(check_store(store, repair=True))
        assert asyncio.run(all_faults(store)) == []


# -- going on -------------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """The run ends here."""


def test_a_check_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(feeding, "PAGE_ENTRIES", 3)
    values = sealed_store(20, of_block=3, partitions=1)
    store = MemoryDocuments.of(values)
    damaged = next(key for key in store.collections[PACKS] if key.startswith(f"{LOG}#1."))
    updated(store, PACKS, damaged, entries=b"junk")
    info = values.infos[LOG]
    whole = asyncio.run(check_log(store, Check(info=info)))
    state = StateFile(tmp_path / "state", "this run", Progress)
    pages = 0

    def told(progress: Progress) -> None:
        nonlocal pages
        state.keep(LOG, progress)
        state.write()
        pages += 1
        if pages == 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        asyncio.run(check_log(store, Check(info=info, told=told)))
    start = StateFile(tmp_path / "state", "this run", Progress).get(LOG)
    assert start is not None
    assert 0 < start.verdict.entries < 20
    assert asyncio.run(is_of(store, LOG, start.edge))
    rest = asyncio.run(check_log(store, Check(info=info, start=start)))
    assert (rest.entries, rest.root, rest.faults) == (whole.entries, whole.root, whole.faults)
    assert 0 < rest.resumed < 20
    assert StateFile(tmp_path / "state", "another run", Progress).get(LOG) is None


def test_a_stale_state_is_noticed(tmp_path: Path) -> None:
    kept: list[Progress] = []
    values = sealed_store(6, partitions=1)
    asyncio.run(check_log(MemoryDocuments.of(values), Check(info=values.infos[LOG], told=kept.append)))
    other = MemoryDocuments.of(sealed_store(6, of_block=3, partitions=1))
    assert not asyncio.run(is_of(other, LOG, kept[-1].edge))
    (tmp_path / "state").write_text("junk")
    with pytest.raises(SettingsError, match="not a state file"):
        StateFile(tmp_path / "state", "this run", Progress)


# -- small things ---------------------------------------------------------------------------------------------------


def test_tile_counts() -> None:
    assert [tile_count(size) for size in (0, 1, 255, 256, 257, 65536)] == [0, 1, 1, 2, 3, 258]


def test_faults_are_listed_up_to_a_limit_and_all_counted() -> None:
    verdict = Verdict(log=LOG)
    for number in range(300):
        verdict.found("tile", number)
    verdict.found("entry", "one", block=1, index=2)
    assert (len(verdict.faults), verdict.counts) == (101, {"tile": 300, "entry": 1})
    assert verdict.of(Standing.SEALED) == {"entry": 1}
    assert verdict.faults[-1].place == f"{LOG}, block 1, index 2, entry"


def test_records_that_are_sound_have_no_problem(values: MemoryStore) -> None:
    for pack in values.packs.values():
        block = values.blocks[f"{pack.log}#{pack.height}"]
        leaves = [block.leaves[at : at + 32] for at in range(0, len(block.leaves), 32)]
        assert list(records.problems(pack.records, leaves)) == []


async def test_how_well_packs_are_compressed_is_no_fault(store: MemoryDocuments) -> None:
    """Those of releases that compressed nothing, and of others whose library makes other frames of the same."""
    first, second, *_ = store.collections[PACKS]
    unlike = store.collections[PACKS][first]
    plain = encode_plain(documents.pack(unlike).records)
    updated(store, PACKS, first, **plain)
    frames = {name: packed(column) for name, column in encode_plain(_records_of(store, second)).items()}
    updated(store, PACKS, second, entries=frames["entries"], parts=frames["parts"])
    assert store.collections[PACKS][first] != unlike
    assert await all_faults(store) == []


async def test_a_pack_that_says_the_same_in_other_bytes_is_a_fault(store: MemoryDocuments) -> None:
    name = next(iter(store.collections[PACKS]))
    entries = [record.entry for record in _records_of(store, name)]
    longer = b"\xdd" + len(entries).to_bytes(4, "big") + b"".join(map(msgspec.msgpack.encode, entries))
    assert msgspec.msgpack.decode(longer) == entries
    updated(store, PACKS, name, entries=packed(longer))
    (fault,) = await all_faults(store)
    assert fault.field == "pack"
    assert fault.problem.endswith("not as written: entries")


def _records_of(store: MemoryDocuments, name: str) -> Sequence[PackedRecord]:
    return documents.pack(store.collections[PACKS][name]).records
