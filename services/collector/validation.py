"""The structure and vocabulary of EPCIS 2.0 events: checks that name the place of the first fault. Pure.

Structures of our own, made from the text of the standard, of single values (`value_checks.py`) in arrays and objects (`structure_checks.py`).
Quantities, transactions, sources and destinations are closed: they have no members without a prefix that the standard does not know.
Why not a library: docs/decisions/0005-validation.md. Source: EPCIS 2.0 section 7, CBV 2.0 section 7.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.collector import value_checks as values
from services.collector.errors import Fault
from services.collector.misspelling import with_defined
from services.collector.structure_checks import list_of, object_of
from services.collector.times import parse_time
from services.collector.value_checks import Check


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


# ---- the members of an event


_uris: Final = list_of(values.uri)
_terms: Final = list_of(values.term_of("disp"))


def _uri_or_uris(value: object) -> Fault | None:
    return _uris(value) if type(value) is list else values.uri(value)


_QUANTITIES: Final = list_of(
    object_of(
        {"epcClass": values.uri, "quantity": values.quantity, "uom": values.unit}, "epcClass", closed=True
    )
)
_LASTING: Final = object_of({"set": _terms, "unset": _terms})


def _persistent(value: Any) -> Fault | None:
    fault = _LASTING(value)
    if fault is None and not (value.get("set") or value.get("unset")):
        return Fault("/set", "is missing or empty, and so is unset")
    return fault


_PLACE: Final = object_of({"id": values.uri}, "id")
_SENSOR_HEAD: Final[dict[str, Check]] = {
    "time": values.time,
    "deviceID": values.text,
    "deviceMetadata": values.text,
    "rawData": values.text,
    "dataProcessingMethod": values.text,
}
_METADATA: Final = object_of(
    {**_SENSOR_HEAD, "startTime": values.time, "endTime": values.time, "bizRules": values.text}
)
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
_REPORT: Final = object_of(
    {
        **_SENSOR_HEAD,
        **dict.fromkeys(_TEXTS, values.text),
        **dict.fromkeys(_MEASURES, values.measure),
        "booleanValue": values.boolean,
        "hexBinaryValue": values.hexadecimal,
    }
)
_EVENT_FIELDS: Final[dict[str, Check]] = {
    "@context": values.context,
    "eventID": values.uri,
    "eventTime": values.zoned_time,
    "recordTime": values.time,
    "eventTimeZoneOffset": values.offset,
    "certificationInfo": _uri_or_uris,
    "errorDeclaration": object_of(
        {
            "declarationTime": values.time,
            "reason": values.term_of("er"),
            "correctiveEventIDs": list_of(values.uri),
        },
        "declarationTime",
    ),
    "bizStep": values.term_of("bizstep"),
    "disposition": values.term_of("disp"),
    "persistentDisposition": _persistent,
    "readPoint": _PLACE,
    "bizLocation": _PLACE,
    "bizTransactionList": list_of(
        object_of(
            {"type": values.term_of("btt"), "bizTransaction": values.uri}, "bizTransaction", closed=True
        )
    ),
    "sourceList": list_of(
        object_of({"type": values.term_of("sdt"), "source": values.uri}, "type", "source", closed=True)
    ),
    "destinationList": list_of(
        object_of(
            {"type": values.term_of("sdt"), "destination": values.uri}, "type", "destination", closed=True
        )
    ),
    "sensorElementList": list_of(
        object_of({"sensorMetadata": _METADATA, "sensorReport": list_of(_REPORT)}, "sensorReport")
    ),
    "ilmd": values.free,
}
_WHAT: Final[dict[str, Check]] = {"epcList": _uris, "quantityList": _QUANTITIES}
_CHILDREN: Final[dict[str, Check]] = {
    "parentID": values.uri,
    "childEPCs": _uris,
    "childQuantityList": _QUANTITIES,
}
_TRANSFORMED: Final[dict[str, Check]] = {
    "inputEPCList": _uris,
    "inputQuantityList": _QUANTITIES,
    "outputEPCList": _uris,
    "outputQuantityList": _QUANTITIES,
    "transformationID": values.maybe_uri,
}
_ACTION: Final[dict[str, Check]] = {"action": values.action}
_OF_SOME: Final = {**_ACTION, **_WHAT, **_CHILDREN, **_TRANSFORMED}
"""What only some types of events have. Documents are seen with one in an event of another type, and the stages read it there too."""


# ---- what the members of an event say together


def _event(fields: Mapping[str, Check], rule: Check, *required: str) -> Check:
    own = {**_EVENT_FIELDS, **fields}
    shape = object_of(own, "eventTime", "eventTimeZoneOffset", *required, elsewhere=_OF_SOME)

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
        {**_ACTION, **_WHAT, "parentID": values.uri}, _transaction_rule, "action", "bizTransactionList"
    ),
    "TransformationEvent": _event(_TRANSFORMED, _transformation_rule),
    "AssociationEvent": _event({**_ACTION, **_CHILDREN}, _children_rule, "action", "parentID"),
}
EVENT_TYPES: Final = tuple(_EVENTS)
