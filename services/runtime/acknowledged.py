"""Sending to Kafka and waiting, in asyncio, until the record is acknowledged by all in-sync replicas.

One thread serves the producer's delivery reports and hands them to the event loop in batches: one wake-up for as many
records as were acknowledged together.
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from services.runtime import kafka
from services.runtime.errors import UnavailableError

_POLL_S: Final = 0.1


class _Report(NamedTuple):
    acknowledged: asyncio.Future[None]
    error: KafkaError | None
    producer: Producer


class Outgoing(NamedTuple):
    """One record that is to be sent."""

    topic: str
    partition: int
    key: bytes
    value: bytes


class AcknowledgedProducer:
    """An idempotent producer (acks=all) whose `send` returns when the record is durable."""

    def __init__(self, bootstrap: str, *, client: str = "") -> None:
        """Make the producer and its thread; to be called from the event loop that will send. `client`: see kafka.producer."""
        self._bootstrap = bootstrap
        self._client = client
        self._producer: Producer = self._made()
        self._loop = asyncio.get_running_loop()
        self._served: list[_Report] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="acknowledgements", daemon=True)
        self._thread.start()

    async def send(self, topic: str, partition: int, key: bytes, value: bytes, timeout_s: float) -> None:
        """Send one record; when this returns it is durable.

        Raises: UnavailableError where that is not known within `timeout_s`: the record may or may not be in Kafka.
        """
        await self.send_together([Outgoing(topic, partition, key, value)], timeout_s)

    async def send_together(self, records: Sequence[Outgoing], timeout_s: float) -> None:
        """Send records; when this returns all of them are durable.

        Raises: UnavailableError where that is not known within `timeout_s`: each of them may or may not be in Kafka.
        """
        waiting: list[asyncio.Future[None]] = []
        try:
            for record in records:
                waiting.append(self._produced(record))  # noqa: PERF401 - those before one that fails are let go of
            async with asyncio.timeout(timeout_s):
                for acknowledged in waiting:
                    await acknowledged
        except TimeoutError as error:
            raise UnavailableError(f"Kafka: not acknowledged within {timeout_s:.1f} s") from error
        finally:
            for acknowledged in waiting:  # nobody waits for the others any more
                if not acknowledged.cancel() and not acknowledged.cancelled():
                    acknowledged.exception()

    def _produced(self, record: Outgoing) -> asyncio.Future[None]:
        acknowledged: asyncio.Future[None] = self._loop.create_future()
        producer = self._producer

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._served.append(_Report(acknowledged, error, producer))

        try:
            producer.produce(record.topic, record.value, record.key, record.partition, on_delivery=delivered)
        except BufferError as error:
            raise UnavailableError("Kafka: too many records wait for their acknowledgement") from error
        except KafkaException as error:
            self._recover(error.args[0], producer)
            raise kafka.translate(error) from error
        return acknowledged

    async def ping(self, topic: str, timeout_s: float) -> None:
        """Raise UnavailableError unless Kafka answers and every partition of `topic` has a leader."""
        try:
            metadata = await asyncio.to_thread(self._producer.list_topics, topic, timeout_s)
        except KafkaException as error:
            raise kafka.translate(error) from error
        description = metadata.topics[topic]
        if description.error is not None:
            raise kafka.translate(description.error)
        if any(partition.leader < 0 for partition in description.partitions.values()):
            raise UnavailableError(f"Kafka: a partition of {topic} has no leader")

    async def stop(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for what was sent, then end the thread."""
        await asyncio.to_thread(self._producer.flush, timeout_s)
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _made(self) -> Producer:
        return kafka.producer(self._bootstrap, linger_ms=0, client=self._client)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_S)
            if self._served:
                served, self._served = self._served, []
                self._loop.call_soon_threadsafe(self._settle, served)

    def _settle(self, served: list[_Report]) -> None:
        for report in served:
            if report.error is not None:
                self._recover(report.error, report.producer)
            if report.acknowledged.done():
                continue  # its caller gave up
            if report.error is None:
                report.acknowledged.set_result(None)
            else:
                report.acknowledged.set_exception(kafka.translate(report.error))

    def _recover(self, error: KafkaError, failed: Producer) -> None:
        """Replace a producer that can never send again (an idempotent one that lost its sequence)."""
        if error.fatal() and failed is self._producer:
            self._producer = self._made()
