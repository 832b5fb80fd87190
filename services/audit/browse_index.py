"""The index of looks: what browse records are found by beside the keys they name, and can be erased, which a log cannot.

Collection `browse_index` in the vault's database: {_id: the record's 16-byte ID, subject: the user's hash, merchant, time_ms, role, kind, method, outcome, mark}.
A row may be written again and again: looks and their marks come in any order, at least once. What the index says is checked against the logs
by whoever lists: it finds records, and proves nothing.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from pymongo import DESCENDING, IndexModel, UpdateOne

from services.audit.index_values import UNKNOWN, Place, Row, Wanted
from services.runtime.errors import ConflictError
from services.runtime.mongo import Database, create_indexes, find_named, translated
from services.runtime.retry import StopAskedError
from services.runtime.settings import load
from services.runtime.vault.opening import vault_database
from services.runtime.vault.settings import VaultSettings

COLLECTION: Final = "browse_index"
REST_S: Final = 1.0
"""How long who writes the index waits from one batch to the next."""
LATE_S: Final = REST_S + 2.0
"""A look that was recorded longer ago, and has no row, has none."""
PORTION: Final = 16
"""Of rows written in one call: while the store writes them it answers look-ups late, and a row costs it about a millisecond."""
_AGAIN_S: Final = 0.1
_TRIES: Final = 5
_NEWEST: Final = [("time_ms", DESCENDING), ("_id", DESCENDING)]


class BrowseIndex:
    """The index in MongoDB. Every method raises UnavailableError."""

    def __init__(self, database: Database) -> None:
        """Use the vault's database."""
        self._database, self._rows = database, database[COLLECTION]

    async def put(
        self,
        rows: Sequence[Row],
        marks: Mapping[bytes, str],
        *,
        gently: bool = False,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Keep looks, and what became of some. May be repeated.

        Args:
            rows: the looks.
            marks: what became of answers, by record ID.
            gently: leave the store to others for as long as each portion took.
            stop: once it is set no further portion is written: with a slow store all of them may take minutes.
        Raises: StopAskedError: some are not written.
        """
        told = {row.record_id: _fields(row) for row in rows}
        for record_id in told.keys() & marks.keys():
            told[record_id]["mark"] = marks[record_id]
        inserts = [{"_id": record_id, **fields} for record_id, fields in told.items()]
        updates = [{"_id": each, "mark": mark} for each, mark in marks.items() if each not in told]
        for documents, write in ((inserts, self._insert), (updates, self._update)):
            for start in range(0, len(documents), PORTION):
                if stop is not None and stop.is_set():
                    raise StopAskedError("asked to stop")
                began = time.monotonic()
                await write(documents[start : start + PORTION])
                if gently:
                    await asyncio.sleep(time.monotonic() - began)

    async def _insert(self, documents: Sequence[dict[str, Any]]) -> None:
        """Put rows that hardly ever are there already: to insert one costs the store half of what it costs to look for it, too."""
        try:
            async with translated():
                await self._rows.insert_many(documents, ordered=False)
        except ConflictError:  # of some the mark came first, or all of it comes again
            await self._update(documents)

    async def _update(self, documents: Sequence[dict[str, Any]]) -> None:
        writes = [
            UpdateOne(
                {"_id": each["_id"]},
                {"$set": {name: each[name] for name in each if name != "_id"}},
                upsert=True,
            )
            for each in documents
        ]
        await self._write(writes)

    async def _write(self, writes: list[UpdateOne]) -> None:
        for tried in range(_TRIES):
            try:
                async with translated():
                    await self._rows.bulk_write(writes, ordered=False)
            except (
                ConflictError
            ):  # another process made one of these rows at the same moment: now it is there
                if tried == _TRIES - 1:
                    raise
            else:
                return

    async def find(self, wanted: Wanted, before: Place | None, limit: int) -> list[Row]:
        """List looks, newest first, from behind `before` on."""
        async with translated():
            found = self._rows.find(_query(wanted, before)).sort(_NEWEST).limit(limit)
            return [_row(document) async for document in found]

    async def rows(self, record_ids: Collection[bytes]) -> dict[bytes, Row]:
        """Give what there is of some looks, by record ID; what is known of a mark alone is left out."""
        found = await find_named(self._database, COLLECTION, record_ids)
        return {bytes(each["_id"]): _row(each) for each in found if "time_ms" in each}

    async def rows_of(self, made_ms: Mapping[bytes, int]) -> dict[bytes, Row]:
        """Give the rows of looks, by record ID; those that were recorded a moment ago are waited for, LATE_S at the most.

        Without its row a look would be shown as one of a user who was forgotten.

        Args:
            made_ms: record times, Unix milliseconds, by record ID.
        """
        found = await self.rows(list(made_ms)) if made_ms else {}
        until_s = time.monotonic() + LATE_S
        while time.monotonic() < until_s:
            since_ms = (time.time() - LATE_S) * 1000
            late = [each for each, at_ms in made_ms.items() if each not in found and at_ms > since_ms]
            if not late:
                break
            await asyncio.sleep(_AGAIN_S)
            found |= await self.rows(late)
        return found

    async def forget(self, subject: bytes) -> int:
        """Delete the rows of a user; tells how many there were."""
        async with translated():
            return int((await self._rows.delete_many({"subject": subject})).deleted_count)


async def provision_index(database: Database) -> str:
    """Make the collection's indexes in the vault that belongs to the services' database, a step of provisioning. Raises: UnavailableError."""
    made = vault_database(database, load(VaultSettings))
    await provision(made)
    return f"browse index: indexes in {made.name}"


async def provision(database: Database) -> None:
    """Make the collection's indexes in the vault's database. Raises: UnavailableError."""
    await create_indexes(database, indexes())


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes by collection."""
    first = ("subject", "merchant", "mark")
    orders: tuple[list[tuple[str, int]], ...] = (*([(name, 1)] for name in first), [])
    return {COLLECTION: [IndexModel([*order, *_NEWEST]) for order in orders]}


def _fields(row: Row) -> dict[str, Any]:
    fields = msgspec.structs.asdict(row)
    if row.mark == UNKNOWN:
        del fields["mark"]  # it may have come before
    del fields["record_id"]
    return fields


def _row(document: Mapping[str, Any]) -> Row:
    return msgspec.convert({**document, "record_id": document["_id"]}, Row)


def _query(wanted: Wanted, before: Place | None) -> dict[str, Any]:
    bounds = {"$gte": wanted.from_ms}
    if wanted.until_ms:
        bounds["$lt"] = wanted.until_ms
    query: dict[str, Any] = {"time_ms": bounds}
    for name in ("subject", "merchant"):
        if value := getattr(wanted, name):
            query[name] = value
    if wanted.mark:
        query["mark"] = {"$exists": False} if wanted.mark == UNKNOWN else wanted.mark
    if before is not None:
        same = {"time_ms": before.time_ms, "_id": {"$lt": bytes.fromhex(before.record_id)}}
        query["$or"] = [{"time_ms": {"$lt": before.time_ms}}, same]
    return query
