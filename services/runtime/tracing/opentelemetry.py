"""Spans made and exported by OpenTelemetry's SDK: the only place that imports it, and is imported itself only where traces are on.

No provider is made known to the process as a whole: libraries that trace by themselves (FastAPI does, with paths and queries, which hold
keys of goods) find none.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from services.runtime.monitoring import VERSION
from services.runtime.tracing.attributes import Attribute, Attributes, Value
from services.runtime.tracing.context import TraceContext
from services.runtime.tracing.settings import TracingSettings
from services.runtime.tracing.spans import Finished, Kind

_KINDS: Final = {
    Kind.INTERNAL: trace.SpanKind.INTERNAL,
    Kind.SERVER: trace.SpanKind.SERVER,
    Kind.PRODUCER: trace.SpanKind.PRODUCER,
    Kind.CONSUMER: trace.SpanKind.CONSUMER,
}
_APART: Final = otel_context.create_key("goodstrace-apart")
_NONE: Final = otel_context.Context()


def exporting(service: str, settings: TracingSettings) -> "OpenTelemetry":
    """Make spans of `service` and send them to the collector of the settings, in batches, from a thread of the library's.

    What does not fit into its queue, or cannot be sent, is lost: nobody waits for it.
    """
    exporter = OTLPSpanExporter(endpoint=settings.endpoint)
    return OpenTelemetry(service, settings, BatchSpanProcessor(exporter))


def sampler_of(settings: TracingSettings) -> Sampler:
    """Give the sampler that the settings name."""
    root: Sampler = {"on": ALWAYS_ON, "off": ALWAYS_OFF}.get(
        settings.sampler.rpartition("_")[2], TraceIdRatioBased(settings.sampler_arg)
    )
    return ParentBased(root) if settings.sampler.startswith("parentbased_") else root


class OpenTelemetry:
    """Implements services.runtime.tracing.spans.Tracing. Any thread may call it."""

    is_on = True

    def __init__(self, service: str, settings: TracingSettings, processor: SpanProcessor) -> None:
        """Make spans of `service`, which `processor` takes."""
        resource = Resource.create(
            {
                "service.name": settings.service_name or f"goodstrace-{service}",
                "service.version": VERSION,
            }
        )
        self._sampler = sampler_of(settings)
        self._providers = tuple(
            TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
            for sampler in (self._sampler, ALWAYS_ON)
        )
        for provider in self._providers:
            provider.add_span_processor(processor)
        # The second is for spans about others of which it was decided already that they are kept.
        self._tracer, self._decided = (each.get_tracer("goodstrace", VERSION) for each in self._providers)

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        parent: TraceContext | None,
        links: Sequence[TraceContext],
    ) -> AbstractContextManager["_Open"]:
        """See spans.span."""
        return self._opened(name, kind, attributes, parent, links)

    @contextmanager
    def _opened(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        parent: TraceContext | None,
        links: Sequence[TraceContext],
    ) -> Iterator["_Open"]:
        around = otel_context.get_current()
        linked = [Link(_remote(each)) for each in links]
        below = around if parent is None else _below(parent)
        if otel_context.get_value(_APART, around):
            below = _NONE if parent is None else below
            at_hand = trace.get_current_span(around).get_span_context()
            linked += [Link(at_hand)] if at_hand.trace_flags.sampled else []
        made = self._tracer.start_span(
            name, below, _KINDS[kind], _plain(attributes), linked, record_exception=False
        )
        token = otel_context.attach(otel_context.set_value(_APART, False, trace.set_span_in_context(made)))
        try:
            yield _Open(made)
        finally:
            otel_context.detach(token)
            made.end()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """See spans.apart."""
        token = otel_context.attach(otel_context.set_value(_APART, True))
        try:
            yield
        finally:
            otel_context.detach(token)

    def is_within(self) -> bool:
        """See spans.of_caller."""
        at_hand = trace.get_current_span().get_span_context()
        return at_hand.is_valid and not otel_context.get_value(_APART)

    def current(self) -> TraceContext | None:
        """See spans.current."""
        return _told(trace.get_current_span().get_span_context())

    def kept(self, contexts: Sequence[TraceContext]) -> list[TraceContext]:
        """See spans.kept."""
        return [each for each in contexts if self._is_kept(each)]

    def _is_kept(self, context: TraceContext) -> bool:
        result = self._sampler.should_sample(_below(context), int(context.trace_id, 16), "")
        return result.decision is Decision.RECORD_AND_SAMPLE

    def tell(self, finished: Finished) -> TraceContext | None:
        """See spans.tell."""
        tracer = self._tracer if finished.parent else self._decided
        made = tracer.start_span(
            finished.name,
            _below(finished.parent) if finished.parent else _NONE,
            _KINDS[finished.kind],
            _plain(finished.attributes),
            [Link(_remote(each)) for each in finished.links],
            finished.began_ns,
            record_exception=False,
        )
        opened = _Open(made)
        if finished.failed:
            opened.fail(finished.failed)
        made.end(finished.ended_ns)
        return opened.context

    def stop(self, timeout_s: float) -> None:
        """Send what waits, and give up after `timeout_s`: a collector that is away holds no process up."""
        ending = threading.Thread(target=self._end, name="traces-end", daemon=True)
        ending.start()
        ending.join(timeout_s)

    def _end(self) -> None:
        for provider in self._providers:  # their processor is one, and ends once
            provider.shutdown()


class _Open:
    """A span that is open: implements services.runtime.tracing.spans.Span."""

    def __init__(self, made: trace.Span) -> None:
        self._made = made
        self.context = _told(made.get_span_context())

    def say(self, name: Attribute, value: Value) -> None:
        """Say something more."""
        self._made.set_attribute(name.value, value)

    def rename(self, name: str) -> None:
        """Name it anew."""
        self._made.update_name(name)

    def fail(self, kind: str) -> None:
        """Say that it failed."""
        self._made.set_attribute(Attribute.ERROR.value, kind)
        self._made.set_status(Status(StatusCode.ERROR))


def _plain(attributes: Attributes) -> dict[str, Value]:
    return {name.value: value for name, value in attributes.items()}


def _told(context: SpanContext) -> TraceContext | None:
    if not context.is_valid or not context.trace_flags.sampled:
        return None
    return TraceContext(f"{context.trace_id:032x}", f"{context.span_id:016x}")


def _remote(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)


def _below(parent: TraceContext) -> otel_context.Context:
    return trace.set_span_in_context(NonRecordingSpan(_remote(parent)), _NONE)
