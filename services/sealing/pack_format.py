"""The records of a pack as three byte strings: MessagePack lists of entries, of parts, and of joined tags.

One byte string is cheap where a document of hundreds of fields is not: to encode, to store, to read. Entries lie apart,
because the public may read them and nothing else; parts lie apart, because one may be erased. Both are compressed, since neighbours say
much the same: the byte that no MessagePack begins with, a CRC-32 of what follows, and a frame of Zstandard (RFC 8878). In a frame are bits that
change nothing; the CRC tells that they were changed. Tags are keyed hashes and not compressed. Packs of earlier releases are plain lists in all columns.
"""

import threading
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate
from typing import Final

import msgspec
import zstandard

from goodstrace.entry import TAG_BYTES
from services.runtime.envelope import Part
from services.runtime.topics import MAX_MESSAGE_BYTES
from services.sealing.errors import CorruptError
from services.sealing.values import PackedRecord

ENTRIES: Final = "entries"
PARTS: Final = "parts"
TAGS: Final = "tags"
MAX_COLUMN_BYTES: Final = MAX_MESSAGE_BYTES + 2**20
"""What a column may have when it is plain: several records have some 50 KB together, and one came in one message of Kafka."""

_COMPRESSED: Final = b"\xc1"  # "never used", in MessagePack
_FRAME_AT: Final = len(_COMPRESSED) + 4
# Higher levels take more time for no fewer bytes: docs/decisions/0003-block-layout.md has the figures.
_LEVEL: Final = 1
_ENCODER: Final = msgspec.msgpack.Encoder()
_BYTES: Final = msgspec.msgpack.Decoder(bytes)
_BYTE_STRINGS: Final = msgspec.msgpack.Decoder(list[bytes])
_RAW_LIST: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_PARTS: Final = msgspec.msgpack.Decoder(tuple[Part, ...])
_ALL_PARTS: Final = msgspec.msgpack.Decoder(list[tuple[Part, ...]])
_FEW: Final = (
    16  # tags: each is sought in the joined bytes; more of them in a set, which costs the taking apart
)


class _Zstandard(threading.local):
    """What compresses and what does the reverse, for each thread its own: neither may be used by two at a time."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_ZSTANDARD: Final = _Zstandard()


def encode(records: Sequence[PackedRecord]) -> dict[str, bytes]:
    """Encode records in order, by the name of the field that each byte string is stored in."""
    columns = encode_plain(records)
    return columns | {name: _compressed(columns[name]) for name in (ENTRIES, PARTS)}


def encode_plain(records: Sequence[PackedRecord]) -> dict[str, bytes]:
    """Encode records as `encode` does, without compressing any."""
    return {
        ENTRIES: _ENCODER.encode([record.entry for record in records]),
        PARTS: _ENCODER.encode([record.parts for record in records]),
        TAGS: _ENCODER.encode([b"".join(record.tags) for record in records]),
    }


def plain(column: bytes) -> bytes:
    """Decompress a column, unless it is plain. Raises: CorruptError, before it takes more than MAX_COLUMN_BYTES."""
    if not column.startswith(_COMPRESSED):
        return column
    frame = column[_FRAME_AT:]
    if column[len(_COMPRESSED) : _FRAME_AT] != _checksum(frame):
        raise CorruptError("records are malformed: their checksum is not theirs")
    try:
        size_bytes = zstandard.frame_content_size(frame)
        if not 0 <= size_bytes <= MAX_COLUMN_BYTES:
            raise CorruptError(f"records are malformed: a column says it has {size_bytes} bytes")
        return _ZSTANDARD.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError(f"records are malformed: {error}") from error


def _compressed(column: bytes) -> bytes:
    frame = _ZSTANDARD.compress(column)
    return _COMPRESSED + _checksum(frame) + frame


def _checksum(frame: bytes) -> bytes:
    return zlib.crc32(frame).to_bytes(_FRAME_AT - len(_COMPRESSED), "big")


class Columns:
    """The records of a pack, each decoded when it is asked for: a look-up wants one of 64."""

    def __init__(self, entries: bytes, parts: bytes, tags: bytes) -> None:
        """Take the byte strings apart. Raises: CorruptError, where they are not lists of one length."""
        entries, parts = plain(entries), plain(parts)
        self.size_bytes = len(entries) + len(parts) + len(tags)
        try:
            # Where they are, not copies of them: of what is read a sixtieth is shown.
            self._entries, self._parts = _RAW_LIST.decode(entries), _RAW_LIST.decode(parts)
            self._tags = _BYTE_STRINGS.decode(tags)
        except (msgspec.MsgspecError, RecursionError, TypeError) as error:
            raise CorruptError(f"records are malformed: {error}") from error
        if not len(self._entries) == len(self._parts) == len(self._tags):
            raise CorruptError("records are malformed: the lists have different lengths")
        self._joined: bytes | None = None  # once something is sought
        self._ends: list[int] = []  # where each record's tags end in it

    def __len__(self) -> int:
        """Count the records."""
        return len(self._entries)

    def record(self, place: int) -> PackedRecord:
        """Decode a record by its place, 0 the first. Raises: CorruptError."""
        try:
            entry, parts = _BYTES.decode(self._entries[place]), _PARTS.decode(self._parts[place])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
            raise CorruptError(f"records are malformed: {error}") from error
        return PackedRecord(entry, parts, split_tags(self._tags[place]))

    def places_of(self, wanted: AbstractSet[bytes]) -> list[tuple[int, AbstractSet[bytes]]]:
        """Find the places of records that have any of these tags, in order, each with those that it has."""
        if len(wanted) > _FEW:
            common = [(place, wanted & set(split_tags(joined))) for place, joined in enumerate(self._tags)]
            return [each for each in common if each[1]]
        if self._joined is None:
            self._joined = b"".join(self._tags)
            self._ends = list(accumulate(map(len, self._tags)))
        found: dict[int, set[bytes]] = {}
        for tag in wanted:
            at = self._joined.find(tag)
            while at >= 0:
                place = bisect_right(self._ends, at)
                start, end = self._ends[place] - len(self._tags[place]), self._ends[place]
                if (at - start) % TAG_BYTES == 0 and at + TAG_BYTES <= end:
                    found.setdefault(place, set()).add(tag)
                    at = self._joined.find(tag, end)
                else:  # where two neighbours only look like it
                    at = self._joined.find(tag, at + 1)
        return sorted(found.items())


def decode(entries: bytes, parts: bytes, tags: bytes) -> tuple[PackedRecord, ...]:
    """Decode all records. Raises: CorruptError, whatever the bytes."""
    try:
        columns = (decode_entries(entries), _ALL_PARTS.decode(plain(parts)), _BYTE_STRINGS.decode(tags))
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
        return _BYTE_STRINGS.decode(plain(entries))
    except (msgspec.MsgspecError, TypeError) as error:
        raise CorruptError(f"entries are malformed: {error}") from error


def decode_tags(tags: bytes) -> list[bytes]:
    """Decode the joined tags of each record alone. Raises: CorruptError."""
    try:
        return _BYTE_STRINGS.decode(tags)
    except (msgspec.MsgspecError, TypeError) as error:
        raise CorruptError(f"tags are malformed: {error}") from error


def split_tags(joined: bytes) -> tuple[bytes, ...]:
    """Take joined tags apart."""
    return tuple(joined[start : start + TAG_BYTES] for start in range(0, len(joined), TAG_BYTES))
