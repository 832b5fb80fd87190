"""Entries with a tag that came after some size: what an index leaf does not cover yet."""

from collections.abc import Mapping, Sequence

from goodstrace.entry import Position
from services.runtime.mongo import Database, translated
from services.sealing import documents
from services.sealing.errors import CorruptError
from services.sealing.indexes import PACKS
from services.sealing.lookup import TagLookup
from services.sealing.pack_format import decode_tags, split_tags
from services.sealing.reader import MOST_IN_PACK
from services.sealing.reads import PACKS_PER_QUERY


class NewerEntries:
    """Finds them in one database. Raises: UnavailableError, CorruptError."""

    def __init__(self, database: Database, lookup: TagLookup) -> None:
        """Take the database, and the look-up of who reads the same logs: what it remembers is a hundred MiB."""
        self._database, self._lookup = database, lookup

    async def places(
        self, tags: Sequence[bytes], since: Mapping[str, int], sizes: Mapping[str, int]
    ) -> dict[bytes, list[Position]]:
        """Find the places of entries with tags from `since` (by log; 0 where a log is not named) up to `sizes`, in order."""
        grown = {log: size for log, size in sorted(sizes.items()) if size > since.get(log, 0)}
        found: dict[bytes, list[Position]] = {tag: [] for tag in tags}
        for log, of_log in (await self._lookup.firsts(grown, tags) if grown else {}).items():
            start, wanted = since.get(log, 0), dict[int, set[bytes]]()
            for tag, firsts in of_log.items():
                for first in firsts:
                    if first > start - MOST_IN_PACK:
                        wanted.setdefault(first, set()).add(tag)
            for tag, index in sorted(await self._in_packs(log, wanted)):
                if start <= index < grown[log]:
                    found[tag].append((log, index))
        return found

    async def _in_packs(self, log: str, wanted: Mapping[int, set[bytes]]) -> set[tuple[bytes, int]]:
        """Look into the packs that begin at these indexes for their tags."""
        found = set()
        firsts = sorted(wanted)
        for at in range(0, len(firsts), PACKS_PER_QUERY):
            some = firsts[at : at + PACKS_PER_QUERY]
            async with translated():
                read = await self._database[PACKS].find({"log": log, "first": {"$in": some}}).to_list(None)
            packs = [documents.stored_pack(each) for each in read]
            if {pack.first for pack in packs} != set(some):
                raise CorruptError(f"{log}: a pack that the index by tag names is missing")
            for pack in packs:
                for index, joined in enumerate(decode_tags(pack.tags), pack.first):
                    found |= {(tag, index) for tag in wanted[pack.first].intersection(split_tags(joined))}
        return found
