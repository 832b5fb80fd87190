"""XML documents: what is accepted and cut out, what is refused and where, and that hostile ones cost little."""

import contextlib
import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.event_content import read_event
from goodstrace.event_hash import MAX_DEPTH
from goodstrace.xml_names import MAX_PREFIXES
from services.collector import documents
from services.collector.documents import Document, Limits
from services.collector.errors import DocumentError, Fault
from services.collector.flow import Item
from services.collector.xml_documents import MAX_NAMES
from tests.unit.collector_builders import (
    collected,
    document,
    facts_of,
    items_of,
    object_event,
    processed_document,
    run_all,
    wires,
)
from tests.unit.xml_builders import NAMESPACES, element, event_element, leaf, xml_document

LIST = "/epcis:EPCISDocument/EPCISBody/EventList"
EVENT = event_element(object_event())
WHOLE = xml_document(EVENT)
REPOSITORY = 'xmlns:r="https://repository-x.example.com/"'


def read(text: bytes, **limits: int) -> Document:
    return documents.read(text, Limits(**limits))


def refusal(text: bytes, **limits: int) -> tuple[str, str, bool]:
    with pytest.raises(DocumentError) as refused:
        read(text, **limits)
    fault = refused.value.faults[0]
    return fault.pointer, fault.detail, refused.value.too_large


def fault_of(*elements: str, **options: Any) -> Fault | None:
    return collected(xml_document(*elements, **options))[-1].fault


# ---- what is taken


def test_an_event_keeps_its_exact_bytes() -> None:
    first = "<ObjectEvent\n a:b='>'  xmlns:a = \"urn:a\" >é<!-- </ObjectEvent> -->\r\n<ObjectEvent/><![CDATA[</ObjectEvent>]]></ObjectEvent \t>"
    second, third = "<ObjectEvent a='/>' b=\">\"/>", "<ex:Other><ex:Other></ex:Other></ex:Other>"
    for start in (b"", b"\xef\xbb\xbf"):
        taken = read(start + xml_document(first, second, third))
        assert taken.events == (first.encode(), second.encode(), third.encode())
    assert [each.path for each in taken.starts] == [
        f"{LIST}/ObjectEvent[1]",
        f"{LIST}/ObjectEvent[2]",
        f"{LIST}/ex:Other[1]",
    ]
    assert [each.line for each in taken.starts] == [3, 6, 7]


def test_the_namespaces_around_each_event_are_kept_with_it() -> None:
    wrapped = (
        f'<extension xmlns:b="urn:b" xmlns="urn:d"><epcis:extension>{EVENT}</epcis:extension></extension>'
    )
    taken = read(xml_document(EVENT, wrapped.replace('xmlns="urn:d"', 'xmlns=""'), EVENT))
    assert [taken.context_of(number) for number in range(3)] == [
        {"xmlns": NAMESPACES},
        {"xmlns": {**NAMESPACES, "b": "urn:b"}},
        {"xmlns": NAMESPACES},
    ]
    assert taken.starts[1].path == f"{LIST}/extension[1]/epcis:extension[1]/ObjectEvent[1]"
    # In another namespace `extension` is an event of nobody's.
    assert len(read(xml_document(wrapped)).events) == 1
    assert read(xml_document(wrapped)).events[0].startswith(b"<extension")


def test_each_event_has_the_hash_of_its_own_namespaces() -> None:
    event = event_element(object_event(**{"ex:size": 42}))
    wrapped = f'<extension xmlns:ex="urn:another">{event}</extension>'
    found = [each.outcome for each in collected(xml_document(event, event, wrapped, event))]
    facts = [each.facts for each in found if isinstance(each, Item)]
    assert [each.context["xmlns"]["ex"] for each in facts] == [
        NAMESPACES["ex"],
        NAMESPACES["ex"],
        "urn:another",
        NAMESPACES["ex"],
    ]
    usual, again, other, last = (each.event_hash for each in facts)
    assert usual == again == last != other


def test_what_was_captured_as_xml_has_the_facts_of_its_json_twin() -> None:
    event = object_event(action="ADD", ilmd={"cbvmda:lotNumber": "A/1"}, sourceList=[{"type": "location", "source": "urn:s:1"}],
                         quantityList=[{"epcClass": "urn:epc:class:lgtin:4012345.012345.998877", "quantity": 200.50, "uom": "KGM"}])  # fmt: skip
    context = {"cbvmda": NAMESPACES["cbvmda"], "ex": NAMESPACES["ex"]}
    twin = facts_of({**event, "@context": context})
    for version in (1, 2):
        (item,) = processed_document(xml_document(event_element(event, version=version), version=version))
        found = item.facts
        assert found.context["xmlns"]["ex"] == NAMESPACES["ex"]
        for name in ("event_id", "event_hash", "keys", "quantities", "lot_of", "sources", "time_us", "flags"):
            assert getattr(found, name) == getattr(twin, name), name
        content = item.record.part("event").content
        assert read_event(content, found.context)["ilmd"] == event["ilmd"]


def test_a_second_capture_in_the_other_encoding_is_a_duplicate() -> None:
    event = object_event()
    values = [*wires(collected(document(event))), *wires(collected(xml_document(event_element(event))))]
    output = run_all(values)
    assert (len(items_of(output)), len(output.rejected)) == (1, 1)


def test_a_bare_event_has_its_own_namespaces_only() -> None:
    bare = event_element(object_event(**{"ex:a": "1"}), outer=False)
    taken = read(f"<?xml version='1.0'?>\n<!-- one -->{bare}<!-- end -->".encode())
    assert taken.events == (bare.encode(),)
    assert (taken.place, taken.context_of(0)) == (None, None)
    assert taken.pointer(0) == "/ObjectEvent"


@pytest.mark.parametrize("place", ["root", "results"])
def test_fields_to_ignore_count_in_one_namespace_only(place: str) -> None:
    ignoring = f'<r:ignoreFields {REPOSITORY}><ex:a/><y:b xmlns:y="urn:y"/><c/></r:ignoreFields>'
    body = xml_document(EVENT, head=ignoring if place == "root" else "", query=True)
    if place == "results":
        body = body.replace(b"<queryName>", ignoring.encode() + b"<queryName>")
    taken = read(body)
    assert taken.ignored == {"{https://ns.example.com/epcis/}a", "{urn:y}b", "c"}
    assert not read(body.replace(b"repository-x", b"repository-y")).ignored
    plain, more = object_event(), object_event(**{"ex:a": "1"})
    (one,) = collected(xml_document(event_element(plain)))
    (other,) = collected(xml_document(event_element(more), head=ignoring))
    assert isinstance(one.outcome, Item)
    assert isinstance(other.outcome, Item)
    assert other.outcome.facts.event_hash == one.outcome.facts.event_hash
    found = other.outcome.facts
    assert found.hash_ignores == ("c", "{https://ns.example.com/epcis/}a", "{urn:y}b")


def test_what_lies_beside_the_events_is_passed_over() -> None:
    head = element("EPCISHeader", element("extension", element("EventList", EVENT)) + leaf("x", "<&>"))
    assert len(read(xml_document(EVENT, head=head)).events) == 1
    assert read(xml_document()).events == ()
    old = xml_document(EVENT).replace(b"epcis:xsd:2", b"epcis:xsd:1").replace(b'"2.0"', b'"1.1"')
    assert len(read(old).events) == 1


# ---- what is refused, and where


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        (b"<", "", "line 1, column"),
        (b"<a/>", "/a", "must be one of EPCISDocument"),
        (b"<x:EPCISDocument xmlns:x='urn:x'/>", "/x:EPCISDocument", "must be one of"),
        (b"<x:EPCISDocument/>", "", "'x:EPCISDocument' is not declared (line 1, column 1)"),
        (b"<EPCISDocument/>", "/EPCISDocument/@schemaVersion", "is missing"),
        (WHOLE.replace(b'"2.0"', b'"3.0"'), "/epcis:EPCISDocument/@schemaVersion", "version 1 or 2"),
        (WHOLE.replace(b'2026-01-02T03:04:05Z">', b'today">'), "/epcis:EPCISDocument/@creationDate", "date"),
        (WHOLE.replace(b"EventList", b"Eventlist"), "", "there is no EventList"),
        (WHOLE.replace(b"</EventList>", b"</EventList><EventList/>"), "/epcis:EPCISDocument/EPCISBody", "a second EventList"),
        (WHOLE.replace(b"</action>", b"</Action>"), f"{LIST}/ObjectEvent[1]", "mismatched tag (line 3"),
        (WHOLE[:-10], "/epcis:EPCISDocument", "unclosed token (line 3, column"),
        (WHOLE + b"<a/>", "", "junk after document element (line 4, column 1)"),
        (WHOLE.replace(b"OBSERVE", b"OBS\x00RVE"), f"{LIST}/ObjectEvent[1]", "not well-formed (invalid token) (line 3"),
        (WHOLE.replace(b"OBSERVE", b"OBS\xffRVE"), "", "not UTF-8 at byte"),
        (WHOLE.replace(b"OBSERVE", b"&open;"), f"{LIST}/ObjectEvent[1]", "undefined entity (line 3"),
        (WHOLE.replace(b"UTF-8", b"ISO-8859-1"), "", "the encoding 'ISO-8859-1' is not taken: send UTF-8 (line 1"),
        (WHOLE.decode().encode("utf-16"), "", "not UTF-8"),
        (WHOLE.decode().encode("utf-16-le"), "", "UTF-16"),
        (b"<!DOCTYPE a []>" + WHOLE[39:], "", "a document type declaration is not taken (line 1)"),
        (WHOLE.replace(b"?>\n", b"?>\n<?x <!?>\n<!-- <a> -->\n<!DOCTYPE a SYSTEM 'http://127.0.0.1/'>"), "", "is not taken (line 4)"),
        (WHOLE.replace(b"?>\n", b"?>\n<!-- -- -->\n<!DOCTYPE a>"), "", "(line 3"),
        (WHOLE.replace(b"<EPCISBody>", b"<!DOCTYPE a><EPCISBody>"), "/epcis:EPCISDocument", "not well-formed"),
        (xml_document(head="<a>" * MAX_DEPTH + "</a>" * MAX_DEPTH), "/epcis:EPCISDocument" + "/a" * 63, "deeper than 64"),
        (xml_document("<a>" * 65 + "</a>" * 65), f"{LIST}/a[1]", "deeper than 64"),
        (xml_document(head="<z:a/>"), "/epcis:EPCISDocument", "'z:a' is not declared (line 2"),
        (xml_document(head="<" + "a" * 2000 + "/>"), "/epcis:EPCISDocument", "a name is over 1024 characters"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused_with_its_place(body: bytes, pointer: str, detail: str) -> None:
    where, what, too_large = refusal(body)
    assert where == pointer
    assert detail in what
    assert not too_large


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "US-ASCII", "us-ascii"])
def test_a_declared_encoding_may_be_utf_8_or_its_subset(encoding: str) -> None:
    assert len(read(WHOLE.replace(b"UTF-8", encoding.encode())).events) == 1


@pytest.mark.parametrize(
    ("changes", "version", "place", "detail"),
    [
        ({"eventTime": "today"}, 2, "/eventTime", "must be a date and time"),
        ({"eventTime": None}, 2, "/eventTime", "is missing"),
        ({"epcList": ["urn:a:1", "b"]}, 2, "/epcList/epc[2]", "must be a URI"),
        ({"readPoint": {"ex:a": "1"}}, 2, "/readPoint/id", "is missing"),
        ({"quantityList": [{"epcClass": "urn:a:1"}, {"epcClass": "urn:a:2", "quantity": "much"}]}, 1,
         "/extension/quantityList/quantityElement[2]/quantity", "must be a number"),
        ({"quantityList": [{"epcClass": "urn:a:1", "quantiy": "1"}]}, 2,
         "/quantityList/quantityElement/quantiy", "no member that the standard knows"),
        ({"sourceList": [{"type": "location", "source": "x"}]}, 1, "/extension/sourceList/source", "must be a URI"),
        ({"sourceList": [{"type": "x", "source": "urn:a:1"}]}, 2, "/sourceList/source/@type", "must be a term"),
        ({"bizTransactionList": [{"bizTransaction": "urn:a:1"}, {"type": "x", "bizTransaction": "urn:a:1"}]}, 2,
         "/bizTransactionList/bizTransaction[2]/@type", "must be a term"),
        ({"sensorElementList": [{"sensorReport": [{"value": 1}]}, {"sensorReport": [{"value": 1}, {"value": "x"}]}]}, 2,
         "/sensorElementList/sensorElement[2]/sensorReport[2]/@value", "must be a number"),
        ({"errorDeclaration": {"declarationTime": "2026-01-01T00:00:00Z", "correctiveEventIDs": ["urn:a:1", "b"]}}, 1,
         "/baseExtension/errorDeclaration/correctiveEventIDs/correctiveEventID[2]", "must be a URI"),
        ({"persistentDisposition": {"set": ["active", "x"]}}, 2, "/persistentDisposition/set[2]", "must be a term"),
        ({"certificationInfo": ["urn:a:1", "b"]}, 2, "/certificationInfo[2]", "must be a URI"),
        ({"epcList": None}, 2, "/epcList", "is missing, and so are"),
        ({"type": "OtherEvent"}, 2, "", "must be one of ObjectEvent"),
        ({"nothing:a": "1"}, 2, "/nothing:a", "'nothing:a' is not declared"),
        ({"epcList": [" "]}, 2, "/epcList/epc", "must be a URI"),
    ],
)  # fmt: skip
def test_a_fault_of_an_event_names_the_element(
    changes: dict[str, Any], version: int, place: str, detail: str
) -> None:
    event = object_event(**changes)
    written = event_element(event, version=version)
    fault = fault_of(EVENT, written, version=version)
    assert fault is not None
    number = 2 if event["type"] == "ObjectEvent" else 1
    assert fault.pointer == f"{LIST}/{event['type']}[{number}]{place}"
    assert detail in fault.detail
    told = re.fullmatch(r".* \(line 4, column (\d+)\)", fault.detail)
    assert told is not None
    last = place.rpartition("/")[2].partition("[")[0].removeprefix("@")
    there = written[int(told[1]) - 1 :]
    if "@" not in place and "missing" not in detail and last != "type":
        assert there.startswith(f"<{last}")
    else:
        assert there.startswith("<")


def test_a_fault_of_a_quantity_event_names_its_own_element() -> None:
    event = event_element(
        object_event(type="QuantityEvent", epcList=None, epcClass="urn:a:1", quantity="much")
    )
    fault = fault_of(EVENT, event)
    assert fault is not None
    assert fault.pointer == f"{LIST}/QuantityEvent[1]/quantity"
    assert event[int(fault.detail.rpartition(" ")[2][:-1]) - 1 :].startswith("<quantity>")


def test_lines_and_columns_count_from_the_document() -> None:
    event = "<ObjectEvent>\n  <epcList>\n    <foo/>\n</epcList></ObjectEvent>"
    fault = fault_of(EVENT, event)
    assert fault == Fault(
        f"{LIST}/ObjectEvent[2]/epcList/foo", "'foo' is no element of 'epcList' (line 6, column 5)"
    )


# ---- limits and hostile documents


def test_limits_of_body_and_events() -> None:
    assert refusal(WHOLE, body=100)[2]
    where, what, too_large = refusal(xml_document(EVENT, EVENT), events=1)
    assert (where, too_large) == (LIST, True)
    assert "more than 1 events" in what
    (large,) = collected(xml_document(event_element(object_event(**{"ex:a": "x" * 2_000_000}))))
    assert large.fault is not None
    assert large.fault.pointer == f"{LIST}/ObjectEvent[1]"
    assert "over 1048576 bytes" in large.fault.detail


@pytest.mark.parametrize(
    "head",
    [
        f"<a b='{'x' * 3_000_000}'/>",
        f"<!--{'x' * 3_000_000}-->",
        f"<?x {'x' * 3_000_000}?>",
        "<a " + " ".join(f"b{n}=''" for n in range(300_000)) + "/>",
    ],
    ids=["attribute", "comment", "instruction", "attributes"],
)
def test_a_tag_or_comment_is_limited(head: str) -> None:
    _, what, too_large = refusal(xml_document(EVENT, head=head))
    assert too_large
    assert "a tag or comment is over 1048576 bytes" in what or "different names" in what


def test_different_names_are_limited() -> None:
    head = "".join(f"<a{n}/>" for n in range(MAX_NAMES))
    _, what, too_large = refusal(xml_document(EVENT, head=head))
    assert too_large
    assert f"more than {MAX_NAMES} different names" in what
    _, what, _ = refusal(xml_document(f"<ObjectEvent>{head}</ObjectEvent>"))
    assert "different names" in what


def test_declared_namespaces_are_limited() -> None:
    declared = " ".join(f'xmlns:p{n}="urn:{n}"' for n in range(MAX_PREFIXES + 1))
    assert "prefixes are declared" in refusal(xml_document(head=f"<a {declared}/>"))[1]
    # Each event is kept with the namespaces around it.
    many = xml_document(f'<extension xmlns:long="{"u" * 1000}">{"<ObjectEvent/>" * 100}</extension>')
    _, what, too_large = refusal(many, body=50_000)
    assert too_large
    assert "namespaces of" in what


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 30))


@pytest.mark.parametrize(
    "body",
    [
        f'<!DOCTYPE a [<!ENTITY e0 "lol">{BOMB}]><a>&e29;</a>'.encode(),
        xml_document(EVENT, head="<a>" * 2_000_000),
        xml_document("<a>" * 2_000_000),
        xml_document(EVENT, head="".join(f"<a{n}/>" for n in range(800_000))),
        xml_document(EVENT, head=f"<a b='{'x' * 8_000_000}'/>"),
        xml_document(EVENT, head="<a xmlns:b='urn:b'/>" * 10_000),
        xml_document(*["<ObjectEvent><a/></ObjectEvent>"] * 9_000),
        WHOLE + b" " * 4_000_000,
        b"<" + b" " * 4_000_000,
        b"<?x " + b"?" * 4_000_000,
        b"<!--" + b"- " * 2_000_000,
    ],
    ids=["entities", "depth", "depth of an event", "names", "attribute", "declarations", "wide", "space",
         "space in a tag", "instruction", "comment"],
)  # fmt: skip
def test_what_is_read_of_a_hostile_document_takes_little_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(DocumentError):
            read(body)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * len(body) + 4 * 1024 * 1024


def test_an_event_of_many_pieces_of_text_is_read_in_time_that_grows_with_it() -> None:
    content = b"<ObjectEvent><a>" + b"x<!---->" * 100_000 + b"</a></ObjectEvent>"
    assert len(read_event(content, None)["a"]) == 100_000


@given(
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
    st.integers(0, len(WHOLE)),
    st.integers(0, 9),
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_a_document_or_one_typed_error(noise: bytes, at: int, gone: int) -> None:
    for body in (b"<" + noise, WHOLE[:at] + noise + WHOLE[at + gone :], WHOLE.replace(b"<action>", noise)):
        try:
            taken = read(body)
        except DocumentError:
            continue
        assert all(event in body for event in taken.events)
        for sent in collected(body):
            assert (sent.fault is None) or sent.fault.pointer


PIECES = st.sampled_from([
    "<", ">", "</", "/>", "<a", "<a>", "</a>", "<ex:a ", "</ex:a>", "<extension>", "</extension>", "<epcList>", "</epcList>",
    "<epc>", "</epc>", "xmlns:b='urn:b'", " b:c='1'", "<b:c>", "</b:c>", "&lt;", "&#0;", "&#x10FFFF;", "&e;", "<![CDATA[", "]]>",
    "<!--", "-->", "<?a", "?>", "<!DOCTYPE a [", "<!ENTITY e 'x'>", "]>", "<ObjectEvent>", "</ObjectEvent>", "<EventList>",
    "</EventList>", "'", '"', "=", "\n", "é", "text", "ex:a", "<ilmd>", "</ilmd>", "<sensorReport value='x'/>",
])  # fmt: skip


@given(st.lists(PIECES, max_size=25), st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_pieces_of_xml_give_a_document_or_one_typed_error(pieces: list[str], inside: bool) -> None:
    noise = "".join(pieces)
    body = xml_document(f"<ObjectEvent>{noise}</ObjectEvent>") if inside else xml_document(noise)
    try:
        taken = read(body)
    except DocumentError:
        return
    assert all(event in body for event in taken.events)
    for sent in collected(body):
        assert (sent.fault is None) or sent.fault.pointer.startswith(LIST)


def test_an_event_of_a_bare_uuid_is_that_of_its_urn_in_json_and_keeps_its_bytes() -> None:
    uuid = "4a6f1b1c-0a5e-4c9b-8d1c-1f2e3d4c5b6a"
    event = object_event(eventID=f"urn:uuid:{uuid}")
    bare = event_element(event, version=1).replace(f"urn:uuid:{uuid}", uuid)
    (xml,) = processed_document(xml_document(bare, version=1))
    (json,) = processed_document(document(event))
    assert xml.record.part("event").content == bare.encode()
    assert (xml.facts.event_id, xml.facts.event_hash) == (json.facts.event_id, json.facts.event_hash)


def test_an_empty_event_id_leaves_the_event_hash_as_its_id() -> None:
    bare = event_element(object_event(eventID="urn:a:b")).replace("urn:a:b", "")
    (item,) = processed_document(xml_document(bare))
    assert item.facts.event_id == item.facts.event_hash
