"""Stored values to MongoDB documents and back. What comes back is checked for its types only: `verify` does the rest."""

from typing import Any, TypeVar

import msgspec

from goodstrace import key_changes
from goodstrace.entry import TAG_BYTES
from goodstrace.errors import KeyChangeError
from services.runtime.envelope import Part
from services.sealing.errors import CorruptError
from services.sealing.values import Head, LogInfo, Pack, PackedRecord, StoredBlock, StoredCheckpoint

Document = dict[str, Any]
T = TypeVar("T")


def tile_id(log: str, level: int, n: int) -> str:
    """Name a tile's document."""
    return f"{log}/{level}/{n}"


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
    """Encode a pack; the tags of each record are joined, since only the pack's own list is looked up."""
    return {
        "_id": pack.id,
        "log": pack.log,
        "height": pack.height,
        "time": pack.time,
        "first": pack.first,
        "tags": pack.tags,
        "records": [
            {
                "entry": record.entry,
                "parts": [
                    {"name": part.name, "salt": part.salt, "content": part.content} for part in record.parts
                ],
                "tags": b"".join(record.tags),
            }
            for record in pack.records
        ],
    }


def pack(document: Document) -> Pack:
    """Decode a pack. Raises: CorruptError."""
    try:
        records = tuple(_packed_record(each) for each in document["records"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptError(f"pack {document.get('_id')} is malformed: {error!r}") from error
    return _convert({**document, "id": document.get("_id"), "records": records}, Pack, document)


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


def _packed_record(document: Document) -> PackedRecord:
    joined = document["tags"]
    tags = tuple(joined[start : start + TAG_BYTES] for start in range(0, len(joined), TAG_BYTES))
    parts = tuple(Part(part["name"], part["salt"], part["content"]) for part in document["parts"])
    return PackedRecord(document["entry"], parts, tags)


def _convert(values: Document, kind: type[T], document: Document) -> T:
    try:
        return msgspec.convert(values, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise CorruptError(f"document {document.get('_id')} is malformed: {error}") from error
