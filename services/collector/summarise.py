"""Stage `summarise`: duplicates and conflicts within the last N records of a partition. Deterministic, without a clock.

The window holds what the stage itself let pass, so it can be filled again from `goods.summarised`. It is counted in records:
a duplicate that comes after more than N other records of its partition is sealed a second time; tracing then shows it
once, with both positions.
"""

import hashlib
from collections import deque
from typing import Final

import msgspec

from goodstrace.facts import Facts, Flag, identity
from services.collector.flow import FACTS_PART, Accepted, Item, Outcome, Reason, StageName, reject
from services.runtime import envelope
from services.runtime.errors import EnvelopeError
from services.runtime.partitioner import event_key

DEFAULT_WINDOW: Final = 50_000
_DIGEST_BYTES: Final = 16


class _Identifying(msgspec.Struct):
    digest: str


class _Names(msgspec.Struct):
    """Those facts only that the window needs: filling it decodes little."""

    event_id: str
    event_hash: str
    correction: _Identifying | None = None


_NAMES: Final = msgspec.json.Decoder(_Names)


class Window:
    """The last `size` records that a partition's `summarise` let pass; about 400 bytes each."""

    def __init__(self, size: int = DEFAULT_WINDOW) -> None:
        """Start empty; `size` is at least 1."""
        self._size = size
        self._entries: deque[tuple[bytes, bytes, bytes]] = deque()  # identity, name, record ID
        self._latest: dict[bytes, bytes] = {}
        self._contents: dict[bytes, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def first_of(self, same: bytes) -> bytes | None:
        """Give the ID of the record with this identity that an event like it is a duplicate of, or None.

        A window made larger may hold an identity twice, as the smaller one let it pass: the later record counts, which
        stays longest.
        """
        return self._latest.get(same)

    def conflicts(self, name: bytes, content: bytes) -> bool:
        """Say whether the window has the same merchant and event ID with other content."""
        return any(each != content for each in self._contents.get(name, ()))

    def add(self, same: bytes, name: bytes, content: bytes, record_id: bytes) -> None:
        """Take in a record that passed; the oldest leaves where the window is full."""
        if len(self._entries) >= self._size:
            self._forget()
        self._entries.append((same, name, record_id))
        self._latest[same] = record_id
        self._contents.setdefault(name, []).append(content)

    def _forget(self) -> None:
        same, name, record_id = self._entries.popleft()
        if self._latest.get(same) == record_id:
            del self._latest[same]
        contents = self._contents[name]
        del contents[0]
        if not contents:
            del self._contents[name]


def remembered(value: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Give what `Window.add` takes of a record from `goods.summarised`. Raises: EnvelopeError."""
    record = envelope.decode(value)
    try:
        names = _NAMES.decode(record.part(FACTS_PART).content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeError(f"not the facts of an event: {error}") from error
    return (*_digests(record.merchant, names), record.id)


def summarise(window: Window, item: Item) -> Outcome:
    """Refuse a duplicate, mark a conflict, take the others into the window of their partition."""
    record = item.record
    same, name, content = _digests(record.merchant, item.facts)
    first = window.first_of(same)
    if first is not None:
        detail = f"the same event was captured before as record {first.hex()}"
        return reject(record, StageName.SUMMARISE, Reason.DUPLICATE, detail, first)
    conflict = window.conflicts(name, content)
    window.add(same, name, content, record.id)
    if conflict:
        return Accepted(item.with_facts(flags=tuple(sorted({*item.facts.flags, Flag.CONFLICTING_ID}))))
    return Accepted(item)


def _digests(merchant: int, facts: Facts | _Names) -> tuple[bytes, bytes, bytes]:
    """Give what the window compares: the identity, the name (merchant, event ID) and the content."""
    same = bytes.fromhex(identity(merchant, facts))  # type: ignore[arg-type]  # _Names has the fields that it reads
    name = hashlib.sha256(event_key(merchant, facts.event_id)).digest()[:_DIGEST_BYTES]
    content = hashlib.sha256(facts.event_hash.encode()).digest()[:_DIGEST_BYTES]
    return same, name, content
