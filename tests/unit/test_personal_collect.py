"""Personal data at `collect`: moved into an encrypted part or refused, by every way in; nothing of it in clear anywhere behind."""

import hashlib
import json
from itertools import product
from typing import Any

import msgspec
import pytest

from goodstrace import encrypted_parts, personal_part
from goodstrace import entry as entries
from goodstrace.personal_part import put_back, values
from services.collector import documents
from services.collector.arrivals import Arrival, take
from services.collector.collect import Rules, Sent, Stamp, collect
from services.collector.documents import Limits
from services.collector.flow import Item, Reason, Rejected, from_wire
from services.collector.preparing import Line, Request
from services.collector.registry.gate import Gate
from services.collector.registry.rates import Rates
from services.runtime.envelope import Record
from services.runtime.errors import UnavailableError
from services.runtime.merchants.values import PersonalData
from services.runtime.personal_values import PersonalKey
from tests.unit.capture_api import running
from tests.unit.collector_builders import (
    NOW_MS,
    counted,
    document,
    items_of,
    object_event,
    run_all,
    wires,
)

SECRETS = ("Ann Roe", "ann@shop.example", "Bahnhofstrasse 77", "order-991")
PERSONAL: dict[str, Any] = {
    "ex:consumerName": SECRETS[0],
    "ex:delivery": {"ex:email": SECRETS[1], "ex:door": 3},
    "ex:note": f"ring at {SECRETS[2]} or write to {SECRETS[1]}",
    "bizTransactionList": [
        {"type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:0614141073467:1152"},
        {"type": "po", "bizTransaction": f"https://shop.example/consumer-orders/{SECRETS[3]}"},
    ],
}
POINTERS = ("/ex:consumerName", "/ex:delivery/ex:email", "/ex:note", "/bizTransactionList/1")


def _sent(body: bytes, policy: PersonalData = PersonalData.MOVE, **changes: Any) -> list[Sent]:
    stamp = Stamp(b"c" * 16, 1, NOW_MS, personal=policy)
    read = msgspec.structs.replace(documents.read(body, Limits()), **changes)
    return collect(read, stamp, Rules(), counted())


def _clear(record: Record, key: PersonalKey | None) -> personal_part.Personal:
    assert key is not None
    own = encrypted_parts.record_key(key.key, record.id, personal_part.PART)
    content = encrypted_parts.decrypt(
        own, record.id, personal_part.PART, record.part(personal_part.PART).content
    )
    return personal_part.decode(content)


def _holds_nothing(value: bytes) -> bool:
    return not any(secret.encode() in value for secret in SECRETS)


def test_personal_data_is_moved_and_all_else_is_made_of_what_is_left() -> None:
    event = object_event(**PERSONAL)
    body = document(event)
    (sent,) = _sent(body)
    assert isinstance(sent.outcome, Item)
    record, (clean,) = sent.outcome.record, _sent(document(_without(event)))
    assert [part.name for part in record.parts] == ["event", "personal", "facts"]
    assert clean.outcome.record.part("facts").content == record.part("facts").content
    assert json.loads(record.part("event").content) == _without(event)
    clear = _clear(record, sent.personal)
    assert clear.pointers == POINTERS
    assert put_back(record.part("event").content, clear) == documents.read(body, Limits()).events[0]
    told = values(record.part("event").content, None, clear)
    assert told["/ex:delivery/ex:email"] == SECRETS[1]
    assert sent.personal is not None
    assert sent.personal.event_id == event["eventID"]
    assert sent.key == clean.key


def test_the_stages_carry_it_on_sealed_and_replay_it_to_the_same_bytes() -> None:
    values_in = wires(_sent(document(object_event(**PERSONAL), object_event(eventID="urn:uuid:2"))))
    output, again = run_all(values_in), run_all(values_in)
    assert not output.rejected
    assert output.passed == again.passed
    assert all(_holds_nothing(value) for stage in output.passed.values() for value in stage)
    sealed = [entries.decode(item.record.entry) for item in items_of(output)]
    assert [[part.name for part in each.parts] for each in sealed] == [
        ["event", "personal", "facts"],
        ["event", "facts"],
    ]
    assert not {"order-991"} & {typed.key for typed in items_of(output)[0].facts.transactions}


def test_an_event_without_personal_data_is_untouched_and_has_no_key() -> None:
    (sent,) = _sent(document(object_event()))
    assert sent.personal is None
    assert [part.name for part in sent.outcome.record.parts] == ["event", "facts"]


def test_the_same_event_with_other_personal_data_is_a_duplicate() -> None:
    first = wires(_sent(document(object_event(**PERSONAL))))
    stamp = Stamp(b"d" * 16, 1, NOW_MS)
    body = document(object_event(**PERSONAL | {"ex:consumerName": "Bob"}))
    second = wires(collect(documents.read(body, Limits()), stamp, Rules(), counted(50)))
    output = run_all([*first, *second])
    assert [reason for _, reason, _ in output.rejected] == [Reason.DUPLICATE]
    assert all(_holds_nothing(value) and b"Bob" not in value for _, _, value in output.rejected)


@pytest.mark.parametrize("policy", PersonalData)
def test_signed_events_with_personal_data_are_refused_at_the_place(policy: PersonalData) -> None:
    body = document(object_event(**PERSONAL))
    signed = _sent(body, policy, signatures=("e30..c2ln",))
    fault = signed[0].fault
    assert fault is not None
    assert "signature is refused" in fault.detail or "signed" in fault.detail
    assert _holds_nothing(msgspec.json.encode(signed[0].outcome.record.part("event").content.decode()))
    assert [part.name for part in signed[0].outcome.record.parts] == ["event", "personal", "context"]


def test_a_merchant_that_refuses_is_told_where_and_nothing_is_kept() -> None:
    (sent,) = _sent(document(object_event(**PERSONAL)), PersonalData.REFUSE)
    assert isinstance(sent.outcome, Rejected)
    assert sent.fault is not None
    assert sent.fault.pointer == "/epcisBody/eventList/0/ex:consumerName"
    assert "leave it out" in sent.fault.detail
    assert "/ex:note" in sent.fault.detail
    assert all(_holds_nothing(part.content) for part in sent.outcome.record.parts)
    assert sent.outcome.record.rejection is not None
    assert _holds_nothing(sent.outcome.record.rejection.detail.encode())


def test_what_is_refused_for_something_else_is_kept_without_it() -> None:
    (sent,) = _sent(document(object_event(**PERSONAL, action="PERHAPS")))
    assert sent.fault is not None
    assert sent.fault.pointer.endswith("/action")
    assert all(_holds_nothing(part.content) for part in sent.outcome.record.parts)


def test_what_cannot_be_read_is_not_kept_where_it_names_something() -> None:
    event = json.dumps(object_event(**PERSONAL))
    twice = event[:-1] + ', "action": "ADD"}'
    body = document(object_event()).replace(json.dumps(object_event()).encode(), twice.encode())
    (sent,) = _sent(body)
    assert sent.fault is not None
    assert sent.outcome.record.part("event").content == b""


def test_an_event_that_is_none_without_it_is_refused() -> None:
    event = object_event(
        type="TransactionEvent", action="ADD", bizTransactionList=PERSONAL["bizTransactionList"][1:]
    )
    (sent,) = _sent(document(event))
    assert sent.fault is not None
    assert sent.fault.pointer.endswith("/bizTransactionList/0")
    assert "cannot be taken out" in sent.fault.detail


XML = """<?xml version="1.0"?><epcis:EPCISDocument xmlns:epcis="urn:epcglobal:epcis:xsd:2" xmlns:ex="https://ex.example/"
 schemaVersion="2.0" creationDate="2026-01-02T03:04:05Z"><EPCISBody><EventList><ObjectEvent><eventTime>2026-01-02T03:04:05Z</eventTime>
<eventTimeZoneOffset>+01:00</eventTimeZoneOffset><epcList><epc>urn:epc:id:sgtin:0614141.107346.2017</epc></epcList><action>OBSERVE</action>
<bizStep>shipping</bizStep>{}</ObjectEvent></EventList></EPCISBody></epcis:EPCISDocument>"""


def test_what_cannot_be_taken_out_is_not_kept_with_what_is_refused() -> None:
    body = XML.format("").replace("<ObjectEvent>", f'<ObjectEvent ex:email="{SECRETS[1]}">')
    bodies = (body, body.replace("OBSERVE", "PERHAPS"))
    for sort, policy in product(bodies, PersonalData):
        (sent,) = _sent(sort.encode(), policy)
        assert sent.fault is not None
        assert all(_holds_nothing(part.content) for part in sent.outcome.record.parts)


def test_elements_of_xml_are_moved_too() -> None:
    moved = f"<ex:consumerName>{SECRETS[0]}</ex:consumerName><ex:a><ex:mail>{SECRETS[1]}</ex:mail></ex:a>"
    (sent,) = _sent(XML.format(moved + "<ex:b>1</ex:b>").encode())
    (clean,) = _sent(XML.format("<ex:a></ex:a><ex:b>1</ex:b>").encode())
    assert sent.outcome.record.part("event").content == clean.outcome.record.part("event").content
    assert _clear(sent.outcome.record, sent.personal).pointers == ("/ex:consumerName", "/ex:a/ex:mail")


async def test_keys_are_kept_before_anything_goes_to_kafka() -> None:
    async with running() as here:
        here.keeper.failures.append(UnavailableError("down"))
        body = document(object_event(**PERSONAL))
        assert (await here.post(body)).status_code == 503
        assert not here.kafka.transactions
        assert (await here.post(body)).status_code == 202
        (value,) = here.kafka.values("goods.collected")
        item = from_wire(value)
        assert isinstance(item, Item)
        assert [each.record_id for each in here.keeper.keys] == [item.record.id]
        assert _holds_nothing(value)
        assert _clear(item.record, here.keeper.keys[0]).pointers == POINTERS


async def test_a_problem_names_the_place_and_the_event() -> None:
    async with running(gate=_refusing()) as here:
        body = document(object_event(), object_event(**PERSONAL))
        refused = await here.post(body)
        assert refused.status_code == 400
        assert refused.headers["content-type"].startswith("application/problem+json")
        (told,) = refused.json()["errors"]
        assert (told["event"], told["pointer"]) == (1, "/epcisBody/eventList/1/ex:consumerName")
        assert _holds_nothing(refused.content)


async def test_an_idempotency_key_still_answers_for_its_request_and_no_guess_can_be_tried_on_it() -> None:
    async with running() as here:
        body = document(object_event(**PERSONAL))
        first = await here.post(body, idempotency_key='"a-key-of-the-sender"')
        again = await here.post(body, idempotency_key='"a-key-of-the-sender"')
        assert first.headers["location"] == again.headers["location"]
        assert len(here.kafka.transactions) == 1
        other = document(object_event(**PERSONAL | {"ex:consumerName": "Bob"}))
        assert (await here.post(other, idempotency_key='"a-key-of-the-sender"')).status_code == 422
        (kept,) = here.keys.held.values()
        assert kept.request != hashlib.sha256(b"rollback/False//" + body).hexdigest()


async def test_lines_are_captured_without_it() -> None:
    async with running() as here:
        line = json.dumps(object_event(**PERSONAL)).encode()
        request = Request(await here.intake.gate.on_behalf_of(1), b"", "proceed")
        prepared = await here.intake.capture_lines(request, [Line(1, line), Line(2, line[:-1])])
        assert len(prepared.personal) == len(here.keeper.keys) == 1
        assert all(_holds_nothing(value) for value in here.kafka.values("goods.collected"))


async def test_what_cannot_be_read_goes_to_the_rejections_without_its_bytes() -> None:
    async with running() as here:
        preparer = here.intake._preparer
        caller = await here.intake.gate.on_behalf_of(1)
        broken = document(object_event(**PERSONAL))[:-1]
        prepared = take(preparer, Arrival("goods.ingress", 0, 0, caller, broken))
        assert all(_holds_nothing(each.value) for each in prepared.placed)
        plain = document(object_event())[:-1]
        prepared = take(preparer, Arrival("goods.ingress", 0, 0, caller, plain))
        assert plain in prepared.placed[0].value


def _refusing() -> Gate:
    return Gate(None, rates=Rates(lambda: 0), open_merchant=1, personal=PersonalData.REFUSE)


def _without(event: dict[str, Any]) -> dict[str, Any]:
    kept = {name: each for name, each in event.items() if name not in ("ex:consumerName", "ex:note")}
    return kept | {"ex:delivery": {"ex:door": 3}, "bizTransactionList": event["bizTransactionList"][:1]}
