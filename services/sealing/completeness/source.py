"""What runs are made from: the pins in the root log, and the tags of the entries that came between two of them."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final, NamedTuple

from goodstrace import root as pins
from goodstrace import tiles as tlog
from goodstrace.checkpoint import Checkpoint
from goodstrace.completeness.leaf import INDEXED_PREFIX
from goodstrace.completeness.rows import place_bytes
from goodstrace.errors import TreeError, VerificationError
from goodstrace.log_keys import ROOT_LOG
from goodstrace.note import parse_note
from services.runtime.envelope import content_of
from services.runtime.mongo import Database, find_named, translated
from services.sealing import pack_format
from services.sealing.errors import CorruptError
from services.sealing.indexes import BLOCKS, PACKS
from services.sealing.pack_format import split_tags
from services.sealing.reader import MOST_IN_PACK, LogReader
from services.sealing.values import SealedRecord, block_id

ENTRIES_AT_ONCE: Final = 2048
PINS_AT_ONCE: Final = 512


class Pin(NamedTuple):
    """Entry `place` of the root log pins a log at a size."""

    place: int
    log: str
    size: int


class IndexSource:
    """The root log and the indexed logs of one database. Raises: UnavailableError, CorruptError from all of its methods."""

    def __init__(self, database: Database, reader: LogReader) -> None:
        """Take the database, and a reader of it."""
        self._database = database
        self._reader = reader

    async def root_size(self) -> int:
        """Tell how far the root log is published."""
        stored = await self._reader.checkpoint(ROOT_LOG)
        return stored.size if stored else 0

    async def reaches(self, root_size: int, sizes: Mapping[str, int]) -> bool:
        """Tell whether the root log and the others have as many entries; not so in a store that is just made anew from Kafka."""
        newest = await self._reader.newest()
        return all(
            log in newest and newest[log].size >= size
            for log, size in ({ROOT_LOG: root_size} | dict(sizes)).items()
            if size
        )

    async def root_hash(self, size: int) -> bytes:
        """Give the root log's root at a size."""
        tiles = await self._reader.tiles(ROOT_LOG, tlog.edge_tiles(size))
        try:
            return tlog.root(size, tiles)
        except TreeError as error:
            raise CorruptError(f"{ROOT_LOG}: {error}") from error

    async def pins(self, first: int, end: int) -> list[Pin]:
        """Give what the root log's entries first..end-1 pin of the logs that are indexed."""
        records = await self._reader.records(ROOT_LOG, range(first, end))
        found = (_pin(record) for record in records)
        return [pin for pin in found if pin is not None and pin.log.startswith(INDEXED_PREFIX)]

    async def vectors(self, root_sizes: Iterable[int]) -> dict[int, dict[str, int]]:
        """Give the sizes that the root log pins at several of its sizes; this reads it once, up to the largest."""
        found: dict[int, dict[str, int]] = {}
        sizes: dict[str, int] = {}
        reached = 0
        for size in sorted(set(root_sizes)):
            for first in range(reached, size, PINS_AT_ONCE):
                for pin in await self.pins(first, min(size, first + PINS_AT_ONCE)):
                    sizes[pin.log] = max(pin.size, sizes.get(pin.log, 0))
            reached, found[size] = size, dict(sizes)
        return found

    async def rows(
        self, since: Mapping[str, int], to: Mapping[str, int], numbers: Mapping[str, int]
    ) -> AsyncIterator[list[bytes]]:
        """Give the rows of the entries between two vectors of sizes, some at a time and in no order.

        Args:
            since: sizes by log; a log that is not named has none.
            to: sizes by log.
            numbers: the logs' numbers in rows.
        """
        for log, end in sorted(to.items()):
            for first in range(since.get(log, 0), end, ENTRIES_AT_ONCE):
                yield await self._rows(log, numbers[log], first, min(end, first + ENTRIES_AT_ONCE))

    async def _rows(self, log: str, number: int, first: int, end: int) -> list[bytes]:
        """Read the rows of neighbouring entries from the packs that blocks name: others may hold what was never sealed."""
        query = {"log": log, "first": {"$gt": first - MOST_IN_PACK, "$lt": end}}
        async with translated():
            packs = await (
                self._database[PACKS]
                .find(query, {"first": 1, "height": 1, pack_format.TAGS: 1})
                .to_list(None)
            )
        heights = sorted({pack["height"] for pack in packs})
        names = [block_id(log, height) for height in heights]
        blocks = await find_named(self._database, BLOCKS, names, {"packs": 1})
        named = {pack for block in blocks for pack in block["packs"]}
        rows: list[bytes] = []
        reached = first
        for pack in sorted((each for each in packs if each["_id"] in named), key=lambda each: each["first"]):
            joined = pack_format.decode_tags(pack[pack_format.TAGS])
            start = pack["first"]
            if start > reached:
                break
            reached = max(reached, min(end, start + len(joined)))
            for index in range(max(first, start), min(end, start + len(joined))):
                place = place_bytes(number, index)
                rows += [tag + place for tag in split_tags(joined[index - start])]
        if reached != end:
            raise CorruptError(f"{log}: entry {reached} is in no pack of a block")
        return rows


def _pin(record: SealedRecord) -> Pin | None:
    """Read what a record of the root log pins. Raises: CorruptError where it cannot be read."""
    content = content_of(record.parts, pins.CHECKPOINT_PART)
    if content is None:
        return None
    try:
        said = pins.decode(content)
        return Pin(record.index, said.log, Checkpoint.parse(parse_note(said.note).text).size)
    except VerificationError as error:
        raise CorruptError(f"{ROOT_LOG}: entry {record.index}: {error}") from error
