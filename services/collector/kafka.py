"""Kafka as the collector uses it: transactions that write and move offsets together, and reading from committed positions."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from services.collector.errors import OffsetsLostError
from services.runtime.errors import UnavailableError
from services.runtime.kafka import FencedError, consumer, producer, translate

CALL_TIMEOUT_S: Final = 10.0
_CHUNK: Final = 64
_GATHER_S: Final = 0.01


class Write(msgspec.Struct, frozen=True):
    """Values for one partition of a topic, in order."""

    topic: str
    partition: int
    values: Sequence[bytes]


class Move(msgspec.Struct, frozen=True):
    """How far a group has come: the next `offset` it is to read. `metadata` is the library's, of the group's member."""

    metadata: Any
    topic: str
    partition: int
    offset: int


class Transactions:
    """A transactional producer; one thread at a time. After any failure it starts anew by itself at the next call."""

    def __init__(self, bootstrap: str, transactional_id: str) -> None:
        """Connect at the first call. The ID is the running instance's own: a later one with it takes over."""
        self._bootstrap = bootstrap
        self._id = transactional_id
        self._producer: Producer | None = None

    def start(self) -> None:
        """Take the ID over, ending what an earlier holder left open. Raises: UnavailableError, FencedError."""
        if self._producer is not None:
            return
        fresh = producer(self._bootstrap, transactional_id=self._id, linger_ms=0)
        with _translated():
            fresh.init_transactions(CALL_TIMEOUT_S)
        self._producer = fresh

    def write(
        self,
        writes: Sequence[Write],
        moves: Callable[[Mapping[tuple[str, int], int]], Sequence[Move]] | None = None,
    ) -> None:
        """Write everything and move the offsets, or nothing: durable (acks=all) and visible when it returns.

        `moves` gets the offset of the last value written to each (topic, partition) and gives the moves to make.
        Raises: UnavailableError: nothing was written, or (an answer was lost) it may have been; FencedError: stop.
        """
        self.start()
        assert self._producer is not None
        try:
            self._attempt(self._producer, writes, moves)
        except KafkaException as error:
            fault = translate(error)
            if not isinstance(fault, FencedError):
                self._give_up(self._producer, error)
            raise fault from error
        except UnavailableError:
            self._give_up(self._producer, None)
            raise

    def close(self) -> None:
        """Forget the producer; nothing is open between calls."""
        self._producer = None

    def _attempt(
        self,
        client: Producer,
        writes: Sequence[Write],
        moves: Callable[[Mapping[tuple[str, int], int]], Sequence[Move]] | None,
    ) -> None:
        client.begin_transaction()
        last: dict[tuple[str, int], int] = {}
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)
            else:
                last[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0)

        for write in writes:
            self._produce(client, write, delivered)
        if client.flush(CALL_TIMEOUT_S) or failed:
            raise UnavailableError(f"Kafka: {failed[0].str() if failed else 'no acknowledgement in time'}")
        for metadata, offsets in _by_group(moves(last) if moves else ()):
            client.send_offsets_to_transaction(offsets, metadata, CALL_TIMEOUT_S)
        self._commit(client)

    def _produce(self, client: Producer, write: Write, delivered: Callable[..., None]) -> None:
        """Queue the values; the delivery of the last one tells that of all, since a partition keeps its order."""
        messages: list[dict[str, Any]] = [{"value": value} for value in write.values]
        messages[-1]["callback"] = delivered
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while messages:
            with contextlib.suppress(BufferError):
                client.produce_batch(write.topic, messages, write.partition)
            messages = [message for message in messages if "_error" in message]
            refused = next((each["_error"] for each in messages if not _is_full(each["_error"])), None)
            if refused is not None:
                raise KafkaException(refused)
            if messages and time.monotonic() > deadline:
                raise UnavailableError("Kafka: the producer's queue stays full")
            for message in messages:
                del message["_error"]
            client.poll(0.01 if messages else 0)

    def _commit(self, client: Producer) -> None:
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while True:
            try:
                client.commit_transaction(CALL_TIMEOUT_S)
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise
            else:
                return

    def _give_up(self, client: Producer, error: KafkaException | None) -> None:
        """Abort where that can be, else leave the producer to die: its ID is taken over when the next one starts."""
        self._producer = None
        fatal = error is not None and error.args[0].fatal()
        client.purge()
        if not fatal:
            with contextlib.suppress(KafkaException):
                client.abort_transaction(CALL_TIMEOUT_S)


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
        self._problem: Exception | None = None
        self._assigned: set[tuple[str, int]] = set()
        self._changes = 0
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

        Raises: UnavailableError, OffsetGapError, OffsetsLostError, and what `on_partition` raised.
        """
        first = self._consumer.poll(wait_s)
        self._raise_problem()
        if first is None:
            return []
        batch, size = [_sound(first)], len(first)
        changes = self._changes
        deadline = time.monotonic() + _GATHER_S
        while len(batch) < max_records and size < max_bytes:
            chunk = self._consumer.consume(
                min(_CHUNK, max_records - len(batch)), max(0.0, deadline - time.monotonic())
            )
            self._raise_problem()
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
            with _translated():
                self._consumer.seek(place)

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit the next offsets to read, outside of any transaction. Raises: UnavailableError."""
        with _translated():
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
        try:
            placed = self._positions(partitions)
        except Exception as error:  # noqa: BLE001 - carried out of the library's callback and raised by poll()
            self._problem = error
            return
        client.incremental_assign(placed)
        self._changes += 1
        self._assigned.update((place.topic, place.partition) for place in placed)

    def _revoke(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned.difference_update((place.topic, place.partition) for place in partitions)
        client.incremental_unassign(partitions)
        self._changes += 1

    def _positions(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        if not partitions:
            return []
        with _translated():
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

    def _raise_problem(self) -> None:
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem


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


def read_back(bootstrap: str, topic: str, partition: int, count: int) -> list[bytes]:
    """Read the last `count` committed values of a partition, in order; reads at most a few times that many offsets.

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
            values = _read_range(reader, TopicPartition(topic, partition, start), count)
            if len(values) >= count or start == low:
                return values
            reach *= 2
    finally:
        reader.close()


def require_nothing_written(bootstrap: str, topic: str, partition: int, group: str) -> None:
    """Check that a stage which has no committed offset has never written. Raises: OffsetsLostError, UnavailableError."""
    _, end = _settled_end(bootstrap, topic, partition)
    if end > 0:
        raise OffsetsLostError(
            f"group {group} has no committed offset for partition {partition}, but {topic} has records: "
            "set the group's offset to where it had come"
        )


def _settled_end(bootstrap: str, topic: str, partition: int) -> tuple[int, int]:
    """Give the first offset and the one after the last, once no transaction is open in between."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    place = TopicPartition(topic, partition)

    def ask(spec: Any, isolation: IsolationLevel) -> int:
        futures = admin.list_offsets({place: spec}, isolation_level=isolation, request_timeout=CALL_TIMEOUT_S)
        return int(next(iter(futures.values())).result(CALL_TIMEOUT_S).offset)

    offsets: Any = OffsetSpec
    deadline = time.monotonic() + 3 * CALL_TIMEOUT_S
    with _translated():
        while True:
            end = ask(offsets.latest(), IsolationLevel.READ_UNCOMMITTED)
            if ask(offsets.latest(), IsolationLevel.READ_COMMITTED) == end:
                return ask(offsets.earliest(), IsolationLevel.READ_UNCOMMITTED), end
            if time.monotonic() > deadline:
                raise UnavailableError(f"Kafka: a transaction stays open on {topic} {partition}")
            time.sleep(0.02)


def _read_range(reader: Consumer, start: TopicPartition, count: int) -> list[bytes]:
    kept: deque[bytes] = deque(maxlen=count)
    reader.assign([start])
    deadline = time.monotonic() + 6 * CALL_TIMEOUT_S
    while time.monotonic() < deadline:
        for message in reader.consume(1000, 0.2):
            error = message.error()
            if error is None:
                kept.append(message.value() or b"")
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return list(kept)
            else:
                raise translate(error)
    raise UnavailableError(f"Kafka: could not read {start.topic} {start.partition} back in time")


def _is_full(error: KafkaError) -> bool:
    return bool(error.code() == KafkaError._QUEUE_FULL)  # noqa: SLF001 - the library names its own codes so


def _by_group(moves: Sequence[Move]) -> Iterator[tuple[Any, list[TopicPartition]]]:
    groups: dict[int, tuple[Any, list[TopicPartition]]] = {}
    for move in moves:
        _, offsets = groups.setdefault(id(move.metadata), (move.metadata, []))
        offsets.append(TopicPartition(move.topic, move.partition, move.offset))
    yield from groups.values()


def _sound(message: Message) -> Message:
    error = message.error()
    if error is not None:
        raise translate(error)
    return message


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise translate(error) from error
    except (TimeoutError, BufferError) as error:
        raise UnavailableError(f"Kafka: {error}") from error
