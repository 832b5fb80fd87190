"""The pure core of sealing: where blocks are cut, what they hold, how a log is taken up again."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import block as blocks
from goodstrace.errors import BlockError
from goodstrace.merkle import leaf_hash, root_of
from services.runtime.envelope import Part
from services.sealing import core
from services.sealing.core import (
    BUSY_ENTRIES,
    PACK_BYTES,
    PACK_ENTRIES,
    Block,
    Cut,
    Fetched,
    Limits,
    LogState,
    Sealable,
    TopicIdentity,
)
from services.sealing.errors import CorruptError, UnprovableRecordError
from services.sealing.values import PackedRecord
from tests.records import make_value

LOG = "goods/3"
TOPIC = TopicIdentity("cluster", "goods.stored", "topic-id")
EMPTY = LogState(LOG, 3)


def record(number: int, *, size_bytes: int = 1) -> Sealable:
    entry = hashlib.sha256(b"%d" % number).digest()
    part = Part("event", b"s" * 32, b"x" * size_bytes)
    return Sealable(number, size_bytes, PackedRecord(entry, (part,), (entry[:16],)))


def block_of(state: LogState, count: int, *, epoch: str = "e", now_ms: int = 1000) -> Block:
    start = state.next_offset
    return core.next_block(state, TOPIC, [record(start + n) for n in range(count)], now_ms, epoch)


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_however_blocks_are_cut_the_tree_is_the_same(counts: list[int]) -> None:
    state, previous = EMPTY, None
    for count in counts:
        block = block_of(state, count)
        blocks.verify_link(previous, block.header)
        previous, state = block.header, block.after
    total = sum(counts)
    assert state.size == total
    assert state.edge.frontier.root() == root_of([leaf_hash(record(n).record.entry) for n in range(total)])


def test_the_same_arguments_give_the_same_block() -> None:
    assert block_of(EMPTY, 40) == block_of(EMPTY, 40)
    other = block_of(EMPTY, 40, epoch="other")
    assert other.header == block_of(EMPTY, 40).header
    assert {pack.id for pack in other.packs}.isdisjoint(pack.id for pack in block_of(EMPTY, 40).packs)


@given(st.integers(1, 100))
def test_packs_hold_all_records_in_order_and_their_tags(count: int) -> None:
    packs = block_of(EMPTY, count).packs
    assert [r for pack in packs for r in pack.records] == [record(n).record for n in range(count)]
    assert [pack.first for pack in packs] == [0, *[pack.end for pack in packs][:-1]]
    for pack in packs:
        assert 1 <= len(pack.records) <= PACK_ENTRIES
        assert pack.tags == {tag for r in pack.records for tag in r.tags}


def test_packs_of_large_records_are_smaller() -> None:
    large = [record(n, size_bytes=PACK_BYTES // 3 + 1) for n in range(5)]
    packs = core.next_block(EMPTY, TOPIC, large, 0, "e").packs
    assert [len(pack.records) for pack in packs] == [2, 2, 1]
    huge = [record(n, size_bytes=2 * PACK_BYTES) for n in range(2)]
    assert [len(pack.records) for pack in core.next_block(EMPTY, TOPIC, huge, 0, "e").packs] == [1, 1]


@pytest.mark.parametrize(
    ("sizes", "limits", "expected"),
    [
        ([], Limits(), 0),
        ([1, 1, 1], Limits(entries=2), 2),
        ([1, 1, 1], Limits(size_bytes=2), 2),
        ([5, 1], Limits(size_bytes=2), 1),
        ([1, 5, 1], Limits(size_bytes=2), 1),
        ([1, 1, 1], Limits(), 3),
    ],
)
def test_where_a_block_is_cut(sizes: list[int], limits: Limits, expected: int) -> None:
    assert core.cut([record(n, size_bytes=size) for n, size in enumerate(sizes)], limits) == expected


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (Cut(), 100.25),
        (Cut(99.9, BUSY_ENTRIES), 100.65),
        (Cut(99.9, BUSY_ENTRIES - 1), 100.25),
        (Cut(99.0, 5000), 100.25),
    ],
)
def test_when_a_block_is_due(last: Cut, expected: float) -> None:
    assert core.due_s(Limits(age_ms=250, spacing_ms=750), 100.0, last) == pytest.approx(expected)


@given(st.floats(0, 10), st.floats(0, 10), st.integers(0, 9), st.integers(1, 2000), st.integers(0, 2000))
def test_no_record_waits_longer_than_the_age_or_the_spacing(
    cut_s: float, later_s: float, entries: int, age_ms: int, spacing_ms: int
) -> None:
    came_s = cut_s + later_s
    due_s = core.due_s(Limits(age_ms=age_ms, spacing_ms=spacing_ms), came_s, Cut(cut_s, entries))
    assert came_s + age_ms / 1000 <= due_s <= came_s + max(age_ms, spacing_ms) / 1000


@given(st.integers(1, 600), st.integers(1, 600))
def test_a_log_is_taken_up_from_its_last_block_and_the_tiles_before_it(first: int, second: int) -> None:
    before = block_of(EMPTY, first)
    last = block_of(before.after, second)
    stored = last.stored(b"s" * 64)
    assert core.resume(3, stored, before.tiles).after == last.after
    tiles = before.tiles | last.tiles
    again = core.resume(3, stored, tiles)
    assert (again.after, again.tiles) == (last.after, last.tiles)


def test_a_log_whose_tiles_or_leaves_are_wrong_is_not_taken_up() -> None:
    before = block_of(EMPTY, 3)
    stored = block_of(before.after, 2).stored(b"s" * 64)
    for tiles in ({}, {(0, 0): b"x" * 96}, {(0, 0): before.tiles[0, 0][:64]}):
        with pytest.raises(CorruptError):
            core.resume(3, stored, tiles)


def test_records_from_before_the_head_or_none_at_all_are_refused() -> None:
    state = block_of(EMPTY, 3).after
    for records in ([], [record(2)]):
        with pytest.raises(BlockError):
            core.next_block(state, TOPIC, records, 0, "e")


def test_holes_in_offsets_belong_to_the_block_after_them() -> None:
    block = core.next_block(EMPTY, TOPIC, [record(4), record(9)], 0, "e")
    assert block.after.head is not None
    assert (block.after.head.kafka.first, block.after.head.kafka.next) == (0, 10)


def test_time_never_goes_back() -> None:
    block = block_of(EMPTY, 1, now_ms=5000)
    after = block_of(block.after, 1, now_ms=10).after
    assert after.head is not None
    assert after.head.time == 5000


@given(st.binary(max_size=100))
def test_what_is_no_record_is_unprovable(value: bytes) -> None:
    with pytest.raises(UnprovableRecordError, match="offset 7"):
        core.sealable(LOG, Fetched(7, value))


def test_a_record_whose_entry_commits_to_it_is_sealable() -> None:
    value = make_value(1)
    assert core.sealable(LOG, Fetched(7, value)).size_bytes == len(value)
