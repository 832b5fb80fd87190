"""Is a record what its leaf commits to? Each entry is made again from its parts and tags; only what differs is taken apart."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace.entry import Entry, Kind
from goodstrace.errors import EntryError
from goodstrace.merkle import leaf_hash, leaf_hashes
from services.runtime.envelope import Committed
from services.sealing.entries import is_provable
from services.sealing.values import PackedRecord

Problem = tuple[int, str, str]  # place in the batch, field, what is wrong


class _Own(msgspec.Struct):
    """What an entry has of its own; all else in it follows from parts and tags."""

    id: str
    kind: Kind
    merchant: int
    time: int


_DECODE: Final = msgspec.json.Decoder(_Own).decode


def problems(records: Sequence[PackedRecord], leaves: Sequence[bytes]) -> Iterator[Problem]:
    """Say what of records is not what their leaves commit to, field by field.

    Args:
        records: neighbours.
        leaves: the 32-byte leaf hashes sealed at their places. What one has more is left out.
    Returns: nothing for sound records.
    """
    hashes = leaf_hashes(record.entry for record in records)
    for place, (record, hash_, leaf) in enumerate(zip(records, hashes, leaves, strict=False)):
        if hash_ != leaf or not _is_rebuilt(record):
            for field, problem in _named(record, leaf):
                yield place, field, problem


def _is_rebuilt(record: PackedRecord) -> bool:
    """Tell whether the entry is, byte for byte, the one that parts and tags give: then it is canonical too."""
    try:
        own = _DECODE(record.entry)
        id_ = bytes.fromhex(own.id)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return is_provable(
        Committed(
            id=id_,
            kind=own.kind,
            time_ms=own.time,
            merchant=own.merchant,
            parts=record.parts,
            entry=record.entry,
            tags=record.tags,
        )
    )


def _named(record: PackedRecord, leaf: bytes) -> Iterator[tuple[str, str]]:
    if leaf_hash(record.entry) != leaf:
        yield "entry", "the entry is not the one in the tree"
    try:
        entry = entries.decode(record.entry)
    except EntryError as error:
        yield "entry", str(error)
        return
    yield from _named_parts(record, entry)
    try:
        if entries.tags_commitment(record.tags) != entry.tags:
            yield "tags", "the tags are not those that the entry commits to"
    except EntryError as error:
        yield "tags", str(error)


def _named_parts(record: PackedRecord, entry: Entry) -> Iterator[tuple[str, str]]:
    held = {part.name: part for part in record.parts}
    if len(held) != len(record.parts):
        yield "part", "two parts have the same name"
    for promised in entry.parts:
        part = held.pop(promised.name, None)
        if part is None:
            yield "part", f"part {promised.name!r} is missing"
            continue
        try:
            entries.verify_part(entry, part.name, part.salt, part.content)
        except EntryError as error:
            yield "part", str(error)
    for name in held:
        yield "part", f"part {name!r} is not in the entry"
    if not held and [part.name for part in record.parts] != [part.name for part in entry.parts]:
        yield "part", "the parts are not in the entry's order"
