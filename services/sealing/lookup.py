"""Looking tags up in the index of a log: in which packs are records with them."""

from collections.abc import Iterable, Sequence
from typing import Final

from services.sealing import tag_index
from services.sealing.errors import CorruptError
from services.sealing.mongo_index import MongoTagIndex
from services.sealing.tag_index import TagIndex, page_name

TAGS_AT_ONCE: Final = 64  # their pages are held together: about 6 KB for each tag and run


class TagLookup:
    """The indexes by tag of the logs in one store. Remembers of each log which runs it has, and nothing else."""

    def __init__(self, store: MongoTagIndex) -> None:
        """Read from a store."""
        self._store = store
        self._indexes: dict[str, TagIndex] = {}

    async def firsts(self, log: str, size: int, tags: Iterable[bytes]) -> dict[bytes, list[int]]:
        """Find the packs of a log's first `size` entries that hold tags.

        Returns: for each tag the packs' first indexes in order.
        Raises: CorruptError where the index ends before `size`, which is published, or a page of it is missing.
        """
        index = await self._index(log, size)
        wanted = list(tags)
        found: dict[bytes, list[int]] = {}
        for start in range(0, len(wanted), TAGS_AT_ONCE):
            found |= await self._few(index, size, wanted[start : start + TAGS_AT_ONCE])
        return found

    async def _few(self, index: TagIndex, size: int, tags: Sequence[bytes]) -> dict[bytes, list[int]]:
        needs = tag_index.needed(index, tags, size)
        places = {place for of_tag in needs.values() for place in of_tag}
        chunks = await self._store.pages([page_name(run.name, page) for run, page in places])
        further = [name for run, page in places for name in tag_index.more_chunks(chunks, run, page)]
        if further:
            chunks |= await self._store.pages(further)
        rows: dict[tuple[str, int], bytes] = {}
        for run, page in places:
            data = tag_index.joined(chunks, run, page)
            if data is None:
                raise CorruptError(
                    f"{index.log}: page {page_name(run.name, page)} of the index by tag is missing"
                )
            rows[run.name, page] = data
        return {
            tag: [
                first
                for run, page in of_tag
                for first in tag_index.firsts_of(rows[run.name, page], tag)
                if first < size
            ]
            for tag, of_tag in needs.items()
        }

    async def _index(self, log: str, size: int) -> TagIndex:
        """Give the log's runs: older ones do as long as they reach, for pages are never changed or removed."""
        index = self._indexes.get(log)
        if index is None or index.size < size:
            index = await self._store.index(log)
            problem = tag_index.problem_of(index) if index else "it is missing"
            if index is None or problem or index.size < size:
                raise CorruptError(f"{log}: the index by tag does not reach size {size}; {problem}")
            self._indexes[log] = index
        return index
