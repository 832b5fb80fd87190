"""Personal data in events: found by the table, cut out of the bytes, put back; nothing else changes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.errors import EntryError
from goodstrace.event_content import read_event
from goodstrace.personal_part import Cut, Personal, decode, encode, put_back, values
from services.collector import strict_json
from services.collector.errors import BookError
from services.collector.personal.finding import Finder, Path
from services.collector.personal.table import Table, built_in, folded, with_operators
from services.collector.personal.taking_out import take_out
from tests.vector_files import vectors

TABLE = built_in()
VECTORS = vectors("personal_part")["vectors"]
EVENT = {
    "type": "ObjectEvent",
    "eventID": "urn:uuid:1",
    "eventTime": "2026-01-31T08:00:00Z",
    "eventTimeZoneOffset": "+00:00",
    "epcList": ["urn:epc:id:sgtin:4012345.011111.1"],
    "action": "OBSERVE",
    "bizStep": "shipping",
}
_NAMED = ("ex:givenName", "https://gs1.org/voc/streetAddress", "Consumer-Name", "postal_code", "E.Mail")
_PLAIN = ("ex:weight", "colour", "a/b~c", "é", "lot", 'quo"te')
_TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
_SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.sampled_from([1.5, -0.25]) | _TEXT
_NAMES = st.sampled_from(_NAMED + _PLAIN)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS | st.sampled_from(["mailto:ann@example.org", "tel:+41446681800", "ann@example.org"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=5),
    max_leaves=25,
)
_LISTS: st.SearchStrategy[list[dict[str, str]]] = st.lists(
    st.sampled_from(
        [
            {"type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:0614141073467:1152"},
            {"type": "po", "bizTransaction": "https://shop.example.com/customer-orders/77"},
            {"type": "po", "bizTransaction": "urn:example:consumer-order:77", "ex:note": "x"},
            {"type": "po", "bizTransaction": "urn:example:1", "ex:givenName": "Ann"},
        ]
    ),
    max_size=4,
)


@st.composite
def _events(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    event: dict[str, Any] = dict(EVENT)
    extensions = draw(st.dictionaries(_NAMES.map(lambda name: f"x:{name}"), _VALUES, max_size=4))
    event |= extensions
    if draw(st.booleans()):
        event["bizTransactionList"] = draw(_LISTS)
    if draw(st.booleans()):
        event["readPoint"] = {
            "id": draw(st.sampled_from(["geo:47.3,8.5", "urn:epc:id:sgln:4012345.00002.0"]))
        }
        event["disposition"] = draw(st.sampled_from(["retail_sold", "in_transit"]))
    shuffled = dict(draw(st.permutations(list(event.items()))))
    space = draw(st.sampled_from([None, 1, "\t", "\n \r "]))
    text = json.dumps(shuffled, ensure_ascii=draw(st.booleans()), indent=space)
    return shuffled, text.encode()


def find(event: dict[str, Any], context: object, table: Table) -> tuple[Path, ...]:
    return Finder(context, table).find(event)


def _without(value: Any, paths: tuple[Path, ...], at: Path = ()) -> Any:
    """Take members and items out of decoded JSON: the oracle."""
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if (*at, name) not in paths}
        return {name: _without(each, paths, (*at, name)) for name, each in kept.items()}
    if isinstance(value, list):
        return [
            _without(each, paths, (*at, index))
            for index, each in enumerate(value)
            if (*at, index) not in paths
        ]
    return value


@given(_events())
def test_what_is_cut_out_and_put_back_is_the_event_and_nothing_named_stays(case: tuple[Any, bytes]) -> None:
    event, content = case
    event = strict_json.parse(content)
    paths = find(event, None, TABLE)
    cut, personal = take_out(content, paths, TABLE)
    left = strict_json.parse(cut)
    assert put_back(cut, personal) == content
    assert left == _without(event, paths)
    assert find(left, None, TABLE) == ()
    if not paths:
        assert cut == content
        assert not personal.cuts
    assert decode(encode(personal)) == personal
    told = values(cut, None, personal)
    assert len(told) == len(paths)
    for path in paths:
        wanted = event
        for step in path:
            wanted = wanted[step]
        assert told[strict_json.pointer(*path)] == wanted


@pytest.mark.parametrize(
    ("extension", "found"),
    [
        ({"ex:consumer": {"name": "Ann"}}, ["/ex:consumer"]),
        ({"ilmd": {"ex:given_name": "Ann", "ex:lot": "1"}}, ["/ilmd/ex:given_name"]),
        ({"ex:a": [{"b": {"http://schema.org/telephone": 1}}]}, ["/ex:a/0/b/http:~1~1schema.org~1telephone"]),
        ({"ex:note": "call +41 44 668 18 00 first"}, ["/ex:note"]),
        ({"ex:note": "ring 044 668 18 00"}, ["/ex:note"]),
        ({"ex:note": ["13812345678"]}, ["/ex:note"]),
        ({"ex:remarks": "to ann@example.org"}, ["/ex:remarks"]),
        ({"ex:note": "lot 2026-01-31, 4012345000009"}, []),
        ({"ex:site": "MAILTO:ann@example.org"}, ["/ex:site"]),
        ({"destinationList": [{"type": "location", "destination": "geo:1,2"}]}, ["/destinationList/0"]),
        ({"sourceList": [{"type": "owning_party", "source": "tel:+41446681800"}]}, ["/sourceList/0"]),
        ({"readPoint": {"id": "geo:1,2"}}, []),
        ({"readPoint": {"id": "geo:1,2"}, "bizStep": "urn:epcglobal:cbv:bizstep:retail_selling"}, ["/readPoint"]),
        ({"readPoint": {"id": "geo:1,2"}, "disposition": "dispensed"}, ["/readPoint"]),
        ({"readPoint": {"id": "mailto:a@example.org"}}, ["/readPoint"]),
        ({"readPoint": {"id": "urn:x:1", "ex:street": "Road 1"}}, ["/readPoint/ex:street"]),
        ({"errorDeclaration": {"declarationTime": "", "reason": "ann@example.org said so"}}, ["/errorDeclaration/reason"]),
        ({"@context": [{"who": {"@id": "ex:familyName"}}], "who": "Roe"}, ["/who"]),
        ({"@context": {"ex": "https://ns.example.com/address/"}, "ex:x": 1}, []),
    ],
)  # fmt: skip
def test_the_table_names(extension: dict[str, Any], found: list[str]) -> None:
    event = EVENT | extension
    assert [strict_json.pointer(*path) for path in find(event, None, TABLE)] == found
    cut, _ = take_out(json.dumps(event).encode(), find(event, None, TABLE), TABLE)
    assert find(json.loads(cut), None, TABLE) == ()


def test_a_name_given_by_the_documents_context_is_known() -> None:
    event = EVENT | {"n": "Ann"}
    assert find(event, {"n": "https://schema.org/givenName"}, TABLE) == (("n",),)
    assert find(event, None, TABLE) == ()


XML = (
    '<ObjectEvent xmlns:ex="https://ex.example/"><eventTime>2026-01-31T08:00:00Z</eventTime>'
    "<eventTimeZoneOffset>+00:00</eventTimeZoneOffset><epcList><epc>urn:epc:id:sgtin:4012345.011111.1</epc></epcList>"
    "<action>OBSERVE</action>{}</ObjectEvent>"
)


@pytest.mark.parametrize(
    ("extension", "stays"),
    [
        ("<ex:givenName>Ann</ex:givenName><ex:colour>blau</ex:colour>", "<ex:colour>blau</ex:colour>"),
        ('<ex:buyer ex:email="a@b.ch"><ex:x/></ex:buyer>', ""),
        ("<ex:a><ex:consumer><ex:street>é</ex:street></ex:consumer><ex:b/></ex:a>", "<ex:a><ex:b/></ex:a>"),
        ("<ex:note>ann@example.org</ex:note><!-- c -->", "<!-- c -->"),
        ("<readPoint><id>geo:1,2</id></readPoint><disposition>dispensed</disposition>", "<disposition>dispensed</disposition>"),
        (
            '<bizTransactionList><bizTransaction type="po">urn:x:consumer-order:1</bizTransaction><bizTransaction type="po">urn:x:1</bizTransaction></bizTransactionList>',
            '<bizTransactionList><bizTransaction type="po">urn:x:1</bizTransaction></bizTransactionList>',
        ),
        (
            '<extension><destinationList><destination type="location">geo:1,2</destination></destinationList></extension>',
            "<extension><destinationList></destinationList></extension>",
        ),
        ("<ex:site>tel:+41446681800</ex:site>", ""),
        ("<ex:phoneList><ex:phone>1</ex:phone><ex:phone>2</ex:phone></ex:phoneList>", ""),
        ("<ex:street/>", ""),
    ],
)  # fmt: skip
def test_elements_are_cut_out_of_xml(extension: str, stays: str) -> None:
    content = XML.format(extension).encode()
    event = read_event(content, None)
    paths = find(event, None, TABLE)
    assert paths
    cut, personal = take_out(content, paths, TABLE)
    assert cut == XML.format(stays).encode()
    assert put_back(cut, personal) == content
    assert find(read_event(cut, None), None, TABLE) == ()


def test_nothing_is_taken_for_words_of_the_trade() -> None:
    event = EVENT | {
        "ex:carrier": "urn:epc:id:pgln:4012345.00001",
        "ilmd": {"ex:countryOfOrigin": "CH", "ex:note": "keep below 8 degrees, batch 12/2026"},
        "sensorElementList": [{"sensorReport": [{"type": "Temperature", "value": 4.5, "uom": "CEL"}]}],
    }
    content = msgspec.json.encode(event)
    assert find(event, None, TABLE) == ()
    assert take_out(content, (), TABLE)[0] == content


def test_an_operators_table_adds_to_the_programs() -> None:
    own = with_operators(b'version = "7"\n[[members]]\nnames = ["shoeSize"]\n')
    event = EVENT | {"ex:shoe-size": 42, "ex:email": "a@b.ch"}
    assert find(event, None, own) == (("ex:shoe-size",), ("ex:email",))
    assert own.name.startswith("1 7 sha256:")


@given(
    st.lists(
        st.text("@+0123456789 .-()/aZ\u0661")
        | st.sampled_from(["ann@example.org", "+41 44 668 18 00", "044 668 18 00"]),
        max_size=4,
    ).map("".join)
)
def test_what_a_text_needs_to_be_searched_changes_nothing_of_what_is_found(text: str) -> None:
    for wording in TABLE.texts.values():
        assert wording.needs
        assert wording.is_in(text) == (wording.pattern.search(text) is not None)


def test_words_of_an_operator_that_say_nothing_of_what_they_need_are_looked_for_in_all_texts() -> None:
    own = with_operators(b'version = "7"\n[[texts]]\nnames = ["note", "shoe"]\npatterns = ["size"]\n')
    assert find({"ex:note": "my size", "shoe": "size", "remark": "size"}, None, own) == (
        ("ex:note",),
        ("shoe",),
    )
    needing = with_operators(
        b'version = "7"\n[[texts]]\nnames = ["note", "shoe"]\npatterns = ["size"]\nneeds = "z"\n'
    )
    assert find({"ex:note": "my size", "shoe": "a@b.ch", "notes": "a@b.ch"}, None, needing) == (
        ("ex:note",),
        ("notes",),
    )
    assert set(needing.texts["note"].needs) == {*TABLE.texts["note"].needs, "z"}


@pytest.mark.parametrize(
    "text",
    [
        b"version = 1",
        b'version = "1"\n[[members]]\nname = ["x"]',
        b'version = "1"\n[[values]]\npatterns = ["("]',
        b'version = "1"\n[[values]]\npatterns = ["x"]\nplaces = ["epcList"]',
        b'version = "a b"',
        b"\xff",
        b"version",
        b"#" * 300_000,
    ],
)
def test_what_is_no_table_is_refused(text: bytes) -> None:
    with pytest.raises(BookError):
        with_operators(text)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"cuts":[],"pointers":[],"table":"1","v":2}', b"\xff"])
def test_what_is_no_personal_part_is_refused(content: bytes) -> None:
    with pytest.raises(EntryError):
        decode(content)


@given(st.binary(max_size=20), st.lists(st.tuples(st.integers(-5, 50), st.text(max_size=3)), max_size=4))
def test_putting_back_what_does_not_fit_is_an_error_and_nothing_else(
    content: bytes, cuts: list[tuple[int, str]]
) -> None:
    personal = Personal(tuple(Cut(at, text) for at, text in cuts), (), "1")
    try:
        whole = put_back(content, personal)
    except EntryError:
        return
    assert len(whole) >= len(content)


def test_a_pointer_that_leads_nowhere_is_an_error() -> None:
    with pytest.raises(EntryError):
        values(b"{}", None, Personal((), ("/a",), "1"))


def test_bytes_that_cannot_be_read_are_searched_for_names() -> None:
    assert TABLE.may_name(b'{"Given_Name": "Ann"')
    assert not TABLE.may_name(b'{"epcList": [')
    assert TABLE.may_name(b'{"\\u0065mail": "ann@example.org", bad')
    assert TABLE.may_name(b"<&#101;mail>")
    assert TABLE.may_name(b"<&#x65;mail>")
    assert TABLE.may_name('{"email": 1'.encode("utf-16"))
    assert not TABLE.may_name(b'{"\xff\\u0065pcList": "&#99999;')
    own = with_operators('version = "1"\n[[members]]\nnames = ["手机"]\n'.encode())
    assert own.may_name('{"手机": 1'.encode())
    assert not TABLE.may_name('{"手机": 1'.encode())


def test_words_of_a_value_object_are_words() -> None:
    for said in (
        {"@value": "call +41 44 668 18 00"},
        ["none", {"@value": "ann@example.org", "@language": "en"}],
    ):
        assert find({"ex:note": said}, None, TABLE) == (("ex:note",),)
    assert find({"ex:note": {"@value": "keep dry"}}, None, TABLE) == ()


def test_names_fold() -> None:
    assert folded("https://gs1.org/voc/Given-Name") == "givenname"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_published_examples(vector: dict[str, str]) -> None:
    sent = vector["sent"].encode()
    event, personal = take_out(sent, find(read_event(sent, None), None, TABLE), TABLE)
    assert (event.decode(), encode(personal).decode()) == (vector["event"], vector["personal"])
    assert put_back(event, decode(vector["personal"].encode())) == sent
