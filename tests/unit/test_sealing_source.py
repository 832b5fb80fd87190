"""The sealers' reader of Kafka: a partition that nobody would read is no state to go on in."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from services.runtime import kafka as runtime_kafka
from services.sealing import kafka
from services.sealing.kafka import KafkaSource, NoWatermarksError

TOPIC = "goods.stored"


class FakeConsumer:
    """A consumer that is assigned one partition, whose leader refuses `refusals` times to say what it holds."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.assigned: list[TopicPartition] = []
        self._on_assign: Any = None

    def subscribe(self, _topics: list[str], *, on_assign: Any, **_: Any) -> None:
        self._on_assign = on_assign

    def poll(self, _timeout_s: float) -> None:
        if self._on_assign is not None:
            call, self._on_assign = self._on_assign, None
            call(self, [TopicPartition(TOPIC, 0)])

    def get_watermark_offsets(self, _place: TopicPartition, **_: Any) -> tuple[int, int]:
        if self.refusals > 0:
            self.refusals -= 1
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return 0, 7

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        self.assigned += places

    def close(self) -> None: ...


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> KafkaSource:
    monkeypatch.setattr(runtime_kafka, "admin_client", lambda *_: None)
    monkeypatch.setattr(runtime_kafka, "consumer", lambda *_, **__: FakeConsumer(refusals=20))
    monkeypatch.setattr(kafka, "WATERMARK_PAUSE_S", 0.0)
    return KafkaSource("nowhere:9", "group", TOPIC)


async def taken(_partition: int) -> int:
    return 3


async def given_up(_partitions: Any) -> None: ...


async def test_a_leader_that_is_not_there_yet_is_waited_for(source: KafkaSource) -> None:
    await source.start(taken, given_up)
    assert await source.poll(10, 0.0) == []
    consumer: Any = source._consumer
    assert [(each.partition, each.offset) for each in consumer.assigned] == [(0, 3)]
    assert source.joined
    await source.close()


async def test_one_that_never_comes_stops_the_sealer_which_would_read_nothing(
    source: KafkaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "WATERMARK_PATIENCE_S", -1.0)
    await source.start(taken, given_up)
    with pytest.raises(NoWatermarksError, match=r"goods.stored\[0\]") as stopped:
        await source.poll(10, 0.0)
    assert not stopped.value.retry
    await source.close()


class TricklingConsumer:
    """A consumer to which a record comes `apart_s` after another, by a clock of its own."""

    def __init__(self, apart_s: float) -> None:
        self.apart_s = apart_s
        self.now_s = self.next_s = 0.0

    def poll(self, timeout_s: float) -> "Record | None":
        if self.next_s > self.now_s + timeout_s:
            self.now_s += timeout_s
            return None
        self.now_s = max(self.now_s, self.next_s)
        self.next_s = self.now_s + self.apart_s
        return Record()

    def close(self) -> None: ...


class Record:
    def error(self) -> None: ...

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def value(self) -> bytes:
        return b""


@pytest.mark.parametrize(("apart_s", "expected"), [(0.008, 3), (0.0, 10), (1.0, 1)])
async def test_records_that_follow_one_another_come_together(
    monkeypatch: pytest.MonkeyPatch, apart_s: float, expected: int
) -> None:
    consumer = TricklingConsumer(apart_s)
    monkeypatch.setattr(runtime_kafka, "admin_client", lambda *_: None)
    monkeypatch.setattr(runtime_kafka, "consumer", lambda *_, **__: consumer)
    source = KafkaSource("nowhere:9", "group", TOPIC)
    monkeypatch.setattr(kafka, "time", SimpleNamespace(monotonic=lambda: consumer.now_s))
    [(partition, records)] = await source.poll(10, 0.25)
    assert (partition, len(records)) == (0, expected)
    assert consumer.now_s <= kafka.GATHER_S
