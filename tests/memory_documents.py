"""Documents as they lie in MongoDB, in memory: what `fsck` reads, for changing every byte of them in turn."""

import copy
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import Any

from goodstrace.note import Verifier
from goodstrace.policy import Policy
from services.sealing import documents
from services.sealing.documents import Document
from services.sealing.fsck.faults import Fault, Verdict
from services.sealing.fsck.feeding import Check, check_log
from services.sealing.fsck.rows import TileName, tile_document
from services.sealing.fsck.scan import PACKS_AT_ONCE, PLACES
from services.sealing.fsck.store import Options, count_pins, merged, survey
from services.sealing.indexes import BLOCKS, CHECKPOINTS, HEADS, LOGS, PACKS, PAGES, PINS, RUNS, TILES
from services.sealing.mongo_index import index_document, page_document
from tests.memory_store import MemoryStore

Collections = dict[str, dict[Any, Document]]


def as_read(value: Any) -> Any:
    """A value as the driver gives it back: arrays are lists."""
    if isinstance(value, dict):
        return {name: as_read(each) for name, each in value.items()}
    return [as_read(each) for each in value] if isinstance(value, list | tuple) else value


class MemoryDocuments:
    """Implements LogDocuments over documents by collection and `_id`."""

    def __init__(self, collections: Collections) -> None:
        self.collections = collections
        self.written: list[tuple[str, str]] = []

    @classmethod
    def of(cls, store: MemoryStore) -> "MemoryDocuments":
        """The documents that a MongoDB store would hold of the same logs."""
        found: dict[str, list[Document]] = {
            LOGS: [documents.log_document(each) for each in store.infos.values()],
            BLOCKS: [documents.block_document(each) for each in store.blocks.values()],
            PACKS: [documents.pack_document(each) for each in store.packs.values()],
            TILES: [
                tile_document(log, (level, n), data) for (log, level, n), data in store.tile_data.items()
            ],
            CHECKPOINTS: [documents.checkpoint_document(each) for each in store.checkpoints.values()],
            PAGES: [page_document(name, page) for name, page in store.page_data.items()],
            RUNS: [index_document(each) for each in store.runs.values()],
            PINS: [],
            HEADS: [documents.head_document(each) for each in store.heads.values()],
        }
        return cls({name: {each["_id"]: as_read(each) for each in rows} for name, rows in found.items()})

    def copy(self) -> "MemoryDocuments":
        """Another one to be changed, document by document: documents themselves are replaced, never changed in place."""
        return MemoryDocuments({name: dict(rows) for name, rows in self.collections.items()})

    async def logs(self) -> list[Document]:
        return self._sorted(LOGS, lambda document: True, "_id")

    async def head(self, log: str) -> Document | None:
        return self._one(HEADS, log)

    async def block(self, log: str, height: int) -> Document | None:
        return self._one(BLOCKS, f"{log}#{height}")

    async def blocks(self, log: str, height: int, end: int) -> list[Document]:
        return self._range(BLOCKS, log, "height", height, end)

    async def next_height(self, log: str, height: int) -> int | None:
        return next((each["height"] for each in self._range(BLOCKS, log, "height", height, 1 << 62)), None)

    async def packs(self, log: str, first: int, end: int) -> AsyncIterator[list[Document]]:
        found = self._range(PACKS, log, "first", first, end)
        for start in range(0, len(found), PACKS_AT_ONCE):
            yield found[start : start + PACKS_AT_ONCE]

    async def runs(self, log: str) -> Document | None:
        return self._one(RUNS, log)

    async def named(self, collection: str, ids: Collection[str]) -> list[Document]:
        return [each for key in ids if (each := self._one(collection, key)) is not None]

    async def pins(self, log: str, above: int, upto: int) -> list[Document]:
        return self._range(PINS, log, "size", above + 1, upto + 1)

    async def tiles(self, log: str, names: Iterable[TileName]) -> list[Document]:
        found = [self._one(TILES, documents.tile_id(log, level, n)) for level, n in names]
        return [each for each in found if each is not None]

    async def count_tiles(self, log: str) -> int:
        return sum(each.get("log") == log for each in self.collections[TILES].values())

    async def tile_names(self, log: str) -> AsyncIterator[Document]:
        for document in self.collections[TILES].values():
            if document.get("log") == log:
                yield document

    async def checkpoints(self, log: str, above: int, upto: int) -> list[Document]:
        return self._range(CHECKPOINTS, log, "size", above + 1, upto + 1)

    async def checkpoint(self, log: str, size: int) -> Document | None:
        return self._one(CHECKPOINTS, f"{log}@{size}")

    async def strays(self, collection: str, logs: Sequence[str]) -> list[Document]:
        place = PLACES[collection]

        def stray(document: Document) -> bool:
            value: Any = document.get(place)
            return document.get("log") not in logs or not (_is_number(value) and value >= 0)

        return self._sorted(collection, stray, "_id")

    async def strays_by_log(self, collection: str, logs: Sequence[str]) -> list[Document]:
        return self._sorted(collection, lambda document: document["_id"] not in logs, "_id")

    async def instance(self) -> str:
        return "00112233445566ff"

    async def put(self, collection: str, key: str, document: Document | None) -> None:
        self.written.append((collection, key))
        if document is None:
            self.collections[collection].pop(key, None)
        else:
            self.collections[collection][key] = as_read(document)

    def _one(self, collection: str, key: str) -> Document | None:
        return copy.copy(self.collections[collection].get(key))

    def _range(self, collection: str, log: str, field: str, start: int, end: int) -> list[Document]:
        def within(document: Document) -> bool:
            value: Any = document.get(field)
            return bool(document.get("log") == log and _is_number(value) and start <= value < end)

        return self._sorted(collection, within, field)

    def _sorted(self, collection: str, wanted: Callable[[Document], bool], field: str) -> list[Document]:
        found = [each for each in self.collections[collection].values() if wanted(each)]
        return sorted(
            found, key=lambda each: (each[field] if _is_number(each[field]) else 0, str(each["_id"]))
        )


async def check_store(
    store: MemoryDocuments, options: Options | None = None, *, repair: bool = False
) -> list[Verdict]:
    """All of a store checked, as the command does it, in this process."""
    found = await survey(store, options or Options(), None, None)
    verdicts = [
        await check_log(
            store,
            Check(
                info=job.info,
                trusted=Verifier.parse(job.trusted) if job.trusted else None,
                policy=Policy.parse(job.policy) if job.policy is not None else None,
                saved=job.saved,
                repair=repair,
            ),
        )
        for job in found.jobs
    ]
    await count_pins(store, verdicts)
    return merged(verdicts, found)


async def all_faults(store: MemoryDocuments, options: Options | None = None) -> list[Fault]:
    """Every fault of a store."""
    return [fault for verdict in await check_store(store, options) for fault in verdict.faults]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
