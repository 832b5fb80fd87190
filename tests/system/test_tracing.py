"""One event is followed from capture to seal, and one look-up to the seal of its record, in traces that the real OpenTelemetry Collector got.

No span says what somebody sent. Callers' trace contexts do what the settings say; without a collector only spans are lost.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from deploy.processes import HOST
from deploy.stack import Stack
from goodstrace.collector.v1 import capture_pb2 as wire
from goodstrace.collector.v1 import capture_pb2_grpc
from services.runtime.tracing.attributes import Attribute
from tests.deadlines import DEADLINE_S
from tests.otel_collector import ExportedSpan, OtelCollector, needs_collector
from tests.prometheus import MISSING, Prometheus
from tests.system.harness import System, eventually

pytestmark = needs_collector
ITEM = "urn:epc:id:sgtin:0614141.107346.2017{}"
USER, PURPOSE = "Ada Lovelace-Byron", "a recall of last Tuesday's milk"
OUTSIDE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{OUTSIDE}-b7ad6b7169203331-01"
HOSTILE = (
    "",
    "00",
    f"00-{'0' * 32}-{'0' * 16}-01",
    PARENT.upper(),
    "x" * 8000,
    "\x80\xff",
    "00-" + "'" * 32 + "-" + '"' * 16 + "-01",
    PARENT + "\t" + PARENT,
)
ID = re.compile(r"[0-9a-f]{32}")
NAME = re.compile(r"[a-z]+[a-z._]*")
SAID: dict[Attribute, re.Pattern[str]] = {
    Attribute.ERROR: re.compile(r"[0-9]{3}|[A-Z_]+|[a-z-]+|[A-Za-z]+"),
    Attribute.HTTP_METHOD: re.compile(r"GET|POST"),
    Attribute.HTTP_ROUTE: re.compile(r"(/[a-z0-9_.-]*|/\{[a-z0-9_:]+\})+"),
    Attribute.HTTP_STATUS: re.compile(r"[1-5][0-9]{2}"),
    Attribute.RPC_SYSTEM: re.compile(r"grpc"),
    Attribute.RPC_METHOD: re.compile(r"goodstrace\.[a-z]+\.v1\.[A-Za-z]+/[A-Za-z]+"),
    Attribute.RPC_STATUS: re.compile(r"[A-Z_]+"),
    Attribute.MESSAGING_SYSTEM: re.compile(r"kafka"),
    Attribute.OPERATION: NAME,
    Attribute.OPERATION_TYPE: re.compile(r"create|send|receive|process"),
    Attribute.DESTINATION: NAME,
    Attribute.CAPTURE: ID,
    Attribute.RECORD: ID,
    Attribute.BROWSE: ID,
    Attribute.REASON: re.compile(r"INVALID|FORBIDDEN|DUPLICATE|TOO_LARGE"),
    Attribute.LOG: re.compile(r"(goods|browse)/[0-9]+"),
}
"""What each may say that is no plain number of ours; all others are numbers."""
WAY = (
    ("goodstrace-collector", "collect goods.collected", "PRODUCER"),
    ("goodstrace-collector", "send goods.collected", "PRODUCER"),
    ("goodstrace-collector", "summarise goods.collected", "CONSUMER"),
    ("goodstrace-collector", "record goods.summarised", "CONSUMER"),
    ("goodstrace-collector", "classify goods.recorded", "CONSUMER"),
    ("goodstrace-collector", "store goods.classified", "CONSUMER"),
    ("goodstrace-ledger", "seal goods", "CONSUMER"),
    ("goodstrace-ledger", "checkpoint goods", "INTERNAL"),
)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtelCollector]:
    with OtelCollector(tmp_path_factory.mktemp("otelcol")) as running:
        yield running


@pytest.fixture(scope="module")
def traced(stack: Stack, systems: Callable[..., System], collector: OtelCollector) -> System:
    return systems(
        stack, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="200"
    ).start()


def event(number: int) -> bytes:
    return json.dumps(
        {
            "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"],
            "type": "ObjectEvent",
            "eventTime": "2026-10-01T10:00:00Z",
            "eventTimeZoneOffset": "+00:00",
            "epcList": [ITEM.format(number)],
            "action": "OBSERVE",
            "bizStep": "shipping",
        }
    ).encode()


def captured(system: System, number: int, traceparent: str = "") -> str:
    """Capture one event by HTTP; give the capture's ID."""
    headers = {"Content-Type": "application/json", **({"traceparent": traceparent} if traceparent else {})}
    answer = httpx.post(
        f"{system.capture_url}/epcis/v2/events", content=event(number), headers=headers, timeout=DEADLINE_S
    )
    assert answer.status_code == 202, answer.text
    return answer.headers["location"].rpartition("/")[2]


def looked_up(system: System, number: int) -> str:
    """Look an item up; give the browse record's ID."""
    with system.client(user=USER) as client:
        (browse_id,) = client.trace(ITEM.format(number)).browse_ids
    return browse_id


def whole(collector: OtelCollector, attribute: Attribute, value: str, last: str) -> list[ExportedSpan]:
    """Wait for the trace that says this somewhere to have come to its `last` span."""

    def found() -> list[ExportedSpan]:
        traces = {each.trace for each in collector.spans() if each.attributes.get(attribute) == value}
        for each in traces:
            spans = collector.trace(each)
            if any(span.name == last for span in spans):
                return spans
        return []

    return eventually(found, what=f"a trace with {attribute} {value} has {last}")


def require_way(spans: Sequence[ExportedSpan]) -> dict[str, ExportedSpan]:
    """Check that an event's spans are there, each once, in causal order and below the one that caused it."""
    by_name = {each.name: each for each in spans}
    assert [
        (each.service, each.name, each.kind)
        for each in spans
        if each.name in dict.fromkeys(name for _, name, _ in WAY)
    ] == list(WAY)
    assert len({each.trace for each in spans}) == 1
    collect = by_name["collect goods.collected"]
    for _, name, _ in WAY[1:-1]:
        assert by_name[name].parent == collect.span, name
    seal = by_name["seal goods"]
    assert by_name["checkpoint goods"].parent == seal.span
    assert by_name["checkpoint goods"].began_ns == seal.ended_ns
    order = [by_name[name] for _, name, _ in WAY[2:]]
    for before, after in pairwise(order):
        assert before.began_ns <= before.ended_ns <= after.began_ns
    assert not any(each.failed for each in spans)
    return by_name


def test_an_event_by_http_is_followed_to_its_seal(
    traced: System, collector: OtelCollector, tell: Callable[[str], None]
) -> None:
    capture = captured(traced, 1, PARENT)
    spans = whole(collector, Attribute.CAPTURE, capture, "checkpoint goods")
    by_name = require_way(spans)
    request = spans[0]
    assert (request.service, request.name, request.kind) == (
        "goodstrace-collector",
        "POST /epcis/v2/events",
        "SERVER",
    )
    assert request.attributes[Attribute.HTTP_STATUS] == 202
    assert by_name["collect goods.collected"].parent == request.span
    assert request.trace != OUTSIDE  # callers are not trusted: linked
    assert request.links == ((OUTSIDE, "b7ad6b7169203331"),)
    records = {each.attributes[Attribute.RECORD] for each in spans if Attribute.RECORD in each.attributes}
    (record,) = records
    sealed = [each for each in traced.sealed() if each.id == record]
    assert [(each.log, each.facts.type) for each in sealed] == [
        (by_name["seal goods"].attributes[Attribute.LOG], "ObjectEvent")
    ]
    batches = {name: each for each in collector.spans() for name in [each.name] if each.links}
    for batch, of in (
        ("commit goods.collected", "send goods.collected"),
        ("process goods.collected", "collect goods.collected"),
        ("block goods", "collect goods.collected"),
    ):
        assert batches[batch].trace != request.trace
        assert any(
            each.links and (request.trace, by_name[of].span) in each.links for each in collector.spans()
        )
    took_ms = (spans[-1].ended_ns - request.began_ns) / 1e6
    tell(f"tracing: {len(spans)} spans of one event by HTTP, {took_ms:.0f} ms from request to checkpoint")


def test_an_event_by_grpc_is_followed_to_its_seal(traced: System, collector: OtelCollector) -> None:
    with grpc.insecure_channel(f"{HOST}:{traced.capture_port}") as channel:
        stub = capture_pb2_grpc.CaptureServiceStub(channel)
        sent = wire.CaptureStreamRequest(sending=wire.Sending(sequence=0, event=event(2), traceparent="bad"))
        (answer,) = list(stub.CaptureStream(iter([sent]), timeout=DEADLINE_S))
    spans = whole(collector, Attribute.CAPTURE, answer.receipt.capture_id, "checkpoint goods")
    by_name = require_way(spans)
    assert spans[0].name == "collect goods.collected"  # a stream's message has a trace of its own
    (link,) = spans[0].links
    call = eventually(lambda: [each for each in collector.spans() if (each.trace, each.span) == link])
    assert (call[0].name, call[0].kind) == ("goodstrace.collector.v1.CaptureService/CaptureStream", "SERVER")
    assert call[0].attributes[Attribute.RPC_STATUS] == "OK"
    assert by_name["seal goods"].attributes[Attribute.RECORD] == answer.receipt.events[0].record_id


def test_a_look_up_is_followed_to_the_seal_of_its_record(traced: System, collector: OtelCollector) -> None:
    captured(traced, 3)
    eventually(lambda: any(ITEM.format(3).encode() in each.parts["event"] for each in traced.sealed()))
    browse = looked_up(traced, 3)
    spans = whole(collector, Attribute.BROWSE, browse, "checkpoint browse")
    assert [(each.service.removeprefix("goodstrace-"), each.name) for each in spans] == [
        ("query", "goodstrace.query.v1.TraceService/Trace"),
        ("query", "walk"),
        ("query", "prove"),
        ("query", "send goods.browsed"),
        ("audit", "seal browse"),
        ("audit", "checkpoint browse"),
    ]
    call, walk, prove, send, seal, checkpoint = spans
    assert (call.parent, walk.parent, prove.parent, send.parent) == ("", call.span, call.span, call.span)
    assert (seal.parent, checkpoint.parent) == (send.span, seal.span)
    assert seal.attributes[Attribute.RECORD] == browse
    assert browse in {each.id for each in traced.sealed("browse/")}
    lines = [json.loads(line) for line in (traced.run_dir / "logs" / "query.log").read_text().splitlines()]
    (shown,) = [line for line in lines if line.get("browse") == browse]
    assert (shown["trace_id"], shown["span_id"], shown["service"]) == (call.trace, call.span, "query")


def test_latencies_name_traces_where_the_scrape_can_take_them(
    traced: System, collector: OtelCollector
) -> None:
    captured(traced, 4)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    for service, metric in (
        ("collector", "goodstrace_collector_capture_seconds"),
        ("collector", "goodstrace_collector_group_commit_seconds"),
        ("collector", "goodstrace_collector_span_commit_seconds"),
        ("ledger", "goodstrace_ledger_seal_latency_seconds"),
        ("ledger", "goodstrace_ledger_capture_to_checkpoint_seconds"),
        ("query", "goodstrace_query_call_seconds"),
        ("query", "goodstrace_query_browse_acknowledged_seconds"),
    ):
        exemplar = re.compile(metric + r'_bucket\{[^}]*\} \S+ # \{[^}]*trace_id="([0-9a-f]{32})"')
        answer = httpx.get(traced.url(service, "/metrics"), headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        traces = set(exemplar.findall(answer.text))
        assert traces, metric
        eventually(partial(is_there, collector, traces), what=f"the trace of {metric}")
    assert " # {" not in httpx.get(traced.url("collector", "/metrics")).text


@pytest.mark.skipif(shutil.which("prometheus") is None, reason=MISSING)
def test_prometheus_keeps_exemplars(traced: System, collector: OtelCollector, tmp_path: Path) -> None:
    targets = {name: f"{HOST}:{port}" for name, port in traced.metrics_ports.items()}
    with Prometheus(tmp_path, targets) as prometheus:

        def kept() -> list[dict[str, Any]]:
            now_s = time.time()
            metric = "goodstrace_ledger_capture_to_checkpoint_seconds_bucket"
            asked = {"query": metric, "start": str(now_s - 300), "end": str(now_s + 5)}
            found: list[dict[str, Any]] = prometheus.ask("query_exemplars", **asked)
            return found

        captured(traced, 5)
        series = eventually(kept, what="an exemplar is kept")
        traces = {each["labels"]["trace_id"] for one in series for each in one["exemplars"]}
        eventually(partial(is_there, collector, traces), what="its trace")


def is_there(collector: OtelCollector, traces: set[str]) -> bool:
    return not traces.isdisjoint(each.trace for each in collector.spans())


@pytest.mark.parametrize("place", ["http", "grpc"])
def test_a_hostile_context_is_no_error(traced: System, place: str) -> None:
    for number, text in enumerate(HOSTILE):
        if place == "http":
            headers = [(b"traceparent", text.encode("latin-1")), (b"content-type", b"application/json")]
            answer = httpx.post(f"{traced.capture_url}/epcis/v2/events", content=event(100), headers=headers)
            assert answer.status_code == 202
            continue
        with grpc.insecure_channel(f"{HOST}:{traced.capture_port}") as channel:
            stub = capture_pb2_grpc.CaptureServiceStub(channel)
            shown = text if text.isascii() and text.isprintable() else "odd"
            sent = wire.CaptureStreamRequest(
                sending=wire.Sending(sequence=number, event=event(200 + number), traceparent=text)
            )
            (told,) = stub.CaptureStream(iter([sent]), timeout=DEADLINE_S, metadata=(("traceparent", shown),))
            assert told.receipt.events[0].verdict == wire.VERDICT_ACCEPTED


def test_without_the_collector_only_spans_are_lost(traced: System, collector: OtelCollector) -> None:
    before = traced.sealed_count()
    collector.stop()
    for number in range(20):
        captured(traced, 1000 + number)
    assert looked_up(traced, 1000)
    eventually(lambda: traced.sealed_count() >= before + 20)
    collector.start()
    capture = captured(traced, 2000)
    require_way(whole(collector, Attribute.CAPTURE, capture, "checkpoint goods"))


def test_no_span_says_what_somebody_sent(
    traced: System, collector: OtelCollector, tell: Callable[[str], None]
) -> None:
    httpx.get(f"{traced.log_url}/01/09521234543213/21/secret-serial", headers={"Accept": "text/html"})
    httpx.get(f"{traced.log_url}/epcis/v2/events?MATCH_epc={ITEM.format(1)}&EQ_eventID=urn:secret")
    httpx.get(f"{traced.capture_url}/epcis/v2/no/such/secret-path")
    eventually(
        lambda: any("/epcis/v2/events" in each.name and "GET" in each.name for each in collector.spans())
    )
    spans = collector.spans()
    for span in spans:
        assert set(span.attributes) <= {each.value for each in Attribute}, span
        for name, value in span.attributes.items():
            pattern = SAID.get(Attribute(name))
            assert pattern.fullmatch(str(value)) if pattern else isinstance(value, int), (name, value)
    secrets = ("0614141", "107346", "sgtin", "secret", "MATCH_epc", USER, "Lovelace", PURPOSE, "127.0.0.1")
    for secret in secrets:
        assert secret.encode() not in collector.text(), secret
    tell(f"tracing: nothing of {len(secrets)} things sent in {len(spans)} spans")


@pytest.fixture(scope="module")
def unsampled(stack: Stack, systems: Callable[..., System], collector: OtelCollector) -> System:
    """By itself it keeps no trace; callers are trusted."""
    return systems(
        stack,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_BSP_SCHEDULE_DELAY="200",
        OTEL_TRACES_SAMPLER="parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=unsampled",
        GOODSTRACE_TRACE_PARENTS="trusted",
    ).start()


def test_sampling_nothing_gives_no_spans_but_a_trusted_callers(
    unsampled: System, collector: OtelCollector
) -> None:
    captured(unsampled, 1)
    unsampled.wait_sealed(1)
    looked_up(unsampled, 1)
    unsampled.wait_sealed(1, prefix="browse/")
    assert all(not record.traceparent for _, record in unsampled.topic_records("goods.stored"))
    capture = captured(unsampled, 2, PARENT)
    spans = whole(collector, Attribute.CAPTURE, capture, "checkpoint goods")
    require_way(spans)
    assert {each.trace for each in spans} == {OUTSIDE}
    assert spans[0].parent == "b7ad6b7169203331"
    unsampled.stop()
    told = [line for line in Path(collector.file).read_text().splitlines() if "unsampled" in line]
    assert sum("collect goods.collected" in line for line in told) == 1
    assert not any("TraceService" in line or "browse" in line for line in told)
