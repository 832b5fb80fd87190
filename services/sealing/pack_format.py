"""The records of a pack as three byte strings: MessagePack lists of entries, of parts, and of joined tags.

One byte string is cheap where a document of hundreds of fields is not: to encode, to store, to read. Entries lie apart,
because the public may read them and nothing else; parts lie apart, because one may be erased.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from goodstrace.entry import TAG_BYTES
from services.runtime.envelope import Part
from services.sealing.errors import CorruptError
from services.sealing.values import PackedRecord

ENTRIES: Final = "entries"
PARTS: Final = "parts"
TAGS: Final = "tags"

_ENCODER: Final = msgspec.msgpack.Encoder()
_BYTE_STRINGS: Final = msgspec.msgpack.Decoder(list[bytes])
_PARTS: Final = msgspec.msgpack.Decoder(list[tuple[Part, ...]])


def encode(records: Sequence[PackedRecord]) -> dict[str, bytes]:
    """Encode records in order, by the name of the field that each byte string is stored in."""
    return {
        ENTRIES: _ENCODER.encode([record.entry for record in records]),
        PARTS: _ENCODER.encode([record.parts for record in records]),
        TAGS: _ENCODER.encode([b"".join(record.tags) for record in records]),
    }


def decode(entries: bytes, parts: bytes, tags: bytes) -> tuple[PackedRecord, ...]:
    """Decode records. Raises: CorruptError, whatever the bytes."""
    try:
        columns = (decode_entries(entries), _PARTS.decode(parts), _BYTE_STRINGS.decode(tags))
        records = tuple(
            PackedRecord(entry, of_record, split_tags(joined))
            for entry, of_record, joined in zip(*columns, strict=True)
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
        raise CorruptError(f"records are malformed: {error}") from error
    return records


def decode_entries(entries: bytes) -> list[bytes]:
    """Decode the entries alone. Raises: CorruptError."""
    try:
        return _BYTE_STRINGS.decode(entries)
    except (msgspec.MsgspecError, TypeError) as error:
        raise CorruptError(f"entries are malformed: {error}") from error


def split_tags(joined: bytes) -> tuple[bytes, ...]:
    """Take joined tags apart."""
    return tuple(joined[start : start + TAG_BYTES] for start in range(0, len(joined), TAG_BYTES))
