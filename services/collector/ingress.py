"""The Kafka-native way in: `goods.ingress` is consumed and checked as HTTP captures are, exactly once.

A cycle: (1) read a batch, read_committed; (2) make records of it, with clock and randomness, which nobody has seen before (3);
(3) in one Kafka transaction write `goods.collected` and `goods.rejected` and move the group's offsets on. Whatever fails: abort,
go back to the committed offsets, and make other records of the same messages.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

import msgspec
import structlog
from confluent_kafka import Message

from services.collector.arrivals import Arrival, take
from services.collector.errors import OffsetsLostError, UnregisteredError
from services.collector.intake import count_collected
from services.collector.kafka import Source
from services.collector.metrics import COLLECTED, REJECTED, Metrics
from services.collector.preparing import Prepared, Preparer
from services.collector.producer import writes_of
from services.collector.registry.gate import Caller, Gate
from services.collector.retry import persistently
from services.collector.transactions import Move, Transactions
from services.runtime import topics
from services.runtime.errors import ServiceError
from services.runtime.merchants.errors import ForbiddenError
from services.runtime.settings import KafkaSettings

T = TypeVar("T")
_BATCH_RECORDS: Final = 1_000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_WAIT_S: Final = 0.2


class Beginnings(Protocol):
    """Remembers in which partitions of the ingress somebody has begun, in case Kafka forgets how far."""

    async def begun(self) -> frozenset[int]:
        """List the partitions of which something was taken. Raises: UnavailableError."""

    async def mark(self, partitions: frozenset[int]) -> None:
        """Add partitions; those that are there stay. Raises: UnavailableError."""


class Ingress:
    """Takes in what others write to `goods.ingress`, until it is asked to stop. Several share its partitions."""

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        instance: str,
        preparer: Preparer,
        gate: Gate,
        merchant: int,
        beginnings: Beginnings,
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Prepare to run; nothing is connected before `run`.

        Args:
            kafka: where Kafka is.
            instance: a name that no other process has at the same time.
            preparer: makes the records.
            gate: knows what the merchant may say.
            merchant: whose all messages are. Who may write to the topic is for Kafka's ACLs to say.
            beginnings: see there.
            metrics: counts messages and records.
            log: told of partitions and failures.
        """
        self._kafka = kafka
        self._topic = kafka.topic(topics.GOODS_INGRESS)
        self._preparer = preparer
        self._gate, self._merchant = gate, merchant
        self._beginnings = beginnings
        self._metrics = metrics
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingress")
        self._transactions = Transactions(
            kafka.bootstrap_servers,
            kafka.topic(f"collector.ingress.{instance}"),
            (kafka.topic(topics.GOODS_COLLECTED), kafka.partitions),
        )
        self._source: Source | None = None
        self._begun: frozenset[int] = frozenset()
        self._unmarked: set[int] = set()
        self._rewind = False

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Take in batch after batch; one that has begun is finished before it returns. `started`: called once it reads.

        Raises: ServiceError that a retry does not mend: fenced, offsets lost, a gap in the topic.
        """
        try:
            await self._persistently(self._recall, stop)
            await self._persistently(lambda: self._in_thread(self._start), stop)
            started()
            while not stop.is_set():
                await self._persistently(self._cycle, stop)
        finally:
            await self._in_thread(self._close)

    async def _recall(self) -> None:
        self._begun = await self._beginnings.begun()

    async def _cycle(self) -> None:
        await self._mark()
        batch = await self._in_thread(self._read)
        if not batch:
            return
        self._rewind = True  # until this batch is committed
        self._metrics.ingress_busy.set(len(batch))
        try:
            prepared = await self._in_thread(self._commit, batch, await self._caller())
        finally:
            self._metrics.ingress_busy.set(0)
        self._rewind = False
        self._count(len(batch), prepared)

    async def _caller(self) -> Caller:
        """Give the merchant as a caller without rates: what is too much for a moment lies well in Kafka."""
        try:
            caller = await self._gate.on_behalf_of(self._merchant)
        except ForbiddenError as error:
            raise UnregisteredError(f"{self._topic} waits: {error}") from error
        return msgspec.structs.replace(caller, rates={})

    async def _mark(self) -> None:
        """Remember where something was taken: after it was, so that a kill in between costs a warning, not a start."""
        fresh = frozenset(self._unmarked)
        if fresh:
            await self._beginnings.mark(fresh)
            self._begun |= fresh
            self._unmarked.clear()

    def _start(self) -> None:
        # First take the transactional ID over: what a killed predecessor left open is aborted, and its offsets are stable.
        self._transactions.start()
        if self._source is None:
            self._source = Source(
                self._kafka.bootstrap_servers,
                self._kafka.topic("collector.ingress"),
                [self._topic],
                on_partition=self._take_partition,
                on_first=self._check_first,
            )

    def _read(self) -> list[Message]:
        assert self._source is not None
        self._transactions.start()
        if self._rewind:
            self._source.rewind()
            self._rewind = False
        batch = self._source.poll(_BATCH_RECORDS, _BATCH_BYTES, _WAIT_S)
        self._metrics.ingress_lag.set(self._source.lag())
        return batch

    def _take_partition(self, _topic: str, partition: int, offset: int) -> None:
        if offset:
            self._note(partition)
        self._log.info("took a partition of the ingress", partition=partition, offset=offset)

    def _check_first(self, topic: str, partition: int) -> None:
        if partition in self._begun:
            raise OffsetsLostError(
                f"group {self._kafka.topic('collector.ingress')} has no committed offset for {topic} {partition}, of which "
                "it has taken before: set the group's offset to where it had come"
            )

    def _commit(self, batch: Sequence[Message], caller: Caller) -> list[Prepared]:
        assert self._source is not None
        metadata = self._source.metadata()
        prepared = [take(self._preparer, self._arrival(message, caller)) for message in batch]
        following = {_place(message)[0]: _place(message)[1] + 1 for message in batch}
        self._transactions.write(
            writes_of(placed for each in prepared for placed in each.placed),
            lambda _: [
                Move(metadata, self._topic, partition, offset) for partition, offset in following.items()
            ],
        )
        for partition in following:
            self._note(partition)
        return prepared

    def _arrival(self, message: Message, caller: Caller) -> Arrival:
        partition, offset = _place(message)
        return Arrival(self._topic, partition, offset, caller, message.value() or b"")

    def _note(self, partition: int) -> None:
        if partition not in self._begun:
            self._unmarked.add(partition)

    def _count(self, messages: int, prepared: Sequence[Prepared]) -> None:
        refused = sum(len(each.refused) for each in prepared)
        self._metrics.ingress_in.inc(messages)
        self._metrics.ingress_out.labels(REJECTED).inc(refused)
        self._metrics.ingress_out.labels(COLLECTED).inc(sum(len(each.placed) for each in prepared) - refused)
        self._metrics.ingress_last.set_to_current_time()
        for each in prepared:
            count_collected(self._metrics, each)

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._transactions.close()

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _persistently(self, attempt: Callable[[], Any], stop: asyncio.Event) -> Any:
        try:
            return await persistently(attempt, "ingress", stop, self._metrics, self._log)
        except ServiceError as error:
            self._log.error("the ingress stops", category=error.category, error=str(error))
            raise


def _place(message: Message) -> tuple[int, int]:
    return int(message.partition() or 0), int(message.offset() or 0)
