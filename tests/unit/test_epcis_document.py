"""The document of an answer: events byte for byte, one context that changes no meaning, and where each is sealed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.errors import EventContentError
from services.query.epcis_document import (
    EPCIS_CONTEXT,
    NAMESPACE,
    Page,
    SealedAt,
    event_json,
    with_position,
)

PLACE = SealedAt("goods/0", 17, 20, "ni:///sha-256;aa?ver=CBV2.0")
POSITION = {
    "goodstrace:log": "goods/0",
    "goodstrace:index": 17,
    "goodstrace:size": 20,
    "goodstrace:eventHash": "ni:///sha-256;aa?ver=CBV2.0",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def page_of(*events: tuple[bytes, Any]) -> tuple[Page, list[bool]]:
    page = Page(10, 10_000)
    return page, [page.take(event_json(content, context), PLACE) for content, context in events]


def document_of(page: Page) -> Any:
    return json.loads(page.document("2026-01-01T00:00:00.000Z"))


@given(
    st.dictionaries(st.text().filter(lambda name: name != "@context"), JSON, max_size=4),
    st.sampled_from((None, 2)),
    st.sampled_from((b"", b" ", b"\n\t")),
)
def test_all_bytes_of_an_event_stay(event: dict[str, Any], indent: int | None, around: bytes) -> None:
    content = around + json.dumps(event, indent=indent).encode() + around
    text = with_position(event_json(content, None), PLACE, "goodstrace")
    assert text.startswith(content.strip()[:-1].rstrip())
    whole = json.loads(text)
    assert list(whole)[-1].startswith("goodstrace:sealed")
    assert whole.popitem()[1] == POSITION
    assert whole == event


def test_numbers_are_not_written_anew() -> None:
    content = b'{ "a" : 1.50e+01, "b":12345678901234567890123, "c" : "\\u00e9"}'
    page, taken = page_of((content, None))
    assert taken == [True]
    assert content[:-1] in page.document("2026-01-01T00:00:00.000Z")


def test_the_document_is_the_standards() -> None:
    page, _ = page_of((b'{"type":"ObjectEvent"}', [EPCIS_CONTEXT, {"ex": "https://example.com/"}]))
    document = document_of(page)
    [event] = document["epcisBody"]["queryResults"].pop("resultsBody")["eventList"]
    assert event == {"type": "ObjectEvent", "goodstrace:sealed": POSITION}
    assert document == {
        "@context": [EPCIS_CONTEXT, {"ex": "https://example.com/", "goodstrace": NAMESPACE}],
        "type": "EPCISQueryDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-01-01T00:00:00.000Z",
        "epcisBody": {"queryResults": {"queryName": "SimpleEventQuery"}},
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"ex": "https://a/"}, {"ex": "https://b/"}),
        ("https://a/context.jsonld", None),
        ({"@vocab": "https://a/"}, {"@vocab": "https://b/"}),
        ({"x": {"@id": "https://a/", "@type": "@id"}}, None),
        (None, {"goodstrace": "https://a/"}),
    ],
)
def test_contexts_that_contradict_one_another_are_not_on_one_page(first: Any, second: Any) -> None:
    assert page_of((b"{}", first), (b"{}", second))[1] == [True, False]
    assert page_of((b"{}", second))[1] == [True]


def test_contexts_that_agree_are_joined() -> None:
    mirror = "https://gs1.github.io/EPCIS/epcis-context.jsonld"
    page, taken = page_of((b"{}", [mirror, {"a": "https://a/"}]), (b"{}", {"b": "https://b/"}), (b"{}", None))
    assert taken == [True, True, True]
    assert document_of(page)["@context"] == [
        EPCIS_CONTEXT,
        {"a": "https://a/", "b": "https://b/", "goodstrace": NAMESPACE},
    ]


def test_an_events_own_context_stays_where_it_is() -> None:
    own, outer = {"ex": "https://own/"}, {"ex": "https://outer/"}
    content = json.dumps({"@context": own, "ex:a": 1}).encode()
    page, taken = page_of((content, [EPCIS_CONTEXT, outer, own]), (b"{}", outer))
    assert taken == [True, True]
    document = document_of(page)
    assert document["@context"][1] == {**outer, "goodstrace": NAMESPACE}
    assert document["epcisBody"]["queryResults"]["resultsBody"]["eventList"][0]["@context"] == own


def test_our_prefix_gives_way_to_an_events() -> None:
    for context in ({"goodstrace": "https://theirs/"}, None):
        content = b'{"@context":{"goodstrace":"https://theirs/"}}' if context is None else b"{}"
        page, taken = page_of((content, context or {"goodstrace": "https://theirs/"}))
        assert taken == [True]
        document = document_of(page)
        assert document["@context"][-1]["goodstrace1"] == NAMESPACE
        assert "goodstrace1:sealed" in document["epcisBody"]["queryResults"]["resultsBody"]["eventList"][0]


def test_an_answer_captured_again_has_both_positions() -> None:
    text = with_position(event_json(b'{"goodstrace\\u003asealed":1}', None), PLACE, "goodstrace")
    assert json.loads(text) == {"goodstrace:sealed": 1, "goodstrace:sealed_": POSITION}


def test_a_page_ends_at_its_limits_and_holds_one_event_in_any_case() -> None:
    big = b'{"a":"' + b"x" * 2_000 + b'"}'
    page = Page(10, 1_000)
    assert [page.take(event_json(big, None), PLACE) for _ in range(2)] == [True, False]
    page = Page(2, 100_000)
    assert [page.take(event_json(big, None), PLACE) for _ in range(3)] == [True, True, False]


@given(st.binary(max_size=50))
def test_any_bytes_are_an_event_or_one_error(content: bytes) -> None:
    try:
        event = event_json(content, None)
    except EventContentError:
        return
    assert json.loads(with_position(event, PLACE, "goodstrace")).popitem()[1] == POSITION


def test_an_event_that_came_as_xml_is_shown_as_json() -> None:
    content = (
        b"<ObjectEvent><eventTime>2026-01-01T00:00:00Z</eventTime><eventTimeZoneOffset>+00:00</eventTimeZoneOffset>"
        b"<epcList><epc>urn:epc:id:sgtin:9521234.054321.1</epc></epcList><action>OBSERVE</action>"
        b"<ex:weight>1.50</ex:weight></ObjectEvent>"
    )
    page, taken = page_of((content, {"xmlns": {"ex": "https://example.com/"}}), (b"{}", None))
    assert taken == [True, True]
    document = document_of(page)
    assert document["@context"] == [EPCIS_CONTEXT, {"goodstrace": NAMESPACE}]
    event = document["epcisBody"]["queryResults"]["resultsBody"]["eventList"][0]
    assert event["epcList"] == ["urn:epc:id:sgtin:9521234.054321.1"]
    assert event["@context"]
    assert event["goodstrace:sealed"] == POSITION
