"""Marks of looks: their records, and that each outcome is sealed once, waits while Kafka is away, or is counted as lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from goodstrace.entry import Kind
from goodstrace.record.v1 import record_pb2
from services.runtime import envelope
from services.runtime.acknowledged import Outgoing
from services.runtime.envelope import Part, Record
from services.runtime.errors import EnvelopeError, UnavailableError
from services.runtime.looks import Outcome
from services.sealing import marks as marking
from services.sealing.entries import check
from services.sealing.mark_records import PART, is_mark, mark_record, outcomes_of
from services.sealing.marks import MAX_BATCH, MarkMetrics, Marks
from tests.vector_files import vectors

SECRET = b"s" * 32
VECTORS: list[dict[str, Any]] = vectors("browse_marks")
OUTCOMES = st.dictionaries(st.binary(min_size=16, max_size=16), st.sampled_from(Outcome), max_size=50)


def _mark(outcomes: dict[bytes, Outcome]) -> Record:
    return mark_record(
        outcomes, record_id=b"m" * 16, time_ms=1_700_000_000_000, salt=b"t" * 32, secret=SECRET
    )


@given(outcomes=OUTCOMES)
def test_a_mark_is_read_back_and_says_nothing_else(outcomes: dict[bytes, Outcome]) -> None:
    record = envelope.decode(envelope.encode(_mark(outcomes)))
    assert outcomes_of(record) == outcomes
    assert is_mark(record)
    entry = check(record)
    assert (entry.kind, entry.merchant, entry.tags.n, [part.name for part in entry.parts]) == (
        Kind.BROWSE,
        0,
        0,
        [PART],
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_published_marks_byte_by_byte(vector: dict[str, Any]) -> None:
    outcomes = {
        bytes.fromhex(look): Outcome(outcome)
        for outcome, looks in vector["outcomes"].items()
        for look in looks
    }
    record = mark_record(
        outcomes,
        record_id=bytes.fromhex(vector["id"]),
        time_ms=vector["time"],
        salt=bytes.fromhex(vector["salt"]),
        secret=SECRET,
    )
    assert record.part(PART).content.decode() == vector["part"]
    assert record.entry.decode() == vector["entry"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"answered":["zz"]}', b'{"seen":["00"]}', b'{"answered":'])
def test_what_is_no_mark_is_refused(content: bytes) -> None:
    record = Record(
        id=b"m" * 16,
        kind=Kind.BROWSE,
        time_ms=1,
        pipeline_version="1",
        parts=(Part(PART, b"t" * 32, content),),
    )
    with pytest.raises(EnvelopeError):
        outcomes_of(record)


class Kafka:
    """Keeps what is sent; while `is_away` it acknowledges nothing, though it may keep it (`keeps`)."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.told: list[bytes] = []
        self.is_away = self.keeps = False

    async def send_together(self, records: Sequence[Outgoing], _timeout_s: float) -> None:
        await asyncio.sleep(0)
        sealed, told = records
        assert (sealed.topic, told.topic) == ("goods.browsed", "browse.watched")
        assert sealed.partition == told.partition
        if not self.is_away or self.keeps:
            self.sent.append(sealed.value)
            self.told.append(told.value)
        if self.is_away:
            raise UnavailableError("Kafka is away")

    def outcomes(self) -> list[dict[bytes, Outcome]]:
        return [outcomes_of(envelope.decode(value)) for value in self.sent]


class World:
    """Marks over a Kafka in memory."""

    def __init__(self, **more: Any) -> None:
        self.kafka, self.registry, self.stop = Kafka(), CollectorRegistry(), asyncio.Event()
        producer: Any = self.kafka
        self.marks = Marks(
            producer,
            topic="goods.browsed",
            watched="browse.watched",
            partitions=3,
            secret=SECRET,
            timeout_s=1,
            metrics=MarkMetrics("query", self.registry),
            log=structlog.get_logger(),
            **more,
        )

    def figure(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(
            f"goodstrace_browse_outcomes_{name}", {"service": "query", **labels}
        )


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marking, "BATCH_S", 0.05)
    monkeypatch.setattr(marking, "DRAIN_S", 0.3)
    monkeypatch.setattr(marking, "_PAUSES_S", (0.01,))


def _look(number: int) -> bytes:
    return number.to_bytes(16, "big")


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_outcomes_are_sealed_in_batches_and_what_is_left_at_the_end() -> None:
    world = World()
    running = asyncio.create_task(world.marks.run(world.stop))
    noted = {_look(number): list(Outcome)[number % 3] for number in range(2 * MAX_BATCH + 50)}
    for look, outcome in noted.items():
        world.marks.note(look, outcome)
    await _until(lambda: len(world.kafka.sent) == 3)
    late = {_look(10_000): Outcome.FAILED}
    world.marks.note(_look(10_000), Outcome.FAILED)
    world.stop.set()
    await running
    batches = world.kafka.outcomes()
    for batch, value in zip(batches, world.kafka.told, strict=True):
        told = record_pb2.WatchedBrowse.FromString(value)
        assert told.kind == "marks"
        by_outcome = {each: [look for look, of in batch.items() if of is each] for each in Outcome}
        assert [sorted(by_outcome[each]) for each in Outcome] == [
            list(told.answered),
            list(told.failed),
            list(told.withheld),
        ]
    assert [len(each) for each in batches] == [MAX_BATCH, MAX_BATCH, 50, 1]
    assert {look: outcome for batch in batches for look, outcome in batch.items()} == noted | late
    assert sum(world.figure("total", outcome=each.value) or 0 for each in Outcome) == len(noted) + 1
    assert (world.figure("waiting"), world.figure("lost_total")) == (0, 0)


@pytest.mark.parametrize("keeps", [False, True])
async def test_a_batch_that_is_not_acknowledged_is_sent_again_as_it_was(*, keeps: bool) -> None:
    world = World()
    world.kafka.is_away, world.kafka.keeps = True, keeps
    running = asyncio.create_task(world.marks.run(world.stop))
    world.marks.note(_look(1), Outcome.ANSWERED)
    await asyncio.sleep(0.1)
    world.marks.note(_look(2), Outcome.WITHHELD)
    world.kafka.is_away = False
    await _until(lambda: world.figure("waiting") == 0)
    world.stop.set()
    await running
    found = list(dict.fromkeys(world.kafka.sent))
    assert [outcomes_of(envelope.decode(each)) for each in found] == [
        {_look(1): Outcome.ANSWERED},
        {_look(2): Outcome.WITHHELD},
    ]
    assert world.figure("lost_total") == 0


async def test_over_the_bound_outcomes_are_lost_and_counted() -> None:
    world = World(max_waiting=3)
    world.kafka.is_away = True
    running = asyncio.create_task(world.marks.run(world.stop))
    for number in range(5):
        world.marks.note(_look(number), Outcome.ANSWERED)
    assert (world.figure("waiting"), world.figure("lost_total")) == (3, 2)
    world.kafka.is_away = False
    await _until(lambda: world.figure("waiting") == 0)
    world.marks.note(_look(9), Outcome.FAILED)
    world.stop.set()
    await running
    assert [list(each) for each in world.kafka.outcomes()] == [[_look(n) for n in range(3)], [_look(9)]]
    assert world.figure("lost_total") == 2


async def test_what_kafka_does_not_take_before_the_end_is_lost_and_counted() -> None:
    world = World()
    world.kafka.is_away = True
    running = asyncio.create_task(world.marks.run(world.stop))
    world.marks.note(_look(1), Outcome.ANSWERED)
    world.stop.set()
    await running
    assert world.kafka.sent == []
    assert world.figure("lost_total") == 1
