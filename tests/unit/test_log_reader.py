"""Looking up many tags: how many pages and packs are read."""

import hashlib
from collections.abc import Collection, Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.merkle import root_of, verify_inclusion
from goodstrace.tiles import TileEdge
from services.runtime.together import Together
from services.sealing import documents
from services.sealing.documents import StoredPack
from services.sealing.lookup import TagLookup
from services.sealing.reader import LogReader
from services.sealing.reads import PACKS_PER_QUERY, REMEMBER_BYTES, PackPlace
from services.sealing.remembered import OVERHEAD_BYTES, Remembered
from services.sealing.tag_index import Page, TagIndex, block_run
from services.sealing.values import Pack, PackedRecord

LOG = "goods/0"
TAGS = tuple(sorted(hashlib.sha256(b"%d" % number).digest()[:16] for number in range(20_000)))


def pack(first: int, tags: tuple[bytes, ...]) -> Pack:
    record = PackedRecord(b"entry %d" % first, (), tags)
    return Pack(f"{LOG}#0.{first}@e", LOG, 0, 0, first, (record,))


class Counting(LogReader):
    """Reads packs that are at hand, and counts what it reads."""

    def __init__(self, packs: Sequence[Pack], remember_packs_bytes: int = REMEMBER_BYTES) -> None:
        super().__init__(None, remember_packs_bytes=remember_packs_bytes)  # type: ignore[arg-type]  # no query reaches the store
        run, self.stored = block_run(packs)
        self.packs = {each.first: each for each in packs}
        self.read: list[str] = []
        self.taken: list[int] = []
        self._store.indexes = self._all_runs(TagIndex(LOG, 0, run.end, (run,)))  # type: ignore[method-assign]
        self._store.pages = self._pages  # type: ignore[method-assign]
        self.lookup = TagLookup(self._store)
        self._reads._packs_read = Together(self._packs_read, PACKS_PER_QUERY)

    @staticmethod
    def _all_runs(index: TagIndex):  # type: ignore[no-untyped-def]
        async def of(_logs: Collection[str]) -> dict[str, TagIndex]:
            return {LOG: index}

        return of

    async def _pages(self, names: Collection[str]) -> dict[str, Page]:
        self.read += names
        return {name: self.stored[name] for name in names}

    async def _packs_read(self, places: Collection[PackPlace]) -> dict[PackPlace, tuple[StoredPack, ...]]:
        self.taken += [first for _, first in places]
        return {
            (LOG, first): (documents.stored_pack(documents.pack_document(self.packs[first])),)
            for _, first in places
        }


async def test_many_tags_of_one_record_read_it_once() -> None:
    # The 20,000 tags of one record were 2,500 queries, each of which read and held the record's 4 MiB: a trace took 4.6 GB.
    reader = Counting([pack(0, TAGS)])
    found = await reader.find(TAGS, {LOG: 1}, 10)
    assert all([each.index for each in of_tag] == [0] for of_tag in found.values())
    assert reader.taken == [0]
    assert set(reader.read) == set(reader.stored)
    assert len(reader.read) < 2 * len(TAGS) // 64 + len(reader.stored)


async def test_a_pack_is_read_once_where_its_block_is_published() -> None:
    reader = Counting([pack(first, TAGS[:1]) for first in range(4)])
    for _ in range(2):
        found = await reader.find(TAGS[:1], {LOG: 4}, 10)
        assert [each.index for each in found[TAGS[0]]] == [0, 1, 2, 3]
    assert sorted(reader.taken) == [0, 1, 2, 3]
    ahead = await reader._reads.packs(
        LOG, [3], 3
    )  # its block may yet be cut off, and another pack be the one
    assert ahead[0].first == 3
    fresh = Counting([pack(first, TAGS[:1]) for first in range(4)])
    for _ in range(2):
        await fresh._reads.packs(LOG, [3], 3)
    assert fresh.taken == [3, 3]


async def test_packs_stay_in_memory_compressed_when_they_are_no_longer_open() -> None:
    tags = tuple(hashlib.sha256(b"own %d" % number).digest()[:16] for number in range(8))
    entry = b'{"kind":"event"}' * 1_000
    packs = [
        msgspec.structs.replace(pack(first, (tag,)), records=(PackedRecord(entry, (), (tag,)),))
        for first, tag in enumerate(tags)
    ]
    reader = Counting(packs)
    reader._reads._opened = Remembered(2 * len(entry) + 1_000)
    for tag in tags * 3:
        assert [each.entry for each in (await reader.find([tag], {LOG: 8}, 10))[tag]] == [entry]
    assert sorted(reader.taken) == list(range(8))
    assert len(reader._reads._opened) == 2
    assert reader._reads._packs.size_bytes < 8 * (OVERHEAD_BYTES + len(entry) / 10)


async def test_without_memory_each_look_reads_the_pack_anew() -> None:
    reader = Counting([pack(0, TAGS[:1])], remember_packs_bytes=0)
    for _ in range(3):
        await reader.find(TAGS[:1], {LOG: 1}, 10)
    assert reader.taken == [0, 0, 0]


async def test_no_more_packs_are_read_than_give_what_is_asked_for() -> None:
    reader = Counting([pack(first, TAGS[:1]) for first in range(100)])
    found = await reader.find(TAGS[:2], {LOG: 100}, 20)
    assert [each.index for each in found[TAGS[0]]] == list(range(20))
    assert found[TAGS[1]] == []
    assert len(reader.taken) <= 32
    assert [each.index for each in await reader.find_newest(TAGS[0], {LOG: 90}, 5)] == [89, 88, 87, 86, 85]


async def test_what_is_behind_an_index_is_found_without_what_is_before() -> None:
    reader = Counting([pack(first, TAGS[first % 2 : first % 2 + 1]) for first in range(1000)])
    found = await reader.find_from(LOG, TAGS[:1], 500, 1000, 20)
    assert [each.index for each in found] == list(range(500, 540, 2))
    assert len(reader.taken) <= 64
    assert min(reader.taken) > 500 - 64
    assert [each.index for each in await reader.find_from(LOG, TAGS[:2], 990, 995, 50)] == list(
        range(990, 995)
    )
    assert await reader.find_from(LOG, TAGS[2:3], 0, 1000, 5) == []


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sets(st.integers(0, 3), max_size=3)), min_size=1, max_size=60),
    st.sets(st.integers(0, 3), min_size=1),
    st.integers(0, 300),
    st.integers(1, 300),
    st.integers(1, 12),
)
async def test_step_by_step_it_finds_what_is_there(
    packs: list[tuple[int, set[int]]], wanted: set[int], first: int, size: int, limit: int
) -> None:
    made, end = [], 0
    for length, has in packs:
        records = tuple(
            PackedRecord(
                b"entry %d" % index, (), tuple(sorted(TAGS[each] for each in has if (index + each) % 2))
            )
            for index in range(end, end + length)
        )
        made.append(Pack(f"{LOG}#0.{end}@e", LOG, 0, 0, end, records))
        end += length
    size = min(size, end)
    reader = Counting(made)
    tags = [TAGS[each] for each in sorted(wanted)]
    everything = [
        pack.first + place
        for pack in made
        for place, record in enumerate(pack.records)
        if not set(tags).isdisjoint(record.tags) and first <= pack.first + place < size
    ]
    seen: list[int] = []
    while True:
        found = [each.index for each in await reader.find_from(LOG, tags, first, size, limit)]
        seen += found
        if len(found) < limit:
            break
        first = found[-1] + 1
    assert seen == everything


async def test_a_tile_at_the_edge_is_read_again_only_where_it_is_too_narrow() -> None:
    leaves = [hashlib.sha256(b"%d" % number).digest() for number in range(600)]
    _, stored = TileEdge().append(leaves[:300])
    reads: list[set[tuple[int, int]]] = []

    async def tiles(_log: str, names: set[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        reads.append(names)
        return {name: stored[name] for name in names}

    reader = Counting([pack(0, TAGS[:1])])
    reader._store.tiles = tiles  # type: ignore[method-assign, assignment]
    for size in (300, 290, 300):
        [proof] = await reader.inclusion_proofs(LOG, [280], size)
        verify_inclusion(leaves[280], 280, size, proof, root_of(leaves[:size]))
    assert len(reads) == 1
    _, stored = TileEdge().append(leaves)
    [proof] = await reader.inclusion_proofs(LOG, [280], 600)
    verify_inclusion(leaves[280], 280, 600, proof, root_of(leaves))
    assert (0, 1) in reads[1], "it has grown"
    assert len(reads) == 2
