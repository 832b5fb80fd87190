"""The structure and vocabulary of EPCIS 2.0 events: checks that name the place of the first fault. Pure.

Structures of our own, made from the text of the standard. Wider than GS1's schema file where the world is: terms as CBV URNs,
web URIs or CURIEs, sensor values as text, extensions at any level. In quantities, transactions, sources and destinations
a member without a prefix that the standard does not know is a fault, elsewhere where it is a near miss of a known one that is
not there: neither a misspelt `quantity` nor a misspelt `bizStep` must vanish.
Why not a library: docs/decisions/0005-validation.md. Source: EPCIS 2.0 section 7, CBV 2.0 section 7.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, cast

from goodstrace.vocabulary import Kind, term
from services.collector.errors import Fault
from services.collector.misspelling import Spelling, with_defined
from services.collector.strict_json import pointer
from services.collector.times import has_sound_zone, is_offset, is_time, parse_time

MAX_TEXT: Final = 2048
MAX_QUANTITY: Final = 1e18
_URI: Final = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f:]++:++[^\s\x00-\x1f\x7f-\x9f]++"
)  # or a CURIE, or an IRI: neither blanks nor control characters, and something on both sides of the colon
_UNIT: Final = re.compile(r"[A-Z0-9]{2,3}", re.ASCII)
_NUMBER: Final = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\s*", re.ASCII)
_HEX: Final = re.compile(r"[0-9A-Fa-f]+", re.ASCII)

Check = Callable[[Any], Fault | None]


def check_event(event: object, context: object = None) -> Fault | None:
    """Check one event, decoded from JSON; gives the first fault with its place in the event, or None.

    Args:
        event: as decoded.
        context: the @context of its document, of any shape: what it defines, or one around a member in the event does, is no misspelling.
    """
    if type(event) is not dict:
        return Fault("", "must be an object")
    kind = event.get("type")
    check = _EVENTS.get(kind) if type(kind) is str else None
    if check is None:
        extended = not_extended(kind) if type(kind) is str else ""
        return Fault("/type", f"must be one of {', '.join(EVENT_TYPES)}{extended}")
    fault = check(event)
    if fault is not None and (marked := with_defined(event, context)) is not event:
        fault = check(marked)
    return fault


def not_extended(kind: str) -> str:
    """Say of a type that is a URI or CURIE why it is not taken; empty for any other."""
    return ": of extended event types it is not known which goods they join" if ":" in kind else ""


def is_number(value: object) -> bool:
    """Say whether a JSON value is a number (a boolean is none)."""
    return type(value) is int or type(value) is float


def is_context(value: object) -> bool:
    """Say whether a value can be a JSON-LD @context of an event: in an array may be null beside others, alone it would leave nothing a meaning."""
    single = (str, dict)
    return isinstance(value, single) or (
        isinstance(value, list)
        and all(each is None or isinstance(each, single) for each in value)
        and (not value or any(each is not None for each in value))
    )


# ---- values


def _text(value: object) -> Fault | None:
    return None if type(value) is str else Fault("", "must be a string")


def is_uri(text: str) -> bool:
    """Say whether a text is a URI, IRI or CURIE as far as is asked for; nearly all are known without the pattern, which costs four times as much."""
    if text.isprintable() and " " not in text and text[:1] != ":" and text[-1:] != ":":
        return ":" in text
    return _URI.fullmatch(text) is not None


def _uri(value: object) -> Fault | None:
    if type(value) is str and len(value) <= MAX_TEXT and is_uri(value):
        return None
    return Fault("", f"must be a URI of at most {MAX_TEXT} characters, without blanks")


def _maybe_uri(value: object) -> Fault | None:
    """Documents are seen with an empty transformationID: it counts as none."""
    return None if value == "" else _uri(value)


def _time(value: object) -> Fault | None:
    if type(value) is str and is_time(value):
        return None
    return Fault("", "must be a date and time, such as 2026-01-31T08:00:00.000Z")


def _zoned(value: object) -> Fault | None:
    """The event time's zone; the rest is read with the event's offset, when all members are known."""
    if type(value) is str and has_sound_zone(value):
        return None
    return Fault("", "must be a date and time, such as 2026-01-31T08:00:00.000Z, at most 14 hours from UTC")


def _offset(value: object) -> Fault | None:
    if type(value) is str and is_offset(value):
        return None
    return Fault("", "must be a time zone offset, such as +01:00, of at most 14 hours")


def _action(value: object) -> Fault | None:
    if type(value) is str and value in ("ADD", "OBSERVE", "DELETE"):
        return None
    return Fault("", "must be ADD, OBSERVE or DELETE")


def _quantity(value: object) -> Fault | None:
    if is_number(value) and abs(cast(float, value)) <= MAX_QUANTITY:
        return None
    return Fault("", "must be a number within 1e18")


def _unit(value: object) -> Fault | None:
    if type(value) is str and _UNIT.fullmatch(value):
        return None
    return Fault("", "must be a UN/CEFACT code of two or three characters, such as KGM")


def _measure(value: object) -> Fault | None:
    if is_number(value) or (type(value) is str and _NUMBER.fullmatch(value)):
        return None
    return Fault("", "must be a number, or a number as text")


def _boolean(value: object) -> Fault | None:
    return (
        None
        if value is True or value is False or value in ("true", "false")
        else Fault("", "must be true or false")
    )


def _hexadecimal(value: object) -> Fault | None:
    return None if type(value) is str and _HEX.fullmatch(value) else Fault("", "must be hexadecimal digits")


def _term(kind: Kind) -> Check:
    """A standard term in any spelling, or a URI or CURIE of another vocabulary."""

    def check(value: object) -> Fault | None:
        if (
            type(value) is str
            and len(value) <= MAX_TEXT
            and ((":" in value and is_uri(value)) or term(kind, value) is not None)
        ):
            return None
        return Fault("", "must be a term of the Core Business Vocabulary, or a URI")

    return check


def _free(value: object) -> Fault | None:
    return None if type(value) is dict else Fault("", "must be an object")


def _context(value: object) -> Fault | None:
    if is_context(value):
        return None
    return Fault("", "must be a string, an object, or an array of them")


def _uri_or_uris(value: object) -> Fault | None:
    return _uris(value) if type(value) is list else _uri(value)


# ---- structures


def _list(item: Check) -> Check:
    def check(value: object) -> Fault | None:
        if type(value) is not list:
            return Fault("", "must be an array")
        for index, each in enumerate(value):
            fault = item(each)
            if fault is not None:
                return fault.under(f"/{index}")
        return None

    return check


def _is_bare(name: str) -> bool:
    return ":" not in name and name[:1] not in ("@", "_")


def _unknown(name: str, meant: Sequence[str]) -> Fault:
    told = f": {' or '.join(f'`{each}`' for each in meant)} is meant?" if meant else ""
    return Fault(pointer(name), f"is no member that the standard knows, and has no prefix{told}")


def _missing(name: str, value: Mapping[str, object], spelling: Spelling) -> Fault:
    for other in value:
        if _is_bare(other) and name in (meant := spelling.meant(other, value)):
            return _unknown(other, meant)
    return Fault(pointer(name), "is missing")


def _object(
    fields: Mapping[str, Check],
    *required: str,
    closed: bool = False,
    elsewhere: Mapping[str, Check] = MappingProxyType({}),
) -> Check:
    """An object with these members. Others need a prefix (or `@`, or `_` as comments have) where it is `closed`, else where they are near misses.

    elsewhere: members that the standard has in like objects and not in this one, as they must be where they are here all the same.
    """
    spelling = Spelling(fields)
    checks = {**elsewhere, **fields}

    def check(value: object) -> Fault | None:
        if type(value) is not dict:
            return Fault("", "must be an object")
        for name in required:
            if name not in value:
                return _missing(name, value, spelling)
        for name, each in value.items():
            field = checks.get(name)
            if field is not None:
                fault = field(each)
                if fault is not None:
                    return fault.under(pointer(name))
            elif (closed or name != "type") and _is_bare(name):  # `check_event` knows the type of an event
                meant = spelling.meant(name, value)
                if meant or closed:
                    return _unknown(name, meant)
        return None

    return check


_uris: Final = _list(_uri)
_terms: Final = _list(_term("disp"))
_QUANTITIES: Final = _list(
    _object({"epcClass": _uri, "quantity": _quantity, "uom": _unit}, "epcClass", closed=True)
)
_LASTING: Final = _object({"set": _terms, "unset": _terms})


def _persistent(value: Any) -> Fault | None:
    fault = _LASTING(value)
    if fault is None and not (value.get("set") or value.get("unset")):
        return Fault("/set", "is missing or empty, and so is unset")
    return fault


_PLACE: Final = _object({"id": _uri}, "id")
_SENSOR_HEAD: Final[dict[str, Check]] = {
    "time": _time,
    "deviceID": _text,
    "deviceMetadata": _text,
    "rawData": _text,
    "dataProcessingMethod": _text,
}
_METADATA: Final = _object({**_SENSOR_HEAD, "startTime": _time, "endTime": _time, "bizRules": _text})
_MEASURES: Final = ("value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue")
_TEXTS: Final = (
    "type",
    "exception",
    "microorganism",
    "chemicalSubstance",
    "component",
    "stringValue",
    "uriValue",
    "uom",
    "coordinateReferenceSystem",
)
_REPORT: Final = _object(
    {
        **_SENSOR_HEAD,
        **dict.fromkeys(_TEXTS, _text),
        **dict.fromkeys(_MEASURES, _measure),
        "booleanValue": _boolean,
        "hexBinaryValue": _hexadecimal,
    }
)
_EVENT_FIELDS: Final[dict[str, Check]] = {
    "@context": _context,
    "eventID": _uri,
    "eventTime": _zoned,
    "recordTime": _time,
    "eventTimeZoneOffset": _offset,
    "certificationInfo": _uri_or_uris,
    "errorDeclaration": _object(
        {"declarationTime": _time, "reason": _term("er"), "correctiveEventIDs": _list(_uri)},
        "declarationTime",
    ),
    "bizStep": _term("bizstep"),
    "disposition": _term("disp"),
    "persistentDisposition": _persistent,
    "readPoint": _PLACE,
    "bizLocation": _PLACE,
    "bizTransactionList": _list(
        _object({"type": _term("btt"), "bizTransaction": _uri}, "bizTransaction", closed=True)
    ),
    "sourceList": _list(_object({"type": _term("sdt"), "source": _uri}, "type", "source", closed=True)),
    "destinationList": _list(
        _object({"type": _term("sdt"), "destination": _uri}, "type", "destination", closed=True)
    ),
    "sensorElementList": _list(
        _object({"sensorMetadata": _METADATA, "sensorReport": _list(_REPORT)}, "sensorReport")
    ),
    "ilmd": _free,
}
_WHAT: Final[dict[str, Check]] = {"epcList": _uris, "quantityList": _QUANTITIES}
_CHILDREN: Final[dict[str, Check]] = {"parentID": _uri, "childEPCs": _uris, "childQuantityList": _QUANTITIES}
_TRANSFORMED: Final[dict[str, Check]] = {
    "inputEPCList": _uris,
    "inputQuantityList": _QUANTITIES,
    "outputEPCList": _uris,
    "outputQuantityList": _QUANTITIES,
    "transformationID": _maybe_uri,
}
_ACTION: Final[dict[str, Check]] = {"action": _action}
_OF_SOME: Final = {**_ACTION, **_WHAT, **_CHILDREN, **_TRANSFORMED}
"""What only some types of events have. Documents are seen with one in an event of another type, and the stages read it there too."""


# ---- what the members of an event say together


def _event(fields: Mapping[str, Check], rule: Check, *required: str) -> Check:
    own = {**_EVENT_FIELDS, **fields}
    shape = _object(own, "eventTime", "eventTimeZoneOffset", *required, elsewhere=_OF_SOME)

    def check(event: dict[str, Any]) -> Fault | None:
        fault = shape(event)
        if fault is None and parse_time(event["eventTime"], event["eventTimeZoneOffset"]) is None:
            fault = Fault("/eventTime", "must be a date and time, such as 2026-01-31T08:00:00.000Z")
        return fault or rule(event)

    return check


def _object_rule(event: dict[str, Any]) -> Fault | None:
    if "epcList" not in event and not event.get("quantityList") and not event.get("sensorElementList"):
        return Fault("/epcList", "is missing, and so are quantityList and sensorElementList")
    if "ilmd" in event and event["action"] != "ADD":
        return Fault("/ilmd", "is for events with action ADD only")
    return None


def _no_ilmd(event: dict[str, Any]) -> Fault | None:
    """What makes no goods has no master data of them."""
    return Fault("/ilmd", "is for ObjectEvent and TransformationEvent only") if "ilmd" in event else None


def _children_rule(event: dict[str, Any]) -> Fault | None:
    if "parentID" not in event and event["action"] != "OBSERVE":
        return Fault("/parentID", "is missing")
    if event["action"] != "DELETE" and not event.get("childEPCs") and not event.get("childQuantityList"):
        return Fault("/childEPCs", "is missing or empty, and so is childQuantityList")
    return _no_ilmd(event)


def _transaction_rule(event: dict[str, Any]) -> Fault | None:
    if not event["bizTransactionList"]:
        return Fault("/bizTransactionList", "is empty")
    if event["action"] != "DELETE" and "epcList" not in event and not event.get("quantityList"):
        return Fault("/epcList", "is missing, and so is quantityList")
    return _no_ilmd(event)


def _transformation_rule(event: dict[str, Any]) -> Fault | None:
    inputs = event.get("inputEPCList") or event.get("inputQuantityList")
    outputs = event.get("outputEPCList") or event.get("outputQuantityList")
    if not (inputs or outputs):
        return Fault("/inputEPCList", "is missing or empty, and so is every other list of inputs and outputs")
    if not (inputs and outputs) and not event.get("transformationID"):
        side = "outputEPCList" if inputs else "inputEPCList"
        return Fault(
            f"/{side}", "is missing or empty, and there is no transformationID to join another event to"
        )
    return None


_EVENTS: Final[dict[str, Check]] = {
    "ObjectEvent": _event({**_ACTION, **_WHAT}, _object_rule, "action"),
    "AggregationEvent": _event({**_ACTION, **_CHILDREN}, _children_rule, "action"),
    "TransactionEvent": _event(
        {**_ACTION, **_WHAT, "parentID": _uri}, _transaction_rule, "action", "bizTransactionList"
    ),
    "TransformationEvent": _event(_TRANSFORMED, _transformation_rule),
    "AssociationEvent": _event({**_ACTION, **_CHILDREN}, _children_rule, "action", "parentID"),
}
EVENT_TYPES: Final = tuple(_EVENTS)
