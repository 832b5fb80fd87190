"""Where the envelope of a Kafka record goes: in the value, or in headers beside it.

Run with a stack of its own: `.venv/bin/python -m deploy.stack run .venv/bin/python -m bench.envelope`. Prints the figures of
docs/decisions/0002-kafka-envelope.md.
"""

import os
import statistics
import time
from collections.abc import Callable

from confluent_kafka import Consumer, Producer, TopicPartition

from goodstrace.entry import Kind
from services.runtime import envelope, kafka
from services.runtime.topics import Topic

RECORDS = 20_000
ROUNDS = 3
EVENT = b'{"type":"ObjectEvent","eventID":"urn:uuid:%032x"}' + b" " * 600
BOOTSTRAP = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")


def records() -> list[envelope.Record]:
    """Make records with an event of about 650 bytes and facts of 300."""
    return [
        envelope.Record(
            id=number.to_bytes(16, "big"),
            kind=Kind.EVENT,
            time_ms=1_700_000_000_000 + number,
            pipeline_version="1",
            parts=(
                envelope.Part("event", os.urandom(32), EVENT % number),
                envelope.Part("facts", os.urandom(32), b"{}" * 150),
            ),
            capture_id=bytes(16),
            sequence=number,
            capture_size=RECORDS,
            merchant=1,
        )
        for number in range(RECORDS)
    ]


def value_in_batches(producer: Producer, topic: str, made: list[envelope.Record]) -> None:
    """One protobuf value per record, handed over in batches."""
    for start in range(0, len(made), 1000):
        values = [{"value": envelope.encode(record)} for record in made[start : start + 1000]]
        producer.produce_batch(topic, values, partition=0)
    producer.flush()


def value_one_by_one(producer: Producer, topic: str, made: list[envelope.Record]) -> None:
    """One protobuf value per record, one call each."""
    for record in made:
        producer.produce(topic, envelope.encode(record), partition=0)
        producer.poll(0)
    producer.flush()


def headers_one_by_one(producer: Producer, topic: str, made: list[envelope.Record]) -> None:
    """The event as the value and all else in headers, one call each: a batch would drop the headers."""
    for record in made:
        event, facts = record.parts
        headers: list[tuple[str, str | bytes | None]] = [
            ("id", record.id),
            ("capture", record.capture_id),
            ("sequence", record.sequence.to_bytes(4, "big")),
            ("size", record.capture_size.to_bytes(4, "big")),
            ("merchant", record.merchant.to_bytes(8, "big")),
            ("time", record.time_ms.to_bytes(8, "big")),
            ("pipeline", record.pipeline_version.encode()),
            ("event-salt", event.salt),
            ("facts-salt", facts.salt),
            ("facts", facts.content),
        ]
        producer.produce(topic, event.content, partition=0, headers=headers)
        producer.poll(0)
    producer.flush()


def seconds(
    work: Callable[[Producer, str, list[envelope.Record]], None], topic: str, made: list[envelope.Record]
) -> float:
    """Time one way of producing all records."""
    producer = kafka.producer(BOOTSTRAP)
    producer.list_topics(topic)
    start = time.perf_counter()
    work(producer, topic, made)
    return time.perf_counter() - start


def headers_survive_a_batch(topic: str) -> bool:
    """Produce one record with a header by `produce_batch` and read it back."""
    producer = kafka.producer(BOOTSTRAP)
    producer.produce_batch(topic, [{"value": b"x", "headers": [("name", b"value")]}], partition=0)
    producer.flush()
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "bench-envelope"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(10)
    consumer.close()
    if message is None:
        raise RuntimeError("the record with a header did not come back")
    return bool(message.headers())


def main() -> None:
    """Run each way in turn, several rounds, and print the medians and their ratio to the first."""
    kafka.create_topics(BOOTSTRAP, [Topic("bench.headers", 1, 1), Topic("bench.records", 1, 1)])
    print(f"headers survive produce_batch: {headers_survive_a_batch('bench.headers')}")
    made = records()
    ways = (value_in_batches, value_one_by_one, headers_one_by_one)
    times: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            times[way.__name__].append(seconds(way, "bench.records", made))
    fastest = statistics.median(times[ways[0].__name__])
    print(f"{'way':22}{'records/s':>12}{'ratio':>8}")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:22}{RECORDS / median:12,.0f}{fastest / median:8.2f}")


if __name__ == "__main__":
    main()
