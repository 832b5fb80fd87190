"""The collector's collections: `captures` and `capture_verdicts` (jobs), `goods` and `merchants` (goods information).

Beside them `capture_calendar` (services.collector.calendar: when each merchant captured) and `idempotency_keys`
(services.collector.keys).

`INDEXES` says which indexes they need; a collector makes them when it starts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from pymongo import IndexModel, UpdateOne

from services.collector.calendar import CAPTURES, SLOT, Calendar, Position
from services.collector.goods import Change
from services.collector.jobs import Job, Verdicts
from services.collector.keys import EXPIRES, KEYS
from services.runtime.mongo import Database, create_indexes, find_named, insert_missing, translated

VERDICTS: Final = "capture_verdicts"
GOODS: Final = "goods"
MERCHANTS: Final = "merchants"
UPSERTS_A_CALL: Final = 1000  # far from the deadline of a call: one event may name 40,000 lots
INDEXES: Final = {
    VERDICTS: [IndexModel([("capture", 1)], name="capture")],
    CAPTURES: [IndexModel([(SLOT, 1)], name=SLOT)],
    KEYS: [IndexModel([(EXPIRES, 1)], name=EXPIRES, expireAfterSeconds=0)],
}


class JobStore:
    """Capture jobs in MongoDB."""

    def __init__(self, database: Database) -> None:
        """Use the collections of jobs in `database`."""
        self._database = database
        self._captures = database[CAPTURES]
        self._verdicts = database[VERDICTS]
        self._calendar = Calendar(database)

    async def prepare(self) -> None:
        """Make the indexes that are not there. Raises: UnavailableError."""
        await create_indexes(self._database, INDEXES)

    async def open(self, job: Job) -> None:
        """Write a job's description; the same one again changes nothing. Raises: UnavailableError."""
        document = msgspec.to_builtins(job)
        document["_id"] = document.pop("id")
        document[SLOT] = await self._calendar.mark(job)
        async with translated():
            await self._captures.replace_one({"_id": job.id}, document, upsert=True)

    async def add(self, batch: Sequence[Verdicts]) -> None:
        """Write verdicts; the same ones again are left as they are, and cut otherwise they say the same.

        Raises: UnavailableError.
        """
        documents = [msgspec.to_builtins(each) for each in batch]
        for document in documents:
            document["_id"] = document.pop("id")
        await insert_missing(self._verdicts, documents)

    async def find(self, capture: str) -> tuple[Job | None, list[Verdicts]]:
        """Give a job's description, None where it is unknown, and the verdicts so far. Raises: UnavailableError."""
        async with translated():
            described = await self._captures.find_one({"_id": capture})
            documents = [document async for document in self._verdicts.find({"capture": capture})]
        job = msgspec.convert({**described, "id": described["_id"]}, Job) if described else None
        return job, _verdicts(documents)

    async def is_known(self, capture: str) -> bool:
        """Say whether a capture is durable, as far as it shows here. Raises: UnavailableError."""
        async with translated():
            described = await self._captures.find_one({"_id": capture}, {"_id": 1})
            return (
                described is not None
                or await self._verdicts.find_one({"capture": capture}, {"_id": 1}) is not None
            )

    async def page(self, merchant: int, before: Position | None, limit: int) -> list[Job]:
        """List a merchant's jobs, newest first. Raises: UnavailableError.

        Args:
            merchant: whose.
            before: of the last job of the page before, or None.
            limit: the most jobs, at least 1.
        """
        return await self._calendar.page(merchant, before, limit)

    async def verdicts(self, captures: Sequence[str]) -> list[Verdicts]:
        """Give the verdicts on the events of some captures. Raises: UnavailableError."""
        return _verdicts(await find_named(self._database, VERDICTS, captures, by="capture"))


class GoodsStore:
    """The goods information database."""

    def __init__(self, database: Database) -> None:
        """Use the two collections in `database`."""
        self._goods = database[GOODS]
        self._merchants = database[MERCHANTS]

    async def apply(self, goods: Mapping[str, Change], merchants: Mapping[int, Change]) -> None:
        """Apply changes as bulk upserts, in any order and as often as it takes. Raises: UnavailableError."""
        for collection, changes in ((self._goods, goods), (self._merchants, merchants)):
            upserts = _upserts(changes.items())
            for start in range(0, len(upserts), UPSERTS_A_CALL):
                async with translated():
                    await collection.bulk_write(upserts[start : start + UPSERTS_A_CALL], ordered=False)


def _verdicts(documents: Iterable[dict[str, Any]]) -> list[Verdicts]:
    return [msgspec.convert({**each, "id": each["_id"]}, Verdicts) for each in documents]


def _upserts(changes: Iterable[tuple[Any, Change]]) -> list[UpdateOne]:
    return [
        UpdateOne(
            {"_id": key}, {operator: fields for operator, fields in change.items() if fields}, upsert=True
        )
        for key, change in changes
    ]
