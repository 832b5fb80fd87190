"""Spans: whose parent is whose, what is kept, what is stamped on records; and nothing at all without a collector."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.collector.capture_spans import collecting
from services.runtime.settings import load
from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute
from services.runtime.tracing.context import TraceContext
from services.runtime.tracing.opentelemetry import OpenTelemetry
from services.runtime.tracing.settings import TracingSettings
from services.runtime.tracing.spans import Finished, Kind

TRACE = "0af7651916cd43dd8448eb211c80319c"
OUTSIDE = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"
Use = Callable[..., InMemorySpanExporter]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Turn traces on, with settings; gives what takes the spans."""

    def on(*, trusts: bool = False, **settings: str) -> InMemorySpanExporter:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        taken = InMemorySpanExporter()
        tracing = OpenTelemetry("test", load(TracingSettings), SimpleSpanProcessor(taken))
        spans.use(tracing, trusts_parents=trusts)
        return taken

    yield on
    spans.use(spans.Off())


def by_name(taken: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {each.name: each for each in taken.get_finished_spans()}


def trace_of(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}"


def links_of(span: ReadableSpan) -> set[str]:
    return {f"{each.context.trace_id:032x}" for each in span.links}


def test_without_a_collector_nothing_is_made_and_nothing_imported() -> None:
    code = f"""
import sys, services.ledger.__main__, services.collector.__main__
from services.runtime.settings import load
from services.runtime.tracing import spans
with spans.started("test"):
    assert not spans.is_on()
    with spans.span("x") as opened:
        assert opened is spans.NOTHING and spans.current() is None and spans.exemplar() is None
    assert spans.handed_on(opened, {OUTSIDE!r}) == ""
found = [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto"))]
assert not found, found
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_ledger_does_not_import_even_the_interface() -> None:
    code = "import sys, services.ledger.__main__; assert not [n for n in sys.modules if n.startswith('opentelemetry')]"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret"),
        ("GOODSTRACE_TRACE_PARENTS", "perhaps"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_its_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4317")
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as raised, spans.started("test"):
        pass
    assert raised.value.code == 2
    told = capsys.readouterr().err
    assert name in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_it_is_off(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with spans.started("test"):
        assert not spans.is_on()


def test_a_callers_trace_is_linked_and_does_not_decide(use: Use) -> None:
    taken = use()
    with spans.of_caller("call", Kind.SERVER, {}, UNSAMPLED) as opened:
        assert opened.context is not None
    call = by_name(taken)["call"]
    assert trace_of(call) != TRACE
    assert (call.parent, links_of(call)) == (None, {TRACE})


def test_a_trusted_callers_trace_goes_on_and_decides(use: Use) -> None:
    taken = use(trusts=True, OTEL_TRACES_SAMPLER="parentbased_always_off")
    for traceparent in (OUTSIDE, UNSAMPLED, "", "bad"):
        with spans.of_caller("call", Kind.SERVER, {}, traceparent) as opened:
            assert spans.handed_on(opened, traceparent) == (opened.context.header if opened.context else "")
    (call,) = taken.get_finished_spans()
    assert trace_of(call) == TRACE


def test_without_traces_a_trusted_callers_context_is_handed_on() -> None:
    spans.use(spans.Off(), trusts_parents=True)
    assert spans.handed_on(spans.NOTHING, OUTSIDE) == OUTSIDE
    assert spans.handed_on(spans.NOTHING, "bad") == ""
    spans.use(spans.Off())
    assert spans.handed_on(spans.NOTHING, OUTSIDE) == ""


def test_within_a_request_it_is_a_child_and_within_a_stream_a_trace_of_its_own(use: Use) -> None:
    taken = use()
    with spans.span("request", Kind.SERVER), collecting(OUTSIDE), spans.span("send"):
        pass
    with spans.span("stream", Kind.SERVER), spans.apart(), collecting(""), spans.span("within"):
        pass
    found = {each.name: each for each in taken.get_finished_spans()[:3]}
    assert len({trace_of(each) for each in found.values()}) == 1
    assert not any(each.links for each in found.values())  # the request has heeded the caller
    within, message, stream = taken.get_finished_spans()[3:]
    assert trace_of(within) == trace_of(message) != trace_of(stream)
    assert links_of(message) == {trace_of(stream)}


def test_a_span_that_is_not_kept_stamps_nothing(use: Use) -> None:
    taken = use(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0")
    with spans.of_caller("call", Kind.SERVER, {}, OUTSIDE) as opened:
        assert opened.context is spans.current() is None
        assert spans.handed_on(opened, OUTSIDE) == ""
    assert not taken.get_finished_spans()


@pytest.mark.parametrize(
    ("sampler", "ratio", "of_sampled", "of_unsampled"),
    [
        ("always_on", "1", True, True),
        ("always_off", "1", False, False),
        ("traceidratio", "0", False, False),
        ("traceidratio", "1", True, True),
        ("parentbased_always_on", "1", True, False),
        ("parentbased_always_off", "1", True, False),
        ("parentbased_traceidratio", "0", True, False),
    ],
)
def test_what_is_told_afterwards_goes_by_the_sampler_too(
    use: Use, sampler: str, ratio: str, *, of_sampled: bool, of_unsampled: bool
) -> None:
    taken = use(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=ratio)
    for context, kept in (
        (TraceContext(TRACE, "b7ad6b7169203331"), of_sampled),
        (TraceContext(TRACE, "b7ad6b7169203331", sampled=False), of_unsampled),
    ):
        assert spans.kept([context]) == ([context] if kept else [])
        told = spans.tell(Finished("done", 5, 9, parent=context, failed="unavailable"))
        assert (told is not None) is kept
    for done in taken.get_finished_spans():
        assert (done.start_time, done.end_time, trace_of(done)) == (5, 9, TRACE)
        assert not done.status.is_ok
        assert done.attributes is not None
        assert done.attributes[Attribute.ERROR.value] == "unavailable"


def test_an_error_leaves_its_class_and_no_text(use: Use) -> None:
    taken = use()
    with pytest.raises(ValueError, match="of Ann"), spans.span("fails"):
        raise ValueError("a secret of Ann")
    (failed,) = taken.get_finished_spans()
    assert not failed.events
    assert "Ann" not in failed.to_json()
