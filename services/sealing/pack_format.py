"""The records of a pack as three byte strings: MessagePack lists of entries, of parts, and of joined tags.

One byte string is cheap where a document of hundreds of fields is not: to encode, to store, to read. Entries lie apart,
because the public may read them and nothing else; parts lie apart, because one may be erased.
"""

from bisect import bisect_right
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate
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
_BYTES: Final = msgspec.msgpack.Decoder(bytes)
_BYTE_STRINGS: Final = msgspec.msgpack.Decoder(list[bytes])
_RAW_LIST: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_PARTS: Final = msgspec.msgpack.Decoder(tuple[Part, ...])
_ALL_PARTS: Final = msgspec.msgpack.Decoder(list[tuple[Part, ...]])
_FEW: Final = (
    16  # tags: each is sought in the joined bytes; more of them in a set, which costs the taking apart
)


def encode(records: Sequence[PackedRecord]) -> dict[str, bytes]:
    """Encode records in order, by the name of the field that each byte string is stored in."""
    return {
        ENTRIES: _ENCODER.encode([record.entry for record in records]),
        PARTS: _ENCODER.encode([record.parts for record in records]),
        TAGS: _ENCODER.encode([b"".join(record.tags) for record in records]),
    }


class Columns:
    """The records of a pack, each decoded when it is asked for: a look-up wants one of 64."""

    def __init__(self, entries: bytes, parts: bytes, tags: bytes) -> None:
        """Take the byte strings apart. Raises: CorruptError, where they are not lists of one length."""
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
        columns = (decode_entries(entries), _ALL_PARTS.decode(parts), _BYTE_STRINGS.decode(tags))
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


def decode_tags(tags: bytes) -> list[bytes]:
    """Decode the joined tags of each record alone. Raises: CorruptError."""
    try:
        return _BYTE_STRINGS.decode(tags)
    except (msgspec.MsgspecError, TypeError) as error:
        raise CorruptError(f"tags are malformed: {error}") from error


def split_tags(joined: bytes) -> tuple[bytes, ...]:
    """Take joined tags apart."""
    return tuple(joined[start : start + TAG_BYTES] for start in range(0, len(joined), TAG_BYTES))
