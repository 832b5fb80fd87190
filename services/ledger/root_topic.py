"""The topic of the root log as rounds write it: the adapter behind `root_rounds.RoundTopic`.

One Kafka transaction a round, under a transactional ID that all ledgers share: who takes it over fences the writer before,
so that a process that was paused cannot write what is out of date. confluent-kafka's errors end here.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaException, Producer

from services.runtime import kafka
from services.runtime.errors import UnavailableError
from services.runtime.read_back import read_back

_CALL_TIMEOUT_S: Final = 10.0


class KafkaRoundTopic:
    """Partition 0 of one topic."""

    def __init__(self, bootstrap: str, topic: str, transactional_id: str) -> None:
        """Connect at the first `take_over`."""
        self._bootstrap = bootstrap
        self._topic = topic
        self._id = transactional_id
        self._producer: Producer | None = None

    async def take_over(self) -> None:
        """See RoundTopic."""
        fresh = kafka.producer(self._bootstrap, transactional_id=self._id, linger_ms=0)
        await asyncio.to_thread(_translated, lambda: fresh.init_transactions(_CALL_TIMEOUT_S))
        self._producer = fresh

    async def write(self, values: Sequence[bytes]) -> None:
        """See RoundTopic."""
        assert self._producer is not None
        producer = self._producer
        await asyncio.to_thread(_translated, lambda: self._write(producer, values))

    async def newest(self, count: int) -> list[bytes]:
        """See RoundTopic."""
        return await asyncio.to_thread(read_back, self._bootstrap, self._topic, 0, count, bytes)

    async def give_up(self) -> None:
        """See RoundTopic."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(_abandon, producer)

    def _write(self, producer: Producer, values: Sequence[bytes]) -> None:
        producer.begin_transaction()
        for value in values:
            producer.produce(self._topic, value, partition=0)
        # It waits for all acknowledgements first, and fails where one does not come.
        producer.commit_transaction(_CALL_TIMEOUT_S)


def _abandon(producer: Producer) -> None:
    """End what is open. What cannot be ended now, is by whoever takes the ID over."""
    producer.purge()
    with contextlib.suppress(KafkaException):
        producer.abort_transaction(_CALL_TIMEOUT_S)


def _translated(call: Callable[[], None]) -> None:
    try:
        call()
    except BufferError as error:
        raise UnavailableError("Kafka: the producer's queue is full") from error
    except KafkaException as error:
        raise kafka.translate(error) from error
