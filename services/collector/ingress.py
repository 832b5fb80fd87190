"""The Kafka-native way in: `goods.ingress` is consumed and checked as HTTP captures are, exactly once.

A cycle: (1) read a batch, read_committed; (2) make records of it, with clock and randomness, which nobody has seen before (3);
(3) in one Kafka transaction write `goods.collected` and `goods.rejected` and move the group's offsets on. Whatever fails: abort,
go back to the committed offsets, and make other records of the same messages.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog
from confluent_kafka import Message

from services.collector import capture_spans
from services.collector.arrivals import Arrival, take
from services.collector.errors import OffsetsLostError, UnregisteredError
from services.collector.intake import Keeper, count_collected
from services.collector.metrics import COLLECTED, REJECTED, Metrics
from services.collector.preparing import Prepared, Preparer
from services.collector.producer import writes_of
from services.collector.ranging import Ranges, with_ranges
from services.collector.registry.gate import Caller, Gate
from services.collector.self_check import check_collecting
from services.collector.transacting import WAIT_S, Transacting, place_of
from services.collector.transactions import Move, Transactions
from services.runtime import topics
from services.runtime.consumer_groups import INGRESS
from services.runtime.group_source import Source
from services.runtime.merchants.errors import ForbiddenError
from services.runtime.settings import KafkaSettings
from services.runtime.tracing import spans

_BATCH_RECORDS: Final = 1_000
_BATCH_BYTES: Final = 4 * 1024 * 1024


class Beginnings(Protocol):
    """Remembers in which partitions of the ingress somebody has begun, in case Kafka forgets how far."""

    async def begun(self) -> frozenset[int]:
        """List the partitions of which something was taken. Raises: UnavailableError."""

    async def mark(self, partitions: frozenset[int]) -> None:
        """Add partitions; those that are there stay. Raises: UnavailableError."""


class Ingress(Transacting):
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
        keeper: Keeper,
        ranges: Ranges,
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
            keeper: keeps the keys of personal data that was taken out of events.
            ranges: tells what is registered of the goods in events.
            metrics: counts messages and records.
            log: told of partitions and failures.
        """
        transactions = Transactions(
            kafka.bootstrap_servers,
            kafka.topic(f"collector.ingress.{instance}"),
            (kafka.topic(topics.GOODS_COLLECTED), kafka.partitions),
        )
        super().__init__("ingress", transactions, metrics, log)
        self._kafka = kafka
        self._topic = kafka.topic(topics.GOODS_INGRESS)
        self._preparer = preparer
        self._gate, self._merchant = gate, merchant
        self._beginnings = beginnings
        self._keeper = keeper
        self._ranges = ranges
        self._begun: frozenset[int] = frozenset()
        self._unmarked: set[int] = set()

    async def _prepare(self) -> None:
        await self._thread.run(check_collecting)  # else such a release would refuse all that comes
        self._begun = await self._beginnings.begun()

    async def _cycle(self) -> None:
        await self._mark()
        await super()._cycle()

    async def _take(self, batch: list[Message]) -> None:
        self._metrics.ingress_busy.set(len(batch))
        try:
            made = await self._thread.run(self._prepared, batch, await self._caller())
            prepared = await with_ranges(self._ranges, made)
            keys = [key for each in prepared for key in each.personal]
            if keys:
                await self._keeper.keep(keys)
            await self._thread.run(self._commit, batch, prepared)
        finally:
            self._metrics.ingress_busy.set(0)
        self._committed()
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

    def _open(self) -> Source:
        return Source(
            self._kafka.bootstrap_servers,
            self._kafka.topic(INGRESS),
            [self._topic],
            on_partition=self._take_partition,
            on_first=self._check_first,
            client="ingress",
        )

    def _poll(self, source: Source) -> list[Message]:
        batch = source.poll(_BATCH_RECORDS, _BATCH_BYTES, WAIT_S)
        self._metrics.ingress_lag.set(source.lag())
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

    def _prepared(self, batch: Sequence[Message], caller: Caller) -> list[Prepared]:
        return [self._taken(message, caller) for message in batch]

    def _commit(self, batch: Sequence[Message], prepared: Sequence[Prepared]) -> None:
        metadata = self._reading.metadata()
        following = {partition: offset + 1 for partition, offset in map(place_of, batch)}
        self._transactions.write(
            writes_of(placed for each in prepared for placed in each.placed),
            lambda _: [
                Move(metadata, self._topic, partition, offset) for partition, offset in following.items()
            ],
        )
        for partition in following:
            self._note(partition)

    def _taken(self, message: Message, caller: Caller) -> Prepared:
        partition, offset = place_of(message)
        told = _traceparent(message)
        with capture_spans.arriving(told) as opened:
            traceparent = spans.handed_on(opened, told)
            arrival = Arrival(self._topic, partition, offset, caller, message.value() or b"", traceparent)
            prepared = take(
                self._preparer,
                arrival,
                lambda error: self._log.error(
                    "collecting failed over a message, or an event of it: refused",
                    partition=partition,
                    offset=offset,
                    exc_info=error,
                ),
            )
            capture_spans.say(opened, prepared)
        return prepared

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


def _traceparent(message: Message) -> str:
    """Give the W3C trace context of a message, as tracing clients put it among its headers; empty where there is none."""
    headers: Any = message.headers() or ()  # a list of pairs
    found = [value for name, value in headers if name == "traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 and isinstance(found[0], bytes) else ""
