"""Packs as tests see and change them, read without the services' own code."""

import zlib
from typing import Any

import msgspec
import zstandard

Document = dict[str, Any]


def opened(pack: Document) -> Document:
    """A pack's document with its `records` as documents: entry, parts, tags (joined)."""
    columns = map(msgspec.msgpack.decode, (unpacked(pack["entries"]), unpacked(pack["parts"]), pack["tags"]))
    records = [
        {
            "entry": entry,
            "parts": [dict(zip(("name", "salt", "content"), part, strict=True)) for part in parts],
            "tags": tags,
        }
        for entry, parts, tags in zip(*columns, strict=True)
    ]
    return {**pack, "records": records}


def closed(pack: Document) -> Document:
    """The document again, as it is stored."""
    rest = {name: value for name, value in pack.items() if name != "records"}
    records = pack["records"]
    parts = [[list(part.values()) for part in each["parts"]] for each in records]
    encoded = {
        "entries": packed(msgspec.msgpack.encode([each["entry"] for each in records])),
        "parts": packed(msgspec.msgpack.encode(parts)),
        "tags": msgspec.msgpack.encode([each["tags"] for each in records]),
    }
    return rest | encoded


def packed(column: bytes) -> bytes:
    """A column as it is stored: 0xc1, CRC-32, frame."""
    frame = zstandard.ZstdCompressor().compress(column)
    return b"\xc1" + zlib.crc32(frame).to_bytes(4, "big") + frame


def unpacked(column: bytes) -> bytes:
    """What is in a column: of packs of earlier releases it is not compressed."""
    if not column.startswith(b"\xc1"):
        return column
    assert column[1:5] == zlib.crc32(column[5:]).to_bytes(4, "big")
    return zstandard.ZstdDecompressor().decompress(column[5:])
