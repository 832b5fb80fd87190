"""The index by tag in MongoDB: pages and, one document a log, the runs in force. The driver's errors end here.

Pages are written once and never changed or removed: who looks up by an older list of runs still finds them.
"""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.mongo import Database, delete_named, find_named, translated
from services.sealing.errors import CorruptError
from services.sealing.indexes import PAGES, RUNS
from services.sealing.tag_index import Page, TagIndex, page_name

Document = dict[str, Any]
T = TypeVar("T")


class MongoTagIndex:
    """The index by tag of the logs in one database."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database

    async def put_pages(self, pages: Mapping[str, Page]) -> None:
        """See BlockStore."""
        documents = [page_document(name, page) for name, page in pages.items()]
        try:
            async with translated():
                await self._database[PAGES].insert_many(documents, ordered=False)
        except ConflictError:
            there = await self.pages(pages)
            for name, page in pages.items():
                if name not in there:
                    raise UnavailableError(f"page {name} was not written") from None
                if there[name] != page:
                    raise CorruptError(f"page {name} is stored with other rows") from None

    async def pages(self, names: Collection[str]) -> dict[str, Page]:
        """See BlockStore."""
        read = await find_named(self._database, PAGES, names)
        return {document["_id"]: stored_page(document) for document in read}

    async def put_index(self, index: TagIndex) -> None:
        """See BlockStore."""
        document = index_document(index)
        older = {"_id": document.pop("_id"), "order": {"$lt": index.order}}
        with contextlib.suppress(ConflictError):
            async with translated():
                await self._database[RUNS].update_one(older, {"$set": document}, upsert=True)

    async def index(self, log: str) -> TagIndex | None:
        """See BlockStore."""
        return (await self.indexes([log])).get(log)

    async def indexes(self, logs: Collection[str]) -> dict[str, TagIndex]:
        """See TagPages."""
        found = await find_named(self._database, RUNS, logs)
        return {document["_id"]: stored_index(document) for document in found}

    async def _remove_pages(self, runs: Sequence[str]) -> None:
        """Remove the pages of runs that no block has, by their names; names of no run do no harm."""
        for first in (await self.pages([page_name(run, 0) for run in runs])).items():
            run = first[0].removesuffix("/0")
            names = [page_name(run, page) for page in range(1 << first[1].bits)]
            there = await self.pages(names)
            chunks = [
                page_name(run, page, chunk)
                for page, name in enumerate(names)
                if name in there
                for chunk in range(1, there[name].chunks)
            ]
            # Page 0 at the very end: by it whoever repeats this finds the others.
            await delete_named(self._database, PAGES, [*chunks, *reversed(names)])


def page_document(name: str, page: Page) -> Document:
    """Encode a page."""
    return {"_id": name, "bits": page.bits, "rows": page.rows, "chunks": page.chunks, "data": page.data}


def stored_page(document: Document) -> Page:
    """Decode a page. Raises: CorruptError."""
    return _converted(document, Page)


def index_document(index: TagIndex) -> Document:
    """Encode the runs in force of a log."""
    runs = [list(msgspec.structs.astuple(run)) for run in index.runs]
    return {
        "_id": index.log,
        "order": index.order,
        "height": index.height,
        "size": index.size,
        "runs": runs,
    }


def stored_index(document: Document) -> TagIndex:
    """Decode the runs in force of a log. Raises: CorruptError."""
    return _converted({**document, "log": document.get("_id")}, TagIndex)


def _converted(document: Document, kind: type[T]) -> T:
    try:
        return msgspec.convert(document, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise CorruptError(f"document {document.get('_id')} is malformed: {error}") from error
