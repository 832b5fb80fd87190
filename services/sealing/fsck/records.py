"""Is a record what its leaf commits to? Batches are checked by rebuilding each entry; only what differs is taken apart."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

import msgspec

from goodstrace import entry as entries
from goodstrace.entry import MAX_ENTRY_BYTES, MAX_INTEGER, MAX_PARTS, SALT_BYTES, TAG_BYTES, Entry, Kind
from goodstrace.errors import EntryError
from goodstrace.merkle import leaf_hash, leaf_hashes, root_of
from services.sealing.values import PackedRecord

Problem = tuple[int, str, str]  # place in the batch, field, what is wrong
_KINDS: Final = frozenset(str(kind) for kind in Kind)
_HEX: Final = frozenset(b"0123456789abcdef")
_remembered_leaf: Final = lru_cache(maxsize=1 << 15)(leaf_hash)  # neighbours share most of their tags


class _Own(msgspec.Struct):
    """What an entry has of its own; all else in it follows from parts and tags."""

    id: str
    kind: str
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
        parts = [
            b'{"commit":"%b","name":"%b","size":%d}'
            % (
                _commitment(part.name, part.salt, part.content),
                part.name.encode(),
                len(part.content),
            )
            for part in record.parts
        ]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, EntryError):
        return False
    tags = record.tags
    if (
        own.kind not in _KINDS
        or len(own.id) != 2 * entries.ID_BYTES
        or not 0 <= own.merchant <= MAX_INTEGER
        or not 0 <= own.time <= MAX_INTEGER
        or len(parts) > MAX_PARTS
        or len({part.name for part in record.parts}) != len(parts)
        or not _in_order(tags)
    ):
        return False
    id_ = own.id.encode()
    rebuilt = (
        b'{"id":"%b","kind":"%b","merchant":%d,"parts":[%b],"tags":{"n":%d,"root":"%b"},"time":%d,"v":1}'
        % (
            id_,
            own.kind.encode(),
            own.merchant,
            b",".join(parts),
            len(tags),
            root_of([_remembered_leaf(tag) for tag in tags]).hex().encode(),
            own.time,
        )
    )
    return rebuilt == record.entry and len(rebuilt) <= MAX_ENTRY_BYTES and _HEX.issuperset(id_)


@lru_cache(maxsize=64)
def _domain(name: str) -> bytes:
    """Give what a commitment hashes before the salt, for a name that parts may have. Raises: EntryError."""
    entries.commit(name, bytes(SALT_BYTES), b"")
    return b"\x02" + bytes((len(name),)) + name.encode()


def _commitment(name: str, salt: bytes, content: bytes) -> bytes:
    if len(salt) != SALT_BYTES:
        raise EntryError("a salt is not 32 bytes")
    return sha256(_domain(name) + salt + content).hexdigest().encode()


def _in_order(tags: Sequence[bytes]) -> bool:
    before = b""
    for tag in tags:
        if len(tag) != TAG_BYTES or tag <= before:
            return False
        before = tag
    return True


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
