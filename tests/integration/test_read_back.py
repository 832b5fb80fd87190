"""The last records of a partition, read back from a real broker."""

import time

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
