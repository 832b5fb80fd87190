"""Rejections: what is kept of them, what is shown, and sending them again, against a store and a topic in memory."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest

from services.collector import rejections_api
from services.collector.arrivals import Arrival, take
from services.collector.documents import Limits
from services.collector.flow import Reason, StageName, reject
from services.collector.jobs import Seen
from services.collector.preparing import PROCEED, Request
from services.collector.registry.gate import Caller
from services.collector.rejection_desk import RejectionDesk
from services.collector.rejections import of_batch
from services.runtime import envelope
from services.runtime.envelope import Record
from tests.unit.capture_api import Running, committing
from tests.unit.collector_builders import NOW_MS, collected, document, items_of, object_event, run_all, wires
from tests.unit.rejection_builders import Looks, Store, Topic
from tests.unit.test_collector_arrivals import rejected, taken
from tests.unit.xml_builders import event_element, xml_document

CONTEXT = {"example": "https://example.com/ns/"}


class Desk:
    """The API with everything behind it in memory."""

    def __init__(self) -> None:
        self.store, self.topic, self.looks, api = (
            Store(),
            Topic(),
            Looks(),
            Running(limits=Limits(body=10_000)),
        )
        self.kafka, self.commits, self.http = api.kafka, api.commits, api.http
        self.preparer = api.intake._preparer
        desk = RejectionDesk(self.store, self.topic, api.intake, self.looks, lambda: NOW_MS)
        rejections_api.join(api.app, desk, api.metrics)

    def add(self, *records: Record) -> list[str]:
        """Let the projector find records on the topic."""
        seen = []
        for record in records:
            seen.append(Seen("goods.rejected", 0, len(self.topic.records), NOW_MS, record))
            self.topic.records.append(record)
        found = of_batch(seen)
        self.store.kept.update({each.id: each for each in found})
        return [each.id for each in found]

    def refuse(self, body: bytes) -> list[str]:
        """Send a document that has faults, as others are sent with `proceed`."""
        prepared = self.preparer.document(Request(Caller(7), body, PROCEED))
        values = [each.value for each in prepared.placed if each.topic == "goods.rejected"]
        return self.add(*map(envelope.decode, values))

    def captured(self) -> list[Record]:
        return [envelope.decode(value) for value in self.kafka.values("goods.collected")]


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    here = Desk()
    async with committing(here.commits):
        yield here


def duplicate(event: dict[str, Any]) -> Record:
    record = collected(document(event))[0].outcome.record
    return reject(record, StageName.SUMMARISE, Reason.DUPLICATE, "seen before", b"f" * 16).record


async def test_what_was_refused_is_listed_page_by_page_and_duplicates_only_if_asked_for() -> None:
    async with desk() as here:
        bad = [object_event(eventID=f"urn:e:{number}", action="X") for number in range(5)]
        refused = here.refuse(document(*bad, object_event()))
        (settled,) = here.add(duplicate(object_event()))
        listed, token = [], ""
        while True:
            page = (await here.http.get("/rejections/v1", params={"limit": 2, "pageToken": token})).json()
            listed += [each["recordID"] for each in page["rejections"]]
            token = page.get("nextPageToken", "")
            if not token:
                break
        assert sorted(listed) == sorted(refused)
        (only,) = (await here.http.get("/rejections/v1", params={"reason": "DUPLICATE"})).json()["rejections"]
        assert (only["recordID"], only["firstRecordID"]) == (settled, (b"f" * 16).hex())
        first = (await here.http.get(f"/rejections/v1/{refused[0]}")).json()
        assert (first["reason"], first["stage"], first["state"]) == ("INVALID", "collect", "open")
        assert first["pointer"] == "/epcisBody/eventList/0/action"
        capture = {"capture": first["captureID"], "reason": "INVALID"}
        assert len((await here.http.get("/rejections/v1", params=capture)).json()["rejections"]) == len(bad)


async def test_content_is_shown_once_that_is_recorded_and_else_not() -> None:
    async with desk() as here:
        [name] = here.refuse(document(object_event(action="PERHAPS")))
        url = f"/rejections/v1/{name}"
        here.looks.away = True
        answer = await here.http.get(f"{url}/content")
        assert (answer.status_code, b"PERHAPS" in answer.content) == (503, False)
        here.looks.away = False
        assert b"PERHAPS" in (await here.http.get(f"{url}/content")).content
        [look] = here.looks.recorded
        assert (look.method, look.query) == ("GetRejectedContent", name)
        await here.http.post(f"{url}/resubmit", content=json.dumps(object_event()).encode())
        assert (await here.http.get(f"{url}/content")).status_code == 200, "another content was sealed"
        assert len(here.looks.recorded) == 2


async def test_a_document_that_was_corrected_is_not_shown_any_more() -> None:
    async with desk() as here:
        [name] = here.add(*rejected(taken(document(object_event())[:-1])))  # not JSON: kept as a document
        url = f"/rejections/v1/{name}"
        assert (await here.http.get(f"{url}/content")).status_code == 200
        sent = await here.http.post(f"{url}/resubmit", content=document(object_event()))
        assert sent.status_code == 202, sent.text
        assert (await here.http.get(f"{url}/content")).status_code == 404


async def test_an_event_is_shown_in_its_bytes_and_corrected_goes_back_under_its_context() -> None:
    bad = object_event(**{"example:colour": "red", "action": "X"})
    async with desk() as here:
        (name,) = here.refuse(document(bad, **{"@context": [CONTEXT]}))
        assert json.loads((await here.http.get(f"/rejections/v1/{name}/content")).content) == bad
        corrected = json.dumps({**bad, "action": "ADD"}).encode()
        answer = await here.http.post(f"/rejections/v1/{name}/resubmit", content=corrected)
        assert answer.status_code == 202, answer.text
        (record,) = here.captured()
        assert answer.json()["recordIDs"] == [record.id.hex()]
        assert answer.headers["location"] == f"/epcis/v2/capture/{record.capture_id.hex()}"
        assert record.merchant == 7
        assert record.part("event").content == corrected
        facts = json.loads(record.part("facts").content)
        whole = collected(document({**bad, "action": "ADD"}, **{"@context": [CONTEXT]}))[0].outcome.record
        assert facts["event_hash"] == json.loads(whole.part("facts").content)["event_hash"]
        told = (await here.http.get(f"/rejections/v1/{name}")).json()
        assert told["state"] == "resubmitted"
        assert told["resubmitted"][0]["recordIDs"] == [record.id.hex()]
        assert (await here.http.get("/rejections/v1")).json()["rejections"] == []
        assert (
            await here.http.get(f"/rejections/v1/{name}/content")
        ).status_code == 200  # what is sealed is another content
        again = await here.http.post(f"/rejections/v1/{name}/resubmit", content=corrected)
        assert again.status_code == 409
        assert len(here.captured()) == 1


@pytest.mark.parametrize("around", ["", "urn:epcglobal:epcis:xsd:2", "https://ns.example.com/default/"])
async def test_an_xml_event_goes_back_under_the_namespaces_it_came_under(around: str) -> None:
    event = object_event(**{"ex:colour": "r&d"})
    good, bad = (
        event_element({**event, "action": action}).replace("<ObjectEvent", '<ObjectEvent xmlns=""', 1)
        for action in ("ADD", "X")
    )
    declared = f"xmlns={quoteattr(around)} xmlns:epcis=" if around else "xmlns:epcis="
    names = ("EPCISBody", "EventList") if around.startswith("https") else ()

    def whole(element: str) -> bytes:
        text = xml_document(element).decode().replace("xmlns:epcis=", declared)
        for name in names:
            text = text.replace(f"<{name}", f"<epcis:{name}").replace(f"</{name}", f"</epcis:{name}")
        return text.encode()

    async with desk() as here:
        (name,) = here.refuse(whole(bad))
        url = f"/rejections/v1/{name}"
        assert (await here.http.get(f"{url}/content")).content == bad.encode()
        assert (await here.http.post(f"{url}/resubmit")).status_code == 400  # refused as before
        answer = await here.http.post(f"{url}/resubmit", content=good.encode())
        assert answer.status_code == 202, answer.text
        (record,) = here.captured()
        assert record.part("event").content == good.encode()
        facts = json.loads(record.part("facts").content)
        assert facts == json.loads(collected(whole(good))[0].outcome.record.part("facts").content)


async def test_what_is_refused_again_stays_open() -> None:
    async with desk() as here:
        (name,) = here.refuse(document(object_event(action="X")))
        for body in (b"", b"{", json.dumps(object_event(action="Y")).encode()):
            answer = await here.http.post(f"/rejections/v1/{name}/resubmit", content=body)
            assert answer.status_code == 400
            assert answer.headers["content-type"] == "application/problem+json"
        assert (
            await here.http.post(f"/rejections/v1/{name}/resubmit", content=b" " * 10_001)
        ).status_code == 413
        assert (await here.http.get(f"/rejections/v1/{name}")).json()["state"] == "open"
        assert not here.kafka.transactions


async def test_sent_again_as_it_was_it_is_sealed_so_its_content_is_no_longer_shown() -> None:
    async with desk() as here:
        good = collected(json.dumps(object_event()).encode())[0].outcome.record
        as_if = reject(good, StageName.COLLECT, Reason.TOO_LARGE, "over the limit of then")
        (name,) = here.add(as_if.record)
        assert (await here.http.post(f"/rejections/v1/{name}/resubmit")).status_code == 202
        assert (await here.http.get(f"/rejections/v1/{name}/content")).status_code == 404


async def test_nothing_of_a_sealed_record_leaves_by_its_duplicate() -> None:
    async with desk() as here:
        (name,) = here.add(duplicate(object_event()))
        told = (await here.http.get(f"/rejections/v1/{name}")).json()
        assert not {"eventID", "eventHash", "content"} & told.keys()
        assert (await here.http.get(f"/rejections/v1/{name}/content")).status_code == 404
        again = await here.http.post(f"/rejections/v1/{name}/resubmit")
        assert again.status_code == 409
        assert f"captured before as record {(b'f' * 16).hex()}: see its verdict" in again.text
        assert "sealed" not in again.text  # nothing is, where that one was refused


async def test_a_later_stage_is_asked_again_only_with_something_else() -> None:
    async with desk() as here:
        record = collected(document(object_event()))[0].outcome.record
        (name,) = here.add(reject(record, StageName.STORE, Reason.TOO_LARGE, "tags").record)
        assert (await here.http.post(f"/rejections/v1/{name}/resubmit")).status_code == 409
        body = json.dumps(object_event(eventID="urn:e:2")).encode()
        assert (await here.http.post(f"/rejections/v1/{name}/resubmit", content=body)).status_code == 202


async def test_a_correction_over_which_a_stage_failed_is_sent_again_with_another_time() -> None:
    """Its event ID names what it cancels."""
    declared = {"declarationTime": "2026-01-03T00:00:00Z", "reason": "did_not_occur"}
    correction = object_event(errorDeclaration=declared)
    async with desk() as here:
        record = collected(document(correction))[0].outcome.record
        (name,) = here.add(reject(record, StageName.RECORD, Reason.FAULT, "failed").record)
        answer = await here.http.post(f"/rejections/v1/{name}/resubmit")
        assert answer.status_code == 409
        assert "another declarationTime" in answer.text
    later = object_event(errorDeclaration=declared | {"declarationTime": "2026-01-03T00:00:01Z"})
    sent = [*collected(document(correction, correction, later))]
    output = run_all(wires(sent))
    assert [item.record.sequence for item in items_of(output)] == [0, 2]
    assert len({item.facts.event_id for item in items_of(output)}) == 1


async def test_whole_documents_of_the_ingress_and_contexts_that_were_not_kept_want_a_document() -> None:
    async with desk() as here:
        for value in (b"no document", b""):
            placed = take(here.preparer, Arrival("goods.ingress", 1, 2, Caller(7), value)).placed[0]
            (name,) = here.add(envelope.decode(placed.value))
            assert (await here.http.post(f"/rejections/v1/{name}/resubmit")).status_code in (400, 409)
            assert (await here.http.get(f"/rejections/v1/{name}/content")).status_code == (
                200 if value else 404
            )
            good = document(object_event(eventID=f"urn:e:{len(value)}"))
            assert (await here.http.post(f"/rejections/v1/{name}/resubmit", content=good)).status_code == 202
        bad = collected(document(object_event(action="X"), **{"@context": {"a": "b" * 40_000}}))
        (name,) = here.add(bad[0].outcome.record)
        event = json.dumps(object_event()).encode()
        assert (await here.http.post(f"/rejections/v1/{name}/resubmit", content=event)).status_code == 409
        assert (
            await here.http.post(f"/rejections/v1/{name}/resubmit", content=document(object_event()))
        ).status_code == 202


async def test_what_is_away_or_gone_is_said() -> None:
    async with desk() as here:
        (name,) = here.refuse(document(object_event(action="X")))
        event = json.dumps(object_event()).encode()
        here.store.away = True
        answer = await here.http.post(f"/rejections/v1/{name}/resubmit", content=event)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        here.topic.records.clear()
        assert (await here.http.post(f"/rejections/v1/{name}/resubmit", content=event)).status_code == 410
        for unknown in ("0" * 32, "nonsense"):
            assert (await here.http.get(f"/rejections/v1/{unknown}")).status_code == 404


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "state=none", "reason=NONE", "pageToken=x", "capture=x"]
)
async def test_a_wrong_parameter_is_a_problem_that_names_it(query: str) -> None:
    async with desk() as here:
        answer = await here.http.get(f"/rejections/v1?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"]


def test_a_rejection_is_kept_once_and_says_where_it_lies() -> None:
    (sent,) = collected(document(object_event(action="X")), merchant=3)
    (one,) = of_batch([Seen("goods.rejected", 2, 9, NOW_MS, sent.outcome.record)])
    assert (one.partition, one.offset, one.merchant, one.part) == (2, 9, 3, "event")
    assert one.order.endswith(one.id)
    assert (
        of_batch([Seen("goods.stored", 0, 0, NOW_MS, collected(document(object_event()))[0].outcome.record)])
        == []
    )
