"""What the store alone takes: the documents of a log that was sealed, inserted once more and nothing else."""

import time
from collections.abc import Iterator
from typing import Any, Final

from pymongo import WriteConcern
from pymongo.database import Database

from services.sealing.indexes import BLOCKS, CHECKPOINTS, PACKS, PAGES, TILES, indexes

Document = dict[str, Any]
TOGETHER: Final = 64


def bare_insert_rate(store: Database[Document], entries: int) -> float:
    """Copy the documents of a store into collections of the same indexes, by one writer; entries a second.

    Reading them does not count.
    """
    taken_s = 0.0
    for name in (PACKS, PAGES, BLOCKS, TILES, CHECKPOINTS):
        copy = store.get_collection(f"{name}.copy", write_concern=WriteConcern(w="majority", j=True))
        if models := indexes().get(name):
            copy.create_indexes(models)
        for documents in chunks(store, name):
            begun = time.perf_counter()
            copy.insert_many(documents, ordered=False)
            taken_s += time.perf_counter() - begun
    return entries / taken_s


def chunks(store: Database[Document], name: str) -> Iterator[list[Document]]:
    """Read a collection in runs of documents."""
    some: list[Document] = []
    for document in store[name].find():
        some.append(document)
        if len(some) == TOGETHER:
            yield some
            some = []
    if some:
        yield some
