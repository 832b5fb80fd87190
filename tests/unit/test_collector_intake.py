"""The capture API against a transactor and a job store that can be told to fail."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry

from services.collector.api import make_app
from services.collector.collect import Rules
from services.collector.documents import Limits
from services.collector.intake import Intake, Ports
from services.collector.jobs import Job, Seen, Verdicts, describe, gather
from services.collector.metrics import Metrics
from services.collector.producer import GroupCommit
from services.collector.registry.gate import Gate
from services.collector.registry.rates import Rates
from services.collector.transactions import Write
from services.runtime import envelope
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.kafka import FencedError
from services.runtime.settings import KafkaSettings
from tests.unit.collector_builders import NOW_MS, counted, document, object_event

LOG = structlog.get_logger()


class Kafka:
    """Takes transactions; the next ones fail with `failures`."""

    def __init__(self) -> None:
        self.transactions: list[list[Write]] = []
        self.failures: list[ServiceError] = []

    def write(self, writes: Sequence[Write]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.transactions.append(list(writes))

    def values(self, topic: str) -> list[bytes]:
        return [
            value
            for writes in self.transactions
            for write in writes
            if write.topic == topic
            for value in write.values
        ]


class Jobs:
    """Keeps jobs in memory; away while `away`."""

    def __init__(self) -> None:
        self.away = False
        self.jobs: dict[str, Job] = {}
        self.found: list[Verdicts] = []

    async def open(self, job: Job) -> None:
        if self.away:
            raise UnavailableError("away")
        self.jobs[job.id] = job

    async def find(self, capture: str) -> tuple[Job | None, list[Verdicts]]:
        return self.jobs.get(capture), [each for each in self.found if each.capture == capture]


class Running:
    def __init__(
        self,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        max_bytes: int = 10**9,
        body_timeout_s: float = 10,
        gate: Gate | None = None,
    ) -> None:
        self.kafka, self.jobs, self.metrics = Kafka(), Jobs(), Metrics(CollectorRegistry())
        self.commits = GroupCommit(self.kafka, max_bytes, 0, self.metrics)
        intake = Intake(
            kafka=KafkaSettings(),  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
            gate=gate or Gate(None, rates=Rates(lambda: 0.0)),
            limits=limits,
            rules=Rules(event_bytes=limits.event),
            max_held_bytes=max_bytes,
            ports=Ports(now_ms=lambda: NOW_MS, random=counted()),
            commits=self.commits,
            jobs=self.jobs,  # type: ignore[arg-type]
            metrics=self.metrics,
            log=LOG,
        )
        transport = httpx.ASGITransport(make_app(intake, self.metrics, body_timeout_s))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://collector")

    async def post(
        self, body: bytes | AsyncIterator[bytes], path: str = "capture", **headers: str
    ) -> httpx.Response:
        told = {
            "content-type": "application/ld+json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        return await self.http.post(f"/epcis/v2/{path}", content=body, headers=told)


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    here = Running(**settings)
    committing = asyncio.create_task(here.commits.run(LOG))
    try:
        yield here
    finally:
        here.commits.close()
        await asyncio.wait([committing])


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
    assert job["errors"][0]["detail"].startswith("/epcisBody/eventList/1/action")
    assert job["events"][0]["eventHash"].startswith("ni:///sha-256;")


@pytest.mark.parametrize(
    ("body", "headers", "path", "status"),
    [
        (b"<epcis/>", {"content_type": "application/xml"}, "capture", 415),
        (b"<epcis/>", {"content_type": "text/xml; charset=utf-8"}, "capture", 415),
        (document(), {"content_encoding": "gzip"}, "capture", 415),
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
    assert (wrong_path.status_code, wrong_path.json()["type"]) == (404, "epcisException:NotFound")


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
    whole = describe(job, gather(seen))
    assert describe(job, [*gather(seen[:3]), *gather(seen[1:]), *gather(seen)]) == whole
    assert whole["finishedAt"] != whole["createdAt"]
    assert describe(job, gather(seen[:3]))["running"] is True
