"""A Kafka topic as a source of records: the adapter behind `ports.RecordSource`. confluent-kafka's errors end here.

The consumer lives in one thread. Records are taken one by one from librdkafka (0.001 ms each), not by `consume()`: a
batch of that may hold records from before a rebalance that happened within it, and a partition that came back would
then seem to go on behind a hole.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from services.runtime import kafka
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.kafka import FencedError, OffsetGapError
from services.runtime.threads import OneThread
from services.sealing.core import Fetched, TopicIdentity

GATHER_S: Final = 0.02
"""For so long what follows a record is waited for: the way to the loop and back costs more than a record does."""
WATERMARK_TIMEOUT_S: Final = 5.0
WATERMARK_PAUSE_S: Final = 0.25
WATERMARK_PATIENCE_S: Final = 60.0
"""A topic that was just made may have no leader that the brokers agree on: they refuse at once, for a second or so."""

T = TypeVar("T")


class NoWatermarksError(ServiceError):
    """Kafka did not say in time what it holds of a partition that was assigned: nobody would read it, so stop and begin anew."""

    category = "unavailable"


class KafkaSource:
    """Reads one topic as a member of a consumer group that commits nothing."""

    def __init__(
        self, bootstrap: str, group: str, topic: str, *, instance: str = "", client: str = ""
    ) -> None:
        """Make the clients; they connect when used.

        `instance` is a name to come back under (see KafkaSettings), `client` the one in metrics (see kafka.consumer).
        """
        self._bootstrap = bootstrap
        self._topic = topic
        self._consumer: Consumer = kafka.consumer(bootstrap, group, instance=instance, client=client)
        self._admin = kafka.admin_client(bootstrap)
        self._thread = OneThread("kafka-source")
        self.joined = False
        self._held: set[int] = set()
        self._owned: set[int] = set()
        self._batch: dict[int, list[Fetched]] = {}
        self._fault: ServiceError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._taken: Callable[[int], Awaitable[int]] | None = None
        self._given_up: Callable[[Sequence[int]], Awaitable[None]] | None = None

    async def start(
        self, taken: Callable[[int], Awaitable[int]], given_up: Callable[[Sequence[int]], Awaitable[None]]
    ) -> None:
        """See RecordSource."""
        self._loop = asyncio.get_running_loop()
        self._taken, self._given_up = taken, given_up
        await self._thread.run(
            lambda: self._consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )
        )

    async def poll(self, max_records: int, timeout_s: float) -> list[tuple[int, list[Fetched]]]:
        """See RecordSource."""
        return await self._thread.run(self._poll, max_records, timeout_s)

    async def identity(self) -> TopicIdentity:
        """See RecordSource."""
        cluster, topic_id = await asyncio.to_thread(
            kafka.cluster_and_topic_id, self._bootstrap, self._topic, admin=self._admin
        )
        return TopicIdentity(cluster, self._topic, topic_id)

    async def hold(self, partitions: Iterable[int]) -> None:
        """See RecordSource."""
        wanted = set(partitions) & self._owned
        if wanted != self._held:
            await self._thread.run(self._hold, wanted)

    async def close(self) -> None:
        """See RecordSource."""
        self._taken = self._given_up = None
        await self._thread.run(self._consumer.close)
        self._thread.close()

    def _poll(self, max_records: int, timeout_s: float) -> list[tuple[int, list[Fetched]]]:
        self._batch = {}
        notice: ServiceError | None = None
        message = self._consumer.poll(timeout_s)
        until_s = time.monotonic() + GATHER_S
        for _ in range(max_records - 1):
            if message is None or self._fault:
                break
            notice = self._accept(message) or notice
            message = self._consumer.poll(max(0.0, until_s - time.monotonic()))
        else:
            notice = (self._accept(message) if message else None) or notice
        if self._fault:
            raise self._fault
        batches = list(self._batch.items())
        if notice and not batches:
            raise notice  # where records came with it they must not be lost, and the fault is over or comes again
        return batches

    def _accept(self, message: Message) -> ServiceError | None:
        """Put a record into the batch, or give the fault that came instead of one."""
        error = message.error()
        if error is not None:
            fault = kafka.translate(error)
            if error.code() == KafkaError._FATAL:  # noqa: SLF001 - what ends a consumer is one of the same name
                fault = FencedError(f"another process has this one's name: {error.str()}")
            if isinstance(fault, OffsetGapError):
                fault = OffsetGapError(f"{self._topic}[{message.partition()}]: {fault}")
            if not fault.retry:
                self._fault = fault
            return None if error.code() == KafkaError._PARTITION_EOF else fault  # noqa: SLF001
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        self._batch.setdefault(partition, []).append(Fetched(offset, message.value() or b""))
        return None

    def _hold(self, wanted: set[int]) -> None:
        self._consumer.pause([TopicPartition(self._topic, each) for each in wanted - self._held])
        self._consumer.resume([TopicPartition(self._topic, each) for each in self._held - wanted])
        self._held = wanted

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Find out where each new partition goes on, in the thread and within the call of `poll`."""
        try:
            starts = [self._start_of(consumer, each.partition) for each in partitions]
        except ServiceError as error:
            self._fault = error
            starts = []
        consumer.incremental_assign(starts)
        self._owned |= {each.partition for each in starts}
        self.joined = True

    def _start_of(self, consumer: Consumer, partition: int) -> TopicPartition:
        if self._taken is None:
            raise UnavailableError("the source is closed")
        offset = self._wait(self._taken(partition))
        place = TopicPartition(self._topic, partition, offset)
        low, high = self._watermarks(consumer, place)
        if not low <= offset <= high:
            raise OffsetGapError(
                f"{self._topic}[{partition}]: the next record to seal is at offset {offset}, but Kafka holds"
                f" {low} to {high}: records are gone, or this is another topic; nothing is skipped"
            )
        return place

    def _watermarks(self, consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
        give_up_s = time.monotonic() + WATERMARK_PATIENCE_S
        while True:
            try:
                low, high = consumer.get_watermark_offsets(place, timeout=WATERMARK_TIMEOUT_S, cached=False)
            except KafkaException as error:
                if time.monotonic() > give_up_s:
                    raise NoWatermarksError(
                        f"{self._topic}[{place.partition}]: {kafka.translate(error)}"
                    ) from error
                time.sleep(WATERMARK_PAUSE_S)
            else:
                return low, high

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions if each.partition in self._owned]
        self._owned -= set(numbers)
        self._held -= set(numbers)
        for number in numbers:
            self._batch.pop(number, None)
        if numbers and self._given_up is not None:
            try:
                self._wait(self._given_up(numbers))
            except ServiceError as error:
                self._fault = error

    def _wait(self, awaitable: Awaitable[T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(_awaited(awaitable), self._loop).result()


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable
