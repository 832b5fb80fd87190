"""Rejections in MongoDB: the collection `rejections`, one document each, with the indexes that each listing needs."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from pymongo import DESCENDING, IndexModel

from services.collector.flow import Reason
from services.collector.jobs import Refusal
from services.collector.rejections import Again, Rejection, State
from services.runtime.mongo import Database, create_indexes, find_named, insert_missing, translated

REJECTIONS: Final = "rejections"
_WHY: Final = {"stage": 1, "reason": 1, "detail": 1}
_NEWEST: Final = ("order", DESCENDING)
INDEXES: Final = {
    REJECTIONS: [
        IndexModel([("state", 1), _NEWEST], name="state"),
        IndexModel([("reason", 1), ("state", 1), _NEWEST], name="reason_state"),
        IndexModel([("merchant", 1), ("state", 1), _NEWEST], name="merchant_state"),
        IndexModel([("merchant", 1), ("reason", 1), ("state", 1), _NEWEST], name="merchant_reason_state"),
        IndexModel([("capture", 1), _NEWEST], name="capture"),
    ]
}


class Wanted(msgspec.Struct, frozen=True):
    """What to list: by state, and reason where given; or all of one capture. `merchant`: only its own; None: everyone's."""

    state: State = State.OPEN
    reason: str = ""
    capture: str = ""
    merchant: int | None = None

    def query(self) -> dict[str, Any]:
        """Give it as MongoDB takes it: always a prefix of an index, but for a capture, which is one merchant's anyway."""
        whose = {} if self.merchant is None else {"merchant": self.merchant}
        if self.capture:
            return {"capture": self.capture, **whose}
        return {**whose, **({"reason": self.reason} if self.reason else {}), "state": self.state}


class RejectionStore:
    """The collection in one database."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`."""
        self._database = database
        self._rejections = database[REJECTIONS]

    async def prepare(self) -> None:
        """Make the indexes that are not there. Raises: UnavailableError."""
        await create_indexes(self._database, INDEXES)

    async def add(self, batch: Sequence[Rejection]) -> None:
        """Add rejections; one that is there stays as it is, with all that was done about it. Raises: UnavailableError."""
        await insert_missing(self._rejections, [_document(each) for each in batch])

    async def find(self, record: str) -> Rejection | None:
        """Give a rejection by its record ID, hex; None where there is none. Raises: UnavailableError."""
        async with translated():
            found = await self._rejections.find_one({"_id": record})
        return _rejection(found) if found else None

    async def refusals(self, records: Iterable[str]) -> dict[str, Refusal]:
        """Say by record ID, hex, which of some records were refused and why; a duplicate is no refusal. Raises: UnavailableError."""
        found = await find_named(self._database, REJECTIONS, records, _WHY)
        return {
            each["_id"]: msgspec.convert(each, Refusal)
            for each in found
            if each["reason"] != Reason.DUPLICATE
        }

    async def page(self, wanted: Wanted, before: str, limit: int) -> list[Rejection]:
        """Give at most `limit` rejections, newest first, of those before the one whose `order` is `before`, if any.

        Raises: UnavailableError.
        """
        query = {**wanted.query(), **({"order": {"$lt": before}} if before else {})}
        async with translated():
            found = self._rejections.find(query).sort([_NEWEST]).limit(limit)
            return [_rejection(each) async for each in found]

    async def resubmitted(self, record: str, again: Again) -> None:
        """Note that a rejection was sent again; the same note twice counts once. Raises: UnavailableError."""
        change = {
            "$set": {"state": State.RESUBMITTED.value},
            "$addToSet": {"again": msgspec.to_builtins(again)},
        }
        async with translated():
            await self._rejections.update_one({"_id": record}, change)


def _document(rejection: Rejection) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(rejection)
    document["_id"] = document.pop("id")
    return document


def _rejection(document: dict[str, Any]) -> Rejection:
    return msgspec.convert({**document, "id": document["_id"]}, Rejection)
