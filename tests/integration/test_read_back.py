"""The end of a partition is found at once: by who reads its last records back, and by who reads up to there."""

import time

from confluent_kafka import KafkaError, TopicPartition

from services.runtime import kafka
from services.runtime.read_back import read_back
from services.runtime.topics import Topic
from tests.conftest import Names


def test_the_last_records_are_given_at_once(kafka_bootstrap: str, names: Names) -> None:
    topic = names.topic("kept")
    kafka.create_topics(kafka_bootstrap, [Topic(topic, 1, 1)])
    producer = kafka.producer(kafka_bootstrap, transactional_id=names.group)
    producer.init_transactions(30)
    for number in range(5):
        producer.begin_transaction()
        producer.produce(topic, b"%d" % number, partition=0)
        producer.commit_transaction(30)
    taken_s = []
    for _ in range(10):
        began_s = time.monotonic()
        assert read_back(kafka_bootstrap, topic, 0, 3, bytes) == [b"2", b"3", b"4"]
        taken_s.append(time.monotonic() - began_s)
    assert min(taken_s) < 0.5, (
        "a broker that waits for more before it says where the end is takes longer each time"
    )


def test_a_reader_is_told_the_end_at_once(kafka_bootstrap: str, names: Names) -> None:
    topic = names.topic("read")
    kafka.create_topics(kafka_bootstrap, [Topic(topic, 1, 1)])
    producer = kafka.producer(kafka_bootstrap)
    producer.produce(topic, b"one", partition=0)
    assert producer.flush(30) == 0
    taken_s = []
    for _ in range(10):
        reader = kafka.consumer(kafka_bootstrap, names.group, partition_eof=True)
        began_s = time.monotonic()
        reader.assign([TopicPartition(topic, 0, 0)])
        message = reader.poll(30)
        assert message is not None
        assert message.value() == b"one"
        message = reader.poll(30)
        assert message is not None
        error = message.error()
        assert error is not None
        assert error.code() == KafkaError._PARTITION_EOF
        taken_s.append(time.monotonic() - began_s)
        reader.close()
    assert min(taken_s) < 0.4, (
        "a broker that waits for more before it says where the end is takes longer each time"
    )
