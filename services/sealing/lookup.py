"""Looking tags up in the index of a log: in which packs are records with them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from services.runtime.mongo import NAMES_A_CALL
from services.runtime.together import Together
from services.sealing import tag_index
from services.sealing.errors import CorruptError
from services.sealing.ports import TagPages
from services.sealing.remembered import Remembered
from services.sealing.tag_index import Page, Run, TagIndex, page_name

PAGES_BYTES: Final = 96 * 2**20
"""How much of the pages is remembered: all those of a million entries with four tags each."""
TAGS_AT_ONCE: Final = 64  # their pages are held together: about 6 KB for each tag and run

Sizes = Mapping[str, int]
Place = tuple[Run, int]


class TagLookup:
    """The indexes by tag of the logs in one store. Remembers which runs each has, and some pages."""

    def __init__(self, store: TagPages) -> None:
        """Read from a store."""
        self._store = store
        self._indexes: dict[str, TagIndex] = {}
        self._remembered: Remembered[str, Page] = Remembered(PAGES_BYTES)
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
        wanted = list(tags)
        found: dict[str, dict[bytes, list[int]]] = {log: {} for log in sizes}
        for start in range(0, len(wanted), TAGS_AT_ONCE):
            some = wanted[start : start + TAGS_AT_ONCE]
            needs = {
                log: tag_index.needed(index, some, sizes[log], (begin or {}).get(log, 0))
                for log, index in indexes.items()
            }
            rows = await self._rows(
                {place for of_log in needs.values() for places in of_log.values() for place in places}
            )
            for log, of_log in needs.items():
                for tag, places in of_log.items():
                    firsts: list[int] = []
                    for place in places:
                        left = most - len(firsts)
                        firsts += tag_index.firsts_of(rows[place], tag, (begin or {}).get(log, 0), left)
                    found[log][tag] = [first for first in firsts if first < sizes[log]]
        return found

    async def _rows(self, places: Collection[Place]) -> dict[Place, bytes]:
        """Read pages, those of all logs in one query where they are few."""
        names = {place: page_name(place[0].name, place[1]) for place in places}
        chunks = await self._pages(list(names.values()))
        long = [place for place, name in names.items() if name in chunks and chunks[name].chunks > 1]
        further = [name for place in long for name in tag_index.more_chunks(chunks, *place)]
        if further:
            chunks |= await self._store.pages(further)
        rows: dict[Place, bytes] = {}
        for place, name in names.items():
            data = tag_index.joined(chunks, *place) if place in long else _data(chunks.get(name))
            if data is None:
                raise CorruptError(f"page {name} of the index by tag is missing")
            rows[place] = data
        return rows

    async def _pages(self, names: Sequence[str]) -> dict[str, Page]:
        """Read pages, or remember them: a page never changes."""
        held = {name: self._remembered.get(name) for name in names}
        found = {name: page for name, page in held.items() if page is not None}
        if len(found) < len(held):
            missing = [name for name in held if name not in found]
            read = await self._pages_of.get(missing)
            for name in missing:
                if (page := read.get(name)) is not None:
                    self._remembered.put(name, page, len(page.data))
                    found[name] = page
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


def _data(page: Page | None) -> bytes | None:
    return None if page is None else page.data
