"""The last records of a partition, read back by somebody who is going to write after them."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from services.runtime.errors import UnavailableError
from services.runtime.kafka import admin_client, connection, translate, translated

T = TypeVar("T")
CALL_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.02


def read_back(bootstrap: str, topic: str, partition: int, count: int, keep: Callable[[bytes], T]) -> list[T]:
    """Read the last `count` committed values of a partition, in order, and give what `keep` makes of each.

    It reads at most a few times that many offsets, and holds no more than `keep` does.

    It waits until no transaction is open there, since the caller is the only one who may have one.
    Raises: UnavailableError.
    """
    low, end = settled_end(bootstrap, topic, partition)
    if low >= end:
        return []
    reader = Consumer(
        {
            **connection(bootstrap),
            "group.id": "read-back",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 0,  # that the end is reached is said at once, not when the broker has waited for more
            "auto.offset.reset": "error",
        }
    )
    try:
        reach = 2 * count  # every transaction leaves one marker, and has at least one record
        while True:
            start = max(low, end - reach)
            values = _read_range(reader, TopicPartition(topic, partition, start), count, keep)
            if len(values) >= count or start == low:
                return values
            reach *= 2
    finally:
        reader.close()


def settled_end(bootstrap: str, topic: str, partition: int) -> tuple[int, int]:
    """Give the first offset and the one after the last, once no transaction is open in between. Raises: UnavailableError."""
    admin = admin_client(bootstrap)
    place = TopicPartition(topic, partition)

    def ask(spec: Any, isolation: IsolationLevel) -> int:
        futures = admin.list_offsets({place: spec}, isolation_level=isolation, request_timeout=CALL_TIMEOUT_S)
        return int(next(iter(futures.values())).result(CALL_TIMEOUT_S).offset)

    offsets: Any = OffsetSpec
    deadline = time.monotonic() + 3 * CALL_TIMEOUT_S
    with translated():
        while True:
            end = ask(offsets.latest(), IsolationLevel.READ_UNCOMMITTED)
            if ask(offsets.latest(), IsolationLevel.READ_COMMITTED) == end:
                return ask(offsets.earliest(), IsolationLevel.READ_UNCOMMITTED), end
            if time.monotonic() > deadline:
                raise UnavailableError(f"Kafka: a transaction stays open on {topic} {partition}")
            time.sleep(0.02)


def _read_range(reader: Consumer, start: TopicPartition, count: int, keep: Callable[[bytes], T]) -> list[T]:
    kept: deque[T] = deque(maxlen=count)
    reader.assign([start])
    deadline = time.monotonic() + 6 * CALL_TIMEOUT_S
    while time.monotonic() < deadline:
        for message in reader.consume(1000, _POLL_S):
            error = message.error()
            if error is None:
                kept.append(keep(message.value() or b""))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return list(kept)
            else:
                raise translate(error)
    raise UnavailableError(f"Kafka: could not read {start.topic} {start.partition} back in time")
