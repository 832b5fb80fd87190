"""Records of the program's own: by them an error that hits every record is told from one of a single record."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.entry import Kind
from goodstrace.errors import EntryError
from goodstrace.event_content import is_xml
from services.collector import self_check, stages
from services.collector.books import PROGRAMS, Books
from services.collector.errors import FaultyReleaseError
from services.collector.flow import Item, Outcome, Reason, StageName, from_wire, reject
from services.collector.metrics import Metrics
from services.collector.pipeline import VERSIONS
from services.collector.runner import Runner
from services.collector.self_check import Sort, samples
from services.collector.settings import CollectorSettings
from services.collector.stages import INPUTS, ORDER, Span, SpanOutput
from services.collector.summarise import Window
from services.replay.through import Through
from services.runtime.errors import ServiceError
from services.runtime.settings import KafkaSettings
from services.sealing.core import Fetched
from tests.unit.collector_builders import (
    SECRET,
    WHOLE,
    collected,
    counted,
    document,
    fresh_state,
    object_event,
    poisoned,
    run_all,
    wires,
)

TYPES = {"ObjectEvent", "AggregationEvent", "TransactionEvent", "TransformationEvent", "AssociationEvent"}


def failing(*_: Any) -> Outcome:
    raise AttributeError("'Struct' object has no attribute 'x'")


def events(count: int) -> list[bytes]:
    return wires(collected(document(*[object_event(eventID=f"urn:e:{number}") for number in range(count)])))


def items() -> list[Item]:
    return [item for value in samples(Sort(VERSIONS[-1])) if isinstance(item := from_wire(value), Item)]


def read_by(stage: StageName, count: int) -> Sequence[bytes]:
    """Events as they lie on a stage's topic."""
    values = events(count)
    return [values, *run_all(values).passed.values()][ORDER.index(stage)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_samples_come_through_all_stages_whatever_their_version(version: str) -> None:
    output = run_all(samples(Sort(version)))
    assert output.faults == []
    assert {reason for _, reason, _ in output.rejected} == {Reason.DUPLICATE}
    WHOLE.check(SECRET, PROGRAMS)


def test_the_samples_have_all_that_stages_read() -> None:
    found = items()
    assert {item.facts.type for item in found if item.record.kind is Kind.EVENT} == TYPES
    assert Kind.REGISTRATION in {item.record.kind for item in found}
    assert any(is_xml(item.record.parts[0].content) for item in found)
    sealed = [item.facts for value in run_all(samples(Sort(VERSIONS[-1]))).passed[StageName.STORE]
              if isinstance(item := from_wire(value), Item)]  # fmt: skip
    for name in ("correction", "registered_range", "repeats", "sensor_reports", "quantities", "lot_of", "sources",
                 "destinations", "transactions", "transformation", "verdicts", "business_location", "read_point"):  # fmt: skip
        assert any(getattr(each, name) for each in sealed), name


@pytest.mark.parametrize("stage", ORDER)
def test_an_error_that_hits_every_record_refuses_none(
    stage: StageName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a release that is taken back would leave all of them refused, and their events duplicates."""
    values = read_by(stage, 3)
    monkeypatch.setattr(stages, stage.value, failing)
    for span in (Span(stage, StageName.STORE), Span(stage, stage)):
        with pytest.raises(
            FaultyReleaseError, match=f"(?s){stage} .*AttributeError.*Nothing is lost.*release"
        ) as raised:
            span.run(fresh_state(), values)
        assert not raised.value.retry
        with pytest.raises(FaultyReleaseError, match=f"{stage} "):
            span.check(SECRET, PROGRAMS)
    with pytest.raises(FaultyReleaseError):
        Through(INPUTS[stage], 10, SECRET)(0, [Fetched(0, values[0])])


def test_what_a_release_would_refuse_or_call_no_record_of_ours_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refusing(_: bytes, item: Item) -> Outcome:
        return reject(item.record, StageName.STORE, Reason.TOO_LARGE, "over 0 bytes")

    def unreadable(_: Item) -> Outcome:
        raise EntryError("not an event")

    monkeypatch.setattr(stages, "store", refusing)
    with pytest.raises(FaultyReleaseError, match=r"store .* refuses it: over 0 bytes"):
        WHOLE.check(SECRET, PROGRAMS)
    Span(StageName.SUMMARISE, StageName.CLASSIFY).check(SECRET, PROGRAMS)
    monkeypatch.setattr(stages, "record", unreadable)
    with pytest.raises(FaultyReleaseError, match=r"record .*EntryError"):
        WHOLE.check(SECRET, PROGRAMS)


def test_books_over_which_classify_fails_are_told_as_such() -> None:
    class Broken(Books):
        """As if the code that reads the operator's rules failed over whatever event there is."""

        def named_sets(self, *_: Any) -> tuple[str, ...]:
            raise TypeError("broken")

    state = fresh_state()
    state.books = Broken()
    with pytest.raises(FaultyReleaseError, match=r"classify .*TypeError.*books"):
        run_all(events(1), state)


def test_however_many_records_a_stage_fails_over_by_their_own_fault_the_next_goes_on() -> None:
    """Nobody can stop the log by sending them: there is no threshold."""
    random = counted()
    values = [poisoned({"parentID": 7}, random)]
    state = fresh_state()
    for _ in range(50):
        state.window = Window()  # each is the first with this event ID
        output = run_all(values, state)
        assert [reason for _, reason, _ in output.rejected] == [Reason.FAULT]
    assert len(run_all(events(1), state).passed[StageName.STORE]) == 1


def test_samples_are_taken_once_a_batch_and_touch_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[Sort]()
    real = self_check.check

    def counting(take: Any, run: Any, sort: Sort) -> None:
        calls.append(sort)
        real(take, run, sort)

    monkeypatch.setattr(stages, "check", counting)
    failed = run_all([poisoned({"parentID": 7}), *events(5)])
    assert len(calls) == len(failed.faults) == 1
    only = Span(StageName.RECORD, StageName.RECORD)
    assert len(only.run(fresh_state(), [poisoned({"parentID": 7})] * 20).faults) == 20
    assert len(calls) == 2
    state = fresh_state()
    run_all([poisoned({"parentID": 7})], state)
    assert len(state.window) == 1
    own: SpanOutput = run_all(samples(Sort(VERSIONS[-1])), state)
    assert own.passed == run_all(samples(Sort(VERSIONS[-1]))).passed


def test_such_a_release_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it asks anybody, and reads anything."""
    monkeypatch.setattr(stages, "record", failing)

    async def nobody() -> None:
        raise AssertionError("the samples come first")

    runner = Runner(
        WHOLE,
        kafka=KafkaSettings(),  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
        settings=CollectorSettings(),  # type: ignore[call-arg]
        secret=SECRET,
        check=nobody,
        metrics=Metrics(CollectorRegistry()),
        log=structlog.get_logger(),
    )
    with pytest.raises(ServiceError, match="run the release"):
        asyncio.run(runner.run(asyncio.Event()))


def test_a_release_whose_collecting_fails_over_everything_takes_nothing_from_the_ingress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: object) -> object:
        raise AttributeError("gone")

    self_check._collected.cache_clear()
    monkeypatch.setattr("services.collector.collect.check_event", failing)
    try:
        with pytest.raises(FaultyReleaseError, match=r"the stage collect .* AttributeError"):
            self_check.check_collecting()
    finally:
        self_check._collected.cache_clear()
