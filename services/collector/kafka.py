"""Reading from Kafka: a group's records from its committed positions, and a partition's last records read back."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from services.collector.errors import OffsetsLostError
from services.runtime.errors import UnavailableError
from services.runtime.kafka import admin_client, consumer, translate

T = TypeVar("T")
CALL_TIMEOUT_S: Final = 10.0
_CHUNK: Final = 64
_GATHER_S: Final = 0.01


class Source:
    """A group's reader of one or more topics, read_committed, from committed positions. One thread at a time.

    `on_partition(topic, partition, offset)` is called in that thread for each partition before its first record comes,
    and again after `rewind`.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Sequence[str],
        on_partition: Callable[[str, int, int], None],
        on_first: Callable[[str, int], None] | None = None,
    ) -> None:
        """Join the group; `on_first(topic, partition)` is called where the group has no committed offset yet."""
        self._consumer: Consumer = consumer(bootstrap, group)
        self._on_partition = on_partition
        self._on_first = on_first
        self._pending: list[TopicPartition] = []
        self._assigned: set[tuple[str, int]] = set()
        self._changes = 0
        self._unread = False
        self._consumer.subscribe(
            list(topics), on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke
        )

    def metadata(self) -> Any:
        """Give the library's description of this member of the group, for `Move`."""
        return self._consumer.consumer_group_metadata()

    def assigned(self) -> frozenset[tuple[str, int]]:
        """List the partitions this reader has now."""
        return frozenset(self._assigned)

    def poll(self, max_records: int, max_bytes: int, wait_s: float) -> list[Message]:
        """Wait for records and give those that are there, within the limits (the last one may go over them).

        After it raised, the next call begins at the committed positions again, which calls `on_partition`.
        Raises: UnavailableError, OffsetGapError, OffsetsLostError, and what `on_partition` raised.
        """
        if self._unread:
            self.rewind()
        self._take_pending()
        self._unread = True  # until the batch is given: an error on the way would drop the records before it
        batch = self._gather(max_records, max_bytes, wait_s)
        self._unread = False
        return batch

    def _gather(self, max_records: int, max_bytes: int, wait_s: float) -> list[Message]:
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        batch, size = [_sound(first)], len(first)
        changes = self._changes
        deadline = time.monotonic() + _GATHER_S
        while len(batch) < max_records and size < max_bytes:
            chunk = self._consumer.consume(
                min(_CHUNK, max_records - len(batch)), max(0.0, deadline - time.monotonic())
            )
            if not chunk:
                break
            batch.extend(_sound(message) for message in chunk)
            size += sum(len(message) for message in chunk)
        if self._changes != changes:  # a partition that went and came back would give its records twice
            self.rewind()
            return []
        return batch

    def rewind(self) -> None:
        """Go back to the committed positions of all partitions. Raises: UnavailableError, OffsetsLostError."""
        for place in self._positions(
            [TopicPartition(topic, partition) for topic, partition in self._assigned]
        ):
            with translated():
                self._consumer.seek(place)
        self._unread = False

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit the next offsets to read, outside of any transaction. Raises: UnavailableError."""
        with translated():
            self._consumer.commit(
                offsets=[
                    TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()
                ],
                asynchronous=False,
            )

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _assign(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """Take note only: finding the positions may fail, and must then be tried again."""
        self._pending += partitions
        self._changes += 1
        client.incremental_assign([])

    def _take_pending(self) -> None:
        placed = self._positions(self._pending)
        if placed:
            self._consumer.incremental_assign(placed)
            self._assigned.update((place.topic, place.partition) for place in placed)
            self._pending = []

    def _revoke(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {(place.topic, place.partition) for place in partitions}
        held = [place for place in partitions if (place.topic, place.partition) in self._assigned]
        self._pending = [place for place in self._pending if (place.topic, place.partition) not in gone]
        self._assigned -= gone
        client.incremental_unassign(held)
        self._changes += 1

    def _positions(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        if not partitions:
            return []
        with translated():
            committed = self._consumer.committed(partitions, CALL_TIMEOUT_S)
        for place in committed:
            if place.error is not None:
                raise translate(place.error)
            if place.offset < 0:
                if self._on_first is not None:
                    self._on_first(place.topic, place.partition)
                place.offset = OFFSET_BEGINNING
            self._on_partition(place.topic, place.partition, max(0, place.offset))
        return list(committed)


class Group:
    """A group that nobody reads with here: its offsets are moved on by the one who does its work."""

    def __init__(self, bootstrap: str, group: str) -> None:
        """Make the library's client; it joins nothing."""
        self._consumer = consumer(bootstrap, group)

    def metadata(self) -> Any:
        """Give what `Move` wants."""
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()


def read_back(bootstrap: str, topic: str, partition: int, count: int, keep: Callable[[bytes], T]) -> list[T]:
    """Read the last `count` committed values of a partition, in order, and give what `keep` makes of each.

    It reads at most a few times that many offsets, and holds no more than `keep` does.

    It waits until no transaction is open there, since the caller is the only one who may have one.
    Raises: UnavailableError.
    """
    low, end = _settled_end(bootstrap, topic, partition)
    if low >= end:
        return []
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "read-back",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
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


def require_nothing_written(bootstrap: str, topic: str, partition: int, group: str) -> None:
    """Check that a stage which has no committed offset has never written, but for what was aborted.

    Raises: OffsetsLostError, UnavailableError.
    """
    if read_back(bootstrap, topic, partition, 1, len):
        raise OffsetsLostError(
            f"group {group} has no committed offset for partition {partition}, but {topic} has records: "
            "set the group's offset to where it had come"
        )


def _settled_end(bootstrap: str, topic: str, partition: int) -> tuple[int, int]:
    """Give the first offset and the one after the last, once no transaction is open in between."""
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
        for message in reader.consume(1000, 0.2):
            error = message.error()
            if error is None:
                kept.append(keep(message.value() or b""))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return list(kept)
            else:
                raise translate(error)
    raise UnavailableError(f"Kafka: could not read {start.topic} {start.partition} back in time")


def _sound(message: Message) -> Message:
    error = message.error()
    if error is not None:
        raise translate(error)
    return message


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors into ours."""
    try:
        yield
    except KafkaException as error:
        raise translate(error) from error
    except (TimeoutError, BufferError) as error:
        raise UnavailableError(f"Kafka: {error}") from error
