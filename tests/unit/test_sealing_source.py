"""The sealers' reader of Kafka: a partition that nobody would read is no state to go on in."""

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
