"""Kafka transactions that write records and move offsets together, and recover from a broker that was lost."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.group_source import CALL_TIMEOUT_S
from services.runtime.kafka import FencedError, producer, translate, translated

_HUNG_S: Final = 15.0


class _HungError(UnavailableError):
    """The library has not come back: its client is left behind."""


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

    def __init__(
        self, bootstrap: str, transactional_id: str, partitions: tuple[str, int] | None = None
    ) -> None:
        """Connect at the first call. The ID is the running instance's own: a later one with it takes over.

        `partitions`: a topic and how many it must have, for writers who choose the partition by their settings.
        """
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._id = transactional_id
        self._producer: Producer | None = None

    def start(self) -> None:
        """Take the ID over, ending what an earlier holder left open.

        Raises: UnavailableError, FencedError, ConflictError where the topic has another number of partitions.
        """
        if self._producer is not None:
            return
        fresh = producer(self._bootstrap, transactional_id=self._id, linger_ms=0)
        with translated():
            fresh.init_transactions(CALL_TIMEOUT_S)
            if self._partitions is not None:
                _check_partitions(fresh, *self._partitions)
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
        except _HungError:
            self._producer = None
            raise
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
        groups = list(_by_group(moves(last) if moves else ()))

        def finish() -> None:
            for metadata, offsets in groups:
                client.send_offsets_to_transaction(offsets, metadata, CALL_TIMEOUT_S)
            self._commit(client)

        _watched(finish)

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


def _check_partitions(client: Producer, topic: str, wanted: int) -> None:
    """An event's partition is part of what it is: spread otherwise, its duplicates would not be found."""
    found = client.list_topics(topic, CALL_TIMEOUT_S).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    if len(found.partitions) != wanted:
        raise ConflictError(f"topic {topic} has {len(found.partitions)} partitions and {wanted} are set")


def _watched(work: Callable[[], None]) -> None:
    """Do a piece of work that may hang, in a thread of its own. Raises: _HungError, and whatever the work raises.

    `send_offsets_to_transaction` of librdkafka 2.16 does not keep its deadline once the connection to a group's coordinator
    was lost, not even when the broker is back (seen by killing one). Only a new producer helps.
    """
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, name="finish-transaction", daemon=True)
    thread.start()
    thread.join(_HUNG_S)
    if thread.is_alive():
        raise _HungError(f"Kafka: no answer within {_HUNG_S} s")
    if failed:
        raise failed[0]


def _is_full(error: KafkaError) -> bool:
    return bool(error.code() == KafkaError._QUEUE_FULL)  # noqa: SLF001 - the library names its own codes so


def _by_group(moves: Sequence[Move]) -> Iterator[tuple[Any, list[TopicPartition]]]:
    groups: dict[int, tuple[Any, list[TopicPartition]]] = {}
    for move in moves:
        _, offsets = groups.setdefault(id(move.metadata), (move.metadata, []))
        offsets.append(TopicPartition(move.topic, move.partition, move.offset))
    yield from groups.values()
