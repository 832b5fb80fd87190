"""Every stored byte of a small log is changed in turn: `fsck` names the log and the place each time.

All fields of all its documents in all collections: header, signature, leaf hashes, entries, parts, salts, tags, the index by tag,
tiles, checkpoints, heads, keys, and every ID. Of text and bytes each position, of what is stored compressed those as stored and those in it, of a number
each of three bits.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from services.sealing.documents import Document
from services.sealing.indexes import BLOCKS, CHECKPOINTS, HEADS, LOGS, PACKS, PAGES, RUNS, TILES
from tests.memory_documents import MemoryDocuments, all_faults
from tests.packs import packed, unpacked
from tests.unit.sealing_bench import LOG, Bench

Path = tuple[Any, ...]
BITS = (1, 1 << 7, 1 << 40)


class Change(NamedTuple):
    """One bit of one field of one document."""

    collection: str
    key: Any
    path: Path
    document: Document


@pytest.fixture(scope="module")
def sealed() -> MemoryDocuments:
    """A log of two blocks with 2 and 1 entries."""
    bench = Bench()
    bench.fill(3)
    asyncio.run(bench.run(entries=2))
    return MemoryDocuments.of(bench.store)


def values_of(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value within a document that is no container, with the way to it."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from values_of(each, (*path, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from values_of(each, (*path, number))
    else:
        yield path, value


def changed_values(value: Any) -> Iterator[Any]:
    """A value with one bit changed, for each of its places."""
    if isinstance(value, bytes):
        for place, byte in enumerate(value):
            yield value[:place] + bytes((byte ^ 1 << place % 8,)) + value[place + 1 :]
        if value.startswith(packed(b"")[:1]):
            yield from map(packed, changed_values(unpacked(value)))
    elif isinstance(value, str):
        for place, letter in enumerate(value):
            yield value[:place] + chr(ord(letter) ^ 1) + value[place + 1 :]
    else:
        assert isinstance(value, int), value
        for bit in BITS:
            yield value ^ bit


def changes_of(store: MemoryDocuments, collection: str) -> Iterator[Change]:
    for key, document in store.collections[collection].items():
        for path, value in values_of(document):
            for other in changed_values(value):
                changed = copy.deepcopy(document)
                holder: Any = changed
                for step in path[:-1]:
                    holder = holder[step]
                holder[path[-1]] = other
                yield Change(collection, key, path, changed)


def applied(store: MemoryDocuments, change: Change) -> MemoryDocuments:
    other = store.copy()
    del other.collections[change.collection][change.key]
    other.collections[change.collection][change.document["_id"]] = change.document
    return other


def expected_block(change: Change, store: MemoryDocuments) -> int | None:
    """The block in which the fault must be told, if there is one."""
    document = store.collections[change.collection][change.key]
    if change.collection in (BLOCKS, PACKS):
        return int(document["height"])
    if change.collection == CHECKPOINTS:
        return next(
            int(b["height"]) for b in store.collections[BLOCKS].values() if b["size"] == document["size"]
        )
    return None


FIELDS = {
    TILES: {"tile", "stray"},
    PAGES: {"index"},
    RUNS: {"index", "stray"},
    HEADS: {"head", "published", "stray"},
    LOGS: {"key"},
    CHECKPOINTS: {"checkpoint", "checkpoint.row"},
}


@pytest.mark.parametrize("collection", [BLOCKS, PACKS, PAGES, RUNS, TILES, CHECKPOINTS, HEADS, LOGS])
async def test_every_byte(sealed: MemoryDocuments, collection: str) -> None:
    counts: Counter[str] = Counter()
    entries: Counter[int | None] = Counter()
    for change in changes_of(sealed, collection):
        faults = await all_faults(applied(sealed, change))
        where = (collection, change.key, change.path, faults)
        block = expected_block(change, sealed)
        if block is None:
            assert FIELDS[collection] & {fault.field for fault in faults}, where
        assert (LOG, block) in {(f.log, f.block if block is not None else None) for f in faults}, where
        counts[f"{collection}.{change.path[0]}"] += 1
        entries.update(fault.index for fault in faults if fault.field in ("entry", "part", "tags"))
    print(f"\nevery byte of {collection}: {sum(counts.values())} changes, each found: {dict(counts)}")
    if collection == PACKS:  # wherever the pack could be read still, the entry itself is named
        assert set(entries) == {0, 1, 2}
        assert sum(entries.values()) > 1000
