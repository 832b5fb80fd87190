"""Looking tags up in the index of a log: in which packs are records with them."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final, NamedTuple

from services.runtime.mongo import NAMES_A_CALL
from services.runtime.together import Together
from services.sealing import tag_index
from services.sealing.errors import CorruptError
from services.sealing.ports import TagPages
from services.sealing.remembered import Remembered
from services.sealing.tag_index import Page, Rows, Run, TagIndex, page_name

PAGES_BYTES: Final = 128 * 2**20
"""How much of the pages is remembered: all those of a million entries with four tags each."""
TAGS_AT_ONCE: Final = 64  # their pages are held together: about 6 KB for each tag and run

Sizes = Mapping[str, int]
PagePlace = tuple[str, int]
"""A run's name, and a page's number in it."""


class _Known(NamedTuple):
    """A page, or the first chunk of one that is long, and the rows in it."""

    page: Page
    rows: Rows


class TagLookup:
    """The indexes by tag of the logs in one store. Remembers which runs each has, and some pages."""

    def __init__(self, store: TagPages) -> None:
        """Read from a store."""
        self._store = store
        self._indexes: dict[str, TagIndex] = {}
        self._remembered: Remembered[PagePlace, _Known] = Remembered(PAGES_BYTES)
        self._pages_of = Together(store.pages, NAMES_A_CALL)

    async def firsts(
        self,
        sizes: Sizes,
        tags: Iterable[bytes],
        begin: Sizes | None = None,
        most: int = tag_index.MAX_INDEX,
    ) -> dict[str, dict[bytes, list[int]]]:
        """Find the packs that hold tags, in the first entries of logs.

        Args:
            sizes: how many entries of each log.
            tags: 16 bytes each.
            begin: by log the index that a pack must begin at or after; runs that end before it are not read.
            most: how many packs of a tag in a log, the first ones.
        Returns: for each log and tag the packs' first indexes in order.
        Raises: CorruptError where an index ends before its size, which is published, or a page of it is missing.
        """
        indexes = await self._reaching(sizes)
        begins = {log: (begin or {}).get(log, 0) for log in sizes}
        runs = {log: tag_index.runs_between(of, begins[log], sizes[log]) for log, of in indexes.items()}
        every = list(chain.from_iterable(runs.values()))
        wanted = list(tags)
        found: dict[str, dict[bytes, list[int]]] = {log: {} for log in sizes}
        for start in range(0, len(wanted), TAGS_AT_ONCE):
            some = wanted[start : start + TAGS_AT_ONCE]
            # By run and not by tag: what is the same for all tags of a run, or for all runs of a tag, is done once.
            numbers = [tag_index.leading(tag) for tag in some]
            pages = {run.name: [run.page_at(number) for number in numbers] for run in every}
            places = {(run.name, page): run for run in every for page in pages[run.name]}
            rows = await self._rows(places)
            for log, of_log in runs.items():
                held = [[rows[run.name, page] for page in pages[run.name]] for run in of_log]
                for place, tag in enumerate(some):
                    firsts: list[int] = []
                    for of_run in held:
                        firsts += of_run[place].firsts(tag, begins[log], most - len(firsts))
                    found[log][tag] = [first for first in firsts if first < sizes[log]]
        return found

    async def _rows(self, places: Mapping[PagePlace, Run]) -> dict[PagePlace, Rows]:
        """Read pages, those of all logs in one query where they are few."""
        known = await self._pages(places)
        missing = next((place for place in places if place not in known), None)
        if missing is not None:
            raise _missing(*missing)
        rows = {place: each.rows for place, each in known.items()}
        long = [place for place, each in known.items() if each.page.chunks > 1]
        if long:
            chunks = {page_name(*place): known[place].page for place in long}
            further = (tag_index.more_chunks(chunks, places[place], place[1]) for place in long)
            chunks |= await self._store.pages(list(chain.from_iterable(further)))
            for place in long:
                whole = tag_index.joined(chunks, places[place], place[1])
                if whole is None:
                    raise _missing(*place)
                rows[place] = Rows(whole)
        return rows

    async def _pages(self, places: Iterable[PagePlace]) -> dict[PagePlace, _Known]:
        """Read pages, or remember them: a page never changes."""
        held = {place: self._remembered.get(place) for place in places}
        found = {place: known for place, known in held.items() if known is not None}
        if len(found) < len(held):
            missing = {page_name(*place): place for place in held if place not in found}
            read = await self._pages_of.get(missing)
            for name, place in missing.items():
                if (page := read.get(name)) is not None:
                    found[place] = known = _Known(page, Rows(page.data))
                    self._remembered.put(place, known, known.rows.size_bytes)
        return found

    async def _reaching(self, sizes: Sizes) -> dict[str, TagIndex]:
        """Give the logs' runs: older ones do as long as they reach, for pages are never changed or removed."""
        found = {log: index for log in sizes if (index := self._indexes.get(log)) is not None}
        behind = [log for log, size in sizes.items() if log not in found or found[log].size < size]
        read = await self._store.indexes(behind) if behind else {}
        for log in behind:
            index = read.get(log)
            problem = tag_index.problem_of(index) if index else "it is missing"
            if index is None or problem or index.size < sizes[log]:
                raise CorruptError(f"{log}: the index by tag does not reach size {sizes[log]}; {problem}")
            found[log] = self._indexes[log] = index
        return found


def _missing(run: str, page: int) -> CorruptError:
    return CorruptError(f"page {page_name(run, page)} of the index by tag is missing")
