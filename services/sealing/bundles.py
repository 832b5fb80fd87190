"""The entries of a log by their range of indexes, without the parts: what anybody may see (design.md, invariant 4)."""

from collections.abc import Mapping
from typing import Final

import msgspec

from goodstrace.merkle import HASH_SIZE, leaf_hash
from goodstrace.tiles import TILE_WIDTH, Tile
from services.runtime.mongo import Database, translated
from services.sealing import pack_format
from services.sealing.errors import CorruptError
from services.sealing.indexes import PACKS
from services.sealing.reader import MOST_IN_PACK, LogReader

# Parts, salts and tags stay in the store.
_ENTRIES_ONLY: Final = {"_id": 0, "first": 1, pack_format.ENTRIES: 1}


class _PackedEntries(msgspec.Struct, frozen=True):
    """What is asked for of a pack."""

    first: int
    entries: bytes


class EntryReader:
    """Reads the entries of the logs of one database."""

    def __init__(self, database: Database, reader: LogReader) -> None:
        """Read packs from `database`, and tiles through `reader`."""
        self._database = database
        self._reader = reader

    async def entries(self, log: str, first: int, end: int) -> list[bytes]:
        """Give the entries first..end-1, by one query of a range with two near bounds.

        Args:
            log: its name.
            first: index of the first; 0 <= first <= end.
            end: at most a published size. The caller bounds how many: all are held at once.
        Raises: CorruptError, where one is not there, or only others than the tree's; UnavailableError.
        """
        query = {"log": log, "first": {"$gte": max(0, first - MOST_IN_PACK + 1), "$lt": end}}
        found: dict[int, set[bytes]] = {index: set() for index in range(first, end)}
        async with translated():
            async for document in self._database[PACKS].find(query, _ENTRIES_ONLY):
                pack = _decoded(log, document)
                for index, entry in enumerate(pack_format.decode_entries(pack.entries), pack.first):
                    if index in found:
                        found[index].add(entry)
        return await self._settled(log, found)

    async def _settled(self, log: str, found: Mapping[int, set[bytes]]) -> list[bytes]:
        """Choose one entry for each index: where a commit that was cut off left another, the tree decides."""
        unclear = [index for index, entries in found.items() if len(entries) > 1]
        tiles = await self._reader.tiles(
            log, {Tile(0, index // TILE_WIDTH, index % TILE_WIDTH + 1) for index in unclear}
        )
        for index in unclear:
            n, place = divmod(index, TILE_WIDTH)
            leaf = tiles.get((0, n), b"")[place * HASH_SIZE : (place + 1) * HASH_SIZE]
            found[index].intersection_update({each for each in found[index] if leaf_hash(each) == leaf})
        for index, entries in found.items():
            if not entries:
                raise CorruptError(f"{log}: entry {index} is in no pack, or only others than the tree's")
        return [entry for entries in found.values() for entry in entries]


def _decoded(log: str, document: object) -> _PackedEntries:
    try:
        return msgspec.convert(document, _PackedEntries, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise CorruptError(f"{log}: a pack is malformed: {error}") from error
