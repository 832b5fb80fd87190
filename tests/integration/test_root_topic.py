"""The topic of the root log over real Kafka: who takes it over fences the writer before, and a round is whole or not there."""

import pytest
from confluent_kafka import Consumer, TopicPartition

from services.ledger.root_topic import KafkaRoundTopic
from services.runtime import kafka
from services.runtime.errors import UnavailableError
from services.runtime.kafka import FencedError
from services.runtime.topics import LOGS_CHECKPOINTS, Topic
from tests.conftest import Names


def values(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """The first `count` committed values, and no more within half a second."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "unused", "isolation.level": "read_committed"}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes] = []
    try:
        while (message := consumer.poll(20 if len(found) < count else 0.5)) is not None:
            assert message.error() is None
            found.append(message.value() or b"")
    finally:
        consumer.close()
    return found


@pytest.fixture
def topic(kafka_bootstrap: str, names: Names) -> str:
    name = names.topic(LOGS_CHECKPOINTS)
    kafka.create_topics(kafka_bootstrap, [Topic(name, 1, 1)])
    return name


async def test_the_later_writer_fences_the_one_before(kafka_bootstrap: str, topic: str) -> None:
    first, second = (KafkaRoundTopic(kafka_bootstrap, topic, f"{topic}.rounds") for _ in range(2))
    await first.take_over()
    await first.write([b"1", b"2"])
    await second.take_over()
    with pytest.raises(FencedError):
        await first.write([b"old"])
    await second.write([b"3"])
    await first.give_up()
    await first.take_over()
    with pytest.raises(FencedError):
        await second.write([b"old"])
    await second.give_up()
    await first.write([b"4"])
    await first.give_up()
    assert values(kafka_bootstrap, topic, 4) == [b"1", b"2", b"3", b"4"]


async def test_a_round_is_written_whole_or_not_at_all(kafka_bootstrap: str, topic: str) -> None:
    writer = KafkaRoundTopic(kafka_bootstrap, topic, f"{topic}.rounds")
    await writer.take_over()
    with pytest.raises(UnavailableError):
        await writer.write([b"small", bytes(8 * 1024 * 1024)])  # more than a message may have
    await writer.give_up()
    await writer.take_over()
    await writer.write([b"whole"])
    await writer.give_up()
    assert values(kafka_bootstrap, topic, 1) == [b"whole"]
