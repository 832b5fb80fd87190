"""The capture API against a transactor and a job store that can be told to fail."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import facts as facts_format
from goodstrace.entry import Kind
from goodstrace.facts import Facts, Verdict
from services.collector.documents import Limits
from services.collector.jobs import (
    ACCEPTED,
    DUPLICATE,
    MAX_ERRORS,
    REJECTED,
    Job,
    Refusal,
    Seen,
    Verdicts,
    detailed,
    gather,
    outline,
    progress,
)
from services.collector.jobs import Verdict as JobVerdict
from services.runtime import envelope
from services.runtime.envelope import Part, Record
from services.runtime.errors import UnavailableError
from services.runtime.kafka import FencedError
from tests.unit.capture_api import LOG, Running, running
from tests.unit.collector_builders import NOW_MS, document, object_event
from tests.unit.xml_builders import event_element, xml_document


async def test_a_capture_is_answered_when_it_is_committed_and_its_job_is_there_at_once() -> None:
    async with running() as here:
        answer = await here.post(document(object_event(), object_event(eventID="urn:e:2")))
        assert answer.status_code == 202
        assert len(here.kafka.values("goods.collected")) == 2
        assert len(here.kafka.transactions) == 1
        job = (await here.http.get(answer.headers["location"])).json()
    assert job["running"] is True
    assert job["captureErrorBehaviour"] == "rollback"
    assert {"captureID", "createdAt", "success", "errors"} <= job.keys()
    assert "finishedAt" not in job


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (xml_document(event_element(object_event()), version=2), "capture"),
        (xml_document(event_element(object_event(), version=1), version=1), "capture"),
        (xml_document(event_element(object_event()), query=True), "capture"),
        (b"\xef\xbb\xbf" + xml_document(event_element(object_event())), "capture"),
        (event_element(object_event(), outer=False).encode(), "capture"),
        (event_element(object_event(), outer=False).encode(), "events"),
    ],
    ids=["2.0", "1.2", "query", "byte order mark", "bare", "bare to events"],
)
async def test_xml_is_captured_in_its_exact_bytes(body: bytes, path: str) -> None:
    async with running() as here:
        answer = await here.post(body, path, content_type="application/xml")
        assert answer.status_code == 202
        (value,) = here.kafka.values("goods.collected")
    content = envelope.decode(value).part("event").content
    assert content in body
    assert (content[:12], content[-14:]) == (b"<ObjectEvent", b"</ObjectEvent>")


async def test_a_bad_xml_event_is_named_and_the_good_ones_are_captured_where_that_is_asked_for() -> None:
    good, bad = event_element(object_event()), event_element(object_event(action="X"), version=1)
    body = xml_document(good, bad, version=1)
    place = "/epcis:EPCISDocument/EPCISBody/EventList/ObjectEvent[2]/action"
    async with running() as here:
        refused = await here.post(body, content_type="text/xml")
        assert refused.status_code == 400
        (fault,) = refused.json()["errors"]
        assert fault["pointer"] == place
        line, column = 4, bad.index("<action") + 1
        assert fault["detail"] == f"must be ADD, OBSERVE or DELETE (line {line}, column {column})"
        assert not here.kafka.transactions
        taken = await here.post(body, content_type="text/xml", GS1_Capture_Error_Behaviour="proceed")
        assert taken.status_code == 202
        assert len(here.kafka.values("goods.collected")) == 1
        (value,) = here.kafka.values("goods.rejected")
    rejection = envelope.decode(value).rejection
    assert rejection is not None
    assert rejection.detail.startswith(f"{place}: must be ADD")


async def test_a_capture_of_nothing_finishes_at_once() -> None:
    async with running() as here:
        answer = await here.post(document())
        job = (await here.http.get(answer.headers["location"])).json()
    assert (job["running"], job["success"], job["finishedAt"]) == (False, True, job["createdAt"])
    assert not here.kafka.transactions


async def test_rollback_keeps_nothing_and_names_every_fault() -> None:
    body = document(object_event(), object_event(action="X"), object_event(eventTime=None))
    async with running() as here:
        answer = await here.post(body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert [each["pointer"] for each in answer.json()["errors"]] == [
        "/epcisBody/eventList/1/action",
        "/epcisBody/eventList/2/eventTime",
    ]
    assert [each["event"] for each in answer.json()["errors"]] == [1, 2]
    assert not here.kafka.transactions
    assert not here.jobs.jobs


async def test_proceed_captures_the_good_ones_and_says_so() -> None:
    async with running() as here:
        answer = await here.post(
            document(object_event(), object_event(action="X")), GS1_Capture_Error_Behaviour="proceed"
        )
        assert answer.status_code == 202
        assert len(here.kafka.transactions) == 1
        seen = [
            Seen(topic, 0, offset, NOW_MS + 5, envelope.decode(value))
            for topic in ("goods.collected", "goods.rejected")
            for offset, value in enumerate(here.kafka.values(topic))
        ]
        here.jobs.found = gather(seen)
        job = (await here.http.get(answer.headers["location"])).json()
    assert (job["running"], job["success"], job["captureErrorBehaviour"]) == (False, False, "proceed")
    assert [event["verdict"] for event in job["events"]] == ["accepted", "rejected"]
    assert job["errors"][0]["pointer"] == job["events"][1]["pointer"] == "/epcisBody/eventList/1/action"
    assert job["counts"] == {"accepted": 1, "duplicate": 0, "rejected": 1}
    assert job["events"][0]["eventHash"].startswith("ni:///sha-256;")


@pytest.mark.parametrize(
    ("body", "headers", "path", "status"),
    [
        (b"<epcis/>", {"content_type": "application/xml"}, "capture", 400),
        (b"<epcis/>", {"content_type": "text/xml; charset=utf-8"}, "capture", 400),
        (b"<epcis/>", {"content_type": "text/xml; charset=iso-8859-1"}, "capture", 415),
        (b"<epcis/>", {"content_type": "text/html"}, "capture", 415),
        (xml_document("<ObjectEvent/>"), {"content_type": "application/xml"}, "events", 400),
        (xml_document(*["<ObjectEvent/>"] * 4), {"content_type": "application/xml"}, "capture", 413),
        (document(), {"content_encoding": "br"}, "capture", 415),
        (document(), {"GS1_Capture_Error_Behaviour": "maybe"}, "capture", 400),
        (b"{", {}, "capture", 400),
        (b"", {}, "capture", 400),
        (document(object_event()), {}, "events", 400),
        (document(object_event(**{"x:y": "z" * 3000})), {}, "capture", 413),
        (document(*[object_event()] * 4), {}, "capture", 413),
        (b" " * 20_000, {}, "capture", 413),
    ],
)
async def test_what_cannot_be_captured_is_a_problem(
    body: bytes, headers: dict[str, str], path: str, status: int
) -> None:
    async with running(limits=Limits(body=10_000, event=2_000, events=3)) as here:
        answer = await here.post(body, path, **headers)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert answer.json()["type"].startswith("epcisException:")
    assert not here.kafka.transactions


async def test_a_method_or_path_that_is_not_there_is_a_problem_named_in_one_word() -> None:
    async with running() as here:
        wrong_method = await here.http.delete("/epcis/v2/capture")
        wrong_path = await here.http.get("/epcis/v3")
    assert (wrong_method.status_code, wrong_method.json()["type"]) == (405, "epcisException:MethodNotAllowed")
    assert "POST" in wrong_method.headers["allow"]
    assert (wrong_path.status_code, wrong_path.json()["type"]) == (
        404,
        "epcisException:NoSuchResourceException",
    )


async def test_proceed_keeps_an_event_that_is_too_large_only_where_kafka_can() -> None:
    over, far_over = ({"x:padding": "y" * (mib * 1024 * 1024)} for mib in (2, 5))
    async with running() as here:
        answer = await here.post(
            document(object_event(), object_event(**over)), gs1_capture_error_behaviour="proceed"
        )
        assert answer.status_code == 202
        assert len(here.kafka.values("goods.rejected")) == 1
        here.kafka.transactions.clear()
        answer = await here.post(
            document(object_event(), object_event(**far_over)), gs1_capture_error_behaviour="proceed"
        )
        assert answer.status_code == 413
        assert answer.json()["errors"][0]["pointer"] == "/epcisBody/eventList/1"
        assert here.kafka.transactions == []


async def test_what_every_event_takes_from_its_document_is_bounded() -> None:
    numbers = b"[" + b"1e15," * 180_000 + b"1]"  # written again they take more than three times as much
    context = document(object_event(**{"@context": {"a": 0}}), **{"@context": {"b": 0}})
    one_large = context.replace(b'"a": 0', b'"a":' + numbers).replace(b'"b": 0', b'"b":' + numbers)
    many = document(
        *(object_event(eventID=f"urn:e:{number}") for number in range(600)),
        **{"@context": ["x:y", {"a": "b" * 65_536}]},
    )
    async with running() as here:
        for body in (one_large, many):
            for behaviour in ("rollback", "proceed"):
                answer = await here.post(body, gs1_capture_error_behaviour=behaviour)
                written = here.kafka.values("goods.rejected")
                assert max(map(len, written), default=0) < 1024 * 1024
                if body is one_large and behaviour == "proceed":
                    assert (answer.status_code, len(written)) == (202, 1)
                else:
                    assert answer.status_code == 413
        assert here.kafka.values("goods.collected") == []


async def test_one_event_and_an_unknown_job() -> None:
    async with running() as here:
        assert (await here.post(json.dumps(object_event()).encode(), "events")).status_code == 202
        for name in ("0" * 32, "nonsense", "0" * 31):
            assert (await here.http.get(f"/epcis/v2/capture/{name}")).status_code == 404
        assert (await here.http.get("/docs")).status_code == 200


async def test_kafka_away_is_503_and_the_next_capture_goes_on() -> None:
    async with running() as here:
        here.kafka.failures = [UnavailableError("away")]
        answer = await here.post(document(object_event()))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert "away" not in answer.text
        assert not here.jobs.jobs
        assert (await here.post(document(object_event()))).status_code == 202


async def test_captures_soon_after_a_transaction_share_the_next_one() -> None:
    """The first waits for nobody; those that come within the interval after it go together."""
    async with running(interval_s=0.5) as here:
        assert (await here.post(document(object_event()))).status_code == 202
        second = asyncio.create_task(here.post(document(object_event(eventID="urn:e:2"))))
        await asyncio.sleep(0.05)  # far longer than a transaction of this Kafka takes
        third = asyncio.create_task(here.post(document(object_event(eventID="urn:e:3"))))
        assert {(await each).status_code for each in (second, third)} == {202}
        assert len(here.kafka.transactions) == 2


async def test_a_fenced_producer_ends_the_group_commit() -> None:
    here = Running()
    here.kafka.failures = [FencedError("another one has come")]
    committing = asyncio.create_task(here.commits.run(LOG))
    assert (await here.post(document(object_event()))).status_code == 503
    with pytest.raises(FencedError):
        await committing


async def test_a_job_store_that_is_away_fails_no_capture() -> None:
    async with running() as here:
        here.jobs.away = True
        answer = await here.post(document(object_event()))
        assert answer.status_code == 202
        assert (await here.http.get(answer.headers["location"])).json()["running"] is True


async def test_too_much_at_a_time_is_turned_away() -> None:
    async with running(max_bytes=100) as here:
        assert (await here.post(document(object_event()))).status_code == 503
        assert not here.kafka.transactions


async def test_bodies_that_do_not_come_hold_no_room_and_end() -> None:
    never, sent = asyncio.Event(), asyncio.Event()

    async def halting(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 100
        sent.set()
        await never.wait()

    async with running(limits=Limits(body=10_000, event=10_000), max_bytes=10_000) as here:
        idle = [asyncio.create_task(here.post(halting(1))) for _ in range(10)]
        await asyncio.wait_for(sent.wait(), 10)
        assert (await here.post(document(object_event()))).status_code == 202
        assert (await here.post(document(object_event()), **{"content-length": "9999"})).status_code == 202
        for each in idle:
            each.cancel()
        await asyncio.wait(idle)

        assert (await here.post(halting(101))).status_code == 413
    async with running(body_timeout_s=0.05) as here:
        assert (await here.post(halting(1))).status_code == 408
        assert (await here.post(document(object_event()))).status_code == 202


def test_a_job_tells_what_rules_found() -> None:
    facts = Facts(
        "urn:e:1", "ni:///h", "ObjectEvent", 0, "+00:00", "2", verdicts=(Verdict("r", "info", "/a", "b"),)
    )
    record = Record(
        id=bytes(16),
        kind=Kind.EVENT,
        time_ms=NOW_MS,
        pipeline_version="2",
        parts=(Part("facts", bytes(32), facts_format.encode(facts)),),
        capture_id=bytes(16),
        sequence=0,
        capture_size=1,
        merchant=1,
    )
    (found,) = gather([Seen("goods.stored", 0, 0, NOW_MS, record)])
    assert msgspec.convert(msgspec.to_builtins(found), Verdicts) == found  # as it is kept in the store
    (told,) = detailed(found.verdicts, {})
    assert told["ruleVerdicts"] == [{"rule": "r", "severity": "info", "at": "/a", "detail": "b"}]


def test_verdicts_found_twice_and_cut_otherwise_say_the_same() -> None:
    here = Running()
    prepared = []

    async def fill() -> None:
        committing = asyncio.create_task(here.commits.run(LOG))
        await here.post(document(*[object_event(eventID=f"urn:e:{number}") for number in range(5)]))
        here.commits.close()
        await committing
        prepared.extend(here.kafka.values("goods.collected"))

    asyncio.run(fill())
    seen = [
        Seen("goods.stored", 0, offset, NOW_MS + offset, envelope.decode(value))
        for offset, value in enumerate(prepared)
    ]
    (job,) = here.jobs.jobs.values()
    whole = progress(job, gather(seen))
    again = progress(job, [*gather(seen[:3]), *gather(seen[1:]), *gather(seen)])
    assert (outline(again), again.page(0, 5)) == (outline(whole), whole.page(0, 5))
    assert outline(whole)["finishedAt"] != outline(whole)["createdAt"]
    assert [event["index"] for event in detailed(whole.page(1, 2), {})] == [1, 2]
    part = outline(progress(job, gather(seen[:3])))
    assert (part["running"], part["success"], part["counts"]["accepted"]) == (True, True, 3)


async def test_a_duplicate_of_what_was_refused_counts_as_refused_and_says_why() -> None:
    first, other = "f" * 32, "e" * 32
    verdicts = tuple(
        JobVerdict(
            index,
            DUPLICATE,
            f"{index:032x}",
            stage="summarise",
            reason="DUPLICATE",
            detail="before",
            first=of,
        )
        for index, of in enumerate((first, other))
    )
    async with running() as here:
        location = (await here.post(document(object_event(), object_event(eventID="urn:e:2")))).headers[
            "location"
        ]
        capture = location.rpartition("/")[2]

        async def told(*found: JobVerdict) -> dict[str, Any]:
            here.jobs.found = [Verdicts("v", capture, 2, NOW_MS, NOW_MS, found)]
            job = (await here.http.get(location)).json()
            (listed,) = (await here.http.get("/epcis/v2/capture")).json()
            assert listed == {name: each for name, each in job.items() if name != "events"}
            return dict(job)

        taken = await told(*verdicts)
        assert (taken["success"], taken["errors"]) == (True, []), "none was refused so far"
        here.rejections.refused = {other: Refusal("classify", "FORBIDDEN", "no such step")}
        refused = await told(*verdicts)
        asked = len(here.rejections.calls)
        assert (await told(verdicts[1]))["running"]
        assert len(here.rejections.calls) == asked, (
            "who asks again and again while it is running is no burden"
        )
    assert (refused["running"], refused["success"]) == (False, False)
    assert refused["errors"] == [
        {
            "type": "epcisException:ValidationException",
            "title": "Event 1 was refused by classify",
            "detail": f"it is a duplicate of record {other}, which was refused: no such step",
            "index": 1,
        }
    ]
    assert refused["counts"] == taken["counts"] == {"accepted": 0, "duplicate": 2, "rejected": 0}
    assert refused["events"] == taken["events"]
    assert here.rejections.calls[-1] == {first, other}


@given(st.lists(st.sampled_from([ACCEPTED, DUPLICATE, REJECTED]), max_size=300), st.sets(st.integers(0, 300)))
def test_a_job_is_a_success_as_long_as_no_event_of_it_nor_what_it_repeats_was_refused(
    kinds: list[str], refused_firsts: set[int]
) -> None:
    verdicts = tuple(
        JobVerdict(
            index, kind, f"{index:032x}", first=f"first {index}" if kind == DUPLICATE else "", detail="d"
        )
        for index, kind in enumerate(kinds)
    )
    made = msgspec.structs.replace(
        progress(Job("j", 1, len(kinds)), [Verdicts("v", "j", len(kinds), 1, 1, verdicts)]),
        refused_firsts={f"first {index}": Refusal("record", "FAULT", "of it") for index in refused_firsts},
    )
    wanted = [
        index
        for index, kind in enumerate(kinds)
        if kind == REJECTED or (kind == DUPLICATE and index in refused_firsts)
    ]
    told = outline(made)
    assert told["success"] is not bool(wanted)
    assert [each["index"] for each in told["errors"]] == wanted[:MAX_ERRORS]
    assert told["counts"] == {kind: kinds.count(kind) for kind in (ACCEPTED, DUPLICATE, REJECTED)}
