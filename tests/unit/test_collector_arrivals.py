"""What messages of the ingress become: whatever the bytes, records or a refusal that names where they lie."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector import collect
from services.collector.arrivals import Arrival, take
from services.collector.collect import Rules
from services.collector.documents import Limits
from services.collector.flow import MAX_DETAIL
from services.collector.preparing import Ports, Prepared, Preparer
from services.collector.registry.gate import Caller
from services.collector.validation import check_event
from services.runtime import envelope
from services.runtime.settings import KafkaSettings
from services.runtime.topics import MAX_MESSAGE_BYTES
from tests.unit.capture_api import open_gate
from tests.unit.collector_builders import CONTEXT, NOW_MS, counted, document, object_event

HERE = "(goods.ingress 2 at 17)"


def taken(value: bytes, failed: Callable[[Exception], None] | None = None) -> Prepared:
    kafka = KafkaSettings()  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
    ports = Ports(now_ms=lambda: NOW_MS, random=counted())
    return take(
        Preparer(kafka, open_gate(1), Limits(), Rules(), ports),
        Arrival("goods.ingress", 2, 17, Caller(5), value),
        *([failed] if failed else []),
    )


def rejected(prepared: Prepared) -> list[envelope.Record]:
    records = [envelope.decode(each.value) for each in prepared.placed if each.topic == "goods.rejected"]
    assert len(records) == len(prepared.refused)
    return records


def test_documents_and_bare_events_become_records_of_the_merchant() -> None:
    for value in (document(object_event()), json.dumps(object_event()).encode()):
        (placed,) = taken(value).placed
        assert placed.topic == "goods.collected"
        assert envelope.decode(placed.value).merchant == 5


def test_a_bad_event_is_refused_with_its_place_and_the_others_are_captured() -> None:
    prepared = taken(document(object_event(), object_event(action="X")))
    assert [each.topic for each in prepared.placed] == ["goods.collected", "goods.rejected"]
    (record,) = rejected(prepared)
    assert record.rejection is not None
    assert record.rejection.detail.startswith("/epcisBody/eventList/1/action")
    assert record.rejection.detail.endswith(HERE)
    assert json.loads(record.part("event").content)["action"] == "X"


def test_what_is_no_document_is_kept_whole() -> None:
    for value in (
        b"",
        b"{",
        b"\xff",
        b"<epcis/>",
        document(schemaVersion="1.2"),
        document(object_event())[:-1],
    ):
        (record,) = rejected(taken(value))
        assert record.rejection is not None
        assert (record.rejection.stage, record.rejection.reason) == ("collect", "INVALID")
        assert record.rejection.detail.endswith(HERE)
        assert b"".join(part.content for part in record.parts) == value
        assert [part.name for part in record.parts] == (["document"] if value else [])


def test_a_message_over_which_the_program_fails_is_refused_and_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it would end the process at each start: nobody can take it from the topic."""
    fault, told = TypeError("'int' object is not subscriptable"), list[Exception]()

    def failing(*_: object) -> Prepared:
        raise fault

    monkeypatch.setattr(Preparer, "document", failing)
    (record,) = rejected(taken(document(object_event()), told.append))
    assert told == [fault]
    assert record.rejection is not None
    assert (record.rejection.stage, record.rejection.reason) == ("collect", "FAULT")
    assert record.rejection.detail.endswith(HERE)
    assert record.part("document").content == document(object_event())


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({}, {}),
        ({"ex:givenName": "Ann"}, {}),
        ({"kunde": "Ann"}, {"kunde": "https://schema.org/givenName"}),
    ],
)
def test_an_event_over_which_the_program_fails_is_refused_alone(
    more: dict[str, str], named: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list[Exception]()

    def failing(event: dict[str, Any], context: Any) -> Any:
        if event["eventID"] in {"urn:e:1", "urn:e:2"}:
            raise TypeError("boom")
        return check_event(event, context)

    monkeypatch.setattr(collect, "check_event", failing)
    events = [object_event(eventID=f"urn:e:{number}", **more) for number in range(4)]
    context = {"@context": [CONTEXT, {"ex": "https://ns.example.com/", **named}]}
    prepared = taken(document(*events, **context), told.append)
    assert [each.topic.removeprefix("goods.") for each in prepared.placed] == [
        "collected",
        "rejected",
        "rejected",
        "collected",
    ]
    assert [str(error) for error in told] == ["boom", "boom"]
    for number, record in enumerate(rejected(prepared), 1):
        assert record.rejection is not None
        assert (record.rejection.stage, record.rejection.reason) == ("collect", "FAULT")
        assert record.rejection.pointer == f"/epcisBody/eventList/{number}"
        assert record.rejection.detail.endswith(HERE)
        assert ("may hold personal data" in record.rejection.detail) == bool(more)
        assert bool(record.part("event").content) != bool(more)


def test_of_a_document_with_many_such_events_the_first_ten_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise TypeError("boom")

    told = list[Exception]()
    monkeypatch.setattr(collect, "check_event", failing)
    assert len(rejected(taken(document(*[object_event()] * 30), told.append))) == 30
    assert len(told) == 10


def test_why_the_content_of_a_message_is_not_kept_is_told() -> None:
    (record,) = rejected(taken(b'{"givenName": "Ann"'))
    assert record.parts == ()
    assert record.rejection is not None
    assert "may hold personal data" in record.rejection.detail


def test_what_kafka_would_not_take_again_is_named_by_its_place() -> None:
    value = document(object_event(**{"x:padding": "y" * (MAX_MESSAGE_BYTES - 2000)}))
    (record,) = rejected(taken(value))
    assert record.rejection is not None
    assert record.rejection.reason == "TOO_LARGE"
    assert record.parts == ()
    assert "not kept, since it is over" in record.rejection.detail
    assert record.rejection.detail.endswith(HERE)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
).map(lambda value: document(value, **{"x:more": value}))))  # fmt: skip
def test_whatever_the_bytes_nothing_is_raised_and_nothing_is_dropped(value: bytes) -> None:
    prepared = taken(value)
    assert len(prepared.placed) == len(prepared.sent) > 0
    for record in rejected(prepared):
        assert record.rejection is not None
        assert len(record.rejection.detail) <= MAX_DETAIL
        assert record.rejection.detail.endswith(HERE)
