"""The Kafka-native way in, on real Kafka: whatever fails, each message ends once."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.simulate import SimulationOptions, simulate
from services.collector.collect import Rules
from services.collector.documents import Limits
from services.collector.errors import OffsetsLostError
from services.collector.ingress import Ingress
from services.collector.metrics import Metrics
from services.collector.preparing import Ports, Preparer
from services.collector.registry.gate import Gate
from services.collector.transactions import Move, Transactions, Write
from services.runtime import envelope, topics
from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.kafka import producer
from services.runtime.settings import KafkaSettings
from tests.integration.test_collector import (
    PARTITIONS,
    Collector,
    canonical,
    collector,
    events_of,
    until,
)
from tests.unit.capture_api import Keeper, Registered, open_gate
from tests.unit.collector_builders import NOW_MS, counted, document, object_event

__all__ = ["collector"]  # the fixture


def send(collector: Collector, values: Iterable[bytes]) -> None:
    """Write messages as anybody would, spread over the partitions."""
    writer = producer(collector.stack.kafka_bootstrap_servers)
    for number, value in enumerate(values):
        writer.produce(collector.names.topic(topics.GOODS_INGRESS), value, partition=number % PARTITIONS)
    assert writer.flush(30) == 0


class Failing(Transactions):
    """Transactions that fail as told before each: `lost` writes and loses the answer, `aborted` writes and takes it back."""

    faults: list[str]

    def write(
        self,
        writes: Sequence[Write],
        moves: Callable[[Mapping[tuple[str, int], int]], Sequence[Move]] | None = None,
    ) -> None:
        fault = self.faults.pop(0) if self.faults else ""

        def cut(_: Mapping[tuple[str, int], int]) -> Sequence[Move]:
            raise UnavailableError("cut off when everything was written")

        super().write(writes, cut if fault == "aborted" else moves)
        if fault == "lost":
            raise UnavailableError("committed, and the answer lost")


class Marks:
    """Beginnings in memory."""

    def __init__(self) -> None:
        self.partitions: frozenset[int] = frozenset()

    async def begun(self) -> frozenset[int]:
        return self.partitions

    async def mark(self, partitions: frozenset[int]) -> None:
        self.partitions |= partitions


class Here:
    """The ingress alone, in this process."""

    def __init__(self, collector: Collector, marks: Marks, gate: Gate | None = None) -> None:
        self.kafka = KafkaSettings(
            KAFKA_BOOTSTRAP_SERVERS=collector.stack.kafka_bootstrap_servers,  # type: ignore[call-arg]
            topic_prefix=collector.names.topic_prefix,
            partitions=PARTITIONS,
        )
        self.registry = CollectorRegistry()
        gate = gate or open_gate(9)
        self.ingress = Ingress(
            kafka=self.kafka,
            instance="here",
            preparer=Preparer(self.kafka, gate, Limits(), Rules(), Ports(lambda: NOW_MS, counted())),
            gate=gate,
            merchant=9,
            beginnings=marks,
            keeper=Keeper(),
            ranges=Registered(),
            metrics=Metrics(self.registry),
            log=structlog.get_logger(),
        )

    def fail(self, *faults: str) -> None:
        self.failing = Failing(self.kafka.bootstrap_servers, self.kafka.topic("collector.ingress.here"))
        self.failing.faults = list(faults)
        self.ingress._transactions = self.failing

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"goodstrace_collector_ingress_{name}", labels) or 0

    async def run_until(self, condition: Callable[[], bool]) -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(self.ingress.run(stop))
        try:
            while not condition() and not running.done():
                await asyncio.wait([running], timeout=0.05)
        finally:
            stop.set()
            await running


async def test_a_transaction_that_fails_either_way_loses_and_doubles_nothing(collector: Collector) -> None:
    marks = Marks()
    here = Here(collector, marks)
    here.fail("aborted", "lost")
    events = [object_event(eventID=f"urn:e:{number}") for number in range(60)]
    good = [document(*events[start : start + 2]) for start in range(0, 60, 2)]
    bad = [document(object_event(eventID="urn:e:bad", action="X")), b"{", b""]
    send(collector, [*good[:10], *bad, *good[10:]])
    await here.run_until(lambda: here.counted("lag_messages") == 0 and len(marks.partitions) == PARTITIONS)

    collected, rejected = (
        collector.records(topic) for topic in (topics.GOODS_COLLECTED, topics.GOODS_REJECTED)
    )
    assert canonical(json.loads(record.part("event").content) for record in collected) == canonical(events)
    assert {record.merchant for record in (*collected, *rejected)} == {9}
    assert Counter(record.rejection.reason for record in rejected if record.rejection) == {"INVALID": 3}
    assert {record.parts[0].content for record in rejected if record.parts} >= {b"{"}
    assert here.failing.faults == []
    # The answer that was lost is the one that nobody could count.
    assert here.counted("in_messages_total") <= len(good) + len(bad)


async def test_with_its_offsets_lost_it_stops_and_does_not_start_over(collector: Collector) -> None:
    marks = Marks()
    marks.partitions = frozenset(range(PARTITIONS))
    with pytest.raises(OffsetsLostError):
        await Here(collector, marks).run_until(lambda: False)


async def test_with_another_number_of_partitions_set_it_takes_nothing(collector: Collector) -> None:
    here = Here(collector, Marks())
    here.ingress._transactions = Transactions(
        here.kafka.bootstrap_servers, "here", (here.kafka.topic(topics.GOODS_COLLECTED), PARTITIONS + 1)
    )
    send(collector, [document(object_event())])
    with pytest.raises(ConflictError):
        await here.run_until(lambda: False)
    assert collector.records(topics.GOODS_COLLECTED) == []


def test_kill_9_in_the_middle_of_a_load_seals_each_message_once(collector: Collector) -> None:
    bodies = [
        each.to_bytes() for each in simulate(SimulationOptions(seed=21, events=2000, events_per_document=20))
    ]
    events = [event for body in bodies for event in events_of(body)]
    collector.start()
    for share in range(2):
        send(collector, bodies[share::2])
        send(collector, [b"no document %d" % share])
        if share == 0:
            until(partial(collector.records, topics.GOODS_STORED), "something is stored")
            collector.end(kill=True)
            collector.start()

    def ended() -> tuple[list[envelope.Record], list[envelope.Record]]:
        return collector.records(topics.GOODS_STORED), collector.records(topics.GOODS_REJECTED)

    until(lambda: sum(map(len, ended())) >= len(events) + 2, "every message has its place")
    stored, rejected = ended()
    assert canonical(json.loads(record.part("event").content) for record in stored) == canonical(events)
    assert sorted(record.part("document").content for record in rejected) == [
        b"no document %d" % share for share in range(2)
    ]
    assert collector.end() == 0
