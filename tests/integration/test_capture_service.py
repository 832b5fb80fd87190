"""CaptureService: receipts in order, waiting instead of refusing, and breaks after which nothing is lost or sealed twice."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import structlog
from click.testing import CliRunner
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from goodstrace.capture_stream import CaptureStream
from goodstrace.cli.main import cli
from goodstrace.collector.v1 import capture_pb2 as wire
from goodstrace.collector.v1 import capture_pb2_grpc
from goodstrace.errors import CallError
from goodstrace.simulate import SimulationOptions, simulate
from services.collector.collect import Rules
from services.collector.documents import Limits
from services.collector.grpc_edge import GrpcEdge
from services.collector.intake import Intake
from services.collector.metrics import Metrics
from services.collector.preparing import Ports, Preparer
from services.collector.producer import GroupCommit
from services.collector.registry.gate import Gate
from services.collector.transactions import Write
from services.runtime import envelope, topics
from services.runtime.access.guard import Guard
from services.runtime.errors import UnavailableError
from services.runtime.settings import KafkaSettings
from tests.integration.test_collector import Collector, canonical, collector, events_of, until
from tests.open_guard import open_guard
from tests.unit.capture_api import Jobs, Kafka, Keeper, Registered, Rejections, open_gate
from tests.unit.collector_builders import NOW_MS, counted, document, object_event

__all__ = ["collector"]  # the fixture
LOG = structlog.get_logger()
MIB = 1024 * 1024


class SlowKafka(Kafka):
    """Takes transactions only while `open` is set, and counts what it holds back."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()

    def write(self, writes: Sequence[Write]) -> None:
        assert self.open.wait(30)
        super().write(writes)


class Here:
    """The edge in this process, with everything behind it in memory."""

    def __init__(self, max_bytes: int, gate: Gate, guard: Guard | None = None) -> None:
        self.kafka, self.registry = SlowKafka(), CollectorRegistry()
        metrics = Metrics(self.registry)
        self.commits = GroupCommit(self.kafka, max_bytes, 0, 0, metrics)
        kafka = KafkaSettings()  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
        ports = Ports(now_ms=lambda: NOW_MS, random=counted())
        intake = Intake(
            preparer=Preparer(kafka, gate, Limits(), Rules(), ports),
            max_held_bytes=max_bytes,
            commits=self.commits,
            jobs=Jobs(),  # type: ignore[arg-type]
            rejections=Rejections(),
            metrics=metrics,
            log=LOG,
            keeper=Keeper(),
            ranges=Registered(),
        )
        self.edge = GrpcEdge(
            intake, "127.0.0.1", 0, LOG, self.registry, guard=guard or open_guard("collector")
        )
        self.stop = asyncio.Event()
        self.target = ""

    def held(self) -> float:
        return self.registry.get_sample_value("goodstrace_collector_waiting_bytes") or 0

    def calls(self, code: str) -> float:
        labels = {"method": "CaptureStream", "code": code}
        return self.registry.get_sample_value("goodstrace_collector_calls_total", labels) or 0


@asynccontextmanager
async def here(
    max_bytes: int = 256 * MIB, gate: Gate | None = None, guard: Guard | None = None
) -> AsyncIterator[Here]:
    made, port = Here(max_bytes, gate or open_gate(1), guard), asyncio.get_running_loop().create_future()
    committing = asyncio.create_task(made.commits.run(LOG))
    serving = asyncio.create_task(made.edge.run(made.stop, port.set_result))
    made.target = f"127.0.0.1:{await port}"
    try:
        yield made
    finally:
        made.kafka.open.set()
        made.stop.set()
        await serving
        made.commits.close()
        await committing


def numbered(count: int, **changes: str) -> list[bytes]:
    return [document(object_event(eventID=f"urn:e:{number}", **changes)) for number in range(count)]


def sent(target: str, documents: Sequence[bytes], **options: str) -> list[wire.Receipt]:
    with CaptureStream(target, **options) as stream:  # type: ignore[arg-type]
        return list(stream.send(documents))


def event_ids(kafka: Kafka) -> list[str]:
    records = map(envelope.decode, kafka.values("goods.collected"))
    return [json.loads(record.part("event").content)["eventID"] for record in records]


async def test_receipts_come_in_order_and_say_what_became_of_each_event() -> None:
    good, bad = object_event(eventID="urn:e:1"), object_event(action="X")
    documents = [document(good), json.dumps(good).encode(), document(good, bad), b"{", document()]
    async with here() as service:
        proceed = await asyncio.to_thread(sent, service.target, documents, error_behaviour="proceed")
        rollback = await asyncio.to_thread(sent, service.target, documents)
        many = await asyncio.to_thread(sent, service.target, numbered(1000))
    assert [receipt.sequence for receipt in many] == list(range(1000))
    assert [receipt.sequence for receipt in proceed] == list(range(5))
    assert [[event.verdict for event in receipt.events] for receipt in proceed] == [
        [wire.VERDICT_ACCEPTED],
        [wire.VERDICT_ACCEPTED],
        [wire.VERDICT_ACCEPTED, wire.VERDICT_REJECTED],
        [],
        [],
    ]
    accepted, rejected = proceed[2].events
    assert accepted.event_id == "urn:e:1"
    assert accepted.event_hash.startswith("ni:///sha-256;")
    assert rejected.fault.pointer == "/epcisBody/eventList/1/action"
    assert [receipt.HasField("problem") for receipt in proceed] == [False, False, False, True, False]
    assert rollback[2].problem.faults[0].pointer == "/epcisBody/eventList/1/action"
    assert not rollback[2].capture_id
    assert service.held() == 0


async def test_without_a_place_to_put_it_nothing_more_is_read_and_nothing_refused() -> None:
    documents = numbered(60, **{"x:padding": "y" * 100_000})
    async with here(max_bytes=MIB) as service:
        service.kafka.open.clear()
        sending = asyncio.create_task(asyncio.to_thread(sent, service.target, documents))
        while service.held() < MIB - 120_000:  # noqa: ASYNC110 - a gauge has no event
            await asyncio.sleep(0.01)
        assert not sending.done()
        assert service.held() <= MIB
        service.kafka.open.set()
        receipts = await sending
    assert len(receipts) == len(documents)
    assert not any(receipt.HasField("problem") for receipt in receipts)
    assert service.calls("OK") == 1
    assert service.held() == 0


async def test_what_has_no_receipt_after_a_break_is_sent_again() -> None:
    async with here() as service:
        service.kafka.failures = [UnavailableError("away"), UnavailableError("away")]
        receipts = await asyncio.to_thread(sent, service.target, numbered(500))
    assert [receipt.sequence for receipt in receipts] == list(range(500))
    assert set(event_ids(service.kafka)) == {f"urn:e:{number}" for number in range(500)}
    assert service.calls("UNAVAILABLE") >= 1
    assert service.held() == 0


async def test_a_stopping_service_finishes_what_it_has_read_and_says_so() -> None:
    async with here() as service, grpc.aio.insecure_channel(service.target) as channel:
        call = capture_pb2_grpc.CaptureServiceStub(channel).CaptureStream()
        content = document(object_event())
        await call.write(wire.CaptureStreamRequest(sending=wire.Sending(sequence=7, document=content)))
        assert (await call.read()).receipt.sequence == 7
        service.stop.set()
        with pytest.raises(grpc.aio.AioRpcError, match="receipt") as raised:
            await call.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def messages(*sendings: wire.Sending) -> AsyncIterator[wire.CaptureRequest]:
    for sending in sendings:
        yield wire.CaptureRequest(sending=sending)


async def test_capture_sums_up_what_became_of_all() -> None:
    content = document(object_event(), object_event(action="X"))
    proceed = wire.ERROR_BEHAVIOUR_PROCEED
    async with here() as service, grpc.aio.insecure_channel(service.target) as channel:
        stub = capture_pb2_grpc.CaptureServiceStub(channel)
        told = await stub.Capture(
            messages(
                wire.Sending(sequence=1, event=json.dumps(object_event()).encode()),
                wire.Sending(sequence=2, document=content, error_behaviour=proceed),
                wire.Sending(sequence=9, document=content),
                wire.Sending(sequence=10, event=document(object_event())),
            )
        )
        asked = health_pb2.HealthCheckRequest(service="goodstrace.collector.v1.CaptureService")
        answer = await health_pb2_grpc.HealthStub(channel).Check(asked)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert (told.messages, told.events_accepted, told.events_rejected, told.messages_refused) == (4, 2, 1, 2)
    assert [receipt.sequence for receipt in told.faulty] == [2, 9, 10]


@pytest.mark.parametrize(
    ("sendings", "code", "field"),
    [
        (
            [wire.Sending(sequence=1, event=b"{}"), wire.Sending(sequence=1, event=b"{}")],
            "INVALID_ARGUMENT",
            "sending.sequence",
        ),
        ([wire.Sending(sequence=1)], "INVALID_ARGUMENT", "sending.content"),
        ([wire.Sending(event=b"{}", error_behaviour=9)], "INVALID_ARGUMENT", "sending.error_behaviour"),  # type: ignore[arg-type]
        ([wire.Sending(event=b"x" * 5 * MIB)], "RESOURCE_EXHAUSTED", ""),
    ],
)
async def test_a_call_that_is_wrong_ends_with_one_reason(
    sendings: list[wire.Sending], code: str, field: str
) -> None:
    async with here() as service, grpc.aio.insecure_channel(service.target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await capture_pb2_grpc.CaptureServiceStub(channel).Capture(messages(*sendings))
    assert raised.value.code().name == code
    if field:
        status = rpc_status.from_call(raised.value)  # type: ignore[arg-type]
        assert status is not None
        detail = status.details[0]
        info = error_details_pb2.ErrorInfo()
        assert detail.Unpack(info)
        assert info.metadata["field"] == field


async def test_a_call_ends_at_its_deadline_and_holds_nothing_after() -> None:
    async with here() as service, grpc.aio.insecure_channel(service.target) as channel:
        service.kafka.open.clear()
        call = capture_pb2_grpc.CaptureServiceStub(channel).CaptureStream(timeout=0.3)
        content = document(object_event())
        await call.write(wire.CaptureStreamRequest(sending=wire.Sending(sequence=1, document=content)))
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        while service.held():  # noqa: ASYNC110 - a gauge has no event
            await asyncio.sleep(0.01)


async def test_who_gives_documents_may_fail_and_a_service_may_be_away() -> None:
    def failing() -> Iterator[bytes]:
        yield document(object_event())
        raise ValueError("the source is broken")

    received: list[wire.Receipt] = []

    def send_to(target: str) -> None:
        with CaptureStream(target, patience_s=0) as stream:
            received.extend(stream.send(failing()))

    with pytest.raises(CallError, match="UNAVAILABLE"):
        await asyncio.to_thread(send_to, "127.0.0.1:1")
    async with here() as service:
        with pytest.raises(ValueError, match="broken"):
            await asyncio.to_thread(send_to, service.target)
        assert len(service.kafka.values("goods.collected")) == 1


def test_the_command_sends_over_grpc_and_follows_the_jobs(collector: Collector, tmp_path: Path) -> None:
    collector.start()
    good, bad = tmp_path / "good.jsonld", tmp_path / "bad.jsonld"
    good.write_bytes(document(object_event()))
    bad.write_bytes(document(object_event(action="X")))
    arguments = [
        "--grpc",
        f"127.0.0.1:{collector.grpc_port}",
        "--url",
        str(collector.http.base_url),
        "--json",
    ]
    done = CliRunner().invoke(cli, ["capture", str(good), str(bad), *arguments])
    assert done.exit_code == 1, done.output
    first, second = json.loads(done.stdout)
    assert first["job"]["success"] is True
    assert second["problem"]["errors"][0]["pointer"] == "/epcisBody/eventList/0/action"


def test_kill_9_in_the_middle_of_a_stream_seals_each_event_once(collector: Collector) -> None:
    bodies = [
        each.to_bytes() for each in simulate(SimulationOptions(seed=31, events=2000, events_per_document=5))
    ]
    collector.start()
    receipts: list[wire.Receipt] = []
    with CaptureStream(f"127.0.0.1:{collector.grpc_port}") as stream:
        for receipt in stream.send(bodies):
            receipts.append(receipt)
            if len(receipts) == len(bodies) // 3:
                collector.end(kill=True)
                collector.start()
    assert [receipt.sequence for receipt in receipts] == list(range(len(bodies)))
    expected = {event.record_id for receipt in receipts for event in receipt.events}

    def ended() -> set[str]:
        both = (*collector.records(topics.GOODS_STORED), *collector.records(topics.GOODS_REJECTED))
        return {record.id.hex() for record in both}

    until(lambda: expected <= ended(), "every event with a receipt has its place")
    stored = collector.records(topics.GOODS_STORED)
    events = [event for body in bodies for event in events_of(body)]
    assert canonical(json.loads(record.part("event").content) for record in stored) == canonical(events)
    reasons = {each.rejection.reason for each in collector.records(topics.GOODS_REJECTED) if each.rejection}
    assert reasons <= {"DUPLICATE"}
