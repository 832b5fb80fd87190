"""Stored values to MongoDB documents and back. What comes back is checked for its types only: `verify` does the rest."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from goodstrace import key_changes
from goodstrace.errors import KeyChangeError
from goodstrace.merkle import HASH_SIZE
from services.sealing import pack_format
from services.sealing.errors import CorruptError
from services.sealing.pack_format import Columns
from services.sealing.values import Head, LogInfo, Pack, SealedRecord, StoredBlock, StoredCheckpoint

Document = dict[str, Any]
T = TypeVar("T")


class StoredPack(msgspec.Struct, frozen=True):
    """A pack as it is stored: its records are byte strings yet, compressed (`pack_format`)."""

    id: str
    log: str
    height: int
    time: int
    first: int
    entries: bytes
    parts: bytes
    tags: bytes

    @property
    def size_bytes(self) -> int:
        """What its byte strings take."""
        return len(self.entries) + len(self.parts) + len(self.tags)


class OpenedPack(msgspec.Struct, frozen=True):
    """A pack of which only those records are decoded that are asked for; its fields are those of `Pack`."""

    id: str
    log: str
    time: int
    first: int
    columns: Columns

    @property
    def end(self) -> int:
        """The index after its last record."""
        return self.first + len(self.columns)

    def record(self, index: int) -> SealedRecord:
        """Decode the record at an index, from `first` to `end` - 1. Raises: CorruptError."""
        with _of_pack(self.id):
            found = self.columns.record(index - self.first)
        return SealedRecord(self.log, index, found.entry, found.parts, found.tags)


def tile_id(log: str, level: int, n: int) -> str:
    """Name a tile's document."""
    return f"{log}/{level}/{n}"


def tile_document(log: str, name: tuple[int, int], data: bytes) -> Document:
    """Encode a tile, named by its level and number."""
    level, n = name
    width = len(data) // HASH_SIZE
    return {"_id": tile_id(log, level, n), "log": log, "level": level, "n": n, "width": width, "data": data}


def log_document(info: LogInfo) -> Document:
    """Encode a log's registration; changes of its key as their exact statements."""
    document: Document = {"_id": info.name, "origin": info.origin, "vkey": info.vkey}
    if info.changes:
        document["changes"] = [key_changes.statement(each).decode() for each in info.changes]
    if info.pending is not None:
        document["pending"] = key_changes.statement(info.pending).decode()
    return document


def log_info(document: Document) -> LogInfo:
    """Decode a log's registration. Raises: CorruptError, also where a change of its key does not verify."""
    values = {**document, "name": document.get("_id"), "changes": (), "pending": None}
    info = _convert(values, LogInfo, document)
    try:
        changes = tuple(key_changes.parse(each) for each in document.get("changes", ()))
        pending = document.get("pending")
        key_changes.verify_chain(changes)
        next_change = key_changes.parse(pending) if pending is not None else None
    except (KeyChangeError, TypeError) as error:
        raise CorruptError(f"document {document.get('_id')} is malformed: {error}") from error
    if any((each.log, each.origin) != (info.name, info.origin) for each in changes) or (
        changes and changes[-1].new != info.vkey
    ):
        raise CorruptError(f"document {document.get('_id')}: the changes of key do not lead to its key")
    return msgspec.structs.replace(info, changes=changes, pending=next_change)


def block_document(block: StoredBlock) -> Document:
    """Encode a block."""
    return {"_id": block.id, **{field: getattr(block, field) for field in block.__struct_fields__}}


def stored_block(document: Document) -> StoredBlock:
    """Decode a block. Raises: CorruptError."""
    block = _convert(document, StoredBlock, document)
    if block.id != document["_id"]:
        raise CorruptError(f"block {document['_id']} says it is {block.id}")
    return block


def pack_document(pack: Pack) -> Document:
    """Encode a pack; its tags are found through the index by tag (services.sealing.tag_index)."""
    return pack_head(pack) | pack_format.encode(pack.records)


def pack_head(pack: Pack) -> Document:
    """Encode a pack without its records."""
    return {
        "_id": pack.id,
        "log": pack.log,
        "height": pack.height,
        "time": pack.time,
        "first": pack.first,
    }


def stored_pack(document: Document) -> StoredPack:
    """Decode a pack, and nothing in it. Raises: CorruptError."""
    return _convert({**document, "id": document.get("_id")}, StoredPack, document)


def opened_pack(stored: StoredPack) -> OpenedPack:
    """Decode a pack without its records. Raises: CorruptError."""
    with _of_pack(stored.id):
        columns = Columns(stored.entries, stored.parts, stored.tags)
    return OpenedPack(stored.id, stored.log, stored.time, stored.first, columns)


def pack(document: Document) -> Pack:
    """Decode a pack with its records. Raises: CorruptError."""
    stored = stored_pack(document)
    with _of_pack(stored.id):
        records = pack_format.decode(stored.entries, stored.parts, stored.tags)
    return Pack(stored.id, stored.log, stored.height, stored.time, stored.first, records)


def checkpoint_id(log: str, size: int) -> str:
    """Name a checkpoint's document."""
    return f"{log}@{size}"


def checkpoint_document(checkpoint: StoredCheckpoint) -> Document:
    """Encode a checkpoint; its number of signatures stands beside the note, for `put_published` to compare."""
    fields = {field: getattr(checkpoint, field) for field in checkpoint.__struct_fields__}
    return {
        "_id": checkpoint_id(checkpoint.log, checkpoint.size),
        **fields,
        "signatures": checkpoint.signatures,
    }


def stored_checkpoint(document: Document) -> StoredCheckpoint:
    """Decode a checkpoint. Raises: CorruptError."""
    return _convert(document, StoredCheckpoint, document)


def head_document(head: Head) -> Document:
    """Encode a log's head; without what is published, where that is not given."""
    fields = {field: getattr(head.checkpoint, field) for field in head.checkpoint.__struct_fields__}
    encoded = {"_id": head.checkpoint.log, "height": head.height, **fields}
    return encoded if head.published is None else {**encoded, "published": published(head.published)}


def published(checkpoint: StoredCheckpoint) -> Document:
    """Encode what a log's head says is published."""
    fields = {field: getattr(checkpoint, field) for field in ("size", "root", "note")}
    return {**fields, "signatures": checkpoint.signatures}


def head(document: Document) -> Head:
    """Decode a log's head. Raises: CorruptError."""
    inner = document.get("published")
    shown = stored_checkpoint({**inner, "log": document.get("_id")}) if isinstance(inner, dict) else None
    values = {**document, "checkpoint": stored_checkpoint(document), "published": shown}
    return _convert(values, Head, document)


def tile_data(document: Document) -> bytes:
    """Decode a tile's data. Raises: CorruptError."""
    data = document.get("data")
    if not isinstance(data, bytes) or document.get("width") != len(data) // 32:
        raise CorruptError(f"tile {document.get('_id')} is malformed")
    return data


@contextmanager
def _of_pack(name: str) -> Iterator[None]:
    try:
        yield
    except CorruptError as error:
        raise CorruptError(f"pack {name}: {error}") from error


def _convert(values: Document, kind: type[T], document: Document) -> T:
    try:
        return msgspec.convert(values, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise CorruptError(f"document {document.get('_id')} is malformed: {error}") from error
