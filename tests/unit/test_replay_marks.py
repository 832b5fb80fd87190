"""From which marks a comparison of a log with its topic goes on: those of the very store that was compared. Without I/O."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.replay.comparing import Mark
from services.replay.reading import TopicReader
from services.replay.verifying import Replayed, verify_log
from services.sealing.core import Block, Fetched, Sealable
from services.sealing.errors import CorruptError
from services.sealing.fsck.saved import Saved
from services.sealing.ports import LogScan
from services.sealing.values import Head, Pack, StoredBlock, StoredCheckpoint
from tests.records import make_value
from tests.unit.test_replay import LOG, sealables, sealed

RECORDS = sealables(12)
Sealed = list[tuple[StoredBlock, Block, list[Sealable]]]


class Topic:
    """The topic's partition, read at once."""

    topic = "goods.stored"
    finished = False

    def start(self, positions: dict[int, int]) -> None:
        self.position = positions[0]

    def read(self, _count: int, _timeout_s: float) -> list[tuple[int, list[Fetched]]]:
        self.finished = True
        return [(0, [Fetched(number, make_value(number)) for number in range(self.position, len(RECORDS))])]


class Store:
    """A store with these blocks; `unreadable` is a height whose document is not of the right form."""

    def __init__(self, blocks: Sealed, *, unreadable: int | None = None) -> None:
        self.blocks, self.packs = (
            [each[0] for each in blocks],
            [pack for each in blocks for pack in each[1].packs],
        )
        self.unreadable = unreadable

    async def head(self, log: str) -> Head | None:
        if not self.blocks:
            return None
        last = self.blocks[-1]
        return Head(last.height, StoredCheckpoint(log, last.size, bytes(32), ""))

    async def scan_blocks(self, _log: str, height: int, end: int) -> list[StoredBlock]:
        if self.unreadable is not None and height <= self.unreadable < end:
            raise CorruptError(f"block {self.unreadable} is malformed")
        return self.blocks[height:end]

    async def scan_packs(self, _log: str, first: int, size: int) -> list[Pack]:
        return [pack for pack in self.packs if first <= pack.first < size]

    async def scan_checkpoints(self, _log: str, _above: int, _upto: int) -> list[StoredCheckpoint]:
        return []


async def compared(
    store: Store, mark: Mark, published: Sequence[Saved] = ()
) -> tuple[Replayed, list[tuple[int, Mark]]]:
    """Compare a store with the topic, and with what was published; gives what was told on the way, too."""
    told = list[tuple[int, Mark]]()
    found = await verify_log(
        cast("LogScan", store),
        cast("TopicReader", Topic()),
        mark,
        None,
        lambda entries, reached: told.append((entries, reached)),
        published=published,
    )
    return found, told


async def mark_at(store: Store, height: int) -> Mark:
    """Give the mark that an interrupted comparison leaves."""
    _, told = await compared(store, Mark(LOG))
    return next(mark for _, mark in told if mark.height == height)


def spoiled(blocks: Sealed) -> Sealed:
    """Zero the leaf hashes of all blocks: a store that is not what its topic gives."""
    return [
        (msgspec.structs.replace(block, leaves=bytes(len(block.leaves))), made, records)
        for block, made, records in blocks
    ]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) <= 12), st.data())
@settings(max_examples=30, deadline=None)
async def test_it_goes_on_in_the_same_store_and_tells_where(sizes: list[int], data: st.DataObject) -> None:
    store = Store(sealed(RECORDS, sizes))
    mark = await mark_at(store, data.draw(st.integers(0, len(sizes))))
    found, told = await compared(store, mark)
    assert told[0] == (0, mark)
    assert sum(entries for entries, _ in told) == sum(sizes) - mark.size
    assert (found.anew, found.difference, found.resumed) == ("", None, mark.size)
    assert (found.blocks, found.entries, found.waiting) == (len(sizes), sum(sizes), 12 - sum(sizes))
    assert len(found.root) == 64


CUTS = st.sets(st.integers(1, 11), min_size=1).map(lambda cuts: [0, *sorted(cuts), 12])


@given(CUTS, CUTS, st.data())
@settings(max_examples=40, deadline=None)
async def test_a_store_cut_elsewhere_is_compared_from_its_first_block(
    before: list[int], after: list[int], data: st.DataObject
) -> None:
    """Also where a block of it ends at the mark, and where it has more of them."""
    one, other = (sealed(RECORDS, [end - start for start, end in pairwise(cuts)]) for cuts in (before, after))
    mark = await mark_at(Store(one), data.draw(st.integers(1, len(one))))
    assume(before[: mark.height + 1] != after[: mark.height + 1])
    found, told = await compared(Store(other), mark)
    assert found.anew
    assert told[0] == (0, mark.anew())
    assert told[-1][1].earlier is None
    assert (found.resumed, found.entries, found.difference, found.lost) == (0, 12, None, [])
    found, _ = await compared(Store(spoiled(other)), mark)
    assert found.difference is not None
    assert (found.difference.block, found.difference.field) == (0, "leaves")


async def test_a_store_made_anew_in_fewer_blocks_is_not_the_same_unread() -> None:
    mark = await mark_at(Store(sealed(RECORDS, [2] * 6)), 4)
    found, _ = await compared(Store(spoiled(sealed(RECORDS, [6, 6]))), mark)
    assert found.difference is not None
    assert found.anew == "the store ends before block 3, up to which an earlier run compared"


@pytest.mark.parametrize("left", [0, 2, 4])
async def test_a_store_that_was_cut_off_is_compared_anew(left: int) -> None:
    blocks = sealed(RECORDS, [2] * 6)
    found, _ = await compared(Store(blocks[:left]), await mark_at(Store(blocks), 5))
    assert found.anew
    assert (found.resumed, found.blocks, found.entries, found.waiting) == (0, left, 2 * left, 12 - 2 * left)


async def test_a_mark_without_the_hash_and_one_of_an_unreadable_block_begin_anew() -> None:
    blocks = sealed(RECORDS, [2] * 6)
    mark = await mark_at(Store(blocks), 3)
    fields = msgspec.json.decode(msgspec.json.encode(mark))
    del fields["header_hash"]  # as the release before wrote it
    before = msgspec.convert(fields, Mark)
    found, told = await compared(Store(blocks), before)
    assert found.anew
    assert told[0] == (0, before.anew())
    assert (found.resumed, found.entries, found.lost) == (0, 12, [])
    found, _ = await compared(Store(blocks, unreadable=2), mark)
    assert found.anew
    assert found.difference is not None
    assert found.difference.field == "document"
