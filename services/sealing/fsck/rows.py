"""The store's documents, decoded one by one: a malformed one is a value with its problem, and the rest is still checked.

A document must be exactly what the writer would write of its value: a field more, or another name, is a fault too. Pure.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from goodstrace.errors import GoodstraceError
from goodstrace.merkle import HASH_SIZE
from services.runtime.errors import ServiceError
from services.sealing import documents, mongo_index, pack_format
from services.sealing.documents import Document
from services.sealing.pack_format import plain
from services.sealing.tag_index import Page, TagIndex
from services.sealing.values import Head, LogInfo, Pack, StoredBlock, StoredCheckpoint

T = TypeVar("T")
TileName = tuple[int, int]


class Malformed(msgspec.Struct, frozen=True):
    """A document that cannot be read: its ID, and why not."""

    id: Any
    problem: str


class CheckpointRow(msgspec.Struct, frozen=True):
    """A checkpoint's document: the checkpoint, and what in the document is not what its note says."""

    stored: StoredCheckpoint
    wrong: str = ""


class TileRow(msgspec.Struct, frozen=True):
    """A tile's document."""

    name: TileName
    data: bytes


def info(document: Document) -> LogInfo | Malformed:
    """Decode a log's registration."""
    return _decoded(document, documents.log_info, documents.log_document)


def block(document: Document) -> StoredBlock | Malformed:
    """Decode a block."""
    return _decoded(document, documents.stored_block, documents.block_document)


def pack(document: Document) -> Pack | Malformed:
    """Decode a pack. Whether its records are compressed, and how well, is no fault: releases differ in it."""

    def encode(found: Pack) -> Document:
        columns = pack_format.encode_plain(found.records)
        same = {name: document[name] for name, data in columns.items() if plain(document[name]) == data}
        return documents.pack_head(found) | columns | same

    return _decoded(document, documents.pack, encode)


def checkpoint(document: Document) -> CheckpointRow | Malformed:
    """Decode a checkpoint."""
    found = _decoded(document, documents.stored_checkpoint, None)
    if isinstance(found, Malformed):
        return found
    return CheckpointRow(found, difference(document, documents.checkpoint_document(found)))


def head(document: Document) -> Head | Malformed:
    """Decode a log's head."""
    return _decoded(document, documents.head, documents.head_document)


def page(document: Document) -> Page | Malformed:
    """Decode a page of the index by tag."""
    return _decoded(
        document, mongo_index.stored_page, lambda found: mongo_index.page_document(document["_id"], found)
    )


def index(document: Document) -> TagIndex | Malformed:
    """Decode the list of a log's runs of the index by tag."""
    return _decoded(document, mongo_index.stored_index, mongo_index.index_document)


def tile(document: Document) -> TileRow | Malformed:
    """Decode a tile."""

    def decode(of: Document) -> TileRow:
        return TileRow((int(of["level"]), int(of["n"])), documents.tile_data(of))

    def encode(row: TileRow) -> Document:
        return tile_document(str(document.get("log")), row.name, row.data)

    return _decoded(document, decode, encode)


def tile_document(log: str, name: TileName, data: bytes) -> Document:
    """Encode a tile as `put_tiles` writes it."""
    level, n = name
    width = len(data) // HASH_SIZE
    return {
        "_id": documents.tile_id(log, level, n),
        "log": log,
        "level": level,
        "n": n,
        "width": width,
        "data": data,
    }


def difference(stored: Document, written: Document) -> str:
    """Name the fields that differ between a document and the one that the writer would write; empty where none does."""
    names = sorted(
        str(name)
        for name in stored.keys() | written.keys()
        if name not in stored or name not in written or not _same(stored[name], written[name])
    )
    return ", ".join(names)


def _same(stored: Any, written: Any) -> bool:
    if isinstance(written, tuple | list):
        return (
            isinstance(stored, tuple | list)
            and len(stored) == len(written)
            and all(map(_same, stored, written))
        )
    if isinstance(written, Mapping):
        return isinstance(stored, Mapping) and not difference(dict(stored), dict(written))
    kinds_agree = all(isinstance(stored, kind) == isinstance(written, kind) for kind in (bool, float))
    return kinds_agree and bool(stored == written)  # for Python False, 0 and 0.0 are equal


def _decoded(
    document: Document, decode: Callable[[Document], T], encode: Callable[[T], Document] | None
) -> T | Malformed:
    try:
        value = decode(document)
        wrong = difference(document, encode(value)) if encode is not None else ""
    except (
        GoodstraceError,
        ServiceError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
    ) as error:
        return Malformed(document.get("_id"), f"document {document.get('_id')} is malformed: {error}")
    if wrong:
        return Malformed(document.get("_id"), f"document {document.get('_id')}: not as written: {wrong}")
    return value
