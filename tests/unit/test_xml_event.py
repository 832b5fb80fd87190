"""One XML event and its JSON form: the same members, and the same event hash whichever way it came."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.errors import EventContentError
from goodstrace.event_content import is_xml, read_event
from goodstrace.event_hash import MAX_DEPTH, event_hash, pre_hash
from goodstrace.xml_names import MAX_NAME, MAX_PREFIXES
from services.collector import documents
from services.collector.documents import Limits
from tests.unit.xml_builders import NAMESPACES, event_element, xml_document
from tests.vector_files import vectors

VECTORS = vectors("xml_events")["vectors"]
SHARED = Path(__file__).parents[3] / "shared" / "data" / "epcis" / "hash-vectors"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="../shared with the published vectors is not here"
)
AROUND = {"xmlns": NAMESPACES}
CONTEXT = [{name: uri for name, uri in NAMESPACES.items() if name != "epcis"}]
HEAD = {"eventTime": "2026-03-04T10:00:30.000Z", "eventTimeZoneOffset": "+01:00"}
EVERYTHING: dict[str, Any] = {
    "type": "ObjectEvent",
    **HEAD,
    "recordTime": "2026-03-04T10:00:31Z",
    "eventID": "urn:uuid:1",
    "errorDeclaration": {
        "declarationTime": "2026-03-05T10:00:30Z",
        "reason": "urn:epcglobal:cbv:er:incorrect_data",
        "correctiveEventIDs": ["urn:uuid:2", "urn:uuid:3"],
        "ex:by": "somebody",
    },
    "certificationInfo": ["https://example.org/1", "https://example.org/2"],
    "epcList": ["urn:epc:id:sgtin:0614141.107346.2017"],
    "quantityList": [
        {"epcClass": "urn:epc:class:lgtin:4012345.012345.998877", "quantity": 200.5, "uom": "KGM"},
        {"epcClass": "urn:epc:class:lgtin:4012345.012345.998878", "quantity": 3},
    ],
    "action": "ADD",
    "bizStep": "commissioning",
    "disposition": "https://ref.gs1.org/cbv/Disp-active",
    "persistentDisposition": {"set": ["completeness_verified"], "unset": ["completeness_inferred", "expired"]},
    "readPoint": {"id": "urn:epc:id:sgln:0614141.07346.1234", "ex:gate": "4"},
    "bizLocation": {"id": "urn:epc:id:sgln:0614141.00888.0"},
    "bizTransactionList": [
        {"type": "urn:epcglobal:cbv:btt:po", "bizTransaction": "urn:x:po:1"},
        {"bizTransaction": "urn:x:po:2"},
    ],
    "sourceList": [{"type": "owning_party", "source": "urn:epc:id:pgln:4012345.00000"}],
    "destinationList": [{"type": "owning_party", "destination": "urn:epc:id:pgln:0614141.00000"}],
    "sensorElementList": [
        {
            "sensorMetadata": {"time": "2026-03-04T10:00:00Z", "bizRules": "urn:x:rule", "ex:note": "a"},
            "sensorReport": [
                {"type": "gs1:Temperature", "value": 26.5, "minValue": 20, "uom": "CEL", "ex:cv": "12"},
                {"type": "gs1:Humidity", "booleanValue": True, "stringValue": "wet"},
            ],
            "ex:more": {"ex:a": "1", "ex:b": ["2", "3"]},
        }
    ],
    "ilmd": {"cbvmda:lotNumber": "L1", "ex:origin": {"ex:farm": "f"}},
    "ex:box": {"ex:wallList": ["n", "s"], "ex:empty": ""},
    "ex:many": ["1", "2"],
}  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_our_published_vectors(vector: dict[str, Any]) -> None:
    event = read_event(vector["content"].encode(), vector["context"])
    assert event == vector["event"]
    assert pre_hash(event, vector["context"]) == vector["pre_hash"]
    assert event_hash(event, vector["context"]) == vector["hash"]


def as_read(event: dict[str, Any]) -> dict[str, Any]:
    used = {prefix: uri for prefix, uri in NAMESPACES.items() if f'"{prefix}:' in json.dumps(event)}
    return event | ({"@context": used} if used else {})


@pytest.mark.parametrize("version", [1, 2])
def test_every_member_of_the_standard_gets_the_shape_of_the_json_binding(version: int) -> None:
    content = event_element(EVERYTHING, version=version).encode()
    assert is_xml(content)
    assert read_event(content, AROUND) == as_read(EVERYTHING)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "AggregationEvent", **HEAD, "parentID": "urn:p:1", "childEPCs": ["urn:c:1"], "action": "ADD",
         "childQuantityList": [{"epcClass": "urn:c:2"}]},
        {"type": "AssociationEvent", **HEAD, "parentID": "urn:p:1", "childEPCs": ["urn:c:1"], "action": "DELETE"},
        {"type": "TransactionEvent", **HEAD, "bizTransactionList": [{"bizTransaction": "urn:b:1"}],
         "parentID": "urn:p:1", "epcList": ["urn:c:1"], "action": "ADD"},
        {"type": "TransformationEvent", **HEAD, "inputEPCList": ["urn:i:1"], "outputEPCList": ["urn:o:1"],
         "inputQuantityList": [{"epcClass": "urn:i:2", "quantity": 1}], "transformationID": "urn:t:1",
         "outputQuantityList": [{"epcClass": "urn:o:2", "quantity": 0.25, "uom": "KGM"}]},
    ],
    ids=lambda event: event["type"],
)  # fmt: skip
def test_the_other_event_types(event: dict[str, Any]) -> None:
    assert read_event(event_element(event).encode(), AROUND) == event


def test_a_quantity_event_is_an_object_event_that_says_the_same() -> None:
    content = b"<QuantityEvent><epcClass>urn:c:1</epcClass><quantity>7</quantity></QuantityEvent>"
    assert read_event(content, None) == {
        "type": "ObjectEvent",
        "action": "OBSERVE",
        "quantityList": [{"epcClass": "urn:c:1", "quantity": 7}],
    }


def test_json_is_read_as_json() -> None:
    assert read_event(b'{"a": 1.5}', {"xmlns": {}}) == {"a": 1.5}
    assert read_event(b'{"a": 1.50}', None, exact_numbers=True) == {"a": Decimal("1.50")}


def test_numbers_are_exact_where_that_is_asked_for() -> None:
    content = event_element({"type": "ObjectEvent", "quantityList": [{"quantity": "200.50"}]}).encode()
    (element,) = read_event(content, AROUND, exact_numbers=True)["quantityList"]
    assert str(element["quantity"]) == "200.50"


@pytest.mark.parametrize("written", ["many", "1e999", "NaN", "INF", "1,5", ""])
def test_what_is_no_number_stays_text_for_the_check_to_name(written: str) -> None:
    content = f"<ObjectEvent><quantityList><quantityElement><quantity>{written}</quantity></quantityElement></quantityList></ObjectEvent>"
    assert read_event(content.encode(), None)["quantityList"] == [{"quantity": written}]


# ---- namespaces


def hashed(content: str, context: object = AROUND) -> str:
    return pre_hash(read_event(content.encode(), context), context)


def test_prefixes_are_only_names_wherever_they_are_declared() -> None:
    one = hashed("<ObjectEvent><ex:a><ex:b>1</ex:b></ex:a></ObjectEvent>")
    assert one == "eventType=ObjectEvent{https://ns.example.com/epcis/}a{https://ns.example.com/epcis/}b=1"
    uri = NAMESPACES["ex"]
    for other in (
        f'<ObjectEvent xmlns:y="{uri}"><y:a><ex:b>1</ex:b></y:a></ObjectEvent>',
        f'<ObjectEvent><y:a xmlns:y="{uri}" ><z:b xmlns:z="{uri}">1</z:b></y:a></ObjectEvent>',
        f'<ObjectEvent><a xmlns="{uri}"><b>1</b></a></ObjectEvent>',
        f'<e:ObjectEvent xmlns:e="urn:epcglobal:epcis:xsd:1"><ex:a xmlns:ex="{uri}"><ex:b>1</ex:b></ex:a></e:ObjectEvent>',
    ):
        assert hashed(other) == one


def test_a_prefix_bound_twice_is_two_namespaces() -> None:
    content = (
        '<ObjectEvent><ex:a>1</ex:a><x:a xmlns:x="urn:a">2</x:a><x:a xmlns:x="urn:b">3</x:a></ObjectEvent>'
    )
    event = read_event(content.encode(), AROUND)
    assert event["@context"] == {"ex": NAMESPACES["ex"], "x": "urn:a", "ns1": "urn:b"}
    assert (event["x:a"], event["ns1:a"]) == ("2", "3")


def test_the_default_namespace_of_epcis_is_none() -> None:
    content = '<ObjectEvent xmlns="urn:epcglobal:epcis:xsd:2"><action>ADD</action></ObjectEvent>'
    assert read_event(content.encode(), None) == {"type": "ObjectEvent", "action": "ADD"}


def test_values_are_no_curies_but_those_of_the_standard() -> None:
    content = '<ObjectEvent xmlns:gs1="https://gs1.org/voc/"><ex:a>ex:b</ex:a><ex:c>gs1:d</ex:c><gs1:e/></ObjectEvent>'
    event = read_event(content.encode(), AROUND)
    assert event["@context"] == {"ns1": NAMESPACES["ex"], "gs1": "https://gs1.org/voc/"}
    assert "a=ex:b" in hashed(content)
    assert "c=https://gs1.org/voc/d" in hashed(content)


def test_a_prefix_of_the_standard_means_what_the_standard_says_in_values() -> None:
    content = '<ObjectEvent xmlns:cbv="urn:other"><bizStep>cbv:BizStep-packing</bizStep><cbv:a>1</cbv:a></ObjectEvent>'
    assert hashed(content, None) == (
        "eventType=ObjectEventbizStep=https://ref.gs1.org/cbv/BizStep-packing{urn:other}a=1"
    )


def test_what_only_an_xml_processor_needs_is_no_content() -> None:
    instance = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    content = f'<ObjectEvent {instance} xsi:type="x"><epcList/><ex:a xsi:type="y">1</ex:a><disposition xsi:nil="true"/></ObjectEvent>'
    assert read_event(content.encode(), AROUND) == as_read(
        {"type": "ObjectEvent", "epcList": [], "ex:a": "1"}
    )


def test_attributes_and_text_of_an_extension_are_kept() -> None:
    content = (
        '<ObjectEvent><ex:a u="1" ex:v="2" xml:lang="en">three<!-- c --><![CDATA[ <4>]]></ex:a></ObjectEvent>'
    )
    assert read_event(content.encode(), AROUND)["ex:a"] == {
        "#text": "three <4>",
        "u": "1",
        "ex:v": "2",
        "xml:lang": "en",
    }


# ---- refusals


@pytest.mark.parametrize(
    ("content", "detail", "offset"),
    [
        ("<", "not an XML element", 0),
        ("<!DOCTYPE a><a/>", "not an XML element", 0),
        ("<\0a\0/\0>\0", "not an XML element", 0),
        ("<?xml version='1.0'?><a/>", "not an XML element", 0),
        ("<a/><!DOCTYPE a>", "junk", 4),
        ("<a>&b;</a>", "undefined entity", 3),
        ("<a>\x00</a>", "not well-formed", 3),
        ("<a b='1' b='2'/>", "duplicate attribute", 9),
        ("<a><b></a>", "mismatched tag", 8),
        ("<a><z:b/></a>", "'z:b' is not declared", 3),
        ("<a z:b='1'/>", "'z:b' is not declared", 0),
        ("<a><:b/></a>", "is not declared", 3),
        ("<a xmlns:xml='urn:x'/>", "cannot be bound", 0),
        ("<a xmlns:b=''/>", "cannot be bound", 0),
        ("<a><action>ADD</action><action>ADD</action></a>", "'action' is there twice", 34),
        ("<a><type>b</type></a>", "'type' is there twice", 10),
        ("<a><epcList><foo/></epcList></a>", "no element of 'epcList'", 12),
        ("<a><epcList><epc><b/></epc></epcList></a>", "only text may be", 17),
        ("<a><epcList n='1'/></a>", "has an attribute 'n'", 3),
        ("<a n='1'/>", "has an attribute 'n'", 0),
        ("<a>text</a>", "text beside its elements", 7),
        ("<a><extension>text</extension></a>", "text beside its elements", 18),
        ("<a>" * (MAX_DEPTH + 1) + "</a>" * (MAX_DEPTH + 1), "deeper than 64", 3 * MAX_DEPTH),
        (f"<a><{'b' * (MAX_NAME + 1)}/></a>", "over 1024 characters", 3),
        (f"<a xmlns:b='urn:{'b' * MAX_NAME}'/>", "over 1024 characters", 0),
        (
            "<a " + " ".join(f"xmlns:p{n}='u'" for n in range(MAX_PREFIXES + 1)) + "/>",
            "prefixes are declared",
            0,
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_error_with_its_place(content: str, detail: str, offset: int) -> None:
    with pytest.raises(EventContentError, match=detail) as refused:
        read_event(content.encode(), None)
    assert refused.value.offset == offset


@given(st.binary(max_size=80), st.integers(0, 500), st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_an_event_or_one_error(noise: bytes, at: int, gone: int) -> None:
    whole = event_element(EVERYTHING, outer=False).encode()
    for content in (b"<" + noise, noise, whole[:at] + noise + whole[at + gone :]):
        try:
            event = read_event(content, AROUND)
        except EventContentError:
            continue
        assert isinstance(event, dict)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["xmlns", "", "ex", "xml"]), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_context_gives_an_event_or_one_error(context: object) -> None:
    for content in (b"<ObjectEvent><ex:a>1</ex:a><b/></ObjectEvent>", b'{"a":1}'):
        try:
            read_event(content, context)
        except EventContentError:
            continue


# ---- the same hash as the JSON twin


PLAIN = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co"), exclude_characters="\ufffe\uffff"), max_size=12
)
TEXTS = PLAIN | st.sampled_from(
    [
        "12.50",
        "true",
        "urn:epc:id:sgln:4012345.00011.0",
        "https://id.gs1.org/01/04012345999990",
        "a\rb",
        " x ",
    ]
)
LEAVES = (
    TEXTS.filter(lambda value: value.strip().partition(":")[0] not in NAMESPACES)
    | st.integers()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
)
EXTENSIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.dictionaries(st.sampled_from(["ex:a", "ex:b", "cbvmda:c", "d"]), inner, max_size=3)
        | st.lists(inner.filter(lambda value: not isinstance(value, list)), max_size=3)
    ),
    max_leaves=8,
)
LISTS = st.lists(LEAVES | st.dictionaries(st.sampled_from(["ex:a", "ex:b"]), LEAVES, min_size=2), max_size=3)
URIS = st.sampled_from(
    [
        "urn:epc:id:sgtin:0614141.107346.2017",
        "https://id.gs1.org/01/10614141073464/10/L1",
        "urn:x:1",
        "geo:1,2",
    ]
)
EPCS = st.lists(URIS, max_size=3)
QUANTITIES = st.lists(
    st.fixed_dictionaries(
        {"epcClass": URIS}, optional={"quantity": st.floats(0, 1e17) | st.integers(0, 10**17), "uom": st.just("KGM")}
    ),
    max_size=2,
)  # fmt: skip
REPORTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["gs1:Temperature", "Temperature", "https://gs1.org/voc/Mass"])},
    optional={
        "value": st.floats(-1e9, 1e9), "sDev": st.integers(0, 9), "booleanValue": st.booleans(), "stringValue": PLAIN,
        "time": st.just("2026-03-04T11:00:30+01:00"), "ex:more": PLAIN, "bizRules": st.just("urn:x:1"),
    },
)  # fmt: skip
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "eventID": URIS,
    "epcList": EPCS,
    "childEPCs": EPCS,
    "quantityList": QUANTITIES,
    "inputQuantityList": QUANTITIES,
    "parentID": URIS,
    "action": st.sampled_from(["ADD", "OBSERVE"]),
    "bizStep": st.sampled_from(["shipping", "cbv:BizStep-shipping", "urn:epcglobal:cbv:bizstep:shipping"]),
    "persistentDisposition": st.fixed_dictionaries(
        {}, optional={"set": st.lists(st.just("active"), min_size=1), "unset": st.lists(st.just("expired"), min_size=1)}
    ),
    "readPoint": st.fixed_dictionaries({"id": URIS}, optional={"ex:a": EXTENSIONS}),
    "certificationInfo": URIS | st.lists(URIS, min_size=1, max_size=3),
    "sourceList": st.lists(st.fixed_dictionaries({"type": st.just("location"), "source": URIS}), max_size=2),
    "bizTransactionList": st.lists(
        st.fixed_dictionaries({"bizTransaction": URIS}, optional={"type": st.just("po")}), max_size=2
    ),
    "sensorElementList": st.lists(
        st.fixed_dictionaries(
            {"sensorReport": st.lists(REPORTS, min_size=1, max_size=2)},
            optional={"sensorMetadata": st.fixed_dictionaries({"deviceID": URIS}), "ex:a": EXTENSIONS},
        ),
        max_size=2,
    ),
    "ilmd": st.dictionaries(st.sampled_from(["cbvmda:lotNumber", "ex:a", "ex:b"]), EXTENSIONS, max_size=3),
    "ex:a": EXTENSIONS,
    "cbvmda:b": EXTENSIONS,
    "ex:wallList": LISTS,
    "unknown": EXTENSIONS,
}  # fmt: skip
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["ObjectEvent", "AggregationEvent", "AssociationEvent"]), "eventTime": st.just("2026-03-04T10:00:30Z")},
    optional=MEMBERS,
)  # fmt: skip


@given(EVENTS, st.sampled_from([1, 2]))
@settings(max_examples=300, deadline=None)
def test_an_event_written_as_xml_has_the_same_hash(event: dict[str, Any], version: int) -> None:
    expected = pre_hash(event, CONTEXT)
    assert hashed(event_element(event, version=version)) == expected
    # Cut out of a document and read with the namespaces around it: the same again.
    cut = documents.read(xml_document(event_element(event, version=version)), Limits())
    read = read_event(cut.events[0], cut.context_of(0))
    assert event_hash(read, cut.context_of(0)) == event_hash(event, CONTEXT)


def events_of(path: Path) -> tuple[list[dict[str, Any]], list[Any], frozenset[str]]:
    found = documents.read(path.read_bytes(), Limits())
    contexts = [found.context_of(sequence) for sequence in range(len(found.events))]
    return (
        [read_event(*each) for each in zip(found.events, contexts, strict=True)],
        contexts,
        found.ignored,
    )


@needs_shared
@pytest.mark.parametrize("path", sorted(SHARED.glob("examples/*.xml")), ids=lambda path: path.stem)
def test_published_hashes_of_the_reference(path: Path) -> None:
    events, contexts, ignore = events_of(path)
    found = [pre_hash(*each, ignore=ignore) for each in zip(events, contexts, strict=True)]
    assert found == path.with_suffix(".prehashes").read_text().strip().splitlines()
    assert [event_hash(*each, ignore=ignore) for each in zip(events, contexts, strict=True)] == (
        path.with_suffix(".hashes").read_text().split()
    )


@needs_shared
@pytest.mark.parametrize("path", sorted(SHARED.glob("expected_equal/*.xml")), ids=lambda path: path.stem)
def test_events_published_as_equal(path: Path) -> None:
    events, contexts, ignore = events_of(path)
    assert len(events) > 1
    assert len({event_hash(*each, ignore=ignore) for each in zip(events, contexts, strict=True)}) == 1


BARE = "4A6F1B1C-0a5e-4c9b-8d1c-1f2e3d4c5b6a"


def identified(event_id: str, declaration: str = "") -> bytes:
    return f"<ObjectEvent>{declaration}<eventID>{event_id}</eventID></ObjectEvent>".encode()


def test_a_bare_uuid_is_an_event_id_and_a_correction_finds_its_event() -> None:
    assert read_event(identified(f" {BARE}\n"), None)["eventID"] == f"urn:uuid:{BARE}"
    ids = f"<correctiveEventIDs><correctiveEventID>{BARE}</correctiveEventID></correctiveEventIDs>"
    declaration = f"<baseExtension><errorDeclaration>{ids}</errorDeclaration></baseExtension>"
    event = read_event(identified("urn:uuid:1", declaration), None)
    assert event["errorDeclaration"]["correctiveEventIDs"] == [f"urn:uuid:{BARE}"]


@pytest.mark.parametrize("text", ["urn:uuid:1", "1234", f"{{{BARE}}}", BARE.replace("-", ""), f"{BARE}0"])
def test_any_other_event_id_stays_what_it_is(text: str) -> None:
    assert read_event(identified(text), None)["eventID"] == text


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_event_id_is_none(text: str) -> None:
    assert "eventID" not in read_event(identified(text), None)
    assert "eventID" not in read_event(b"<ObjectEvent><eventID/></ObjectEvent>", None)
