"""From the bytes of a request to events: EPCISDocument, EPCISQueryDocument, or one bare event. Pure.

JSON or XML: the first character decides, and `xml_documents` takes XML apart. Each event stays the exact bytes in which it
came. Contexts are never fetched.
Source: EPCIS 2.0 sections 8.1 (JSON/JSON-LD document) and 12 (REST).
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from goodstrace.errors import EventContentError
from goodstrace.event_content import is_xml, read_event
from goodstrace.event_hash import ignored_fields
from goodstrace.signatures import MEMBER
from services.collector import strict_json, xml_documents, xml_places
from services.collector.errors import DocumentError, Fault
from services.collector.misspelling import Spelling
from services.collector.times import parse_time
from services.collector.validation import EVENT_TYPES, not_extended
from services.collector.value_checks import is_context
from services.collector.xml_documents import Start

_BOM: Final = b"\xef\xbb\xbf"
_PLACES: Final[dict[object, tuple[str, ...]]] = {
    "EPCISDocument": ("epcisBody", "eventList"),
    "EPCISQueryDocument": ("epcisBody", "queryResults", "resultsBody", "eventList"),
}
_REQUIRED: Final[dict[object, tuple[str, ...]]] = {
    "EPCISDocument": ("@context", "schemaVersion", "creationDate"),
    "EPCISQueryDocument": ("@context",),  # as GS1's schema has it
}
_SIGNATURES: Final = Spelling((MEMBER,))


class Limits(msgspec.Struct, frozen=True):
    """How much one request may hold; sizes in bytes."""

    body: int = 32 * 1024 * 1024
    event: int = 1024 * 1024
    events: int = 10_000


class Document(msgspec.Struct, frozen=True):
    """The events of a request.

    events: the exact bytes of each, not looked into yet. place: where the list is that they are in, a JSON pointer or an XPath;
    None for a bare event. context: the document's @context, None where it has none. ignored: member names the document
    leaves out of its hashes. starts: of XML, where each event begins. signatures: for each event that of its merchant, or None;
    empty where no event is signed (docs/signatures.md).
    """

    events: tuple[bytes, ...]
    place: str | None
    context: Any = None
    ignored: frozenset[str] = frozenset()
    starts: tuple[Start, ...] = ()
    signatures: tuple[str | None, ...] = ()

    def pointer(self, sequence: int) -> str:
        """Give the place of an event: its JSON pointer or XPath."""
        if self.starts:
            return self.starts[sequence].path
        return "" if self.place is None else f"{self.place}/{sequence}"

    def context_of(self, sequence: int) -> Any:
        """Give what holds around an event: the document's @context, or the namespaces in scope as `read_event` takes them."""
        return self.starts[sequence].context if self.starts else self.context

    def decode(self, sequence: int) -> Any:
        """Read an event into the JSON form. Raises: DocumentError with the place in the document."""
        return self.decode_as(sequence, self.events[sequence])

    def decode_as(self, sequence: int, content: bytes) -> Any:
        """Read bytes that stand in an event's place. Raises: DocumentError, as `decode`."""
        if not is_xml(content):
            return _under(self.pointer(sequence), strict_json.parse, content)
        try:
            return read_event(content, self.context_of(sequence))
        except EventContentError as error:
            place = xml_places.at_offset(content, error.offset or 0)
            raise DocumentError(place.fault(self.starts[sequence], str(error))) from error

    def placed(self, sequence: int, fault: Fault) -> Fault:
        """Give a fault of a decoded event with its place in the document."""
        if not self.starts:
            return fault.under(self.pointer(sequence))
        place = xml_places.at_pointer(self.events[sequence], fault.pointer)
        return place.fault(self.starts[sequence], fault.detail)

    def signature(self, sequence: int) -> str | None:
        """Give the signature over an event, None where it has none."""
        return self.signatures[sequence] if self.signatures else None


def read(body: bytes, limits: Limits) -> Document:
    """Take a request's body apart.

    Args:
        body: JSON or XML in UTF-8, with or without a byte order mark.
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
    if xml_documents.is_xml(text):
        return _read_xml(text, limits)
    top = strict_json.members(text)
    kind = _value(top, "type")
    if kind in EVENT_TYPES:
        _check_unsigned(top, ())
        return Document((text.strip(b" \t\r\n"),), None)
    path = _PLACES.get(kind) if isinstance(kind, str) else None
    if path is None:
        wanted = ", ".join((*map(str, _PLACES), *EVENT_TYPES))
        extended = not_extended(kind) if isinstance(kind, str) else ""
        raise DocumentError(Fault("/type", f"must be one of {wanted}{extended}"))
    return _read_document(top, path, limits)


def _read_xml(text: bytes, limits: Limits) -> Document:
    found = xml_documents.cut(
        text, most_events=limits.events, largest_event=limits.event, largest_text=limits.body
    )
    return Document(found.events, found.place, None, found.ignored, found.starts, found.signatures)


def _read_document(top: dict[str, bytes], path: tuple[str, ...], limits: Limits) -> Document:
    head = _beside(top, path[0], (), limits)
    _check_head(head, _REQUIRED[head["type"]])
    _check_misspelt(head)
    holder, level = head, top
    for depth, name in enumerate(path[:-1], 1):
        if name not in level:
            raise DocumentError(Fault(strict_json.pointer(*path[:depth]), "is missing"))
        level = _at(path[:depth], strict_json.members, level[name])
        inner = _beside(level, path[depth], path[:depth], limits)
        _check_unsigned(inner, path[:depth])
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
    return Document(tuple(events), place, context, ignored, signatures=_signatures(head, len(events)))


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


def _check_misspelt(head: dict[str, Any]) -> None:
    """See that no member of a document is a near miss of that with its signatures: its sender believes that the events are signed."""
    for name in head:
        if name != MEMBER and _SIGNATURES.meant(name, head):
            raise DocumentError(
                Fault(strict_json.pointer(name), f"is no member that is known: `{MEMBER}` is meant?")
            )


def _check_unsigned(level: Iterable[str], path: tuple[str, ...]) -> None:
    """See that there are no signatures, nor near misses, where they would be passed over."""
    for name in level:
        if name == MEMBER or _SIGNATURES.meant(name, ()):
            place = strict_json.pointer(*path, name)
            raise DocumentError(
                Fault(place, f"signatures are the member `{MEMBER}` at the top of a document")
            )


def _beside(level: dict[str, bytes], way: str, path: tuple[str, ...], limits: Limits) -> dict[str, Any]:
    """Decode the members beside the `way` to the events; together they may be as large as an event."""
    beside = {name: value for name, value in level.items() if name != way}
    if sum(map(len, beside.values())) > limits.event:
        fault = Fault(strict_json.pointer(*path), f"over {limits.event} bytes beside its events")
        raise DocumentError(fault, too_large=True)
    return {name: _at((*path, name), strict_json.parse, value) for name, value in beside.items()}


def _check_head(head: dict[str, Any], required: tuple[str, ...]) -> None:
    """Check the members that EPCIS 2.0 wants of every document, and of those that it may have how they are written."""
    faults = [Fault(f"/{name}", "is missing") for name in required if name not in head]
    if faults:
        raise DocumentError(*faults)
    if not is_context(head["@context"]):
        raise DocumentError(Fault("/@context", "must be a string, an object, or an array of them"))
    version, created = head.get("schemaVersion", "2.0"), head.get("creationDate")
    if not isinstance(version, str) or not version.startswith("2."):
        raise DocumentError(Fault("/schemaVersion", "must be a version 2 of EPCIS, such as 2.0"))
    if "creationDate" in head and (not isinstance(created, str) or parse_time(created) is None):
        raise DocumentError(Fault("/creationDate", "must be a date and time, such as 2026-01-31T08:00:00Z"))


def _value(top: dict[str, bytes], name: str) -> Any:
    return _at((name,), strict_json.parse, top[name]) if name in top else None


def _at(path: tuple[str, ...], read_text: Any, text: bytes) -> Any:
    """Read a member; faults in it are told from the top."""
    return _under(strict_json.pointer(*path), read_text, text)


def _under(prefix: str, read_text: Any, text: bytes) -> Any:
    try:
        return read_text(text)
    except DocumentError as error:
        raise DocumentError(*(fault.under(prefix) for fault in error.faults)) from error
