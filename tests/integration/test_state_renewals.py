"""Thousands of states to derive anew on real Kafka and a real store: the keeper stays in its group, goes on where it was, and holds nobody up."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition
from prometheus_client import CollectorRegistry

from deploy.stack import Stack
from goodstrace.entry import Kind
from services.collector import renewals, state_store
from services.collector.flagged_store import FlaggedStore
from services.collector.goods_states import Stored, sightings
from services.collector.metrics import Metrics
from services.collector.renewal_store import RENEWALS, RenewalStore
from services.collector.renewals import PARTS
from services.collector.state_keeper import StateKeeper, log_of
from services.collector.state_store import ASKING, StateStore
from services.runtime import envelope, kafka, topics
from services.runtime.errors import ConflictError
from services.runtime.mongo import Mongo
from services.runtime.settings import KafkaSettings
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.integration.test_collector import PARTITIONS, Collector, collector
from tests.integration.test_goods_states import expected, states
from tests.memory_renewals import MemoryRenewals
from tests.unit.goods_worlds import DELEGATE, GIVER, PREFIX, Lent, Said, sealed
from tests.unit.test_goods_state import SITES, seen, taken_back

__all__ = ["collector"]  # the fixture

AN_EVENT = 50
KEEPER = {
    **{f"GOODSTRACE_COLLECTOR_{name}": "false" for name in ("API", "INGRESS", "PROJECTOR", "REJECTIONS")},
    **{f"GOODSTRACE_COLLECTOR_{name}_STAGE": "" for name in ("FIRST", "LAST")},
}
EVENTS, REGISTRATIONS = 0, 1  # partitions
POLL_MS = 6_000  # the least that goes with the session timeout of our consumers


def about(first: int, last: int) -> list[Said]:
    """Events of goods by number, AN_EVENT in each, and corrections of all of them by the delegate."""
    events = [
        seen(
            number,
            number % 60,
            epcList=[
                f"urn:epc:id:sgtin:{PREFIX}.107346.{10_000 * number + each}" for each in range(AN_EVENT)
            ],
            bizLocation={"id": SITES[0]},
        )
        for number in range(first, last)
    ]
    return [
        *(Said(GIVER, each) for each in events),
        *(Said(DELEGATE, taken_back(each)) for each in events),
    ]


def placed(told: Sequence[Said | Lent]) -> tuple[list[Stored], list[Stored]]:
    """Seal what is said: events into one partition, registrations into another, as murmur2 would now and then."""
    records = [each.record for each in sealed(told)]
    events = [each for each in records if each.kind is Kind.EVENT]
    registrations = [each for each in records if each.kind is Kind.REGISTRATION]
    assert len(records) == len(told)
    return (
        [Stored(log_of(EVENTS), offset, each) for offset, each in enumerate(events)],
        [Stored(log_of(REGISTRATIONS), offset, each) for offset, each in enumerate(registrations)],
    )


class Topic:
    """`goods.stored` of a test."""

    def __init__(self, stack: Stack, names: Names) -> None:
        self._name = names.topic(topics.GOODS_STORED)
        self._producer = kafka.producer(stack.kafka_bootstrap_servers)

    def put(self, stored: Sequence[Stored]) -> None:
        for each in stored:
            partition = int(each.log.rpartition("/")[2])
            self._producer.produce(self._name, value=envelope.encode(each.record), partition=partition)
        assert self._producer.flush(DEADLINE_S) == 0


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        if found := await condition():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


class Seen:
    """What a keeper under way leaves to be seen."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def left(self) -> int:
        """How many parts are left of the one renewal; 0 where there is none."""
        return sum([each["left"] async for each in self._mongo.database[RENEWALS].find()])

    async def is_begun(self) -> bool:
        return 0 < await self.left() < PARTS * 7 / 8

    async def is_over(self) -> bool:
        return not await self.left()

    async def asking(self, count: int) -> None:
        """Wait until so many states are noted."""

        async def noted() -> bool:
            return await self._mongo.database[ASKING].estimated_document_count() >= count

        await until(noted, "the states are kept")

    async def placed(self) -> int:
        return sum("place" in each for each in (await states(self._mongo)).values())

    async def end_as(self, records: Sequence[Stored]) -> None:
        """Wait until nothing is left, and the states are those of the records."""

        async def is_so() -> bool:
            if not await self.is_over():  # to read all of them takes the store's time
                return False
            there = await states(self._mongo)
            return there.keys() == sightings(records).keys() and there == expected(records, there)

        await until(is_so, "the states are those of all records")


async def test_killed_and_stopped_in_the_middle_it_goes_on_where_it_was(
    collector: Collector, mongo: Mongo
) -> None:
    """With registrations and corrections that come while it is down or under way, in a process of its own."""
    goods = 3_000
    events, registrations = placed(
        [
            *about(0, goods // AN_EVENT),
            *about(goods // AN_EVENT, goods // AN_EVENT + 2),
            Lent({DELEGATE: PREFIX}, -3),
            Lent({}, -2),
            Lent({DELEGATE: PREFIX}, -1),
        ]
    )
    first = 2 * goods // AN_EVENT
    topic, look = Topic(collector.stack, collector.names), Seen(mongo)
    await asyncio.to_thread(collector.start, **KEEPER)
    topic.put(events[:first])
    await look.asking(goods)

    topic.put(registrations[:1])
    await until(look.is_begun, "states are being derived anew")
    assert collector.end(kill=True) == -signal.SIGKILL
    left = await look.left()
    assert 0 < left < PARTS
    assert 0 < await look.placed() < goods

    await asyncio.to_thread(collector.start, **KEEPER)
    seen_left = left

    async def has_gone_on() -> bool:
        nonlocal seen_left
        now = await look.left()
        assert now <= seen_left  # it never begins again
        seen_left = now
        return now < left

    await until(has_gone_on, "it goes on")
    topic.put([*registrations[1:2], *events[first:]])  # nobody is lent anything; more goods depend on that

    async def is_begun_again() -> bool:
        registered = await mongo.database["delegations"].count_documents({})
        return registered == 2 and await look.is_begun()

    await until(is_begun_again, "they are derived anew once more")
    started = time.monotonic()
    assert collector.end() == 0
    assert time.monotonic() - started < 15
    assert await look.left()

    await asyncio.to_thread(collector.start, **KEEPER)
    await look.end_as([*events, *registrations[:2]])
    assert await look.placed() == goods + 2 * AN_EVENT
    topic.put(registrations[2:])
    await look.end_as([*events, *registrations])
    assert await look.placed() == 0
    assert collector.end() == 0


class Slow:
    """A store that takes its time for each state, once it is told to."""

    def __init__(self) -> None:
        self.state_s = 0.0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Kafka takes the partitions from who does not poll for POLL_MS, and portions are small."""

    def impatient(config: dict[str, Any]) -> Consumer:
        return Consumer({**config, "max.poll.interval.ms": POLL_MS})

    apply, told = StateStore._apply, Slow()

    async def slowly(store: StateStore, keys: Sequence[str], *arguments: Any) -> int:
        await asyncio.sleep(told.state_s * len(keys))
        return await apply(store, keys, *arguments)

    monkeypatch.setattr(kafka, "Consumer", impatient)
    monkeypatch.setattr(StateStore, "_apply", slowly)
    monkeypatch.setattr(renewals, "PORTION_NAMES", AN_EVENT)
    monkeypatch.setattr(state_store, "KEYS_A_CALL", AN_EVENT)
    return told


class Keeper:
    """A keeper in this process."""

    def __init__(self, stack: Stack, names: Names, mongo: Mongo) -> None:
        registry = CollectorRegistry()
        self.keeper = StateKeeper(
            KafkaSettings(  # type: ignore[call-arg]
                bootstrap_servers=stack.kafka_bootstrap_servers, topic_prefix=names.topic_prefix
            ),
            StateStore(mongo.database),
            RenewalStore(mongo.database, structlog.get_logger()),
            FlaggedStore(mongo.database),
            metrics=Metrics(registry),
            log=structlog.get_logger(),
        )
        self._registry = registry
        self._place = TopicPartition(names.topic(topics.GOODS_STORED), EVENTS)
        self._stop = asyncio.Event()
        self.run = asyncio.create_task(self.keeper.run(self._stop))

    def member(self) -> str:
        return str(self.keeper._source._consumer.memberid())

    def partitions(self) -> set[int]:
        return {partition for _, partition in self.keeper._source.assigned()}

    async def has_kept(self, records: Sequence[Stored]) -> None:
        """Wait until all records of one partition are committed, and nothing else is being kept."""

        async def is_so() -> bool:
            try:
                known = self.keeper._source._consumer.committed([self._place], 10)
            except KafkaException:  # the group's coordinator is being found
                return False
            return bool(known[0].offset == len(records))

        await until(is_so, "what was said is kept")

    def to_renew(self) -> float:
        return self._registry.get_sample_value("goodstrace_collector_states_to_renew") or 0

    async def end(self) -> None:
        self._stop.set()
        await asyncio.wait_for(self.run, DEADLINE_S)


@contextlib.asynccontextmanager
async def running(stack: Stack, names: Names, mongo: Mongo) -> AsyncIterator[Keeper]:
    keeper = Keeper(stack, names, mongo)
    try:
        yield keeper
    finally:
        await keeper.end()


@pytest.fixture
async def topic(stack: Stack, names: Names) -> Topic:
    declared = topics.declared(names.topic_prefix, PARTITIONS, 1, 1)
    await asyncio.to_thread(kafka.create_topics, stack.kafka_bootstrap_servers, declared)
    return Topic(stack, names)


async def test_it_stays_in_its_group_longer_than_kafka_waits_and_keeps_other_goods_meanwhile(
    stack: Stack, names: Names, mongo: Mongo, topic: Topic, slow: Slow
) -> None:
    goods = 2_000
    events, registrations = placed(
        [*about(0, goods // AN_EVENT), *about(900, 901)[:1], Lent({DELEGATE: PREFIX}, -1)]
    )
    others = events[-1:]
    look = Seen(mongo)
    async with running(stack, names, mongo) as keeper:
        topic.put(events[:-1])
        await keeper.has_kept(events[:-1])
        slow.state_s = 0.005
        member = keeper.member()
        started = time.monotonic()
        topic.put(registrations)
        await until(look.is_begun, "states are being derived anew")
        topic.put(others)

        key = min(sightings(others))

        async def are_there() -> bool:
            return await mongo.database["goods_states"].find_one({"_id": key}) is not None

        await until(are_there, "other goods are kept")
        assert await look.left()
        assert 0 < keeper.to_renew() < 2 * goods
        await look.end_as([*events, *registrations])
        assert time.monotonic() - started > POLL_MS / 1000
        assert keeper.member() == member
        assert keeper.to_renew() == 0
        assert await look.placed() == AN_EVENT


async def test_another_keeper_of_the_group_takes_it_over(
    stack: Stack, names: Names, mongo: Mongo, topic: Topic, slow: Slow
) -> None:
    goods = 1_000
    events, registrations = placed([*about(0, goods // AN_EVENT), Lent({}, -2), Lent({DELEGATE: PREFIX}, -1)])
    look = Seen(mongo)
    async with running(stack, names, mongo) as second, running(stack, names, mongo) as first:

        async def share() -> bool:
            return bool(first.partitions()) and bool(second.partitions())

        await until(share, "both have partitions")
        topic.put(events)
        await first.has_kept(events)
        slow.state_s = 0.005
        topic.put(registrations)
        await until(look.is_begun, "states are being derived anew")
        leaving, staying = (first, second) if REGISTRATIONS in first.partitions() else (second, first)
        await leaving.end()
        assert await look.left()
        await look.end_as([*events, *registrations])
        assert await look.placed() == 0
        assert not staying.run.done()


@pytest.mark.parametrize("is_real", [True, False], ids=["in the store", "in memory"])
async def test_a_mark_is_moved_by_one_and_not_past_a_registration(mongo: Mongo, is_real: bool) -> None:
    """The contract of the store, and of what stands in its place in unit tests."""
    store = RenewalStore(mongo.database, structlog.get_logger()) if is_real else MemoryRenewals()
    of, other = ("goods/0", 7), ("goods/1", 7)
    await store.add({of: 50, other: 60})
    assert [each.of for each in await store.find(None)] == [of, other]
    [seen_by_both] = await store.find({"goods/0"})
    assert (seen_by_both.first_ms, seen_by_both.next, seen_by_both.left) == (50, 0, PARTS)
    moved = await store.advance(seen_by_both, seen_by_both.after(range(100)))
    with pytest.raises(ConflictError):
        await store.advance(seen_by_both, seen_by_both.after(range(10)))
    assert moved is not None
    await store.add({of: 40})
    for too_late in (moved.after(range(100, 200)), None):
        with pytest.raises(ConflictError):
            await store.advance(moved, too_late)
    [again] = await store.find({"goods/0"})
    assert (again.first_ms, again.next, again.left) == (40, 100, PARTS)
    await store.add({of: 45})  # although it has all parts before it: a portion may be under way
    with pytest.raises(ConflictError):
        await store.advance(again, again.after(range(100, 200)))
    [last] = await store.find({"goods/0"})
    assert msgspec.structs.replace(last, stamp="") == msgspec.structs.replace(again, stamp="")
    assert await store.advance(last, None) is None
    assert [each.of for each in await store.find(None)] == [other]
    await store.add({of: 45})
    with pytest.raises(ConflictError):
        await store.advance(last, None)
    await asyncio.gather(*(store.add({of: at_ms, other: at_ms}) for at_ms in range(30, 36)))
    assert [each.first_ms for each in await store.find(None)] == [30, 30]
