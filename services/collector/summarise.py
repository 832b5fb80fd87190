"""Stage `summarise`: duplicates, conflicts and read storms within the last N records of a partition. Deterministic, without a clock.

A signed event that came before without a signature is no mere duplicate: it passes once, marked, so that its signature is sealed.

The window holds what the stage itself let pass, so it can be filled again from `goods.summarised`. It is counted in records:
a duplicate that comes after more than N other records of its partition is sealed a second time; tracing then shows it
once, with both positions.
"""

import hashlib
from collections import deque
from typing import Final

from goodstrace.errors import EntryError
from goodstrace.facts import Facts, Flag, identity
from services.collector.flow import (
    SIGNATURE_PART,
    Accepted,
    Item,
    Outcome,
    Reason,
    StageName,
    from_wire,
    reject,
)
from services.collector.pipeline import pipeline_of
from services.collector.read_storms import MAX_ID, Read, next_read, read_key
from services.runtime.envelope import Memory, Record, Remembered
from services.runtime.errors import EnvelopeError
from services.runtime.partitioner import event_key, key_hash

DEFAULT_WINDOW: Final = 50_000
_DIGEST_BYTES: Final = 16
_NO_READ: Final = frozenset({Flag.CONFLICTING_ID, Flag.SIGNED_LATER})
"""Flags of records that are no read of a run."""


Passed = tuple[bytes, bytes, bytes, bytes, Read | None, bool]
"""What a window holds of a record: identity, name, content, record ID, what it is in a run of reads, whether it is (or may be) signed."""


class Window:
    """The last `size` records that a partition's `summarise` let pass; 400 bytes each, up to 1,100 where they are reads."""

    def __init__(self, size: int = DEFAULT_WINDOW) -> None:
        """Start empty; `size` is at least 1."""
        self._size = size
        self._entries: deque[tuple[bytes, bytes, bytes, Read | None]] = (
            deque()
        )  # identity, name, record ID, read
        self._latest: dict[bytes, bytes] = {}
        self._contents: dict[bytes, list[bytes]] = {}
        self._reads: dict[bytes, Read] = {}
        self._signed: set[bytes] = set()  # identities whose later record is signed, or may be

    def __len__(self) -> int:
        return len(self._entries)

    def first_of(self, same: bytes) -> bytes | None:
        """Give the ID of the record with this identity that an event like it is a duplicate of, or None.

        A window made larger may hold an identity twice, as the smaller one let it pass: the later record counts, which
        stays longest.
        """
        return self._latest.get(same)

    def lacks_signature(self, same: bytes) -> bool:
        """Say whether the record that `first_of` names is known to have no signature."""
        return same in self._latest and same not in self._signed

    def conflicts(self, name: bytes, content: bytes) -> bool:
        """Say whether the window has the same merchant and event ID with other content."""
        return any(each != content for each in self._contents.get(name, ()))

    def latest_read(self, key: bytes) -> Read | None:
        """Give the last record with this key of a read, None where the window has none."""
        return self._reads.get(key)

    def add(  # noqa: PLR0917 - what `Passed` holds
        self,
        same: bytes,
        name: bytes,
        content: bytes,
        record_id: bytes,
        read: Read | None = None,
        signed: bool = False,  # noqa: FBT001, FBT002 - as above
    ) -> None:
        """Take in a record that passed; the oldest leaves where the window is full."""
        if len(self._entries) >= self._size:
            self._forget()
        self._entries.append((same, name, record_id, read))
        self._latest[same] = record_id
        self._contents.setdefault(name, []).append(content)
        if read is not None:
            self._reads[read.key] = read
        if signed:
            self._signed.add(same)
        else:
            self._signed.discard(same)

    def _forget(self) -> None:
        same, name, record_id, read = self._entries.popleft()
        if self._latest.get(same) == record_id:
            del self._latest[same]
            self._signed.discard(same)
        contents = self._contents[name]
        del contents[0]
        if not contents:
            del self._contents[name]
        if read is not None and self._reads.get(read.key) is read:
            del self._reads[read.key]


def remembered(value: bytes) -> list[Passed]:
    """Give what `Window.add` takes of a record from `goods.summarised`, one after the other. Raises: EnvelopeError."""
    found = _passed(value)
    if isinstance(found, Memory):
        return held(found)
    key = None if _NO_READ.intersection(found.facts.flags) else _read_key(found)[1]
    digests = _digests(found.record.merchant, found.facts)
    return [(*digests, found.record.id, _read_before(found.facts, key), _is_signed(found.record))]


def held(memory: Memory) -> list[Passed]:
    """Give what `Window.add` takes of a memory, one after the other. Runs of reads are not remembered: they begin anew.

    Nor are signatures: what is remembered may be signed, so that one which comes later is refused and nothing is sealed twice for a retry.
    """
    return [(each.same, each.name, each.content, each.record_id, None, True) for each in memory.remembered]


def memories(value: bytes) -> list[Remembered]:
    """Give what another partition may have to remember of a record from `goods.summarised`. Raises: EnvelopeError."""
    found = _passed(value)
    if isinstance(found, Memory):
        return list(found.remembered)
    record = found.record
    placed = key_hash(event_key(record.merchant, found.facts.event_id))
    return [Remembered(*_digests(record.merchant, found.facts), record.id, record.time_ms, placed)]


def _passed(value: bytes) -> Item | Memory:
    try:
        return from_wire(value)
    except EntryError as error:
        raise EnvelopeError(str(error)) from error


def summarise(window: Window, item: Item) -> Outcome:
    """Refuse a duplicate, mark a conflict, link a read to its run; take what passes into the window of its partition."""
    record = item.record
    same, name, content = _digests(record.merchant, item.facts)
    first = window.first_of(same)
    signed = _is_signed(record)
    late = signed and pipeline_of(record.pipeline_version).late_signatures
    if first is not None and late and window.lacks_signature(same):
        conflicting = (Flag.CONFLICTING_ID,) if window.conflicts(name, content) else ()
        window.add(same, name, content, record.id, signed=True)
        return Accepted(_flagged(item, Flag.SIGNED_LATER, *conflicting))
    if first is not None:
        detail = f"the same event was captured before as record {first.hex()}"
        detail += ", whose signature counts: that of this one is not sealed" if late else ""
        return reject(record, StageName.SUMMARISE, Reason.DUPLICATE, detail, first)
    if window.conflicts(name, content):
        window.add(same, name, content, record.id, signed=signed)
        return Accepted(_flagged(item, Flag.CONFLICTING_ID))
    item, key = _read_key(item)
    read = next_read(window.latest_read(key), key, item.facts) if key is not None else None
    window.add(same, name, content, record.id, read, signed)
    return Accepted(item.with_facts(repeats=read.repeats) if read is not None and read.number > 1 else item)


def _flagged(item: Item, *flags: str) -> Item:
    return item.with_facts(flags=tuple(sorted({*item.facts.flags, *flags})))


def _is_signed(record: Record) -> bool:
    return SIGNATURE_PART in [part.name for part in record.parts]


def _read_key(item: Item) -> tuple[Item, bytes | None]:
    """Find the key of a read; the item is given back with its event, where that had to be decoded."""
    facts = item.facts
    wanted = pipeline_of(item.record.pipeline_version).read_storms and facts.correction is None
    if not wanted or facts.type != "ObjectEvent" or len(facts.event_id) > MAX_ID:
        return item, None
    item = item.decoded()
    return item, read_key(item.record.merchant, item.event or {}, facts.context)


def _read_before(facts: Facts, key: bytes | None) -> Read | None:
    """Give the read that a record was when it passed."""
    if key is None:
        return None
    repeats = facts.repeats
    first, number = (repeats.first, repeats.number) if repeats else (facts.event_id, 1)
    return Read(key, first, number, facts.time_us)


def _digests(merchant: int, facts: Facts) -> tuple[bytes, bytes, bytes]:
    """Give what the window compares: the identity, the name (merchant, event ID) and the content."""
    same = bytes.fromhex(identity(merchant, facts))
    name = hashlib.sha256(event_key(merchant, facts.event_id)).digest()[:_DIGEST_BYTES]
    content = hashlib.sha256(facts.event_hash.encode()).digest()[:_DIGEST_BYTES]
    return same, name, content
