"""MongoDB as the services use it: the only place that imports motor, and where the driver's errors become ours."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Final, TypeVar

import pymongo
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import IndexModel
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from services.runtime.errors import ConflictError, OutOfTimeError, SettingsError, UnavailableError
from services.runtime.settings import MongoSettings
from services.runtime.store_metrics import STORE

Database = AsyncIOMotorDatabase[dict[str, Any]]
Collection = AsyncIOMotorCollection[dict[str, Any]]
DOCUMENTS_A_CALL: Final = 1000
"""So many are inserted far within the deadline of a call, on a slow store and with several indexes too."""
NAMES_A_CALL: Final = 24
"""A store may compare each name asked for with each document found: 24 take SecantusDB 1.6 ms, 100 take 25 and 1,000 take 1,500."""
FINDS_AT_ONCE: Final = 8
_DUPLICATE_KEY = 11000
_finders: Final = ThreadPoolExecutor(FINDS_AT_ONCE, thread_name_prefix="find")
_until_s: ContextVar[float | None] = ContextVar("_until_s", default=None)
T = TypeVar("T")
_DRIVER_STATE = re.compile(
    r" \(configured timeouts: [^)]*\)|, Timeout: [^,]*, Topology Description: .*|, full error: \{.*",
    re.DOTALL,
)


class Mongo:
    """A client of one database, with journalled majority writes and the given deadline on every call."""

    def __init__(self, settings: MongoSettings) -> None:
        """Make the client; it connects at the first call. Raises: SettingsError where the address is none."""
        connection: dict[str, Any] = settings.connection()
        try:
            self._client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
                settings.uri,
                **connection,
                serverSelectionTimeoutMS=settings.timeout_ms,
                timeoutMS=settings.timeout_ms,
                retryWrites=False,  # an unknown outcome is resolved by reading again, not by writing again
                uuidRepresentation="standard",
                event_listeners=[STORE],
            )
        except (PyMongoError, ValueError) as error:  # not chained: the address may hold a password
            raise SettingsError(f"MONGODB_URI: {type(error).__name__}: {error}") from None
        STORE.ask(self._client.delegate)
        self.database: Database = self._client.get_database(
            settings.database,
            write_concern=WriteConcern(w="majority", j=True),
            read_concern=ReadConcern("majority"),
        )

    async def ping(self) -> None:
        """Raise UnavailableError unless the store answers."""
        async with translated():
            await self._client.admin.command("ping")

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def beside(database: Database, name: str) -> Database:
    """Give another database of the same server, with the same care for what is written."""
    return database.client.get_database(
        name, write_concern=database.write_concern, read_concern=database.read_concern
    )


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn the driver's errors into ours: ConflictError for a taken unique key, UnavailableError for all others.

    Where the time was up it is an OutOfTimeError, but for bulk writes, whose outcome is not known then.
    """
    try:
        yield
    except DuplicateKeyError as error:
        raise ConflictError(str(error)) from error
    except BulkWriteError as error:
        faults = error.details.get("writeErrors", [])
        durable = not error.details.get("writeConcernErrors")
        if durable and faults and all(fault.get("code") == _DUPLICATE_KEY for fault in faults):
            said = f"{len(faults)} documents were refused, the first one: {faults[0].get('errmsg')}"
            raise ConflictError(said) from error  # not the error's own text, which repeats each document
        raise UnavailableError(f"MongoDB: {_said(error)}") from error
    except PyMongoError as error:
        kind = OutOfTimeError if error.timeout else UnavailableError
        raise kind(f"MongoDB: {_said(error)}") from error


def _said(error: PyMongoError) -> str:
    """Tell what went wrong, without the driver's own settings and state behind it."""
    return _DRIVER_STATE.sub("", str(error))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound all calls to the store made inside, together, by what is left of a caller's deadline."""
    token = _until_s.set(time.monotonic() + seconds)
    try:
        with pymongo.timeout(seconds):
            yield
    finally:
        _until_s.reset(token)


async def in_time(answer: Awaitable[T]) -> T:
    """Wait for what somebody else reads from the store, within the bound of `within`. Raises: OutOfTimeError over it."""
    until_s = _until_s.get()
    if until_s is None:
        return await answer
    left_s = until_s - time.monotonic()
    try:
        async with asyncio.timeout(left_s) as bound:
            return await answer
    except TimeoutError as error:
        if not bound.expired():
            raise
        raise OutOfTimeError(f"MongoDB: no answer within {left_s:.3f} s") from error


async def find_all(
    database: Database, collection: str, query: Mapping[str, Any], fields: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """Give all documents that match, which must be few; only some `fields` where they are named. Raises: UnavailableError.

    One way to a thread and back, where a cursor of motor's takes three.
    """
    return await _read(database.delegate[collection].find(query, fields))


async def find_pages(
    database: Database,
    collection: str,
    query: Mapping[str, Any],
    fields: Mapping[str, int] | None = None,
    *,
    size: int = DOCUMENTS_A_CALL,
) -> AsyncIterator[list[dict[str, Any]]]:
    """Give all documents that match, however many, by `_id`: at most `size` at a time, and none where there are none.

    Not of one moment: a document that is written meanwhile may be missed where its `_id` was passed. Raises: UnavailableError.

    Args:
        database: where to look.
        collection: its name.
        query: what must match; it says nothing of `_id`.
        fields: only these, `_id` among them.
        size: the most documents in memory, at least 1.
    """
    beyond: Mapping[str, Any] = {}
    while True:
        cursor = database.delegate[collection].find({**query, **beyond}, fields)
        page = await _read(cursor.sort("_id", pymongo.ASCENDING).limit(size))
        if page:
            yield page
        if len(page) < size:
            return
        beyond = {"_id": {"$gt": page[-1]["_id"]}}


async def find_named(
    database: Database,
    collection: str,
    names: Iterable[Any],
    fields: Mapping[str, int] | None = None,
    *,
    by: str = "_id",
) -> list[dict[str, Any]]:
    """Give the documents whose `_id`, or what is called `by`, is among `names`: NAMES_A_CALL in one call, one call after the other.

    In no order, and not of one moment. Each call has the client's deadline, all of them together that of `within`. Raises: UnavailableError.
    """
    found: list[dict[str, Any]] = []
    for some in _portions(names):
        found += await find_all(database, collection, {by: {"$in": some}}, fields)
    return found


async def delete_named(database: Database, collection: str, names: Iterable[Any]) -> None:
    """Delete the documents whose `_id` is among `names`, the first ones first, NAMES_A_CALL in one call.

    Raises: UnavailableError; some are gone then.
    """
    for some in _portions(names):
        async with translated():
            await database[collection].delete_many({"_id": {"$in": some}})


def _portions(names: Iterable[Any]) -> Iterator[list[Any]]:
    wanted = list(dict.fromkeys(names))
    return (wanted[start : start + NAMES_A_CALL] for start in range(0, len(wanted), NAMES_A_CALL))


async def _read(cursor: "pymongo.cursor.Cursor[dict[str, Any]]") -> list[dict[str, Any]]:
    in_context = copy_context().run  # the bound of `within` holds in the thread too
    async with translated():
        return await asyncio.get_running_loop().run_in_executor(_finders, in_context, _all_of, cursor)


def _all_of(cursor: "pymongo.cursor.Cursor[dict[str, Any]]") -> list[dict[str, Any]]:
    return list(cursor)


async def insert_missing(collection: Collection, documents: Sequence[dict[str, Any]]) -> list[Any]:
    """Insert documents, at most DOCUMENTS_A_CALL in one call; those whose `_id` is there already stay as they are.

    Returns: the `_id`s of these. Raises: UnavailableError; some are inserted then, and all may be given again.
    """
    there: list[Any] = []
    for start in range(0, len(documents), DOCUMENTS_A_CALL):
        some = documents[start : start + DOCUMENTS_A_CALL]
        try:
            async with translated():
                await collection.insert_many(some, ordered=False)
        except ConflictError as error:
            there += [some[place]["_id"] for place in _refused(error)]
    return there


def _refused(error: ConflictError) -> list[int]:
    """Say which of the documents of a call were not written."""
    cause = error.__cause__
    faults = cause.details["writeErrors"] if isinstance(cause, BulkWriteError) else ()
    return [fault["index"] for fault in faults]


async def create_indexes(database: Database, indexes: dict[str, list[IndexModel]]) -> None:
    """Create indexes by collection; those that are there already are left. Raises: UnavailableError."""
    async with translated():
        for collection, models in indexes.items():
            if models:
                await database[collection].create_indexes(models)
