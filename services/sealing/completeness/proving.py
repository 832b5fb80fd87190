"""Making the proof of a tag's rows in one run: reads the documents on the way to them, and as many chunks as they fill."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from goodstrace.completeness.leaf import Run
from goodstrace.completeness.proof import RunPages
from goodstrace.completeness.rows import PAGE_BYTES, PAGE_ROWS, ROW_BYTES, page_count
from goodstrace.merkle_ranges import range_path
from services.sealing.completeness import layout
from services.sealing.completeness.layout import CHUNK_PAGES, CHUNK_ROWS, FANOUT, Place
from services.sealing.errors import CorruptError


class RunDocuments(Protocol):
    """Reading the documents of runs."""

    async def documents(self, run: str, places: Iterable[Place]) -> dict[Place, bytes]:
        """Read documents of a run. Raises: UnavailableError; RunGoneError where the run is not kept any more."""
        ...


async def prove(
    source: RunDocuments, run: Run, tag: bytes, *, page: int | None, most_pages: int
) -> tuple[RunPages, bool]:
    """Prove the rows of a tag in a run that has rows, or that there is none.

    Args:
        source: has the run's documents.
        run: as the index leaf has it.
        tag: 16 bytes.
        page: the page to go on from, where the pages before were given; None to begin.
        most_pages: at least 1; where more are needed the next piece goes on after these.
    Returns: the pages, and whether the proof of this run ends with them.
    Raises: UnavailableError, RunGoneError, CorruptError.
    """
    name = layout.run_id(run.since, run.to)
    low, high = layout.tag_bounds(tag)
    held: dict[Place, bytes] = {}
    if page is None:
        chunk = await _descend(source, name, run, low, held)
        row = chunk * CHUNK_ROWS + layout.row_from(held[Place(0, chunk)], low)
        page = max(0, row - 1) // PAGE_ROWS
    else:
        await _read(source, name, run, page // CHUNK_PAGES, held)
    end, is_last = page, False
    while not is_last and end - page < most_pages:
        chunk = end // CHUNK_PAGES
        if Place(0, chunk) not in held:
            await _read(source, name, run, chunk, held)
        end, is_last = _end_within(
            held[Place(0, chunk)], chunk, high, range(end, page + most_pages), run.pages
        )
    return RunPages(page, _pages(held, page, end), _hashes(held, run, page, end)), is_last


async def _descend(source: RunDocuments, name: str, run: Run, bound: bytes, held: dict[Place, bytes]) -> int:
    """Read from the top down to the chunk that holds the last row below `bound`; give its number."""
    place = layout.top(run.rows)
    while True:
        held |= await _all(source, name, [place])
        if place.level == 0:
            return place.n
        place = Place(place.level - 1, place.n * FANOUT + layout.child_before(held[place], bound))


async def _read(source: RunDocuments, name: str, run: Run, chunk: int, held: dict[Place, bytes]) -> None:
    wanted = [Place(0, chunk), *layout.ancestors(chunk, run.rows)]
    held |= await _all(source, name, [each for each in wanted if each not in held])


async def _all(source: RunDocuments, name: str, places: list[Place]) -> dict[Place, bytes]:
    found = await source.documents(name, places)
    for place in places:
        if not found.get(place):
            raise CorruptError(f"document {layout.document_id(name, place)} of a run is missing")
    return found


def _end_within(data: bytes, chunk: int, high: bytes, wanted: range, pages: int) -> tuple[int, bool]:
    """Tell where in a chunk the pages of a proof end, and whether the proof ends there: behind the first row above the tag's.

    `wanted` begins with the next page, and has as many as there is room for.
    """
    first_row, end = chunk * CHUNK_ROWS, chunk * CHUNK_PAGES + page_count(len(data) // ROW_BYTES)
    above = layout.row_from(data, high)
    if above < len(data) // ROW_BYTES:
        end = max(wanted.start + 1, (first_row + above) // PAGE_ROWS + 1)
        return min(end, wanted.stop), end <= wanted.stop
    return min(end, wanted.stop), end == pages and end <= wanted.stop


def _pages(held: dict[Place, bytes], page: int, end: int) -> bytes:
    pieces = []
    for chunk in range(page // CHUNK_PAGES, (end - 1) // CHUNK_PAGES + 1):
        low, high = max(page - chunk * CHUNK_PAGES, 0), min(end - chunk * CHUNK_PAGES, CHUNK_PAGES)
        pieces.append(held[Place(0, chunk)][low * PAGE_BYTES : high * PAGE_BYTES])
    return b"".join(pieces)


def _hashes(held: dict[Place, bytes], run: Run, page: int, end: int) -> tuple[bytes, ...]:
    return tuple(layout.hash_of(each, run.rows, held) for each in range_path(page, end, run.pages))
