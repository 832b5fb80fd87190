"""What the figures are held against, in the same run: the machine's own limits without our work in between."""

import time
from typing import Any

from confluent_kafka import TopicPartition
from pymongo import MongoClient, WriteConcern

from services.runtime import kafka
from services.runtime.topics import Topic

BATCH = 1000
TRANSACTION_S = 0.1


def kafka_copy_rate(bootstrap: str, values: list[bytes], hops: int) -> float:
    """Copy records through `hops` topics and nothing else: one process, batches, a transaction each 100 ms.

    Gives records a second, end to end.
    """
    topics = [Topic(f"bench.copy.{time.time_ns()}.{hop}", 1, 1) for hop in range(hops + 1)]
    kafka.create_topics(bootstrap, topics)
    source = kafka.producer(bootstrap)
    for start in range(0, len(values), BATCH):
        source.produce_batch(
            topics[0].name, [{"value": value} for value in values[start : start + BATCH]], partition=0
        )
    source.flush()
    consumer = kafka.consumer(bootstrap, topics[0].name)
    consumer.assign([TopicPartition(topics[0].name, 0, 0)])
    producer = kafka.producer(bootstrap, transactional_id=topics[0].name)
    producer.init_transactions(30)
    begun = time.perf_counter()
    copied = 0
    while copied < len(values):
        producer.begin_transaction()
        until = time.perf_counter() + TRANSACTION_S
        while copied < len(values) and time.perf_counter() < until:
            messages = [
                {"value": each.value()} for each in consumer.consume(BATCH, 0.05) if each.error() is None
            ]
            for topic in topics[1:]:
                producer.produce_batch(topic.name, messages, partition=0)
            copied += len(messages)
        producer.commit_transaction(30)
    rate = len(values) / (time.perf_counter() - begun)
    consumer.close()
    return rate


def store_insert_rate(uri: str, blocks: list[bytes], events: int) -> float:
    """Insert the same number of bytes, one document a block, journalled; gives events a second."""
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    collection = client["bench"].get_collection(
        f"insert-{time.time_ns()}", write_concern=WriteConcern(w="majority", j=True)
    )
    begun = time.perf_counter()
    for number, block in enumerate(blocks):
        collection.insert_one({"_id": number, "block": block})
    rate = events / (time.perf_counter() - begun)
    client.close()
    return rate
