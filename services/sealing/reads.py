"""What look-ups read from the store, each thing once: remembered where it never changes, joined where several ask at once."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from goodstrace.grouping import grouped
from goodstrace.merkle import HASH_SIZE
from goodstrace.tiles import Tile
from services.runtime.mongo import Database, find_all
from services.runtime.together import Together
from services.sealing import documents
from services.sealing.documents import OpenedPack, StoredPack
from services.sealing.errors import CorruptError
from services.sealing.indexes import PACKS
from services.sealing.mongo import MongoBlockStore
from services.sealing.remembered import Remembered
from services.sealing.values import Head

REMEMBER_BYTES: Final = 64 * 2**20  # the tiles of 1.8 million entries
OPENED_BYTES: Final = 32 * 2**20
# A store may compare each value asked for with each pack it found.
PACKS_PER_QUERY: Final = 16  # of at most about 50 KB each
TILES_PER_READ: Final = 24
PREFIXES_PER_READ: Final = 4

TileName = tuple[str, int, int]
"""Log, level, number."""
PackPlace = tuple[str, int]
"""Log, and the index at which packs begin."""


class Reads:
    """Reads heads, tiles and packs of the logs in one database.

    Every method raises UnavailableError where the store is away, CorruptError where what it holds is malformed.
    """

    def __init__(
        self, database: Database, store: MongoBlockStore, remember_bytes: int, remember_packs_bytes: int
    ) -> None:
        """Remember at most `remember_bytes` of tiles, and `remember_packs_bytes` of packs as they are stored.

        Beside them packs that were used last lie open, up to OPENED_BYTES of them: to open one takes some 60 us.
        """
        self._database, self._store = database, store
        self._tiles: Remembered[TileName, bytes] = Remembered(remember_bytes)
        self._packs: Remembered[PackPlace, tuple[StoredPack, ...]] = Remembered(remember_packs_bytes)
        self._opened: Remembered[PackPlace, tuple[OpenedPack, ...]] = Remembered(
            min(OPENED_BYTES, remember_packs_bytes)
        )
        self._heads_read = Together(self._read_heads, PREFIXES_PER_READ)
        self._tiles_read = Together(self._read_tiles, TILES_PER_READ)
        self._packs_read = Together(self._read_packs, PACKS_PER_QUERY)

    async def heads_under(self, prefix: str) -> dict[str, Head]:
        """Tell how far the logs are signed and published whose names begin with `prefix`: not older than this call."""
        return (await self._heads_read.get([prefix]))[prefix]

    async def tiles(self, log: str, needed: Iterable[Tile]) -> dict[tuple[int, int], bytes]:
        """Get the tiles that are there, from memory where they were read before as wide as needed: they only grow.

        Returns: their data by (level, n), at times wider than needed: the store is ahead of what is published.
        """
        found: dict[tuple[int, int], bytes] = {}
        missing = set()
        for level, n, width in needed:
            data = self._tiles.get((log, level, n))
            if data is not None and len(data) >= width * HASH_SIZE:
                found[level, n] = data
            else:
                missing.add((level, n))
        if missing:
            read = await self._tiles_read.get([(log, *tile) for tile in missing])
            for level, n in missing:
                data = read.get((log, level, n))
                if data is not None:
                    self._tiles.put((log, level, n), data, len(data))
                    found[level, n] = data
        return found

    async def packs(self, log: str, firsts: Sequence[int], size: int) -> list[OpenedPack]:
        """Read the packs that begin at these indexes, in order; those that no block names too.

        Those that begin below `size`, a published one, are remembered: the block that names one of them is there, and none of
        its bytes changes any more.
        """
        found = {first: known for first in firsts if (known := self._opened.get((log, first)))}
        shut = [first for first in firsts if first not in found]
        stored = {first: kept for first in shut if (kept := self._packs.get((log, first)))}
        stored |= await self._missing_packs(log, [each for each in shut if each not in stored])
        for first, packs in stored.items():
            found[first] = opened = tuple(map(documents.opened_pack, packs))
            if first < size:
                self._opened.put((log, first), opened, sum(pack.columns.size_bytes for pack in opened))
                self._packs.put((log, first), packs, sum(pack.size_bytes for pack in packs))
        return [pack for first in sorted(found) for pack in found[first]]

    async def _read_heads(self, prefixes: Collection[str]) -> dict[str, dict[str, Head]]:
        return {prefix: await self._store.heads_under(prefix) for prefix in prefixes}

    async def _read_tiles(self, names: Collection[TileName]) -> dict[TileName, bytes]:
        by_log = grouped((log, (level, n)) for log, level, n in names)
        read = await asyncio.gather(*(self._store.tiles(log, of_log) for log, of_log in by_log.items()))
        return {
            (log, *tile): data
            for log, tiles in zip(by_log, read, strict=True)
            for tile, data in tiles.items()
        }

    async def _missing_packs(self, log: str, firsts: Sequence[int]) -> dict[int, tuple[StoredPack, ...]]:
        if not firsts:
            return {}
        read = await self._packs_read.get([(log, first) for first in firsts])
        missing = [first for first in firsts if (log, first) not in read]
        if missing:
            raise CorruptError(f"{log}: there is no pack of entry {min(missing)}")
        return {first: read[log, first] for first in firsts}

    async def _read_packs(self, places: Collection[PackPlace]) -> dict[PackPlace, tuple[StoredPack, ...]]:
        queries = (
            {"log": log, "first": {"$in": firsts} if len(firsts) > 1 else firsts[0]}
            for log, firsts in grouped(places).items()
        )
        found: dict[PackPlace, tuple[StoredPack, ...]] = {}
        for read in await asyncio.gather(*(find_all(self._database, PACKS, query) for query in queries)):
            for pack in map(documents.stored_pack, read):
                found[pack.log, pack.first] = (*found.get((pack.log, pack.first), ()), pack)
        return found
