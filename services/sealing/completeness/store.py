"""The runs in MongoDB: their documents by name, and a list of the runs that are there.

A run's documents follow from what it covers, so whoever writes it writes the same: a run that was cut off is simply written
again. A run that no leaf names any more is *retired*, and removed a good while later: a proof may be in the making from an
earlier leaf. Documents are found by `_id` alone.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from goodstrace.completeness.leaf import Run
from services.runtime.errors import ConflictError
from services.runtime.mongo import Database, delete_named, find_named, translated
from services.sealing.completeness import layout
from services.sealing.completeness.layout import Place
from services.sealing.errors import CorruptError, RunGoneError
from services.sealing.indexes import INDEX_PAGES, INDEX_RUNS
from services.sealing.remembered import Remembered

REMEMBERED_BYTES: Final = 16 * 2**20


class StoredRun(msgspec.Struct, frozen=True):
    """A run that is there, or is being written.

    Attributes:
        id: see `layout.run_id`.
        since, to: sizes of the root log.
        rows: how many it has; how many at the most, as long as it is being written.
        root: of its pages, hex; empty as long as it is being written.
        retired_ms: Unix milliseconds since which no leaf names it; 0 where one does, or will.
    """

    id: str
    since: int
    to: int
    rows: int
    root: str = ""
    retired_ms: int = 0

    def is_whole(self, run: Run) -> bool:
        """Tell whether it is the run that a leaf names."""
        return (self.since, self.to, self.rows, self.root) == (run.since, run.to, run.rows, run.root)


class MongoRuns:
    """The runs of one database. Every method raises UnavailableError where the store is away."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database
        self._remembered: Remembered[str, bytes] = Remembered(REMEMBERED_BYTES)

    async def runs(self) -> list[StoredRun]:
        """List the runs that are there."""
        async with translated():
            found = await self._database[INDEX_RUNS].find().to_list(None)
        return [_stored_run(each) for each in found]

    async def begin(self, since: int, to: int, most_rows: int) -> None:
        """Say that a run is being written, so that what there is of it can be found; nothing where it was said before."""
        document = {"_id": layout.run_id(since, to), "since": since, "to": to, "rows": most_rows}
        try:
            async with translated():
                await self._database[INDEX_RUNS].insert_one({**document, "root": "", "retired_ms": 0})
        except ConflictError:
            async with translated():
                await self._database[INDEX_RUNS].update_one(
                    {"_id": document["_id"]}, {"$set": {"retired_ms": 0}}
                )

    async def put(self, run: str, documents: Mapping[Place, bytes]) -> None:
        """Write documents of a run; durable when it returns.

        Raises: CorruptError where other ones are there: a run is not what it was when it was written before.
        """
        made: list[dict[str, Any]] = [
            {"_id": layout.document_id(run, place), "data": data} for place, data in documents.items()
        ]
        if not made:
            return
        try:
            async with translated():
                await self._database[INDEX_PAGES].insert_many(made, ordered=False)
        except ConflictError:
            there = await self._read([str(each["_id"]) for each in made])
            for each in made:
                if there.get(each["_id"]) != each["data"]:
                    raise CorruptError(f"document {each['_id']} of a run is stored with other rows") from None

    async def finish(self, run: Run) -> None:
        """Say that a run is written."""
        name = layout.run_id(run.since, run.to)
        async with translated():
            await self._database[INDEX_RUNS].update_one(
                {"_id": name}, {"$set": {"rows": run.rows, "root": run.root, "retired_ms": 0}}
            )

    async def retire(self, runs: Iterable[str], now_ms: int) -> None:
        """Say that no leaf names these any more."""
        for name in runs:
            async with translated():
                await self._database[INDEX_RUNS].update_one(
                    {"_id": name, "retired_ms": 0}, {"$set": {"retired_ms": now_ms}}
                )

    async def remove(self, run: StoredRun) -> None:
        """Remove a run with all its documents."""
        names = [layout.document_id(run.id, place) for place in layout.places(run.rows)]
        await delete_named(self._database, INDEX_PAGES, names)
        async with translated():
            await self._database[INDEX_RUNS].delete_one({"_id": run.id})

    async def present(self, run: str, places: Iterable[Place]) -> dict[Place, bytes]:
        """Read the documents of a run that are there, from the store itself."""
        by_id = {layout.document_id(run, place): place for place in places}
        return {by_id[name]: data for name, data in (await self._read(list(by_id))).items()}

    async def replace(self, run: str, documents: Mapping[Place, bytes]) -> None:
        """Put documents of a run in the place of whatever is there."""
        for place, data in documents.items():
            name = layout.document_id(run, place)
            async with translated():
                await self._database[INDEX_PAGES].replace_one({"_id": name}, {"data": data}, upsert=True)

    async def documents(self, run: str, places: Iterable[Place]) -> dict[Place, bytes]:
        """Read documents of a run, or remember them: they never change.

        Raises: RunGoneError where the run is not kept any more; CorruptError where a document of one that is is missing.
        """
        by_id = {layout.document_id(run, place): place for place in places}
        found = {name: data for name in by_id if (data := self._remembered.get(name)) is not None}
        for name, data in (await self._read([name for name in by_id if name not in found])).items():
            self._remembered.put(name, data, len(data))
            found[name] = data
        if len(found) < len(by_id):
            async with translated():
                there = await self._database[INDEX_RUNS].find_one({"_id": run})
            missing = next(iter(by_id.keys() - found.keys()))
            if there is None or there.get("retired_ms"):
                raise RunGoneError(f"the run {run} of the index is not kept any more")
            raise CorruptError(f"document {missing} of the index is missing: run goodstrace fsck --repair")
        return {by_id[name]: data for name, data in found.items()}

    async def _read(self, names: Sequence[str]) -> dict[str, bytes]:
        read = await find_named(self._database, INDEX_PAGES, names)
        return {document["_id"]: _data(document) for document in read}


def lacking(leaf_runs: Collection[Run], stored: Iterable[StoredRun]) -> list[Run]:
    """List the runs of a leaf that the store does not have."""
    there = {each.id: each for each in stored}
    named = [(layout.run_id(run.since, run.to), run) for run in leaf_runs]
    return [run for name, run in named if name not in there or not there[name].is_whole(run)]


def _data(document: dict[str, Any]) -> bytes:
    data = document.get("data")
    if not isinstance(data, bytes):
        raise CorruptError(f"document {document.get('_id')} of a run is malformed")
    return data


def _stored_run(document: dict[str, Any]) -> StoredRun:
    try:
        return msgspec.convert({**document, "id": document.get("_id")}, StoredRun)
    except msgspec.ValidationError as error:
        raise CorruptError(f"run {document.get('_id')} of the index is malformed: {error}") from error
