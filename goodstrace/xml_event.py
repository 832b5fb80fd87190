"""One EPCIS event from XML to the JSON form of EPCIS 2.0. Pure.

The element is read as it was cut out of its document: namespaces declared around it are passed in. Nothing outside of it is
ever looked up, and there is no document type declaration, since the bytes begin with the element itself.

Standard members get the shape of the JSON binding. `extension` and `baseExtension`, in which EPCIS 1.x wraps what came
later, are passed through. Elements and attributes of other namespaces become members `prefix:name`, with their prefixes
in the event's `@context`. Values stay what they are: a value such as `ex:a` is no CURIE in XML, whatever `ex` is bound to, so
a prefix with which some value begins is not used for names. An event ID that is a UUID by itself becomes `urn:uuid:` and that
(EPCIS 1.x asks for anyURI, which it is; JSON for a URI, which it is not), and an empty one is none.

Source: EPCIS 2.0 section 9 (XML binding), section 10 (JSON binding); EPCIS 1.2 section 9; Namespaces in XML 1.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple
from xml.parsers import expat

import msgspec

from goodstrace.errors import EventContentError
from goodstrace.event_hash import MAX_DEPTH
from goodstrace.exact_numbers import exact
from goodstrace.vocabulary import CURIE_PREFIXES
from goodstrace.xml_names import INSTANCE_NAMESPACE, STANDARD_NAMESPACES, Names, is_declaration

__all__ = ["ITEMS", "WRAPPERS", "namespaces_of", "read"]

# What begins so has no document type declaration, and is not UTF-16, which expat would find out by itself.
_ELEMENT: Final = re.compile(rb"<[^\x00-\x20!?/>]")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def namespaces_of(context: object) -> Mapping[str, str]:
    """Give the namespaces that the `context` of an XML event's facts declares: prefix to URI, "" for the default one."""
    declared = context.get("xmlns") if isinstance(context, dict) else None
    if not isinstance(declared, dict):
        return {}
    return {prefix: uri for prefix, uri in declared.items() if isinstance(uri, str)}


def read(content: bytes, namespaces: Mapping[str, str], *, exact_numbers: bool = False) -> dict[str, Any]:
    """Read one event element.

    Args:
        content: the element's bytes, in UTF-8, from `<` to `>`.
        namespaces: prefix to URI, "" for the default one, as declared around the element.
        exact_numbers: give numbers with a fraction or exponent as Decimal instead of float.
    Raises: EventContentError with the place, whatever the bytes.
    """
    reader = _Reader(content, namespaces, frozenset(), exact_numbers=exact_numbers)
    event = reader.run()
    if reader.ambiguous():
        # Rare, so it may cost a second reading: only now it is known with what the values begin.
        reader = _Reader(content, namespaces, reader.heads(), exact_numbers=exact_numbers)
        event = reader.run()
    if event.get("eventID") == "":
        del event["eventID"]
    if reader.context:
        event["@context"] = reader.context
    return _without_quantity_event(event)


def _without_quantity_event(event: dict[str, Any]) -> dict[str, Any]:
    """Write a QuantityEvent, which EPCIS 2.0 has no more, as an ObjectEvent that says the same."""
    if event.get("type") != "QuantityEvent":
        return event
    element = {name: event.pop(name) for name in ("epcClass", "quantity") if name in event}
    return event | {"type": "ObjectEvent", "action": "OBSERVE", "quantityList": [element]}


# ---- shapes


_Real = Callable[[str], float | Decimal]
_Convert = Callable[[str, _Real], Any]


class _Shape(NamedTuple):
    """How an element is read.

    text: it holds text alone; `convert` makes its value of it. item: a list of elements of that name and shape `of`.
    children: the elements it knows; others are extensions. many: those of them that make a list, how many there are.
    attributes: whether attributes without a prefix are its members, with conversions by name. typed: it has a `type`
    attribute, and its text becomes this member. wraps: what EPCIS 1.x wraps is passed through.
    """

    text: bool = False
    convert: _Convert | None = None
    item: str = ""
    of: Any = None
    children: Mapping[str, Any] = {}
    many: frozenset[str] = frozenset()
    attributes: bool = False
    conversions: Mapping[str, _Convert] = {}
    typed: str = ""
    wraps: bool = False


def _number(text: str, real: _Real) -> Any:
    """A number where the text is one that JSON can hold; else the text, which the checks of the event then name."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        return text
    return real(text)


def _boolean(text: str, _real: _Real) -> Any:
    return _BOOLEANS.get(text, text)


def _event_id(text: str, _real: _Real) -> str:
    return f"urn:uuid:{text}" if _UUID.fullmatch(text) else text


_GENERIC: Final = _Shape(attributes=True)
_LEFT_OUT: Final = _Shape(attributes=True)
_TEXT: Final = _Shape(text=True)
_EVENT_ID: Final = _Shape(text=True, convert=_event_id)
_EPCS: Final = _Shape(item="epc", of=_TEXT)
_QUANTITY: Final = {"epcClass": _TEXT, "quantity": _Shape(text=True, convert=_number), "uom": _TEXT}
_QUANTITIES: Final = _Shape(item="quantityElement", of=_Shape(children=_QUANTITY))
_PLACE: Final = _Shape(children={"id": _TEXT}, wraps=True)
_SENSED: Final = _Shape(
    attributes=True,
    conversions={
        **dict.fromkeys(
            ("value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue"), _number
        ),
        "booleanValue": _boolean,
    },
)
_SENSOR: Final = _Shape(
    children={"sensorMetadata": _Shape(attributes=True), "sensorReport": _SENSED},
    many=frozenset({"sensorReport"}),
    wraps=True,
)
_DECLARATION: Final = _Shape(
    children={
        "declarationTime": _TEXT,
        "reason": _TEXT,
        "correctiveEventIDs": _Shape(item="correctiveEventID", of=_EVENT_ID),
    },
    wraps=True,
)
_TEXTS: Final = (
    "type", "eventTime", "recordTime", "eventTimeZoneOffset", "certificationInfo", "parentID", "action",
    "transformationID", "bizStep", "disposition",
)  # fmt: skip
_EVENT_CHILDREN: Final[Mapping[str, _Shape]] = {
    **dict.fromkeys(_TEXTS, _TEXT),
    "eventID": _EVENT_ID,
    **dict.fromkeys(("epcList", "childEPCs", "inputEPCList", "outputEPCList"), _EPCS),
    **dict.fromkeys(
        ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList"), _QUANTITIES
    ),
    "readPoint": _PLACE,
    "bizLocation": _PLACE,
    "bizTransactionList": _Shape(item="bizTransaction", of=_Shape(typed="bizTransaction")),
    "sourceList": _Shape(item="source", of=_Shape(typed="source")),
    "destinationList": _Shape(item="destination", of=_Shape(typed="destination")),
    "persistentDisposition": _Shape(
        children={"set": _TEXT, "unset": _TEXT}, many=frozenset({"set", "unset"}), wraps=True
    ),
    "sensorElementList": _Shape(item="sensorElement", of=_SENSOR),
    "errorDeclaration": _DECLARATION,
    "ilmd": _Shape(wraps=True),
}
_EVENT: Final = _Shape(children=_EVENT_CHILDREN, wraps=True)
_QUANTITY_EVENT: Final = _Shape(children={**_EVENT_CHILDREN, **_QUANTITY}, wraps=True)
ITEMS: Final[Mapping[str, str]] = {
    **{name: shape.item for name, shape in _EVENT_CHILDREN.items() if shape.item},
    "correctiveEventIDs": "correctiveEventID",
}
"""Of each list of the standard: what its elements are called."""
WRAPPERS: Final = frozenset({"extension", "baseExtension"})
"""In these EPCIS 1.x wraps what later versions added; they are passed through."""
_MAY_REPEAT: Final = frozenset({"certificationInfo"})


# ---- the reading


class _Open(msgspec.Struct):
    """An element that has begun.

    members: its object, None while it has none. items: its list. pieces: its text. repeated: names that it had more than
    once. declares: it declares namespaces. wrapper: its members are those of the element around it.
    """

    name: str
    shape: _Shape
    members: dict[str, Any] | None
    declares: bool = False
    wrapper: bool = False
    items: list[Any] = []
    pieces: list[str] = []
    repeated: set[str] = set()

    def text(self) -> str:
        return "".join(self.pieces)


class _Reader:
    """One pass of expat over one event."""

    def __init__(
        self, content: bytes, namespaces: Mapping[str, str], avoid: frozenset[str], *, exact_numbers: bool
    ) -> None:
        self._content = content
        self._real: _Real = exact if exact_numbers else float
        self._names = Names(namespaces, avoid)
        self._known: dict[str, str] = {}
        self._stack: list[_Open] = []
        self._event: dict[str, Any] = {}
        self._values: list[str] = []

    @property
    def context(self) -> dict[str, str]:
        return self._names.context

    def heads(self) -> frozenset[str]:
        """Give what stands before the first colon of each value: what could be taken for a prefix."""
        return frozenset(value.partition(":")[0].strip() for value in self._values if ":" in value)

    def ambiguous(self) -> bool:
        """Whether some value begins with a prefix that was chosen for names, and is no CURIE of the standard."""
        risky = [prefix for prefix, uri in self.context.items() if CURIE_PREFIXES.get(prefix) != uri]
        return bool(risky) and not self.heads().isdisjoint(risky)

    def run(self) -> dict[str, Any]:
        if not _ELEMENT.match(self._content):
            raise EventContentError("not an XML element", 0)
        parser = self._parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(self._content, True)
        except expat.ExpatError as error:
            detail = expat.errors.messages[error.code]
            raise EventContentError(f"not well-formed XML: {detail}", parser.ErrorByteIndex) from error
        finally:
            del self._parser  # the two hold each other
        return self._event

    def _start(self, written: str, attributes: dict[str, str]) -> None:
        try:
            stack = self._stack
            declares = bool(attributes) and self._names.declare(attributes)
            if declares:
                self._known = {}
            name = self._known.get(written) or self._learn(written)
            opened = self._inside(stack[-1], name) if stack else self._root(name)
            opened.declares = declares
            stack.append(opened)
            if attributes:
                self._attributes(opened, attributes)
        except ValueError as error:
            raise EventContentError(str(error), self._parser.CurrentByteIndex) from error

    def _learn(self, written: str) -> str:
        name = self._known[written] = self._names.member(written)
        return name

    def _root(self, name: str) -> _Open:
        shape = _QUANTITY_EVENT if name == "QuantityEvent" else _EVENT
        return _Open(name, shape, {"type": name})

    def _inside(self, parent: _Open, name: str) -> _Open:
        """Open an element by what its parent says of it."""
        if len(self._stack) >= MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        shape = parent.shape
        if shape.wraps and name in WRAPPERS:
            return _Open(name, shape, parent.members, wrapper=True, repeated=parent.repeated)
        if shape.item:
            if name != shape.item:
                raise ValueError(f"{name[:100]!r} is no element of {parent.name!r}")
            shape = shape.of
        elif shape.text or shape.typed:
            raise ValueError(f"{parent.name!r} has an element where only text may be")
        else:
            shape = shape.children.get(name, _GENERIC)
        leaf = shape.text or shape.item or shape is _GENERIC
        return _Open(name, shape, None if leaf else {})

    def _attributes(self, opened: _Open, attributes: Mapping[str, str]) -> None:
        shape = opened.shape
        for written, value in attributes.items():
            if is_declaration(written):
                continue
            uri, local = self._names.expand(written, attribute=True)
            if uri == INSTANCE_NAMESPACE:
                if local == "nil" and _BOOLEANS.get(value.strip()) is True:
                    opened.shape = _LEFT_OUT
                continue
            name = self._names.member(written, attribute=True)
            bare = uri in STANDARD_NAMESPACES
            if (
                shape.text
                or shape.item
                or (bare and not shape.attributes and not (shape.typed and name == "type"))
            ):
                raise ValueError(f"{opened.name[:100]!r} has an attribute {written[:100]!r}")
            convert = shape.conversions.get(name)
            self._put_attribute(opened, name, convert(value.strip(), self._real) if convert else value)

    def _put_attribute(self, opened: _Open, name: str, value: Any) -> None:
        if opened.members is None:
            opened.members = {}
        if name in opened.members:
            raise ValueError(f"{name[:100]!r} is there twice")
        opened.members[name] = value
        if isinstance(value, str):
            self._values.append(value)

    def _characters(self, text: str) -> None:
        self._stack[-1].pieces.append(text)

    def _end(self, _written: str) -> None:
        try:
            opened = self._stack.pop()
            if opened.declares:
                self._names.leave()
                self._known = {}
            if not self._stack:
                self._only_elements(opened)
                self._event = opened.members or {}
            elif opened.wrapper:
                self._only_elements(opened)
            elif opened.shape is not _LEFT_OUT:
                self._put_element(self._stack[-1], opened.name, self._value(opened))
        except ValueError as error:
            raise EventContentError(str(error), self._parser.CurrentByteIndex) from error

    def _value(self, opened: _Open) -> Any:
        shape = opened.shape
        if shape.text:
            text = opened.text().strip()
            value = shape.convert(text, self._real) if shape.convert else text
            if isinstance(value, str):
                self._values.append(value)
            return value
        if shape is _GENERIC:
            return self._extension(opened)
        if shape.typed:
            text = opened.text().strip()
            self._values.append(text)
            return {**(opened.members or {}), shape.typed: text}
        self._only_elements(opened)
        return opened.items if shape.item else opened.members

    def _extension(self, opened: _Open) -> Any:
        """Give an element that the standard does not know: text, an object, or the items of a list `<xList><x/></xList>`."""
        text, members = opened.text(), opened.members
        if not text.strip():
            item = opened.name.removesuffix("List")
            if item != opened.name and (members is None or members.keys() == {item}):
                items = members[item] if members else []
                return items if item in opened.repeated or not members else [items]
            return "" if members is None else members
        self._values.append(text)
        return text if members is None else {"#text": text, **members}

    def _put_element(self, parent: _Open, name: str, value: Any) -> None:
        shape, members = parent.shape, parent.members
        if shape.item:
            parent.items.append(value)
        elif members is None:
            parent.members = {name: value}
        elif name in shape.many:
            members.setdefault(name, []).append(value)
        elif name not in members:
            members[name] = value
        elif name in shape.children and name not in _MAY_REPEAT:
            raise ValueError(f"{name[:100]!r} is there twice")
        elif name in parent.repeated:
            members[name].append(value)
        else:
            parent.repeated.add(name)
            members[name] = [members[name], value]

    def _only_elements(self, opened: _Open) -> None:
        if opened.text().strip():
            raise ValueError(f"{opened.name[:100]!r} has text beside its elements")
