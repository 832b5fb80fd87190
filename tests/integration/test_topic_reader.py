"""Topics read from offsets to where they end, as replays read them, on the real Kafka."""

import time

import pytest
from confluent_kafka import Producer

from services.replay.reading import TopicReader
from services.runtime import kafka
from services.runtime.topics import Topic
from tests.conftest import Names
from tests.deadlines import DEADLINE_S

RECORDS = 5


@pytest.fixture
def topic(kafka_bootstrap: str, names: Names) -> str:
    """A topic of one partition with some records."""
    name = names.topic("read")
    kafka.create_topics(kafka_bootstrap, [Topic(name, partitions=1, replication=1)])
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    for number in range(RECORDS):
        producer.produce(name, str(number).encode(), partition=0)
    assert producer.flush(DEADLINE_S) == 0
    return name


def test_what_is_there_is_given_without_waiting_for_more(kafka_bootstrap: str, topic: str) -> None:
    reader = TopicReader(kafka_bootstrap, topic)
    try:
        reader.start({0: 0})
        began = time.monotonic()
        values: list[bytes] = []
        while not reader.finished:
            values += [each.value for _, batch in reader.read(1000, DEADLINE_S / 2) for each in batch]
        assert values == [str(number).encode() for number in range(RECORDS)]
        assert reader.last_offset(0) == RECORDS - 1
        assert time.monotonic() - began < DEADLINE_S / 2, "it waited for records that nobody wrote"
    finally:
        reader.close()
