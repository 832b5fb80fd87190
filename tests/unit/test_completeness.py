"""Proofs of completeness: what verifies, and that nothing else does."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.completeness import leaf as leaves
from goodstrace.completeness import merging
from goodstrace.completeness.leaf import IndexLeaf
from goodstrace.completeness.proof import RunPages, TagRows
from goodstrace.completeness.rows import PAGE_BYTES, PAGE_ROWS, ROW_BYTES, Row, decode, run_root
from goodstrace.errors import EntryError, ProofError
from tests.unit.completeness_builders import MemoryRuns, leaf_of, pieces, rows_at, tag_of, verified

SIZES = {"goods/0": 10_000, "goods/1": 10_000, "goods/2": 10_000}


def world_of(
    counts: dict[int, int], noise: int, runs: int, seed: int
) -> tuple[MemoryRuns, IndexLeaf, dict[int, list[tuple[str, int]]]]:
    """Tags 0.. with so many rows each among others, spread over runs; with where each tag's rows are."""
    random_ = random.Random(seed)
    places = [(log, index) for log in range(3) for index in range(3000)]
    rows: list[list[bytes]] = [[] for _ in range(runs)]
    expected: dict[int, list[tuple[str, int]]] = {}
    for number, count in counts.items():
        of_tag = random_.sample(places, count)
        expected[number] = sorted((f"goods/{log}", index) for log, index in of_tag)
        for row in rows_at(tag_of(number), of_tag):
            random_.choice(rows).append(row)
    for number in range(noise):
        random_.choice(rows).extend(rows_at(tag_of(1_000_000 + number), random_.sample(places, 1)))
    store = MemoryRuns()
    return store, leaf_of([store.add(n, n + 1, each) for n, each in enumerate(rows)], SIZES), expected


@given(
    st.dictionaries(st.integers(0, 5), st.integers(0, 80), max_size=4),
    st.integers(0, 2000),
    st.integers(1, 5),
    st.integers(1, 7),
    st.integers(0, 2**32),
)
def test_each_tag_present_or_absent_is_proved_whole(
    counts: dict[int, int], noise: int, runs: int, most_pages: int, seed: int
) -> None:
    store, leaf, expected = world_of(counts, noise, runs, seed)
    for number in range(7):
        given_ = asyncio.run(pieces(store, leaf, tag_of(number), most_pages))
        found = verified(leaf, tag_of(number), given_)
        assert found.is_whole
        assert found.positions() == expected.get(number, [])


Change = Callable[[list[RunPages], random.Random], list[RunPages]]


def _with(given_: list[RunPages], at: int, **changes: object) -> list[RunPages]:
    return [*given_[:at], replace(given_[at], **changes), *given_[at + 1 :]]  # type: ignore[arg-type]


def _without_a_row(given_: list[RunPages], random_: random.Random) -> list[RunPages]:
    at = random_.randrange(len(given_))
    pages = given_[at].pages
    row = random_.randrange(len(pages) // ROW_BYTES) * ROW_BYTES
    return _with(given_, at, pages=pages[:row] + pages[row + ROW_BYTES :])


def _with_another_row(given_: list[RunPages], random_: random.Random) -> list[RunPages]:
    at = random_.randrange(len(given_))
    pages = given_[at].pages
    row = random_.randrange(len(pages) // ROW_BYTES) * ROW_BYTES
    number, index = random_.randrange(3), random_.randrange(3000)
    other = Row(pages[row : row + 16], number, index).encode()
    return (
        _with(given_, at, pages=pages[:row] + other + pages[row + ROW_BYTES :]) if other not in pages else []
    )


def _with_rows_moved(given_: list[RunPages], random_: random.Random) -> list[RunPages]:
    at = random_.randrange(len(given_))
    rows = [given_[at].pages[n : n + ROW_BYTES] for n in range(0, len(given_[at].pages), ROW_BYTES)]
    if len(rows) < 2:
        return []
    one, other = random_.sample(range(len(rows)), 2)
    rows[one], rows[other] = rows[other], rows[one]
    return _with(given_, at, pages=b"".join(rows))


def _without_a_page(given_: list[RunPages], random_: random.Random) -> list[RunPages]:
    at = random_.randrange(len(given_))
    pages, page = given_[at].pages, given_[at].first_page
    if len(pages) <= PAGE_BYTES:
        return []
    if random_.random() < 0.5:
        return _with(given_, at, pages=pages[PAGE_BYTES:], first_page=page + 1)
    return _with(given_, at, pages=pages[: (len(pages) - 1) // PAGE_BYTES * PAGE_BYTES])


def _without_a_piece(given_: list[RunPages], random_: random.Random) -> list[RunPages]:
    at = random_.randrange(len(given_))
    return [*given_[:at], *given_[at + 1 :]]


def _with_runs_swapped(given_: list[RunPages], random_: random.Random) -> list[RunPages]:
    if len(given_) < 2:
        return []
    one, other = random_.sample(range(len(given_)), 2)
    swapped = list(given_)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    return swapped if swapped != given_ else []


def _with_another_hash(given_: list[RunPages], random_: random.Random) -> list[RunPages]:
    at = random_.randrange(len(given_))
    hashes = list(given_[at].hashes)
    if not hashes:
        return []
    n = random_.randrange(len(hashes))
    hashes[n] = bytes(32)
    return _with(given_, at, hashes=tuple(hashes))


def _with_a_piece_twice(given_: list[RunPages], random_: random.Random) -> list[RunPages]:
    at = random_.randrange(len(given_))
    return [*given_[: at + 1], *given_[at:]]


CHANGES: tuple[Change, ...] = (
    _without_a_row,
    _with_another_row,
    _with_rows_moved,
    _without_a_page,
    _without_a_piece,
    _with_runs_swapped,
    _with_another_hash,
    _with_a_piece_twice,
)


@given(
    st.integers(0, 120),
    st.integers(1, 2500),
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    st.sampled_from(CHANGES),
    st.integers(0, 2**32),
)
def test_whatever_is_left_out_added_or_moved_is_refused(
    count: int, noise: int, cut: tuple[int, int], change: Change, seed: int
) -> None:
    runs, most_pages = cut
    store, leaf, expected = world_of({0: count}, noise, runs, seed)
    given_ = asyncio.run(pieces(store, leaf, tag_of(0), most_pages))
    changed = change(given_, random.Random(seed))
    if not changed and change is not _without_a_piece:
        return
    try:
        found = verified(leaf, tag_of(0), changed)
    except ProofError:
        return
    # Fewer pages than were given may show as much; then nothing is missing, or the proof is not whole.
    assert not found.is_whole or found.positions() == expected[0]


def test_a_proof_for_another_leaf_is_refused() -> None:
    store, leaf, expected = world_of({0: 40}, 500, 3, 1)
    given_ = asyncio.run(pieces(store, leaf, tag_of(0)))
    first = leaf.runs[0]
    for runs in (
        leaf.runs[1:],
        (msgspec.structs.replace(first, root="00" * 32), *leaf.runs[1:]),
        leaf.runs[::-1],
    ):
        with pytest.raises(ProofError):
            verified(msgspec.structs.replace(leaf, runs=runs), tag_of(0), given_)
    swapped = msgspec.structs.replace(leaf, logs=(leaf.logs[1], leaf.logs[0], *leaf.logs[2:]))
    assert verified(swapped, tag_of(0), given_).positions() != expected[0]
    short = msgspec.structs.replace(leaf, logs=leaf.logs[:1])
    with pytest.raises(ProofError, match="no entry that is covered"):
        verified(short, tag_of(0), given_)


def test_a_tag_with_very_many_rows_comes_in_pieces_none_of_which_is_large() -> None:
    rows = rows_at(tag_of(0), ((0, index) for index in range(10_000)))
    rows += [row for number in range(1, 500) for row in rows_at(tag_of(number), [(1, number)])]
    store = MemoryRuns()
    leaf = leaf_of([store.add(0, 5, rows)], SIZES)
    given_ = asyncio.run(pieces(store, leaf, tag_of(0), 50))
    assert max(len(each.pages) for each in given_) == 50 * PAGE_BYTES
    found = TagRows(leaf, tag_of(0))
    for each in given_[:-1]:
        found.add(each)
        assert not found.is_whole
        assert found.page == each.first_page + 50
    found.add(given_[-1])
    assert found.is_whole
    assert len(found.rows) == 10_000


def test_runs_without_rows_need_no_proof() -> None:
    store = MemoryRuns()
    leaf = leaf_of([store.add(0, 3, []), store.add(3, 4, [])], SIZES)
    assert verified(leaf, tag_of(0), []).is_whole
    with pytest.raises(ProofError):
        verified(leaf, tag_of(0), [RunPages(0, b"\0" * 24, ())])


@given(st.binary(min_size=16, max_size=16), st.integers(0, 65535), st.integers(0, 2**48 - 1))
def test_rows_are_decoded_as_they_were_encoded_and_sort_as_their_values(
    tag: bytes, log: int, index: int
) -> None:
    row = Row(tag, log, index)
    assert decode(row.encode()) == row
    assert len(row.encode()) == ROW_BYTES
    other = Row(tag, log, index ^ 1)
    assert (row.encode() < other.encode()) == (row < other)


def test_the_layout_gives_the_root_that_the_rows_have() -> None:
    for count in (0, 1, PAGE_ROWS, PAGE_ROWS + 1, 511, 512, 513, 5000, 131_072, 131_073, 140_000):
        rows = sorted(rows_at(tag_of(7), ((0, index) for index in range(count))))
        run = MemoryRuns().add(0, 1, rows)
        assert (run.rows, bytes.fromhex(run.root)) == run_root(rows)
    with pytest.raises(ProofError, match="not in order"):
        run_root(rows[::-1])


def sound_leaf() -> IndexLeaf:
    _, leaf, _ = world_of({0: 3}, 50, 3, 1)
    return leaf


def test_a_leaf_is_read_as_it_was_written_and_no_otherwise() -> None:
    leaf = sound_leaf()
    data = leaves.encode(leaf)
    assert leaves.decode(data) == leaf
    for wrong in (
        data + b" ",
        data[:-1],
        b"{}",
        b"[]",
        b"\xff",
        data.replace(b'"v":1', b'"v":2'),
        b"[" * 5000,
    ):
        with pytest.raises(EntryError):
            leaves.decode(wrong)


def test_a_leaf_whose_runs_leave_a_gap_is_refused() -> None:
    leaf = sound_leaf()
    for runs in (leaf.runs[1:], leaf.runs[:-1], (leaf.runs[0], leaf.runs[2]), leaf.runs[::-1], ()):
        with pytest.raises(EntryError):
            leaves.encode(msgspec.structs.replace(leaf, runs=runs))


def test_leaves_follow_one_another_only_where_nothing_is_taken_back() -> None:
    store, before, _ = world_of({0: 3}, 50, 3, 1)
    new = store.add(3, 5, rows_at(tag_of(1), [(0, 10)]))
    after = leaf_of([*before.runs, new], {**SIZES, "goods/0": 10_001, "goods/3": 1})
    assert leaves.succession_problem(before, after) == ""
    merged = leaf_of([msgspec.structs.replace(new, since=1)], SIZES)
    merged = msgspec.structs.replace(merged, runs=(before.runs[0], merged.runs[0]))
    assert leaves.succession_problem(before, merged) == ""
    wrong = (
        before,
        msgspec.structs.replace(after, logs=after.logs[1:]),
        msgspec.structs.replace(after, logs=(after.logs[1], after.logs[0], *after.logs[2:])),
        leaf_of([*before.runs, new], {**SIZES, "goods/1": 9}),
        msgspec.structs.replace(after, secret="00" * 32),
        msgspec.structs.replace(after, runs=(msgspec.structs.replace(new, since=4),)),
    )
    assert all(leaves.succession_problem(before, each) for each in wrong)


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=300))
def test_merging_keeps_few_runs_and_writes_a_row_few_times(rounds: list[int]) -> None:
    live: list[int] = []
    for rows in rounds:
        live.append(rows)
        while count := merging.next_merge(live):
            assert count >= merging.RATIO
            live[-count:] = [sum(live[-count:])]
    assert sum(live) == sum(rounds)
    levels = [merging.level(rows) for rows in live]
    assert len(live) <= (merging.RATIO - 1) * (max(levels) + 1)


@pytest.mark.parametrize("count", [10_000, 100_000, 1_000_000])
def test_what_a_proof_costs(count: int, tell: Callable[[str], None]) -> None:
    """Prints figures; nothing of them is asserted but that they are what one key needs."""
    random_ = random.Random(1)
    events = count // 5
    tags = [random_.randbytes(16) for _ in range(count)]
    store, runs, since, left, rows_each = MemoryRuns(), [], 0, tags, []
    while left:  # as rounds of 2,500 events give them once they are merged
        rows_each.append(min(12_500, len(left)))
        left = left[rows_each[-1] :]
        while merge := merging.next_merge(rows_each):
            rows_each[-merge:] = [sum(rows_each[-merge:])]
    began = time.perf_counter()
    for rows in rows_each:
        part = tags[since : since + rows]
        runs.append(
            store.add(since, since + rows, (Row(each, n % 4, n).encode() for n, each in enumerate(part)))
        )
        since += rows
    built_us = (time.perf_counter() - began) / count * 1e6
    leaf = leaf_of(runs, {f"goods/{n}": count for n in range(4)})
    sizes, made_us, verified_us = [], [], []
    for tag in [*random_.sample(tags, 50), *(random_.randbytes(16) for _ in range(50))]:
        began = time.perf_counter()
        given_ = asyncio.run(pieces(store, leaf, tag))
        made = time.perf_counter()
        assert verified(leaf, tag, given_).is_whole
        verified_us.append((time.perf_counter() - made) * 1e6)
        made_us.append((made - began) * 1e6)
        sizes.append(sum(len(each.pages) + 32 * len(each.hashes) for each in given_))
    tell(
        f"completeness: {count} rows ({events} events) in {len(runs)} runs: {sum(sizes) / len(sizes) / 1000:.1f} kB a key "
        f"(most {max(sizes) / 1000:.1f}), leaf {len(leaves.encode(leaf))} B, made in {sorted(made_us)[50]:.0f} us, verified "
        f"in {sorted(verified_us)[50]:.0f} us; laid out and hashed in {built_us:.2f} us a row"
    )
