"""From the bytes of a request to events: EPCISDocument, EPCISQueryDocument, or one bare event. Pure.

Each event stays the exact bytes in which it came. Contexts are never fetched.
Source: EPCIS 2.0 sections 8.1 (JSON/JSON-LD document) and 12 (REST).
"""

from typing import Any, Final

import msgspec

from goodstrace.event_hash import ignored_fields
from goodstrace.signatures import MEMBER
from services.collector import strict_json
from services.collector.errors import DocumentError, Fault
from services.collector.times import parse_time
from services.collector.validation import EVENT_TYPES

_BOM: Final = b"\xef\xbb\xbf"
_PLACES: Final[dict[object, tuple[str, ...]]] = {
    "EPCISDocument": ("epcisBody", "eventList"),
    "EPCISQueryDocument": ("epcisBody", "queryResults", "resultsBody", "eventList"),
}


class Limits(msgspec.Struct, frozen=True):
    """How much one request may hold; sizes in bytes."""

    body: int = 32 * 1024 * 1024
    event: int = 1024 * 1024
    events: int = 10_000


class Document(msgspec.Struct, frozen=True):
    """The events of a request.

    events: the exact bytes of each, not looked into yet. place: JSON pointer of the list they are in; "" for a bare event.
    context: the document's @context, None where it has none. ignored: member names the document leaves out of its hashes.
    signatures: for each event that of its merchant, or None; empty where no event is signed (docs/signatures.md).
    """

    events: tuple[bytes, ...]
    place: str | None
    context: Any = None
    ignored: frozenset[str] = frozenset()
    signatures: tuple[str | None, ...] = ()

    def pointer(self, sequence: int) -> str:
        """Give the JSON pointer of an event."""
        return "" if self.place is None else f"{self.place}/{sequence}"

    def signature(self, sequence: int) -> str | None:
        """Give the signature over an event, None where it has none."""
        return self.signatures[sequence] if self.signatures else None


def read(body: bytes, limits: Limits) -> Document:
    """Take a request's body apart.

    Args:
        body: JSON in UTF-8, with or without a byte order mark.
        limits: what may not be exceeded; event sizes are checked with each event.
    Raises: DocumentError, whatever the bytes: with the place of the fault.
    """
    if len(body) > limits.body:
        raise DocumentError(Fault("", f"over {limits.body} bytes"), too_large=True)
    text = body.removeprefix(_BOM)
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(Fault("", f"not UTF-8 at byte {error.start}")) from error
    top = strict_json.members(text)
    kind = _value(top, "type")
    if kind in EVENT_TYPES:
        return Document((text.strip(b" \t\r\n"),), None)
    path = _PLACES.get(kind) if isinstance(kind, str) else None
    if path is None:
        wanted = ", ".join((*map(str, _PLACES), *EVENT_TYPES))
        raise DocumentError(Fault("/type", f"must be one of {wanted}"))
    return _read_document(top, path, limits)


def _read_document(top: dict[str, bytes], path: tuple[str, ...], limits: Limits) -> Document:
    head = _beside(top, path[0], (), limits)
    _check_head(head)
    holder, level = head, top
    for depth, name in enumerate(path[:-1], 1):
        if name not in level:
            raise DocumentError(Fault(strict_json.pointer(*path[:depth]), "is missing"))
        level = _at(path[:depth], strict_json.members, level[name])
        inner = _beside(level, path[depth], path[:depth], limits)
        if name == "queryResults":
            holder = inner
    place = strict_json.pointer(*path)
    if path[-1] not in level:
        raise DocumentError(Fault(place, "is missing"))
    events = _at(path, strict_json.items, level[path[-1]])
    if len(events) > limits.events:
        raise DocumentError(Fault(place, f"more than {limits.events} events"), too_large=True)
    context = head["@context"]
    ignored = ignored_fields(holder, context)
    shared_bytes = len(top["@context"]) + sum(map(len, ignored))
    if shared_bytes * len(events) > limits.body:  # each event is kept with all of it
        problem = f"times {len(events)} events this is over {limits.body} bytes"
        raise DocumentError(Fault("/@context", problem), too_large=True)
    return Document(tuple(events), place, context, ignored, _signatures(head, len(events)))


def _signatures(head: dict[str, Any], count: int) -> tuple[str | None, ...]:
    listed = head.get(MEMBER)
    if listed is None:
        return ()
    if not isinstance(listed, list) or len(listed) != count:
        raise DocumentError(Fault(strict_json.pointer(MEMBER), "must be an array, with one for each event"))
    for index, each in enumerate(listed):
        if each is not None and not isinstance(each, str):
            fault = Fault(strict_json.pointer(MEMBER, str(index)), "must be a signature or null")
            raise DocumentError(fault)
    return tuple(listed)


def _beside(level: dict[str, bytes], way: str, path: tuple[str, ...], limits: Limits) -> dict[str, Any]:
    """Decode the members beside the `way` to the events; together they may be as large as an event."""
    beside = {name: value for name, value in level.items() if name != way}
    if sum(map(len, beside.values())) > limits.event:
        fault = Fault(strict_json.pointer(*path), f"over {limits.event} bytes beside its events")
        raise DocumentError(fault, too_large=True)
    return {name: _at((*path, name), strict_json.parse, value) for name, value in beside.items()}


def _check_head(head: dict[str, Any]) -> None:
    """Check the members that EPCIS 2.0 wants of every document."""
    faults = [
        Fault(f"/{name}", "is missing")
        for name in ("@context", "schemaVersion", "creationDate")
        if name not in head
    ]
    if faults:
        raise DocumentError(*faults)
    if not is_context(head["@context"]):
        raise DocumentError(Fault("/@context", "must be a string, an object, or an array of them"))
    version, created = head["schemaVersion"], head["creationDate"]
    if not isinstance(version, str) or not version.startswith("2."):
        raise DocumentError(Fault("/schemaVersion", "must be a version 2 of EPCIS, such as 2.0"))
    if not isinstance(created, str) or parse_time(created) is None:
        raise DocumentError(Fault("/creationDate", "must be a date and time, such as 2026-01-31T08:00:00Z"))


def is_context(value: object) -> bool:
    """Say whether a value can be a JSON-LD @context."""
    single = (str, dict)
    return isinstance(value, single) or (
        isinstance(value, list) and all(isinstance(each, single) for each in value)
    )


def _value(top: dict[str, bytes], name: str) -> Any:
    return _at((name,), strict_json.parse, top[name]) if name in top else None


def _at(path: tuple[str, ...], read_text: Any, text: bytes) -> Any:
    """Read a member; faults in it are told from the top."""
    try:
        return read_text(text)
    except DocumentError as error:
        prefix = strict_json.pointer(*path)
        raise DocumentError(*(fault.under(prefix) for fault in error.faults)) from error
