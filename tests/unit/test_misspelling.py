"""Near misses of known members: each is refused with what is meant, and what is no near miss, or is defined, passes."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector.misspelling import LEAST_LETTERS, Defined, Spelling, told_terms, with_defined
from services.collector.validation import EVENT_TYPES, check_event
from tests.unit.collector_builders import CONTEXT, collected, document, object_event
from tests.unit.xml_builders import event_element, xml_document

BARE: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
UNKNOWN: Final = "is no member that the standard knows, and has no prefix"
EPC: Final = "urn:epc:id:sgtin:0614141.107346.2017"
AT_THE_TOP: Final[dict[str, tuple[str, ...]]] = {
    "ObjectEvent": ("action", "epcList", "quantityList"),
    "AggregationEvent": ("action", "parentID", "childEPCs", "childQuantityList"),
    "TransactionEvent": ("action", "parentID", "epcList", "quantityList"),
    "TransformationEvent": (
        "inputEPCList", "inputQuantityList", "outputEPCList", "outputQuantityList", "transformationID",
    ),
    "AssociationEvent": ("action", "parentID", "childEPCs", "childQuantityList"),
}  # fmt: skip
OF_EVERY_EVENT: Final = (
    "eventID", "eventTime", "recordTime", "eventTimeZoneOffset", "certificationInfo", "errorDeclaration", "bizStep",
    "disposition", "persistentDisposition", "readPoint", "bizLocation", "bizTransactionList", "sourceList", "destinationList",
    "sensorElementList",
)  # fmt: skip
SENSED: Final = ("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod")
BELOW: Final[dict[str, tuple[str, ...]]] = {
    "/errorDeclaration": ("declarationTime", "reason", "correctiveEventIDs"),
    "/persistentDisposition": ("unset",),
    "/sensorElementList/0": ("sensorMetadata", "sensorReport"),
    "/sensorElementList/0/sensorMetadata": (*SENSED, "startTime", "endTime", "bizRules"),
    "/sensorElementList/0/sensorReport/0": (
        *SENSED, "exception", "microorganism", "chemicalSubstance", "component", "stringValue", "uriValue", "value", "minValue",
        "maxValue", "meanValue", "percRank", "percValue", "booleanValue", "hexBinaryValue", "coordinateReferenceSystem",
    ),
    "/quantityList/0": ("epcClass", "quantity"),
    "/bizTransactionList/0": ("bizTransaction",),
    "/sourceList/0": ("source",),
    "/destinationList/0": ("destination",),
}  # fmt: skip
PLACES: Final = [
    *((kind, "", name) for kind, names in AT_THE_TOP.items() for name in (*names, *OF_EVERY_EVENT)),
    *(("ObjectEvent", place, name) for place, names in BELOW.items() for name in names),
]
"""Event type, pointer of an object in it, and a member of at least five letters that is known there."""


def whole(kind: str) -> dict[str, Any]:
    """A sound event of a type that has an object at each of the places below it."""
    made = object_event(
        type=kind,
        errorDeclaration={"declarationTime": "2026-01-02T03:04:05Z"},
        persistentDisposition={"set": ["in_transit"]},
        sensorElementList=[{"sensorMetadata": {"time": "2026-01-02T03:04:05Z"}, "sensorReport": [{"uom": "CEL"}]}],
        quantityList=[{"epcClass": "urn:epc:class:lgtin:4012345.012345.998877"}],
        bizTransactionList=[{"bizTransaction": "urn:a:b"}],
        sourceList=[{"type": "owning_party", "source": "urn:a:b"}],
        destinationList=[{"type": "owning_party", "destination": "urn:a:b"}],
        parentID="urn:a:b",
        childEPCs=[EPC],
        inputEPCList=[EPC],
        outputEPCList=[EPC],
    )  # fmt: skip
    return {name: value for name, value in made.items() if _is_known(kind, name)}


def _is_known(kind: str, name: str) -> bool:
    return name == "type" or name in (*OF_EVERY_EVENT, *AT_THE_TOP[kind])


def at(event: dict[str, Any], place: str) -> dict[str, Any]:
    """The object at a place of an event."""
    found: Any = event
    for step in place.split("/")[1:]:
        found = found[int(step)] if isinstance(found, list) else found[step]
    assert isinstance(found, dict)
    return found


@st.composite
def edits(draw: st.DrawFn, known: str) -> str:
    """Draw what one edit makes of a name, without a prefix as before."""
    where, letter = draw(st.integers(0, len(known) - 1)), draw(st.sampled_from(BARE))
    return draw(
        st.sampled_from(
            [
                known[:where] + letter + known[where:],
                known + letter,
                known[:where] + known[where + 1 :],
                known[:where] + letter + known[where + 1 :],
                known[:where] + known[where : where + 2][::-1] + known[where + 2 :],
            ]
        ).filter(lambda made: made != known)
    )


def distance(one: str, other: str) -> int:
    """Optimal string alignment, by its whole table: what the quick comparison is held against."""
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_what_the_properties_begin_with_is_sound(kind: str) -> None:
    assert check_event(whole(kind)) is None


@pytest.mark.parametrize(("kind", "place", "known"), PLACES, ids=lambda part: part or "top")
@given(st.data())
def test_each_edit_of_a_known_member_is_refused_with_what_is_meant(
    kind: str, place: str, known: str, data: st.DataObject
) -> None:
    event = whole(kind)
    name = data.draw(st.one_of(edits(known), st.sampled_from([known.upper(), known.lower()])))
    if name == known or (kind == "TransformationEvent" and name == "action"):
        return
    holder = at(event, place)
    holder[name] = holder.pop(known, "anything")
    fault = check_event(event)
    assert fault is not None
    assert fault.pointer == f"{place}/{name}"
    assert fault.detail.startswith(f"{UNKNOWN}: ")
    assert f"`{known}`" in fault.detail
    assert fault.detail.endswith(" is meant?")


@given(st.text(BARE, min_size=1, max_size=24), st.sampled_from(EVENT_TYPES))
def test_a_name_that_is_like_none_passes(name: str, kind: str) -> None:
    event = whole(kind)
    known = {"type", "@context", "ilmd", *OF_EVERY_EVENT, *AT_THE_TOP[kind]}
    near = {
        each
        for each in known - event.keys()
        if each.lower() == name.lower() or (len(each) >= LEAST_LETTERS and distance(name, each) == 1)
    }
    if name not in known:
        fault = check_event({**event, name: {"anything": 1}})
        assert (fault is not None) == bool(near)


@given(st.text("abAB", max_size=7), st.sets(st.text("abAB", min_size=1, max_size=7), max_size=6))
def test_what_is_near_is_what_the_whole_table_says(name: str, known: set[str]) -> None:
    meant = {
        each
        for each in known - {name}
        if each.lower() == name.lower() or (len(each) >= LEAST_LETTERS and distance(name, each) == 1)
    }
    assert set(Spelling(known).meant(name, {name})) == meant


def test_no_known_member_is_a_near_miss_of_another() -> None:
    for kind in EVENT_TYPES:
        known = ["type", "@context", "ilmd", *OF_EVERY_EVENT, *AT_THE_TOP[kind]]
        assert all(not Spelling(known).meant(each, {each}) for each in known)
    for names in BELOW.values():
        assert all(not Spelling(names).meant(each, {each}) for each in names)


@pytest.mark.parametrize(
    ("changes", "pointer", "meant"),
    [
        ({"bizStep": None, "bizStpe": "shipping"}, "/bizStpe", "`bizStep`"),
        ({"bizStep": None, "bizstep": "shipping"}, "/bizstep", "`bizStep`"),
        ({"eventTime": None, "eventtime": "2026-01-02T03:04:05Z"}, "/eventtime", "`eventTime`"),
        ({"epcList": None, "epclist": [EPC]}, "/epclist", "`epcList`"),
        ({"readPoint": {"ID": "urn:a:b"}}, "/readPoint/ID", "`id`"),
        (
            {"sensorElementList": [{"sensorReport": [{"mixValue": 1}]}]},
            "/sensorElementList/0/sensorReport/0/mixValue",
            "`minValue` or `maxValue`",
        ),
        (
            {"sensorElementList": [{"sensorReport": [{"minValue": 0, "mixValue": 1}]}]},
            "/sensorElementList/0/sensorReport/0/mixValue",
            "`maxValue`",
        ),
        (
            {"sensorElementList": [{"sensorReport": [{"UOM": "CEL"}]}]},
            "/sensorElementList/0/sensorReport/0/UOM",
            "`uom`",
        ),
        (
            {"quantityList": [{"epcClass": "urn:a:b", "quantitiy": 5}]},
            "/quantityList/0/quantitiy",
            "`quantity`",
        ),
    ],
)
def test_the_place_and_what_is_meant_are_told(changes: dict[str, Any], pointer: str, meant: str) -> None:
    fault = check_event(object_event(**changes))
    assert fault is not None
    assert (fault.pointer, fault.detail) == (pointer, f"{UNKNOWN}: {meant} is meant?")


@pytest.mark.parametrize(
    "changes",
    [
        {"bizstep": "the known one is there as well"},
        {"bizLocationn2": 1},
        {"x:bizLocaton": 1, "_bizLocaton": 1, "@bizLocaton": 1},
        {"readPoint": {"id": "urn:a:b", "ix": 1}},
        {"sensorElementList": [{"sensorReport": [{"leftValue": 1, "rightValue": 2, "bizRules": "x"}]}]},
        {"action": "ADD", "ilmd": {"lotNumber": "L1", "bizStpe": 1}},
        {"own": {"bizLocaton": 1}},
        {"landingStartDate": "2026-01-01", "eventGlobalID": "urn:a:b"},
    ],
)
def test_what_is_no_near_miss_passes(changes: dict[str, Any]) -> None:
    assert check_event(object_event(**changes)) is None


@pytest.mark.parametrize(
    "context",
    [
        {"bizLocaton": "https://example.com/bizLocaton"},
        [CONTEXT, {"ex": "https://example.com/", "bizLocaton": {"@id": "ex:bizLocaton", "@type": "@id"}}],
    ],
)
def test_what_a_context_defines_is_no_misspelling(context: Any) -> None:
    extended = object_event(bizLocaton="urn:a:b")
    assert check_event(extended, context) is None
    assert check_event({"@context": context, **extended}) is None
    (sent,) = collected(document(extended, **{"@context": context}))
    assert sent.fault is None


@pytest.mark.parametrize(
    "context",
    [
        CONTEXT,
        [CONTEXT, {"ex": "https://example.com/"}],
        [{"@vocab": "https://example.com/"}],
        [{"bizLocaton": None}],
    ],
)
def test_what_no_context_defines_is_one(context: Any) -> None:
    fault = check_event(object_event(bizLocaton="urn:a:b"), context)
    assert fault is not None
    assert fault.pointer == "/bizLocaton"


def test_what_a_context_defines_hides_no_other_fault() -> None:
    """Neither another misspelling, nor a fault behind it; and in a quantity it needs a prefix as before."""
    context = {"bizLocaton": "https://example.com/a", "weight": "https://example.com/b"}
    faults = [
        check_event(object_event(bizLocaton="urn:a:b", **changes), context)
        for changes in (
            {"dispositoin": "in_transit", "disposition": None},
            {"recordTime": "today"},
            {"quantityList": [{"epcClass": "urn:a:b", "weight": 5}]},
        )
    ]
    assert [fault and fault.pointer for fault in faults] == [
        "/dispositoin",
        "/recordTime",
        "/quantityList/0/weight",
    ]


OWN: Final = {"value1": "https://example.com/value1", "bizLocaton": "https://example.com/bizLocaton"}


def sensed(**around: Any) -> dict[str, Any]:
    """An event with a member of its own in a sensor report, and contexts at the levels around it."""
    report = {"value1": 1, **around.get("report", {})}
    element = {"sensorReport": [report], **around.get("element", {})}
    return object_event(sensorElementList=[element], **around.get("event", {}))


@pytest.mark.parametrize("level", ["report", "element", "event"])
@pytest.mark.parametrize("context", [OWN, [CONTEXT, {"value1": None}, OWN]])
def test_a_context_at_any_level_around_a_member_defines_it(level: str, context: Any) -> None:
    place = "/sensorElementList/0/sensorReport/0/value1"
    fault = check_event(sensed())
    assert fault is not None
    assert fault.pointer == place
    own = sensed(**{level: {"@context": context}})
    assert check_event(own) is None
    (sent,) = collected(document(own))
    assert sent.fault is None
    taken_away = sensed(**{level: {"@context": {"value1": None}}})
    fault = check_event(taken_away, OWN)
    assert fault is not None
    assert fault.pointer == place


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"readPoint": {"id": "urn:a:b", "@context": OWN}, "bizLocaton": "urn:a:b"}, "/bizLocaton"),
        ({"bizLocaton": {"@context": OWN, "id": "urn:a:b"}}, "/bizLocaton"),
        ({"x:own": [{"@context": OWN}], "@context": [CONTEXT], "bizLocaton": 1}, "/bizLocaton"),
        (
            {"sensorElementList": [{"sensorReport": [{"@context": OWN, "value1": 1}, {"value1": 2}]}]},
            "/sensorElementList/0/sensorReport/1/value1",
        ),
        (
            {"quantityList": [{"@context": {"weight": "urn:x"}, "epcClass": "urn:a:b", "weight": 5}]},
            "/quantityList/0/weight",
        ),
    ],
)
def test_a_context_beside_a_member_or_within_it_defines_nothing_there(
    changes: dict[str, Any], pointer: str
) -> None:
    """Nor in a quantity, where a member needs a prefix as before."""
    fault = check_event(object_event(**changes))
    assert fault is not None
    assert fault.pointer == pointer


def test_terms_are_taken_from_what_is_written_out() -> None:
    told = told_terms(["https://example.com/c", {"a": "urn:x", "b": 1, "@vocab": "urn:y"}, {"b": None}, 5])
    assert told == {"a": True, "b": False}
    assert not told_terms("https://example.com/c")
    assert not told_terms(None)


NAMES: Final = st.sampled_from(["a", "b", "c"])
TERMS: Final = st.dictionaries(NAMES, st.sampled_from(["urn:x", None]), max_size=3)
CONTEXTS: Final = st.none() | TERMS | st.lists(TERMS, max_size=3)
VALUES: Final = st.recursive(
    st.integers(0, 1),
    lambda below: (
        st.lists(below, max_size=3)
        | st.builds(
            lambda members, context: {**members, "@context": context},
            st.dictionaries(NAMES, below, max_size=3),
            CONTEXTS,
        )
        | st.dictionaries(NAMES, below, max_size=3)
    ),
    max_leaves=20,
)


def names(value: Any) -> Any:
    """What a value has of members, each with whether it is defined, as `with_defined` has marked it."""
    if isinstance(value, list):
        return [names(each) for each in value]
    if not isinstance(value, dict):
        return value
    return [(type(name) is Defined, name, names(each)) for name, each in value.items() if name != "@context"]


def plainly(value: Any, context: Any, terms: frozenset[str] = frozenset()) -> Any:
    """The same by copies of the terms around, for each object anew."""
    told = told_terms(context)
    terms = terms - told.keys() | {term for term, is_defined in told.items() if is_defined}
    if isinstance(value, list):
        return [plainly(each, None, terms) for each in value]
    if not isinstance(value, dict):
        return value
    own = told_terms(value.get("@context"))
    inner = terms - own.keys() | {term for term, is_defined in own.items() if is_defined}
    return [
        (name in inner, name, plainly(each, None, inner))
        for name, each in value.items()
        if name != "@context"
    ]


@given(VALUES, CONTEXTS)
def test_what_is_defined_at_each_place_follows_from_the_contexts_around_it(value: Any, context: Any) -> None:
    marked = with_defined(value, context)
    assert names(marked) == plainly(value, context)
    assert marked == value
    assert (marked is value) == ("True" not in str(names(marked)))


def test_a_document_with_a_misspelt_member_is_refused_at_its_place() -> None:
    sound, wrong = object_event(), object_event(bizStep=None, bizStpe="shipping")
    first, second = collected(document(sound, wrong))
    assert first.fault is None
    assert second.fault is not None
    assert second.fault.pointer == "/epcisBody/eventList/1/bizStpe"
    assert second.fault.detail == f"{UNKNOWN}: `bizStep` is meant?"


@pytest.mark.parametrize(
    ("right", "wrong", "path", "meant"),
    [
        ("<bizStep>shipping</bizStep>", "<bizStpe>shipping</bizStpe>", "/bizStpe", "bizStep"),
        ('value="1"', 'valeu="1"', "/sensorElementList/sensorElement/sensorReport/@valeu", "value"),
    ],
)
def test_an_element_or_attribute_of_no_namespace_is_treated_alike(
    right: str, wrong: str, path: str, meant: str
) -> None:
    element = event_element(object_event(sensorElementList=[{"sensorReport": [{"value": 1}]}]))
    assert right in element
    (sound,) = collected(xml_document(element))
    (sent,) = collected(xml_document(element.replace(right, wrong)))
    assert sound.fault is None
    assert sent.fault is not None
    assert sent.fault.pointer.endswith(f"/ObjectEvent[1]{path}")
    assert sent.fault.detail.startswith(f"{UNKNOWN}: `{meant}` is meant? (line ")


def test_an_element_of_another_namespace_is_an_extension() -> None:
    own = "<ex:bizStpe xmlns:ex='https://ns.example.com/epcis/'>shipping</ex:bizStpe>"
    element = event_element(object_event()).replace("<bizStep>shipping</bizStep>", own)
    (sent,) = collected(xml_document(element))
    assert sent.fault is None
