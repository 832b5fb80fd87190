"""The capture API's headers, discovery, compressed bodies, lists of jobs, and places where events are sealed."""

import gzip
import json
import zlib
from collections import defaultdict
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers

from services.collector import headers
from services.collector.bodies import Inflater
from services.collector.documents import Limits
from services.collector.errors import DocumentError
from services.collector.flow import StageName
from services.collector.headers import RefusedHeaderError
from services.collector.jobs import Job, Seen, gather
from services.collector.stages import State
from services.runtime import envelope
from services.runtime.envelope import Record
from tests.unit.capture_api import MERCHANT, Running, running
from tests.unit.collector_builders import NOW_MS, document, fresh_state, object_event, run_all
from tests.unit.xml_builders import event_element, xml_document

CAPTURE = "/epcis/v2/capture"
JOB = f"{CAPTURE}/{'0' * 32}"
PATHS = {
    "/epcis/v2": {"GET", "OPTIONS"},
    CAPTURE: {"GET", "OPTIONS", "POST"},
    JOB: {"GET", "OPTIONS"},
    "/epcis/v2/events": {"OPTIONS", "POST"},
}


def methods(answer: httpx.Response) -> set[str]:
    return set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize("path", PATHS)
async def test_options_tell_methods_versions_and_limits(path: str) -> None:
    async with running(limits=Limits(body=10_000, event=2_000, events=3)) as here:
        answer = await here.http.options(path)
        wrong = await here.http.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert methods(answer) == methods(wrong) == PATHS[path]
    assert wrong.status_code == wrong.json()["status"] == 405
    told = answer.headers
    versions = {name: told[name] for name in told if name.startswith(("gs1-epcis-m", "gs1-cbv-"))}
    assert set(versions) == {
        "gs1-epcis-min",
        "gs1-epcis-max",
        "gs1-cbv-version",
        "gs1-cbv-min",
        "gs1-cbv-max",
    } | ({"gs1-cbv-xml-format"})
    assert told["gs1-epcis-version"] == "2.0.0"
    assert told["gs1-vendor-version"].startswith("goodstrace-")
    assert "cbvmda=urn:epcglobal:cbv:mda:" in told["gs1-extensions"]
    captures = path in (CAPTURE, "/epcis/v2/events")
    assert told.get("gs1-epcis-capture-limit") == ("3" if captures else None)
    assert told.get("gs1-epcis-capture-file-size-limit") == ("10000" if captures else None)
    assert told.get("gs1-capture-error-behaviour") == ("all" if captures else None)


async def test_the_root_lists_what_there_is() -> None:
    async with running() as here:
        assert (await here.http.get("/epcis/v2")).json()["member"] == ["capture", "events"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"GS1-EPCIS-Min": "1.2", "GS1-EPCIS-Max": "2.0.0"}, 200),
        ({"GS1-EPCIS-Min": "2.0.1"}, 200),
        ({"GS1-EPCIS-Max": "1.2.0"}, 406),
        ({"GS1-EPCIS-Min": "2.1"}, 406),
        ({"GS1-CBV-Max": "1"}, 406),
        ({"GS1-CBV-Min": "3.0.0"}, 406),
        ({"GS1-EPCIS-Version": "2.1"}, 406),
        ({"GS1-CBV-Version": "2.0"}, 200),
        ({"GS1-EPCIS-Min": "two"}, 400),
        ({"Accept": "application/xml"}, 406),
        ({"Accept": "text/html, application/*;q=0.5"}, 200),
        ({"Accept": "*/*;q=0"}, 406),
        ({"Accept": "application/json;q=0, */*"}, 406),
    ],
)
async def test_versions_and_types_are_negotiated(sent: dict[str, str], status: int) -> None:
    async with running() as here:
        answer = await here.http.get(CAPTURE, headers=sent)
        posted = await here.post(document(object_event()), **{k: v for k, v in sent.items() if k != "Accept"})
    assert answer.status_code == status
    assert posted.status_code == (202 if status == 200 or "Accept" in sent else status)
    if status != 200:
        problem = answer.json()
        assert problem["header"] in sent
        assert (
            problem["type"] == f"epcisException:{'NotAcceptable' if status == 406 else 'Validation'}Exception"
        )
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_capture_may_name_the_version_of_its_document_but_is_not_answered_in_it() -> None:
    told = {"GS1-EPCIS-Version": "1.2", "GS1-CBV-Version": "1.2.2"}
    body = xml_document(event_element(object_event(), version=1), version=1)
    async with running() as here:
        posted = await here.post(body, content_type="application/xml", **told)
        answer = await here.http.get(CAPTURE, headers=told)
    assert (posted.status_code, posted.headers["gs1-epcis-version"]) == (202, "2.0.0")
    assert (answer.status_code, answer.json()["header"]) == (406, "GS1-EPCIS-Version")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json; charset=utf-8", 202),
        ('application/ld+json; profile="x;y"; charset="UTF-8"', 202),
        ("APPLICATION/JSON ;charset=us-ascii", 202),
        ("", 202),
        ("application/json; charset=iso-8859-1", 415),
        ("application/json; charset*=utf-16''x", 415),
        ("application/jsonp", 415),
        ("nonsense", 415),
        ("application/xml", 202),
        ('text/xml; charset="utf-8"', 202),
        ("text/xml; charset=iso-8859-1", 415),
        ("application/x-ndjson", 415),
    ],
)
async def test_only_json_or_xml_in_utf_8_is_one_event(kind: str, status: int) -> None:
    async with running() as here:
        answer = await here.post(json.dumps(object_event()).encode(), "events", content_type=kind)
    assert answer.status_code == status
    if status == 415:
        assert answer.json()["header"] == "Content-Type"
        assert (
            "application/ld+json, application/json, application/xml, text/xml"
            in answer.headers["accept-post"]
        )


@pytest.mark.parametrize("given", [[""], ["  "], ["good", "garbage"], ["good", ""], ["", ""]])
@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
async def test_a_signature_that_cannot_be_meant_is_not_passed_over(given: list[str], kind: str) -> None:
    async with running() as here:
        sent = [("content-type", kind), *(("Goodstrace-Signature", text) for text in given)]
        answer = await here.http.post(CAPTURE, content=json.dumps(object_event()).encode(), headers=sent)
        assert (answer.status_code, answer.json()["header"]) == (400, "Goodstrace-Signature")
        assert here.kafka.transactions == []


@pytest.mark.parametrize("text", ["", '""', 'a"b', '"a', "a,b", "a b", "é", '"' + "x" * 256 + '"', "x" * 256])
def test_a_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RefusedHeaderError):
        headers.idempotency_key(Headers({"idempotency-key": text}))


def test_a_key_is_the_same_with_and_without_quotation_marks() -> None:
    for text in ('"4f5d:1"', "4f5d:1"):
        assert headers.idempotency_key(Headers({"idempotency-key": text})) == "4f5d:1"
    twice = Headers(raw=[(b"idempotency-key", b"a"), (b"idempotency-key", b"b")])
    with pytest.raises(RefusedHeaderError):
        headers.idempotency_key(twice)


async def test_a_misspelt_member_is_refused_with_its_place_and_what_is_meant() -> None:
    body = document(object_event(), object_event(bizStep=None, bizStpe="shipping"))
    async with running() as here:
        answer = await here.post(body)
        assert answer.status_code == 400
        assert answer.json()["errors"] == [
            {
                "pointer": "/epcisBody/eventList/1/bizStpe",
                "detail": "is no member that the standard knows, and has no prefix: `bizStep` is meant?",
                "event": 1,
            }
        ]
        assert not here.kafka.values("goods.collected")


async def test_gzip_is_read_and_bounded() -> None:
    body = document(object_event())
    async with running(limits=Limits(body=10_000, event=2_000)) as here:
        two = gzip.compress(body[:100]) + gzip.compress(body[100:])
        for sent in (gzip.compress(body), two):
            assert (await here.post(sent, content_encoding="gzip")).status_code == 202
        assert all(b"ObjectEvent" in value for value in here.kafka.values("goods.collected"))
        for broken in (body, gzip.compress(body)[:-5], b"\x1f\x8b", gzip.compress(body) + b"x"):
            answer = await here.post(broken, content_encoding="gzip")
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "")
        bomb = gzip.compress(bytes(10_001))
        answer = await here.post(bomb, content_encoding="gzip")
        assert answer.status_code == 413
        assert answer.headers["gs1-epcis-capture-file-size-limit"] == "10000"
        assert here.metrics.waiting_bytes._value.get() == 0
        other = await here.post(zlib.compress(body), content_encoding="deflate")
        assert (other.status_code, other.headers["accept-encoding"]) == (415, "gzip")


def test_a_bomb_is_inflated_step_by_step() -> None:
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    first = next(iter(Inflater().feed(bomb)))
    assert len(first) <= 64 * 1024
    inflater = Inflater()
    assert sum(len(piece) for piece in inflater.feed(bomb)) == 50 * 1024 * 1024
    inflater.end()
    with pytest.raises(DocumentError):
        list(Inflater().feed(b"no gzip"))


def jobs_of(here: Running, number: int, merchant: int = MERCHANT, events: int = 1) -> None:
    for each in range(number):
        job = Job(f"{merchant:02x}{each:030x}", NOW_MS + each // 2, events, "rollback", merchant)
        here.jobs.jobs[job.id] = job


async def pages(here: Running, path: str) -> list[httpx.Response]:
    answers = [await here.http.get(path)]
    while "link" in answers[-1].headers:
        link = answers[-1].headers["link"]
        assert link.endswith('>; rel="next"')
        assert answers[-1].headers["gs1-next-page-token-expires"].endswith("Z")
        answers.append(await here.http.get(link[1 : link.index(">")]))
    assert {answer.status_code for answer in answers} == {200}
    return answers


async def test_jobs_are_listed_newest_first_page_by_page() -> None:
    async with running() as here:
        jobs_of(here, 75)
        jobs_of(here, 5, merchant=2)
        answers = await pages(here, CAPTURE)
        assert [len(answer.json()) for answer in answers] == [30, 30, 15]
        few = await pages(here, f"{CAPTURE}?perPage=40")
        assert (await here.http.get(f"{CAPTURE}?perPage=100000")).status_code == 200
    listed = [job["captureID"] for answer in answers for job in answer.json()]
    assert listed == sorted((f"{MERCHANT:02x}{each:030x}" for each in range(75)), reverse=True)
    assert [job["captureID"] for answer in few for job in answer.json()] == listed
    first = answers[0].json()[0]
    assert {"running", "success", "errors", "counts"} <= first.keys()
    assert "events" not in first


async def test_jobs_of_very_many_events_make_a_page_shorter() -> None:
    async with running() as here:
        jobs_of(here, 5, events=15_000)
        assert [len(answer.json()) for answer in await pages(here, CAPTURE)] == [1] * 5


async def test_page_tokens_are_good_for_their_list_and_their_hour() -> None:
    async with running() as here:
        jobs_of(here, 31)
        link = (await here.http.get(CAPTURE)).headers["link"]
        following = link[1 : link.index(">")]
        token = following.partition("nextPageToken=")[2]
        for path in (
            f"{CAPTURE}?nextPageToken={token[:-1]}",
            f"{CAPTURE}?nextPageToken=%C3%A9",
            f"{CAPTURE}?nextPageToken=",
            f"{CAPTURE}/{MERCHANT:02x}{0:030x}?nextPageToken={token}",
            f"{CAPTURE}?perPage=0",
            f"{CAPTURE}?perPage=-1",
            f"{CAPTURE}?perPage=ten",
        ):
            answer = await here.http.get(path)
            wrong = "perPage" if "perPage" in path else "nextPageToken"
            assert (answer.status_code, answer.json()["parameter"]) == (400, wrong)
        here.now_ms += 3_600_000
        answer = await here.http.get(following)
        assert (answer.status_code, answer.json()["parameter"]) == (400, "nextPageToken")


async def test_a_merchant_does_not_see_the_job_of_another() -> None:
    async with running() as here:
        jobs_of(here, 1, merchant=2)
        assert (await here.http.get(f"{CAPTURE}/{2:02x}{0:030x}")).status_code == 404


class Sealing:
    """Brings what was captured through the stages into logs in memory, as far as it is published."""

    def __init__(self, here: Running) -> None:
        self._here = here
        self._offset = 0
        self._states: defaultdict[int, State] = defaultdict(fresh_state)

    def run(self) -> None:
        seen = []
        for writes in self._here.kafka.transactions:
            for write in writes:
                output = run_all(write.values, state=self._states[write.partition])
                stored = [envelope.decode(value) for value in output.passed[StageName.STORE]]
                refused = [envelope.decode(value) for _, _, value in output.rejected]
                log = self._here.logs.sealed.setdefault(f"goods/{write.partition}", [])
                log += stored
                seen += [("goods.stored", write.partition, record) for record in stored]
                seen += [("goods.rejected", write.partition, record) for record in refused]
        self._here.kafka.transactions.clear()
        self._here.jobs.found += gather(self._seen(*each) for each in seen)

    def _seen(self, topic: str, partition: int, record: Record) -> Seen:
        self._offset += 1
        return Seen(topic, partition, self._offset, NOW_MS, record)


def events(number: int, prefix: str = "a") -> list[dict[str, Any]]:
    return [
        object_event(eventID=f"urn:e:{prefix}{each}", **{"x:n": f"{prefix}{each}"}) for each in range(number)
    ]


def check_places(here: Running, told: list[dict[str, Any]]) -> None:
    for event in told:
        sealed = event["sealed"]
        record = here.logs.sealed[sealed["log"]][sealed["index"]]
        assert record.id.hex() == event.get("firstRecordID", event["recordID"])


async def test_a_finished_job_tells_where_each_event_is_sealed() -> None:
    async with running() as here:
        sealing = Sealing(here)
        first = await here.post(document(*events(230), *events(10)))
        other = await here.post(document(*events(50, "b")))
        mixed = await here.post(document(*events(3, "c"), *events(5), *events(3, "d")))
        running_job = (await here.http.get(first.headers["location"])).json()
        assert (running_job["running"], running_job["success"], here.logs.calls) == (True, True, 0)
        sealing.run()
        for answer, number in ((first, 240), (other, 50), (mixed, 11)):
            shown = await pages(here, answer.headers["location"])
            told = [event for page in shown for event in page.json()["events"]]
            assert [event["index"] for event in told] == list(range(number))
            assert {page.json()["counts"]["rejected"] for page in shown} == {0}
            check_places(here, told)
        here.logs.calls = 0
        await here.http.get(first.headers["location"])
        assert here.logs.calls <= 2 * 4  # for each of four logs one look-up by tag, one read of neighbours


async def test_what_is_not_published_has_no_place_yet() -> None:
    async with running() as here:
        answer = await here.post(document(*events(40)))
        Sealing(here).run()
        here.logs.published = dict.fromkeys(here.logs.sealed, 2)
        job = (await here.http.get(answer.headers["location"])).json()
        placed = [event for event in job["events"] if "sealed" in event]
        assert len(placed) == 2 * len(here.logs.sealed)
        check_places(here, placed)
        here.logs.published = dict.fromkeys(here.logs.sealed, 0)
        job = (await here.http.get(answer.headers["location"])).json()
    assert not [event for event in job["events"] if "sealed" in event]


async def test_a_job_that_could_not_be_written_is_written_with_the_next_one() -> None:
    async with running() as here:
        here.jobs.away = True
        lost = await here.post(document(object_event()))
        assert not here.jobs.jobs
        here.jobs.away = False
        await here.post(document(object_event(eventID="urn:e:2")))
        assert lost.headers["location"].rpartition("/")[2] in here.jobs.jobs
        assert len((await here.http.get(CAPTURE)).json()) == 2


async def test_a_defect_tells_nothing() -> None:
    async with running() as here:

        async def fail(capture: str) -> None:
            raise AssertionError("at /secret/place")

        here.jobs.find = fail  # type: ignore[assignment,method-assign]
        transport = httpx.ASGITransport(here.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://collector") as http:
            answer = await http.get(JOB)
    assert (answer.status_code, answer.json()["status"]) == (500, 500)
    assert "secret" not in answer.text
    assert here.metrics.requests.labels("job", "500")._value.get() == 1
