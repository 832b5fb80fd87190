"""From the bytes of an XML request to events: EPCISDocument, EPCISQueryDocument, or one bare event. Pure.

One pass of expat cuts the exact bytes of each event out of the document and notes where it lay and which namespaces are in
scope there; what is in an event is read from those bytes later, as everybody will who gets the sealed record. There is no
document type declaration and so no entity but the five of XML itself; nothing outside the document is looked up.

Source: EPCIS 2.0 section 9 (XML binding); EPCIS 1.2 section 9; XML 1.0; Namespaces in XML 1.0.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import msgspec

from goodstrace.event_hash import MAX_DEPTH
from goodstrace.signatures import MAX_CHARACTERS, NAMESPACE
from goodstrace.xml_event import WRAPPERS, namespaces_of
from goodstrace.xml_names import STANDARD_NAMESPACES, Names
from goodstrace.xml_slices import element_end
from services.collector.errors import DocumentError, Fault
from services.collector.misspelling import Spelling
from services.collector.times import parse_time
from services.collector.validation import EVENT_TYPES

MAX_NAMES: Final = 10_000
"""How many different names a document may have: expat remembers each."""
_DOCUMENTS: Final = ("EPCISDocument", "EPCISQueryDocument")
_BARE: Final = frozenset({*EVENT_TYPES, "QuantityEvent"})
_WAY: Final = frozenset({"EPCISBody", "QueryResults", "resultsBody", "EventList"})
_SIGNATURES: Final = (NAMESPACE, "signatures")
_SIGNATURE: Final = (NAMESPACE, "signature")
_NAMESPACES: Final = Spelling((NAMESPACE,))
_TOP: Final = 1  # how many elements are open around what lies in the document's own element
_IGNORE_FIELDS: Final = ("https://repository-x.example.com/", "ignoreFields")
_ENCODINGS: Final = frozenset({"utf-8", "us-ascii"})
_CHUNK_BYTES: Final = 64 * 1024  # a handler that raises stops expat only at the end of what it was given
_SHOWN_CHARS: Final = 100
_XML: Final = re.compile(rb"[ \t\r\n]*+<")
_BLANKS: Final = re.compile(rb"[ \t\r\n]*+")
_BEFORE_A_DOCTYPE: Final = ((b"<?", b"?>"), (b"<!--", b"-->"))


class Start(msgspec.Struct, frozen=True):
    """Where an event begins in its document.

    path: an XPath. line, column: counted from 1. context: the namespaces in scope around the event, for its facts.
    """

    path: str
    line: int
    column: int
    context: Any


class Cut(msgspec.Struct, frozen=True):
    """A document taken apart: `place` is the path of the list of events, None for a bare event; `signatures` as Document has them."""

    events: tuple[bytes, ...]
    starts: tuple[Start, ...]
    place: str | None
    ignored: frozenset[str]
    signatures: tuple[str | None, ...] = ()


def is_xml(text: bytes) -> bool:
    """Say whether a body (without byte order mark) is to be read as XML: its first character is `<`."""
    return _XML.match(text) is not None


def cut(text: bytes, *, most_events: int, largest_event: int, largest_text: int) -> Cut:
    """Take an XML document apart.

    Args:
        text: the document in UTF-8, without byte order mark.
        most_events: how many events it may have.
        largest_event: no tag or comment, nor all that lies beside the events, may have more bytes.
        largest_text: what every event is kept with (namespaces, fields to ignore) may not be more bytes in all.
    Raises: DocumentError, whatever the bytes: with line, column and the path of the element.
    """
    if b"\0" in text[:4]:
        raise DocumentError(Fault("", "the encoding is UTF-16 or UTF-32: send UTF-8"))
    at = _prolog_end(text)
    if text.startswith(b"<!", at):
        line = text.count(b"\n", 0, at) + 1
        raise DocumentError(Fault("", f"a document type declaration is not taken (line {line})"))
    return _Cutter(text, most_events, largest_event, largest_text).run()


def _prolog_end(text: bytes) -> int:
    """Give the byte behind blanks, processing instructions and comments, where a document type declaration would begin.

    By hand: a possessive group with a look-ahead in it never matches in CPython before 3.11.5 (gh-106052), and one that is not possessive
    keeps a state for each byte of a comment of megabytes.
    """
    at, before = -1, 0
    while at < before:
        blanks = _BLANKS.match(text, before)
        at = before = blanks.end() if blanks else before
        for begin, close in _BEFORE_A_DOCTYPE:
            if text.startswith(begin, at) and (end := text.find(close, at + len(begin))) >= 0:
                before = end + len(close)
    return at


def enclose(event: bytes, context: object, created: str) -> bytes:
    """Put an event that was cut out back into a document, under the namespaces that were in scope.

    Args:
        event: its element.
        context: as `Start` has it.
        created: the creation date of the document that is made.
    """
    scope = namespaces_of(context)
    declared = "".join(
        f" xmlns{prefix and ':'}{prefix}={quoteattr(uri)}" for prefix, uri in sorted(scope.items())
    )
    unprefixed = scope.get("", "") in STANDARD_NAMESPACES
    own = "" if unprefixed else next(name for name, uri in scope.items() if uri in STANDARD_NAMESPACES) + ":"
    head = f'<{own}EPCISDocument{declared} schemaVersion="2.0" creationDate={quoteattr(created)}>'
    begin, end = f"{head}<{own}EPCISBody><{own}EventList>", f"</{own}EventList></{own}EPCISBody>"
    return begin.encode() + event + f"{end}</{own}EPCISDocument>".encode()


class _Outer:
    """An element around the events that has begun: `way` says that the list of events may lie in it."""

    __slots__ = ("children", "declares", "ignoring", "list", "name", "path", "way")

    def __init__(
        self,
        path: str,
        name: tuple[str, str],
        *,
        way: bool,
        within_list: bool,
        ignoring: bool,
        declares: bool,
    ) -> None:
        self.path = path
        self.name = name
        self.way = way
        self.list = within_list
        self.ignoring = ignoring
        self.declares = declares
        self.children: Counter[str] = Counter()


class _Cutter:
    """One pass over one document."""

    def __init__(self, text: bytes, most_events: int, largest_event: int, largest_text: int) -> None:
        self._text = text
        self._most_events = most_events
        self._largest_event = largest_event
        self._largest_text = largest_text
        self._names = Names({}, frozenset())
        self._outer: list[_Outer] = []
        self._depth = 0  # within an event
        self._begin = 0
        self._event_bytes = 0
        self._scope: Mapping[str, str] = {}
        self._context: Any = None
        self._context_bytes = 0
        self._kept_bytes = 0
        self._events: list[bytes] = []
        self._starts: list[Start] = []
        self._place: str | None = None
        self._ignored: set[str] = set()
        self._signatures: list[str | None] | None = None
        self._signatures_path = ""
        self._signature: list[str] = []
        self._written: dict[str, str] = {}
        self._parser = expat.ParserCreate("utf-8", intern=self._written)

    def run(self) -> Cut:
        parser = self._parser
        parser.XmlDeclHandler = self._declaration
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            self._feed(parser)
        except expat.ExpatError as error:
            detail = f"not well-formed XML: {expat.errors.messages[error.code]}"
            raise self._error(detail, error.lineno, error.offset) from error
        finally:
            del self._parser  # the two hold each other
        bare = bool(self._events) and self._place is None
        if self._place is None and not bare:
            raise DocumentError(Fault("", "there is no EventList"))
        signatures = self._checked_signatures() if self._signatures else ()
        ignored = frozenset(self._ignored)
        return Cut(tuple(self._events), tuple(self._starts), self._place, ignored, signatures)

    def _checked_signatures(self) -> tuple[str | None, ...]:
        """Give the signatures, which must be one for each event. Raises: DocumentError."""
        found = tuple(self._signatures or ())
        if len(found) != len(self._events):
            told = f"{len(found)} signatures for {len(self._events)} events: one for each, please"
            raise DocumentError(Fault(self._signatures_path, told))
        return found

    def _feed(self, parser: expat.XMLParserType) -> None:
        view = memoryview(self._text)
        for end in range(_CHUNK_BYTES, len(view) + _CHUNK_BYTES, _CHUNK_BYTES):
            parser.Parse(view[end - _CHUNK_BYTES : end], False)
            # expat looks at an unfinished tag again with each chunk
            if min(end, len(view)) - parser.CurrentByteIndex > self._largest_event + _CHUNK_BYTES:
                raise self._fault(f"a tag or comment is over {self._largest_event} bytes", too_large=True)
        parser.Parse(b"", True)

    # ---- what expat finds

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise self._fault(f"the encoding {encoding[:_SHOWN_CHARS]!r} is not taken: send UTF-8")

    def _start(self, written: str, attributes: dict[str, str]) -> None:
        if len(self._written) > MAX_NAMES:
            raise self._fault(f"more than {MAX_NAMES} different names", too_large=True)
        if self._depth:
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise self._fault(f"nested deeper than {MAX_DEPTH}")
            return
        try:
            self._open(written, attributes)
        except ValueError as error:
            raise self._fault(str(error)) from error

    def _end(self, _written: str) -> None:
        if self._depth:
            self._depth -= 1
            if not self._depth:
                event = self._text[self._begin : self._event_end()]
                self._events.append(event)
                self._event_bytes += len(event)
            return
        ended = self._outer.pop()
        if ended.declares:
            self._names.leave()
        if ended.name == _SIGNATURE and self._signatures is not None:
            self._end_signature(self._signatures)

    def _event_end(self) -> int:
        return element_end(self._text, self._begin, self._parser.CurrentByteIndex)

    # ---- around the events

    def _open(self, written: str, attributes: dict[str, str]) -> None:
        if not self._outer:
            self._open_root(written, attributes)
            return
        parent = self._outer[-1]
        if len(self._outer) >= MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        if self._parser.CurrentByteIndex - self._event_bytes > self._largest_event:
            raise self._fault(f"over {self._largest_event} bytes beside its events", too_large=True)
        if parent.name == _SIGNATURE:
            raise ValueError("a signature has an element in it")
        parent.children[written] += 1
        number = parent.children[written]
        if parent.list and not self._wraps(written, attributes):
            self._open_event(f"{parent.path}/{_shown(written)}[{number}]")
            return
        declares = self._names.declare(attributes)
        uri, local = self._names.expand(written)
        path = f"{parent.path}/{_shown(written)}" + (f"[{number}]" if parent.list or number > 1 else "")
        if parent.ignoring:
            self._ignored.add(f"{{{uri}}}{local}" if uri else local)
        way = parent.way and (parent.list or (uri in STANDARD_NAMESPACES and local in _WAY))
        if way and not parent.list and local == "EventList":
            self._found_list(path)
        within_list = way and (parent.list or local == "EventList")
        ignoring = parent.way and not parent.list and (uri, local) == _IGNORE_FIELDS
        self._outer.append(
            _Outer(path, (uri, local), way=way, within_list=within_list, ignoring=ignoring, declares=declares)
        )
        if uri == NAMESPACE:
            self._open_signatures(parent)
        elif _NAMESPACES.meant(uri, ()):
            raise ValueError(f"no namespace that is known: {NAMESPACE!r} is meant?")

    def _open_root(self, written: str, attributes: dict[str, str]) -> None:
        scope = Names({}, frozenset())
        scope.declare(attributes)
        uri, local = scope.expand(written)
        path = f"/{_shown(written)}"
        if uri in STANDARD_NAMESPACES and local in _BARE:
            self._open_event(path)
            return
        if uri not in STANDARD_NAMESPACES or local not in _DOCUMENTS:
            wanted = ", ".join((*_DOCUMENTS, *EVENT_TYPES))
            raise DocumentError(Fault(path, f"must be one of {wanted}"))
        _check_head(path, attributes)
        declares = self._names.declare(attributes)
        self._outer.append(
            _Outer(path, (uri, local), way=True, within_list=False, ignoring=False, declares=declares)
        )

    def _open_signatures(self, parent: _Outer) -> None:
        """Take note of signatures, or of one of them."""
        name = self._outer[-1].name
        if name == _SIGNATURES and len(self._outer) == _TOP + 1:
            if self._signatures is not None:
                raise ValueError("signatures are there twice")
            self._signatures, self._signatures_path = [], self._outer[-1].path
        elif name == _SIGNATURE and parent.name == _SIGNATURES and self._signatures is not None:
            if len(self._signatures) >= self._most_events:
                raise self._fault(f"more than {self._most_events} signatures", too_large=True)
            self._signature = []
            self._parser.CharacterDataHandler = self._signature.append
        else:
            raise ValueError("signatures lie in the document's own element, one below the other")

    def _end_signature(self, signatures: list[str | None]) -> None:
        self._parser.CharacterDataHandler = None
        text = "".join(self._signature).strip()
        if len(text) > MAX_CHARACTERS:
            raise self._fault(f"a signature is over {MAX_CHARACTERS} characters")
        signatures.append(text or None)

    def _wraps(self, written: str, attributes: Mapping[str, str]) -> bool:
        """Say whether an element of the list is one in which EPCIS 1.x wraps the events of later versions."""
        prefix, colon, local = written.rpartition(":")
        around = self._names.in_scope().get(prefix, "")
        return local in WRAPPERS and attributes.get(f"xmlns{colon}{prefix}", around) in STANDARD_NAMESPACES

    def _open_event(self, path: str) -> None:
        if len(self._events) >= self._most_events:
            raise DocumentError(
                Fault(self._place or "", f"more than {self._most_events} events"), too_large=True
            )
        parser = self._parser
        self._begin = parser.CurrentByteIndex
        self._note_context()
        line, column = parser.CurrentLineNumber, parser.CurrentColumnNumber + 1
        self._starts.append(Start(path, line, column, self._context))
        self._depth = 1

    def _note_context(self) -> None:
        """Note the namespaces in scope as facts hold them; events in one scope share them, but each is kept with them."""
        scope = self._names.in_scope()
        if scope is not self._scope:
            declared = {prefix: uri for prefix, uri in scope.items() if uri and prefix != "xml"}
            self._scope, self._context = scope, {"xmlns": declared} if declared else None
            self._context_bytes = sum(len(prefix) + len(uri) for prefix, uri in declared.items())
        self._kept_bytes += self._context_bytes + sum(map(len, self._ignored))
        if self._kept_bytes > self._largest_text:
            raise self._fault(
                f"the namespaces of {len(self._events) + 1} events are over {self._largest_text} bytes",
                too_large=True,
            )

    def _found_list(self, path: str) -> None:
        if self._place is not None:
            raise ValueError("a second EventList")
        self._place = path

    def _fault(self, detail: str, *, too_large: bool = False) -> DocumentError:
        parser = self._parser
        return self._error(detail, parser.CurrentLineNumber, parser.CurrentColumnNumber, too_large=too_large)

    def _error(self, detail: str, line: int, column: int, *, too_large: bool = False) -> DocumentError:
        path = self._starts[-1].path if self._depth else self._outer[-1].path if self._outer else ""
        return DocumentError(Fault(path, f"{detail} (line {line}, column {column + 1})"), too_large=too_large)


def _check_head(path: str, attributes: Mapping[str, str]) -> None:
    """Check the attributes that EPCIS wants of every document."""
    faults = [
        Fault(f"{path}/@{name}", "is missing")
        for name in ("schemaVersion", "creationDate")
        if name not in attributes
    ]
    if faults:
        raise DocumentError(*faults)
    if attributes["schemaVersion"].strip()[:1] not in ("1", "2"):
        raise DocumentError(Fault(f"{path}/@schemaVersion", "must be a version 1 or 2 of EPCIS, such as 2.0"))
    if parse_time(attributes["creationDate"].strip()) is None:
        raise DocumentError(
            Fault(f"{path}/@creationDate", "must be a date and time, such as 2026-01-31T08:00:00Z")
        )


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}..."
