"""Packs as tests see and change them, read without the services' own code."""

from typing import Any

import msgspec

Document = dict[str, Any]


def opened(pack: Document) -> Document:
    """A pack's document with its `records` as documents: entry, parts, tags (joined)."""
    columns = [msgspec.msgpack.decode(pack[field]) for field in ("entries", "parts", "tags")]
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
        "entries": msgspec.msgpack.encode([each["entry"] for each in records]),
        "parts": msgspec.msgpack.encode(parts),
        "tags": msgspec.msgpack.encode([each["tags"] for each in records]),
    }
    return rest | encoded
