"""The index by tag: whatever blocks hold and however runs were merged, look-ups find the packs that have the tag."""

import asyncio
import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runtime.errors import ServiceError
from services.sealing import tag_index
from services.sealing.errors import CorruptError
from services.sealing.indexing import MOST_UNTOLD, LogIndexer
from services.sealing.lookup import TagLookup
from services.sealing.tag_index import FANOUT, MAX_RUNS, Page, Run, TagIndex, block_run, page_name
from services.sealing.values import Pack, PackedRecord
from tests.memory_store import MemoryStore
from tests.unit.sealing_bench import until

LOG = "goods/0"
EMPTY = TagIndex(LOG, -1, 0, ())


def tag(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()[:16]


def block(height: int, first: int, tags: Sequence[Sequence[int]]) -> list[Pack]:
    """A block of as many packs, of one record each, with these tags."""
    return [
        Pack(
            f"{LOG}#{height}.{n}@e",
            LOG,
            height,
            0,
            first + n,
            (PackedRecord(b"entry", (), tuple(sorted(map(tag, set(of_pack))))),),
        )
        for n, of_pack in enumerate(tags)
    ]


def noticed(error: ServiceError) -> None:
    raise error


async def indexed(blocks: Sequence[Sequence[Sequence[int]]]) -> tuple[MemoryStore, LogIndexer, list[Pack]]:
    """Index blocks as a writer does, with all merges done."""
    store, packs = MemoryStore(), []
    indexer = LogIndexer(store, EMPTY, noticed)
    for height, tags in enumerate(blocks):
        made = block(height, len(packs), tags)
        run, pages = block_run(made)
        await store.put_pages(pages)
        await indexer.add(run)
        await indexer.keep_up()
        packs += made
    await indexer.settle()
    return store, indexer, packs


BLOCKS = st.lists(
    st.lists(st.lists(st.integers(0, 40), max_size=4), min_size=1, max_size=5), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(BLOCKS)
async def test_look_ups_find_the_packs_that_have_a_tag(blocks: list[list[list[int]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tag_index, "PAGE_ROWS", 4)
        patch.setattr(tag_index, "CHUNK_ROWS", 8)
        store, _, packs = await indexed(blocks)
    index = await store.index(LOG)
    assert index is not None
    assert tag_index.problem_of(index) == ""
    assert (index.height, index.size) == (len(blocks) - 1, len(packs))
    levels = [run.level for run in index.runs]
    assert levels == sorted(levels, reverse=True)
    assert max(map(levels.count, levels)) < FANOUT
    wanted = [tag(number) for number in range(42)]
    for size in {1, len(packs) // 2, len(packs)} - {0}:
        found = (await TagLookup(store).firsts({LOG: size}, wanted))[LOG]
        assert found == {each: [pack.first for pack in packs[:size] if each in pack.tags] for each in wanted}


@settings(max_examples=30, deadline=None)
@given(BLOCKS.filter(lambda blocks: len(blocks) >= FANOUT))
async def test_a_merged_run_is_the_run_of_its_blocks(blocks: list[list[list[int]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tag_index, "PAGE_ROWS", 4)
        store, _, packs = await indexed(blocks)
        index = await store.index(LOG)
        assert index is not None
        for run in index.runs:
            whole, pages = block_run([pack for pack in packs if run.first <= pack.first < run.end])
            assert (run.bits, run.rows, run.first, run.end) == (
                whole.bits,
                whole.rows,
                whole.first,
                whole.end,
            )
            named = {name.replace(whole.name, run.name): page for name, page in pages.items()}
            assert {name: store.page_data[name] for name in named} == named


def test_the_order_grows_with_blocks_and_merges() -> None:
    run = Run("a", 0, 0, 0, 1, 0, 0)
    orders = [
        TagIndex(LOG, height, 9, (run,) * runs).order
        for height, runs in [(0, 1), (1, 2), (1, 1), (2, 9), (2, 8), (3, MAX_RUNS + 5), (4, 1)]
    ]
    assert orders == sorted(set(orders))


def test_runs_that_do_not_cover_the_log_are_told_of() -> None:
    one, two = Run("a", 0, 0, 0, 5, 0, 0), Run("b", 0, 1, 5, 9, 0, 0)
    assert tag_index.problem_of(TagIndex(LOG, 1, 9, (one, two))) == ""
    assert tag_index.problem_of(EMPTY) == ""
    for height, size, runs in [
        (1, 9, (one,)),
        (1, 9, (two, one)),
        (1, 8, (one, two)),
        (0, 9, (one, two)),
        (1, 9, ()),
    ]:
        assert tag_index.problem_of(TagIndex(LOG, height, size, runs))


async def test_a_page_that_is_gone_is_told_of_and_never_taken_for_empty() -> None:
    store, _, packs = await indexed([[[1]], [[2]]])
    del store.page_data[page_name(packs[0].id, 0)]
    with pytest.raises(CorruptError, match="missing"):
        await TagLookup(store).firsts({LOG: 2}, [tag(1)])
    for run in range(2, FANOUT + 1):
        made = block(run, run, [[run]])
        new, pages = block_run(made)
        await store.put_pages(pages)
        index = await store.index(LOG)
        assert index is not None
        indexer = LogIndexer(store, index, noticed)
        await indexer.add(new)
    with pytest.raises(CorruptError, match="missing"):
        await indexer.settle()


async def test_an_index_that_does_not_reach_a_published_size_is_told_of() -> None:
    store, _, _ = await indexed([[[1]]])
    with pytest.raises(CorruptError, match="does not reach"):
        await TagLookup(store).firsts({LOG: 2}, [tag(1)])


async def test_look_ups_by_an_older_list_of_runs_still_find_what_it_covers() -> None:
    store, indexer, packs = await indexed([[[number]] for number in range(FANOUT - 1)])
    lookup = TagLookup(store)
    assert (await lookup.firsts({LOG: 1}, [tag(0)]))[LOG] == {tag(0): [0]}
    run, pages = block_run(block(FANOUT - 1, len(packs), [[7]]))
    await store.put_pages(pages)
    await indexer.add(run)
    await indexer.settle()
    assert (await lookup.firsts({LOG: 2}, [tag(1)]))[LOG] == {tag(1): [1]}
    assert (await lookup.firsts({LOG: FANOUT}, [tag(7)]))[LOG] == {tag(7): [FANOUT - 1]}


async def test_the_store_is_told_of_a_merge_with_the_next_block(monkeypatch: pytest.MonkeyPatch) -> None:
    store, told = MemoryStore(), list[TagIndex]()
    put = store.put_index

    async def counted(index: TagIndex) -> None:
        told.append(index)
        await put(index)

    monkeypatch.setattr(store, "put_index", counted)
    indexer = LogIndexer(store, EMPTY, noticed)
    for number in range(FANOUT + 1):
        run, pages = block_run(block(number, number, [[number]]))
        await store.put_pages(pages)
        await indexer.add(run)
        await indexer.keep_up()
        await until(lambda: all(task.get_name() != f"merge-{LOG}" for task in asyncio.all_tasks()))
    assert [[run.level for run in index.runs] for index in told] == [
        *([0] * count for count in range(1, FANOUT + 1)),
        [1, 0],
    ]
    wanted = [tag(number) for number in range(FANOUT + 1)]
    found = (await TagLookup(store).firsts({LOG: FANOUT + 1}, wanted))[LOG]
    assert found == {tag(number): [number] for number in range(FANOUT + 1)}


async def test_the_store_is_told_at_once_of_merges_that_spare_many_runs() -> None:
    store = MemoryStore()
    indexer = LogIndexer(store, EMPTY, noticed)
    for number in range(MOST_UNTOLD + FANOUT):
        run, pages = block_run(block(number, number, [[number]]))
        await store.put_pages(pages)
        await indexer.add(run)
    await indexer.keep_up()
    await until(lambda: len(store.runs[LOG].runs) == 3)
    assert [run.level for run in store.runs[LOG].runs] == [1, 1, 1]


async def test_a_merge_that_was_cut_off_is_done_again() -> None:
    store, _, _ = await indexed([[[number]] for number in range(FANOUT)])
    index = await store.index(LOG)
    assert index is not None
    assert [run.level for run in index.runs] == [1]
    written = {name: page for name, page in store.page_data.items() if "^" in name}
    runs = [block_run(block(number, number, [[number]]))[0] for number in range(FANOUT)]
    again = LogIndexer(store, TagIndex(LOG, FANOUT - 1, FANOUT, tuple(runs)), noticed)
    await again.settle()
    assert {name: page for name, page in store.page_data.items() if "^" in name} == written
    store.page_data[next(iter(written))] = Page(0, 1, 1, b"x" * 16)
    with pytest.raises(CorruptError, match="other rows"):
        await LogIndexer(store, TagIndex(LOG, FANOUT - 1, FANOUT, tuple(runs)), noticed).settle()


# Of two byte values only, so that a tag's beginning is met across the bounds of rows too.
BITS = st.binary(min_size=10, max_size=10).map(lambda data: bytes(each & 1 for each in data))


@given(st.lists(st.tuples(BITS, st.integers(0, 257)), max_size=30), BITS, st.sampled_from([0, 5000]))
def test_rows_are_found_by_their_tag(rows: list[tuple[bytes, int]], sought: bytes, more: int) -> None:
    rows += [(bytes(10), number) for number in range(more)]  # a page of several chunks
    data = b"".join(sorted(prefix + first.to_bytes(6) for prefix, first in rows))
    for prefix in (sought, *(prefix for prefix, _ in rows[:3])):
        expected = sorted(first for each, first in rows if each == prefix)
        found = tag_index.Rows(data).firsts(prefix + b"\1" * 6)
        assert found == expected
        for begin, most in ((0, 2), (100, 1000), (257, 1)):
            told = [first for first in expected if first >= begin][:most]
            assert tag_index.Rows(data).firsts(prefix + b"\1" * 6, begin, most) == told


def test_rows_that_share_eight_bytes_of_ten_are_told_apart() -> None:
    alike = [bytes(8) + end + bytes(6) for end in (b"\0\1", b"\0\2", b"\1\0")]
    rows = tag_index.Rows(b"".join(alike))
    assert [rows.firsts(each[:10] + b"\7" * 6) for each in alike] == [[0], [0], [0]]
    assert rows.firsts(bytes(16)) == rows.firsts(bytes(8) + b"\0\3" + bytes(6)) == []


@given(st.binary(max_size=100), st.binary(min_size=16, max_size=16))
def test_damaged_rows_are_sought_without_a_fault_of_ours(data: bytes, sought: bytes) -> None:
    assert all(first <= tag_index.MAX_INDEX for first in tag_index.Rows(data).firsts(sought))


@pytest.mark.parametrize("over", [0, 1, 15])
def test_rows_are_taken_apart_where_they_are_damaged_too(over: int) -> None:
    rows = [tag(number) for number in range(5)]
    end = b"x" * over
    assert tag_index.split(b"".join(rows) + end) == [*rows, *([end] if end else [])]
