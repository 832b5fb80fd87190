"""Runs and index leaves in memory, laid out as the store has them."""

import hashlib
from collections.abc import Iterable, Sequence

from goodstrace.completeness.leaf import IndexedLog, IndexLeaf, RootAt, Run
from goodstrace.completeness.proof import RunPages, TagRows
from goodstrace.completeness.rows import Row
from services.sealing.completeness import layout
from services.sealing.completeness.layout import Builder, Place
from services.sealing.completeness.proving import prove

SECRET_COMMITMENT = "ab" * 32


def tag_of(number: int) -> bytes:
    """A tag as a keyed hash gives it: anywhere."""
    return hashlib.sha256(number.to_bytes(8)).digest()[:16]


class MemoryRuns:
    """Runs' documents in memory; counts what is read."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[Place, bytes]] = {}
        self.read_bytes = 0

    async def documents(self, run: str, places: Iterable[Place]) -> dict[Place, bytes]:
        found = {place: self.runs[run][place] for place in places if place in self.runs[run]}
        self.read_bytes += sum(map(len, found.values()))
        return found

    def add(self, since: int, to: int, rows: Iterable[bytes]) -> Run:
        """Lay a run out."""
        builder, documents = Builder(), {}
        for each in sorted(rows):
            documents.update(builder.add(each))
        documents.update(builder.finish())
        built = builder.built
        assert list(layout.places(built.rows)) == sorted(documents)
        self.runs[layout.run_id(since, to)] = documents
        return Run(built.root.hex(), built.rows, since, to)


def leaf_of(runs: Sequence[Run], sizes: dict[str, int]) -> IndexLeaf:
    """A leaf over runs."""
    logs = tuple(IndexedLog(log, size) for log, size in sizes.items())
    return IndexLeaf(logs, RootAt("00" * 32, runs[-1].to), tuple(runs), SECRET_COMMITMENT)


async def pieces(source: MemoryRuns, leaf: IndexLeaf, tag: bytes, most_pages: int = 1000) -> list[RunPages]:
    """The whole proof of a tag's rows."""
    found = []
    for run in leaf.runs:
        page, is_last = None, run.rows == 0
        while not is_last:
            piece, is_last = await prove(source, run, tag, page=page, most_pages=most_pages)
            page = piece.first_page + len(piece.pages) // (16 * 24)
            found.append(piece)
    return found


def verified(leaf: IndexLeaf, tag: bytes, given: Iterable[RunPages]) -> TagRows:
    """What a client finds in the pieces."""
    found = TagRows(leaf, tag)
    for each in given:
        found.add(each)
    return found


def rows_at(tag: bytes, places: Iterable[tuple[int, int]]) -> list[bytes]:
    """The rows of a tag at these logs' numbers and indexes."""
    return [Row(tag, log, index).encode() for log, index in places]
