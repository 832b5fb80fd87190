"""Making a record's entry, and checking it before it is sealed: the two ends of "from here on nothing re-encodes it"."""

from collections.abc import Iterable, Mapping

import msgspec

from goodstrace import entry as entries
from goodstrace.entry import Entry, TagKind
from goodstrace.errors import EntryError
from services.runtime.envelope import Record


def with_entry(record: Record, secret: bytes, named: Mapping[TagKind, Iterable[str]]) -> Record:
    """Give a record its tags and the exact bytes of its entry. No I/O, no clock, no randomness.

    Args:
        record: with all its parts final.
        secret: the index secret, 32 bytes.
        named: what the record can be found by, by kind of tag.
    Raises: EntryError where the entry would break its limits.
    """
    tags = tuple(entries.tag_set(secret, named))
    entry = Entry(
        id=record.id.hex(),
        kind=record.kind,
        merchant=record.merchant,
        parts=tuple(entries.part_commitment(part.name, part.salt, part.content) for part in record.parts),
        tags=entries.tags_commitment(tags),
        time=record.time_ms,
    )
    return msgspec.structs.replace(record, entry=entries.encode(entry), tags=tags)


def check(record: Record) -> Entry:
    """Check that a record's entry is canonical and commits to exactly its parts and tags.

    Raises: EntryError: such a record must stop the one who seals, for it would seal something unprovable.
    """
    entry = entries.decode(record.entry)
    commitments = tuple(entries.part_commitment(part.name, part.salt, part.content) for part in record.parts)
    expected = (record.id.hex(), record.kind, record.merchant, record.time_ms, commitments)
    if expected != (entry.id, entry.kind, entry.merchant, entry.time, entry.parts):
        raise EntryError(f"entry {entry.id} does not commit to its record")
    if entry.tags != entries.tags_commitment(record.tags):
        raise EntryError(f"entry {entry.id} does not commit to its tags")
    return entry
