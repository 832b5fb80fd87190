"""`verify` names log and place of every byte that is changed, and of every row added or taken away."""

import asyncio
import copy
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from goodstrace.block import SIGNATURE_DOMAIN
from goodstrace.note import Signer, Verifier
from services.runtime.envelope import Part
from services.sealing.audit_logs import read_vkeys, verify_store
from services.sealing.errors import LogKeyError
from services.sealing.values import Head, Pack, PackedRecord
from services.sealing.verify import Fault, tile_count, verify_log
from tests.memory_store import MemoryStore
from tests.unit.test_sealing_service import LOG, Bench

Change = Callable[[MemoryStore], None]


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


@pytest.fixture(scope="module")
def sealed() -> MemoryStore:
    """A log of three blocks with 2, 2 and 1 entries."""
    bench = Bench()
    bench.fill(5)
    asyncio.run(bench.run(entries=2))
    assert len(bench.store.blocks) == 3
    return bench.store


def faults_of(store: MemoryStore, trusted: Verifier | None = None) -> list[Fault]:
    info = store.infos[LOG]
    return asyncio.run(verify_log(store, info, trusted, lambda verdict: None)).faults


def changed(store: MemoryStore, change: Change) -> list[Fault]:
    other = copy.copy(store)
    for name in ("infos", "blocks", "packs", "tile_data", "checkpoints", "heads"):
        setattr(other, name, dict(getattr(store, name)))
    change(other)
    return faults_of(other)


def block_changes(store: MemoryStore) -> Iterator[tuple[int, str, Change]]:
    """Every byte of every block's header, signature and leaf hashes."""
    for block in store.blocks.values():
        for field in ("header", "signature", "leaves"):
            data = getattr(block, field)
            for place in range(len(data)):

                def change(
                    other: MemoryStore, block: Any = block, field: str = field, place: int = place
                ) -> None:
                    data = flip(getattr(block, field), place)
                    other.blocks[block.id] = msgspec.structs.replace(block, **{field: data})

                yield block.height, field, change


def record_changes(record: PackedRecord) -> Iterator[tuple[str, PackedRecord]]:
    """Every byte of a record: entry, each part's name, salt and content, each tag."""
    replace = msgspec.structs.replace
    for place in range(len(record.entry)):
        yield "entry", replace(record, entry=flip(record.entry, place))
    for number, part in enumerate(record.parts):
        for field in ("salt", "content"):
            for place in range(len(getattr(part, field))):
                other = replace(part, **{field: flip(getattr(part, field), place)})
                yield (
                    "part",
                    replace(record, parts=(*record.parts[:number], other, *record.parts[number + 1 :])),
                )
        renamed = replace(part, name=part.name[:-1] + "x")
        yield "part", replace(record, parts=(*record.parts[:number], renamed, *record.parts[number + 1 :]))
    for number, tag in enumerate(record.tags):
        for place in range(len(tag)):
            tags = (*record.tags[:number], flip(tag, place), *record.tags[number + 1 :])
            yield "tags", replace(record, tags=tags)
    yield "part", replace(record, parts=record.parts[:1])
    yield "part", replace(record, parts=(*record.parts, Part("more", b"s" * 32, b"more")))
    yield "tags", replace(record, tags=record.tags[1:])


def test_a_sound_log_has_no_fault(sealed: MemoryStore) -> None:
    assert faults_of(sealed) == []


def test_every_byte_of_every_block(sealed: MemoryStore) -> None:
    wanted = {"header": {"header", "signature"}, "signature": {"signature"}, "leaves": {"root"}}
    for height, field, change in block_changes(sealed):
        faults = changed(sealed, change)
        assert faults, (height, field)
        assert (faults[0].log, faults[0].block) == (LOG, height)
        assert faults[0].field in wanted[field]


def test_every_byte_of_every_record(sealed: MemoryStore) -> None:
    for pack in sealed.packs.values():
        for number, record in enumerate(pack.records):
            for field, other in record_changes(record):
                records = (*pack.records[:number], other, *pack.records[number + 1 :])

                def change(store: MemoryStore, pack: Pack = pack, records: Any = records) -> None:
                    store.packs[pack.id] = msgspec.structs.replace(pack, records=records)

                faults = changed(sealed, change)
                places = {(fault.log, fault.block, fault.index, fault.field) for fault in faults}
                assert (LOG, pack.height, pack.first + number, field) in places


def test_every_byte_of_every_tag_that_a_pack_is_found_by(sealed: MemoryStore) -> None:
    for pack in sealed.packs.values():
        for number, tag in enumerate(pack.tags):
            for place in range(len(tag)):
                tags = (*pack.tags[:number], flip(tag, place), *pack.tags[number + 1 :])
                faults = changed(sealed, updating("packs", pack.id, msgspec.structs.replace(pack, tags=tags)))
                assert [(f.block, f.index, f.field) for f in faults] == [
                    (pack.height, pack.first, "pack.tags")
                ]


def test_every_byte_of_every_tile(sealed: MemoryStore) -> None:
    for name, data in sealed.tile_data.items():
        for place in range(len(data)):
            other = flip(data, place)
            faults = changed(sealed, updating("tile_data", name, other))
            assert [(f.log, f.field, f.problem) for f in faults] == [
                (LOG, "tile", f"tile {name[1]}/{name[2]} differs")
            ]


def test_every_character_of_every_checkpoint(sealed: MemoryStore) -> None:
    heights = {block.size: block.height for block in sealed.blocks.values()}
    for key, checkpoint in sealed.checkpoints.items():
        notes = [
            checkpoint.note[:place] + chr(ord(letter) ^ 1) + checkpoint.note[place + 1 :]
            for place, letter in enumerate(checkpoint.note)
        ]
        others = [msgspec.structs.replace(checkpoint, note=note) for note in notes]
        others += [
            msgspec.structs.replace(checkpoint, root=flip(checkpoint.root, place)) for place in range(32)
        ]
        for other in others:
            faults = changed(sealed, updating("checkpoints", key, other))
            assert (LOG, heights[checkpoint.size], "checkpoint") in {
                (f.log, f.block, f.field) for f in faults
            }


def updating(name: str, key: Any, value: Any) -> Change:
    """The change that puts a row in the place of another."""
    return lambda store: getattr(store, name).update({key: value})


def rewritten(store: MemoryStore, height: int, **fields: Any) -> None:
    block = store.blocks[f"{LOG}#{height}"]
    store.blocks[block.id] = msgspec.structs.replace(block, **fields)


@pytest.mark.parametrize(
    ("change", "field", "block"),
    [
        (lambda s: s.blocks.pop(f"{LOG}#1"), "chain", 1),
        (lambda s: s.blocks.pop(f"{LOG}#2"), "chain", None),
        (lambda s: s.packs.pop(s.blocks[f"{LOG}#1"].packs[0]), "pack", 1),
        (lambda s: rewritten(s, 1, packs=()), "pack", 1),
        (lambda s: rewritten(s, 1, first=3), "document", 1),
        (lambda s: rewritten(s, 1, size=9), "document", 1),
        (lambda s: s.tile_data.pop((LOG, 0, 0)), "tile", None),
        (lambda s: s.tile_data.update({(LOG, 0, 1): b"\0" * 32}), "tile", None),
        (lambda s: s.checkpoints.pop((LOG, 2)), "checkpoint", 0),
        (
            lambda s: s.checkpoints.update(
                {(LOG, 3): msgspec.structs.replace(s.checkpoints[LOG, 2], size=3)}
            ),
            "checkpoint",
            None,
        ),
        (lambda s: s.heads.update({LOG: msgspec.structs.replace(s.heads[LOG], height=7)}), "chain", None),
        (
            lambda s: s.heads.update(
                {LOG: msgspec.structs.replace(s.heads[LOG], checkpoint=s.checkpoints[LOG, 4])}
            ),
            "head",
            None,
        ),
        (lambda s: s.heads.pop(LOG), "head", None),
        (
            lambda s: s.infos.update({LOG: msgspec.structs.replace(s.infos[LOG], origin="another")}),
            "key",
            None,
        ),
        (lambda s: s.infos.update({LOG: msgspec.structs.replace(s.infos[LOG], vkey="junk")}), "key", None),
    ],
)
def test_rows_taken_away_added_or_changed(
    sealed: MemoryStore, change: Change, field: str, block: int | None
) -> None:
    faults = changed(sealed, change)
    assert (LOG, field, block) in {(f.log, f.field, f.block) for f in faults}


def test_a_block_signed_by_another_key(sealed: MemoryStore) -> None:
    signer = Signer("test.local/00112233445566ff/goods/0", b"k" * 32)
    block = sealed.blocks[f"{LOG}#1"]
    other = signer.sign(SIGNATURE_DOMAIN + block.header)
    faults = changed(sealed, lambda store: rewritten(store, 1, signature=other))
    assert [(f.block, f.field) for f in faults] == [(1, "signature")]


def test_a_whole_log_under_another_key_shows_with_trusted_keys_only(sealed: MemoryStore) -> None:
    trusted = Signer("test.local/00112233445566ff/goods/0", b"k" * 32).verifier
    assert faults_of(sealed) == []
    fields = {fault.field for fault in faults_of(sealed, trusted)}
    assert {"key", "signature", "checkpoint"} <= fields


def test_an_orphan_pack_is_no_fault_and_one_with_other_records_is(sealed: MemoryStore) -> None:
    pack = sealed.packs[sealed.blocks[f"{LOG}#1"].packs[0]]
    orphan = msgspec.structs.replace(pack, id="orphan")
    assert changed(sealed, lambda store: store.packs.update({orphan.id: orphan})) == []
    forged = msgspec.structs.replace(orphan, records=pack.records[::-1])
    faults = changed(sealed, lambda store: store.packs.update({forged.id: forged}))
    assert {(f.block, f.index, f.field) for f in faults} == {(1, 2, "entry"), (1, 3, "entry")}


def test_a_block_not_yet_published_is_no_fault(sealed: MemoryStore) -> None:
    """As a writer leaves it that dies between the block and its checkpoint."""

    def unpublish(store: MemoryStore) -> None:
        four = store.checkpoints[LOG, 4]
        store.heads[LOG] = Head(1, four, four)
        del store.checkpoints[LOG, 5]

    assert changed(sealed, unpublish) == []

    def tiles_too(store: MemoryStore) -> None:
        unpublish(store)
        store.tile_data[LOG, 0, 0] = store.tile_data[LOG, 0, 0][: 4 * 32]

    assert changed(sealed, tiles_too) == []


def test_tile_counts() -> None:
    assert [tile_count(size) for size in (0, 1, 255, 256, 257, 65536)] == [0, 1, 1, 2, 3, 258]


async def test_a_store_against_a_folder_of_keys(sealed: MemoryStore, tmp_path: Any) -> None:
    with pytest.raises(LogKeyError, match="no"):
        read_vkeys(tmp_path)
    (tmp_path / "goods-0.vkey").write_text(sealed.infos[LOG].vkey + "\n")
    keys = read_vkeys(tmp_path)
    assert [v.faults for v in await verify_store(sealed, (), keys, lambda verdict: None)] == [[]]
    verdicts = await verify_store(sealed, ("goods/9",), keys, lambda verdict: None)
    assert [(v.log, v.faults[0].field) for v in verdicts] == [("goods/9", "log")]
    verdicts = await verify_store(sealed, (), {"goods-7": keys["goods-0"]}, lambda verdict: None)
    assert [(v.log, v.faults[0].field) for v in verdicts] == [(LOG, "key"), ("goods/7", "log")]
    (tmp_path / "goods-1.vkey").write_text("junk")
    with pytest.raises(LogKeyError):
        read_vkeys(tmp_path)
