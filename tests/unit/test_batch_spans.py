"""Spans of what is done for many records at once: one for each trace, bounded, told once it is durable, linked both ways."""

from collections.abc import Iterator

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from goodstrace.entry import Kind
from services.collector.flow import Accepted, Item, Reason, StageName, reject
from services.collector.stage_spans import StageSpans
from services.runtime import envelope
from services.runtime.envelope import Part, Record
from services.runtime.settings import load
from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute
from services.runtime.tracing.opentelemetry import OpenTelemetry
from services.runtime.tracing.settings import TracingSettings
from services.runtime.tracing.spans import MAX_LINKS
from services.sealing.core import Fetched, Sealable
from services.sealing.entries import with_entry
from services.sealing.seal_spans import Arrivals
from services.sealing.values import PackedRecord, StoredBlock


@pytest.fixture
def taken() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    spans.use(OpenTelemetry("test", load(TracingSettings), SimpleSpanProcessor(exporter)))
    yield exporter
    spans.use(spans.Off())


def record(number: int, trace: int = 0) -> Record:
    """A record of a trace, 0: of none."""
    made = Record(
        id=number.to_bytes(16),
        kind=Kind.EVENT,
        time_ms=1,
        pipeline_version="1",
        parts=(Part("event", bytes(32), b"{}"),),
        traceparent=f"00-{trace:032x}-{trace:016x}-01" if trace else "",
    )
    return with_entry(made, bytes(32), {})


def accepted(each: Record) -> Accepted:
    return Accepted(Item(each, msgspec.UNSET))  # type: ignore[arg-type]  # its facts are nobody's business here


def said(span: ReadableSpan, name: Attribute) -> object:
    return (span.attributes or {}).get(name.value)


def test_a_stage_has_one_span_for_each_trace_of_a_batch(taken: InMemorySpanExporter) -> None:
    watcher = StageSpans()
    for each in (record(1, trace=7), record(2), record(3, trace=7), record(4, trace=8)):
        watcher.began(each)
        watcher.passed(StageName.SUMMARISE, accepted(each))
        if each.id == (4).to_bytes(16):
            refused = reject(each, StageName.RECORD, Reason.DUPLICATE, "seen before")
            watcher.passed(StageName.RECORD, refused)
        else:
            watcher.passed(StageName.RECORD, accepted(each))
    assert not taken.get_finished_spans()  # not before it is durable
    assert watcher.committed(4) is not None
    batch, *of_traces = taken.get_finished_spans()
    assert (batch.name, said(batch, Attribute.MESSAGES), len(batch.links)) == (
        "process goods.collected",
        4,
        2,
    )
    assert [
        (each.name, each.context.trace_id, said(each, Attribute.EVENTS), said(each, Attribute.REFUSED))
        for each in of_traces
        if each.context
    ] == [
        ("summarise goods.collected", 7, 2, None),
        ("record goods.summarised", 7, 2, None),
        ("summarise goods.collected", 8, 1, None),
        ("record goods.summarised", 8, 1, 1),
    ]
    assert said(of_traces[-1], Attribute.REASON) == "DUPLICATE"
    assert said(of_traces[-1], Attribute.RECORD) == (4).to_bytes(16).hex()
    assert said(of_traces[0], Attribute.RECORD) is None  # it is of two
    assert all(
        [link.context.span_id for link in each.links] == [batch.context.span_id]
        for each in of_traces
        if batch.context
    )


def test_a_batch_that_is_read_again_leaves_its_own_span_only(taken: InMemorySpanExporter) -> None:
    watcher = StageSpans()
    watcher.began(record(1, trace=7))
    watcher.passed(StageName.SUMMARISE, accepted(record(1, trace=7)))
    watcher.failed(1, "unavailable")
    (batch,) = taken.get_finished_spans()
    assert (batch.status.is_ok, said(batch, Attribute.ERROR)) == (False, "unavailable")


def test_nothing_is_told_of_a_batch_without_traces(taken: InMemorySpanExporter) -> None:
    watcher = StageSpans()
    watcher.began(record(1))
    watcher.passed(StageName.SUMMARISE, accepted(record(1)))
    assert watcher.committed(1) is None
    assert not taken.get_finished_spans()


def test_of_too_many_traces_the_others_are_counted(taken: InMemorySpanExporter) -> None:
    watcher = StageSpans()
    for number in range(1, MAX_LINKS + 11):
        watcher.began(record(number, trace=number))
        watcher.passed(StageName.SUMMARISE, accepted(record(number, trace=number)))
    watcher.committed(MAX_LINKS + 10)
    batch, *others = taken.get_finished_spans()
    assert (len(batch.links), len(others), said(batch, Attribute.LEFT_OUT)) == (MAX_LINKS, MAX_LINKS, 10)


def block(first: int, last: int, *, waiting: Arrivals) -> None:
    """Seal the records with these offsets, each of its own trace."""
    records = [
        Sealable(offset, 1, PackedRecord(record(offset).entry, (), ())) for offset in range(first, last + 1)
    ]
    found = waiting.taken(records)
    if found is not None:
        found.committed()
        found.published(StoredBlock("goods/0", 3, first, last + 1, b"", b"", b"", ()))


def test_a_block_tells_of_its_own_traces_and_leaves_the_rest(taken: InMemorySpanExporter) -> None:
    waiting = Arrivals()
    waiting.note([Fetched(offset, envelope.encode(record(offset, trace=offset))) for offset in range(1, 301)])
    waiting.note([Fetched(301, envelope.encode(record(301))), Fetched(302, b"none of ours \x3a\x3700-")])
    block(1, 200, waiting=waiting)
    whole, *others = taken.get_finished_spans()
    assert (whole.name, said(whole, Attribute.LEFT_OUT), said(whole, Attribute.MESSAGES)) == (
        "block goods",
        72,
        200,
    )
    assert len(others) == 2 * MAX_LINKS
    seal, checkpoint = others[:2]
    assert (seal.name, said(seal, Attribute.RECORD)) == ("seal goods", (1).to_bytes(16).hex())
    assert checkpoint.parent is not None
    assert seal.context is not None
    assert (checkpoint.name, checkpoint.parent.span_id) == ("checkpoint goods", seal.context.span_id)
    taken.clear()
    block(201, 300, waiting=waiting)
    assert len(taken.get_finished_spans()) == 1 + 2 * 100
    assert waiting.taken([Sealable(400, 1, PackedRecord(b"", (), ()))]) is None
