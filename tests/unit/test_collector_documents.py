"""From bytes to events: what is accepted, what is refused and where, and that events keep their exact bytes."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.collector import documents, strict_json
from services.collector.documents import Limits
from services.collector.errors import DocumentError
from services.collector.strict_json import MAX_DEPTH
from tests.unit.collector_builders import collected, document, object_event

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def refusal(body: bytes, limits: Limits | None = None) -> tuple[str, str]:
    with pytest.raises(DocumentError) as refused:
        documents.read(body, limits or Limits())
    return refused.value.faults[0].pointer, refused.value.faults[0].detail


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_strict_decoding_takes_whatever_a_json_encoder_writes(value: object) -> None:
    for text in (
        json.dumps(value).encode(),
        json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass"),
    ):
        assert json.dumps(strict_json.parse(text)) == json.dumps(json.loads(text))


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_a_document_or_one_typed_error(noise: bytes) -> None:
    for body in (
        noise,
        document(object_event()).replace(b"shipping", noise),
        document().replace(b"[]", noise),
    ):
        try:
            taken = documents.read(body, Limits())
        except DocumentError:
            continue
        assert all(event in body for event in taken.events)
        collected(body)


@given(
    JSON,
    st.sampled_from(
        ["epcList", "quantityList", "readPoint", "eventTime", "ilmd", "sensorElementList", "x:y", "type"]
    ),
)
@settings(max_examples=200, deadline=None)
def test_any_member_gives_a_record_or_a_place(value: object, member: str) -> None:
    event = {**object_event(), member: value}
    for sent in collected(document(event)):
        assert (sent.fault is None) or sent.fault.pointer.startswith("/epcisBody/eventList/0")


def test_an_event_keeps_its_exact_bytes() -> None:
    text = '{ "type" :"ObjectEvent",\n\t"a:b": 1.50, "c:d":"\\u00e9\\/é" }'
    body = (
        '{"epcisBody":{"eventList":[ '
        + text
        + " ,{} ]},"
        + document().decode()[1:].replace('"epcisBody"', '"x:y"')
    ).encode()
    taken = documents.read(b"\xef\xbb\xbf" + body, Limits())
    assert taken.events == (text.encode(), b"{}")
    assert taken.pointer(1) == "/epcisBody/eventList/1"


def test_a_bare_event_and_a_query_document_are_taken() -> None:
    bare = documents.read(b" \n" + json.dumps(object_event()).encode() + b"\n", Limits())
    assert bare.pointer(0) == ""
    assert len(bare.events) == 1
    whole = json.loads(document())
    whole["type"] = "EPCISQueryDocument"
    whole["epcisBody"] = {"queryResults": {"resultsBody": {"eventList": [object_event()]}}}
    assert (
        documents.read(json.dumps(whole).encode(), Limits()).pointer(0)
        == "/epcisBody/queryResults/resultsBody/eventList/0"
    )


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        (b"", "", "not JSON"),
        (b"[]", "", "must be an object"),
        (b"<epcis/>", "/epcis", "must be one of EPCISDocument"),
        (b'{"type":"EPCISDocument",}', "", "line 1"),
        (b'{"type":"EPCISDocument","type":"EPCISDocument"}', "/type", "twice"),
        (b'{"type":"Epcis"}', "/type", "must be one of"),
        (b'{"a":"\xff"}', "", "UTF-8 at byte 6"),
        (document().replace(b'"eventList"', b'"eventlist"'), "/epcisBody/eventList", "is missing"),
        (document().replace(b"[]}", b"{}}"), "/epcisBody/eventList", "array"),
        (document(creationDate="yesterday"), "/creationDate", "date and time"),
        (document(schemaVersion="1.2"), "/schemaVersion", "version 2"),
        (document(x=1).replace(b'"x": 1', b'"x": NaN'), "", "NaN"),
        (document(x=1).replace(b'"x": 1', b'"x": "\\ud800"'), "", "not JSON: a string has a lone surrogate"),
        (document(x=1).replace(b'"x": 1', b'"x": "\\udc00 "'), "", "not JSON: a string has a lone surrogate"),
        (document(x=1).replace(b'"x": 1', b'"x": 1e400'), "/x", "not JSON: a number is out of the range"),
        (
            document(x=1).replace(b'"x": 1', b'"x": -' + b"9" * 5000),
            "/x",
            "an integer has more than 4300 digits",
        ),
        (document(x=1).replace(b'"x": 1', b'"x": {"a":[1,{"b":1,"b":2}]}'), "/x/a/1/b", "twice"),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(body: bytes, pointer: str, detail: str) -> None:
    where, what = refusal(body)
    assert where == pointer
    assert detail in what


@pytest.mark.parametrize(
    "text",
    ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"a\\u0022":1,"a\\"":2}', '[{"x":{"y":[{"b":"","b":""}]}}]'],
)
def test_a_member_that_is_there_twice_is_seen(text: str) -> None:
    with pytest.raises(DocumentError, match="twice"):
        strict_json.parse(text.encode())


@pytest.mark.parametrize(
    "text", ['{"a\\u0022":1,"a":2}', '["\\u0022","\\\\u0022","\\""]', '{"}":"{{[[","[":1}']
)
def test_quotes_and_brackets_in_strings_are_no_duplicates_and_no_depth(text: str) -> None:
    assert strict_json.parse(text.encode()) == json.loads(text)


def test_depth_is_bounded_and_brackets_in_strings_do_not_count() -> None:
    strict_json.parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    strict_json.parse(b'["' + b"[" * 500 + b'"]')
    for text in (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(DocumentError, match="deeper"):
            strict_json.parse(text)


def test_limits_of_body_and_events() -> None:
    with pytest.raises(DocumentError) as refused:
        documents.read(document(object_event()), Limits(body=100))
    assert refused.value.too_large
    with pytest.raises(DocumentError) as refused:
        documents.read(document(object_event(), object_event()), Limits(events=1))
    assert refused.value.too_large
    assert refused.value.faults[0].pointer == "/epcisBody/eventList"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (document(object_event())[:-1] + b',"a":1,"x":[' + b"[]," * 400_000 + b'1],"a":2}', "twice"),
        (document(object_event())[:-1] + b',"x":[' + b"[]," * 400_000 + b"1}", "not JSON"),
        (document(object_event(), x=[[]] * 300_000), "over"),
        (document(object_event(), **{'"': 1, "x": [[]] * 300_000}), "over"),
        (document(object_event())[:-1] + b',"x":"' + b"]" * 1_000_000 + b'"}', ""),
    ],
    ids=["twice", "malformed", "large head", "a quote in a name", "brackets in a string"],
)
def test_what_is_read_of_a_document_takes_little_memory(body: bytes, detail: str) -> None:
    # A decoded `[]` takes 20 times its bytes, and a state of a regular expression 100: 32 MiB took gigabytes.
    tracemalloc.start()
    try:
        if detail:
            with pytest.raises(DocumentError, match=detail):
                documents.read(body, Limits())
        else:
            documents.read(body, Limits())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(body) + 1024 * 1024


def test_the_head_of_a_document_is_limited() -> None:
    for body, place in (
        (document(object_event(), x="y" * 2_000), ""),
        (
            document(object_event()).replace(b'"eventList"', b'"x":"' + b"y" * 2_000 + b'","eventList"'),
            "/epcisBody",
        ),
    ):
        with pytest.raises(DocumentError, match="over 1000 bytes beside its events") as refused:
            documents.read(body, Limits(event=1000))
        assert refused.value.too_large
        assert refused.value.faults[0].pointer == place


QUERY = {
    "@context": ["https://ref.gs1.org/standards/epcis/epcis-context.jsonld", None],
    "type": "EPCISQueryDocument",
    "epcisBody": {"queryResults": {"resultsBody": {"eventList": [object_event()]}}},
}


def test_a_query_document_needs_neither_version_nor_date_but_says_them_right() -> None:
    assert [each.fault for each in collected(json.dumps(QUERY).encode())] == [None]
    assert refusal(json.dumps(QUERY | {"schemaVersion": "1.2"}).encode())[0] == "/schemaVersion"
    assert refusal(json.dumps(QUERY | {"creationDate": None}).encode())[0] == "/creationDate"
    assert refusal(json.dumps({**QUERY, "@context": None}).encode())[0] == "/@context"
    head = json.loads(document(object_event()))
    for name in ("schemaVersion", "creationDate"):
        without = {member: value for member, value in head.items() if member != name}
        assert refusal(json.dumps(without).encode()) == (f"/{name}", "is missing")


@pytest.mark.parametrize(
    "name",
    [
        "goodstrace:signature",
        "goodstrace:Signatures",
        "goodstrace:signautres",
        "Goodstrace:signatures",
        "goodstrace.signatures",
    ],
)
def test_signatures_are_not_passed_over_for_a_letter(name: str) -> None:
    head = json.loads(document(object_event()))
    pointer, detail = refusal(json.dumps(head | {name: ["x"]}).encode())
    assert (pointer, "`goodstrace:signatures` is meant" in detail) == (f"/{name}", True)
    assert refusal(json.dumps(object_event() | {name: ["x"]}).encode())[0] == f"/{name}"


def test_signatures_are_not_passed_over_where_they_do_not_belong() -> None:
    head = json.loads(document(object_event()))
    head["epcisBody"]["goodstrace:signatures"] = ["x"]
    assert refusal(json.dumps(head).encode())[0] == "/epcisBody/goodstrace:signatures"
    assert (
        refusal(json.dumps(object_event() | {"goodstrace:signatures": ["x"]}).encode())[0]
        == "/goodstrace:signatures"
    )
    fine = json.loads(document(object_event())) | {"goodstrace:note": 1, "x:signatures": 1}
    assert len(documents.read(json.dumps(fine).encode(), Limits()).events) == 1


def test_an_extended_event_by_itself_is_told_why_it_is_not_taken() -> None:
    pointer, detail = refusal(json.dumps(object_event(type="ex:My")).encode())
    assert (pointer, "not known which goods they join" in detail) == ("/type", True)
