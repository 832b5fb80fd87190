"""Campaigns over crash points: the real store, a real topic, and for each point a log of its own.

The topic has events, looks, marks and refusals in turn: what holds for the ledger's logs is shown for those of the audit recorder in the same runs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.note import Verifier
from goodstrace.witnessing import Cosigned
from services.runtime import clock, envelope, kafka
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from services.runtime.topics import GOODS_STORED, Topic
from services.sealing.keys import KeyFolder
from services.sealing.mongo import MongoBlockStore
from services.sealing.provision import provision
from services.sealing.publishing import AtOnce, Witnessed, WitnessParts
from services.sealing.witness_metrics import WitnessMetrics
from tests.conftest import Names
from tests.crash_points import (
    KILLS,
    POLICY,
    EveryCallFails,
    Faulted,
    FaultedWitness,
    Faults,
    Point,
    RealTopic,
    TopicSource,
    make_sealer,
)
from tests.deadlines import DEADLINE_S
from tests.log_checks import assert_log_intact, assert_store_intact
from tests.memory_store import Failure, Killed
from tests.records import make_mixed

RECORDS = 30
AT_ONCE = 4
TRIES = 10


@dataclass(frozen=True)
class Scenario:
    """What is done to a log before the life in which a call fails, and how far each life sees the topic.

    Attributes:
        before: faults of the lives before, each of which sees `first` records.
        first, then, last: records that the lives before, the life under test and the one after it see.
        entries: of a block at the most.
        rotate: whether the log's next key is prepared before the life under test.
        witnessed: whether a witness has to cosign before a checkpoint is published.
        only: calls that are points where time is short, since the others are in another scenario; empty for all.
    """

    name: str
    before: Sequence[Callable[[], Faults]] = ()
    first: int = 0
    then: int = 6
    last: int = 7
    entries: int = 3
    rotate: bool = False
    witnessed: bool = False
    only: frozenset[str] = frozenset()


@dataclass
class Covered:
    """What a campaign covered."""

    points: int = 0
    runs: int = 0
    calls: Collection[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.points} points ({', '.join(sorted(self.calls))}), {self.runs} runs, every log intact and whole"


LEFT_PACKS = frozenset(
    {"store.block", "store.put_packs", "store.put_pages", "store.insert_block", "store.remove_orphans"}
)
KEY_CHANGE = frozenset(
    {
        "keys.find",
        "keys.settle",
        "keys.sign",
        "store.propose_change",
        "store.insert_block",
        "store.apply_change",
    }
)
COSIGNING = frozenset(
    {"witness.add_checkpoint", "store.put_published", "store.put_head", "store.put_checkpoint", "store.head"}
)
SCENARIOS = (
    Scenario("a new log, its first and following blocks"),
    Scenario(
        "take-up after a block was committed and not published",
        before=[lambda: Faults(Point("store.insert_block", 1), Failure.KILLED_AFTER)],
        first=6,
        then=7,
        last=8,
    ),
    Scenario(
        "take-up where packs were left behind",
        before=[lambda: Faults(Point("store.insert_block", 1), Failure.KILLED_BEFORE)],
        first=6,
        then=7,
        last=8,
        only=LEFT_PACKS,
    ),
    Scenario("a change of key", before=[Faults], first=3, then=7, last=8, rotate=True, only=KEY_CHANGE),
    Scenario("cosigning", before=[Faults], first=3, then=6, last=7, witnessed=True, only=COSIGNING),
)
MERGES = Scenario(
    "merges of the index by tag",
    then=24,
    last=25,
    entries=1,
    only=frozenset({"store.put_pages", "store.pages", "store.put_index"}),
)


class World:
    """A topic of one partition, and as many logs sealed from it as a campaign needs, each with a prefix of its own."""

    def __init__(self, bootstrap: str, mongo_uri: str, names: Names, folder: Path) -> None:
        self.bootstrap, self.name = bootstrap, names.topic(GOODS_STORED)
        self.mongo = Mongo(MongoSettings(uri=mongo_uri, database=names.database, timeout_ms=10_000))
        self.store = MongoBlockStore(self.mongo.database)
        self.folder = folder / "keys"
        self.keys = KeyFolder(self.folder)
        self.witness_memory: dict[str, Cosigned] = {}
        self.records = 0
        self._logs = 0

    async def fill(self) -> None:
        """Put the records on the topic, in transactions of three, whose markers leave holes between the offsets."""
        kafka.create_topics(self.bootstrap, [Topic(self.name, 1, 1)])
        self._producer = kafka.producer(self.bootstrap, transactional_id=self.name)
        self._producer.init_transactions(30)
        self.append(RECORDS)
        self.topic = RealTopic(self.bootstrap, self.name)
        self.topic.read(RECORDS)
        await provision(self.mongo.database)

    def append(self, count: int) -> None:
        """Put more records on the topic."""
        for start in range(self.records, self.records + count, 3):
            self._producer.begin_transaction()
            for number in range(start, min(start + 3, self.records + count)):
                self._producer.produce(self.name, envelope.encode(make_mixed(number)), partition=0)
            self._producer.commit_transaction(30)
        self.records += count

    def new_prefix(self) -> str:
        self._logs += 1
        return f"{('goods', 'browse')[self._logs % 2]}{self._logs}"

    async def live(self, prefix: str, faults: Faults, scenario: Scenario, records: int) -> bool:
        """Run one process until so many records are published, or it is killed; False where it was not."""
        public = self._publishing(faults) if scenario.witnessed else AtOnce()
        sealer = make_sealer(
            self.store, TopicSource(self.topic, faults, records), self.keys, faults,
            prefix=prefix, entries=scenario.entries, publishing=public,
        )  # fmt: skip
        stop = asyncio.Event()
        task = asyncio.create_task(sealer.run(stop))
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not task.done() and await self.size(prefix) < records:  # noqa: ASYNC110 - a store tells nobody
                    await asyncio.sleep(0.01)
                stop.set()
                await task
        except Killed:
            pass
        finally:
            await public.close()
        return faults.dead

    def _publishing(self, faults: Faults) -> Witnessed:
        witness = FaultedWitness(self.witness_memory, self._key_of, faults)
        store: Any = Faulted(self.store, faults, "store")
        parts = WitnessParts(
            POLICY, [witness], store, clock.now_ms, WitnessMetrics("test", POLICY, ["witness"], CollectorRegistry()),
            structlog.get_logger(), interval_s=0.01, first_wait_s=0.001, longest_wait_s=0.01,
        )  # fmt: skip
        return Witnessed(parts)

    def _key_of(self, origin: str) -> Verifier:
        file = "-".join(origin.split("/")[-2:]) + ".vkey"
        return Verifier.parse((self.folder / file).read_text().strip())

    async def size(self, prefix: str) -> int:
        """How far the log is published."""
        head = await self.store.head(f"{prefix}/0")
        return head.published.size if head and head.published else 0

    async def assert_intact(self, prefix: str) -> int:
        """The log verifies and holds what is on the topic, in its order; gives how much of it."""
        entries = await assert_log_intact(self.mongo.database, f"{prefix}/0")
        assert entries == [make_mixed(number).entry for number in range(len(entries))]
        return len(entries)

    async def assert_whole(self, prefix: str, records: int) -> None:
        """The log is intact, holds so many records and each once, and nothing was left beside it."""
        assert await self.assert_intact(prefix) == records
        await assert_store_intact(self.store, f"{prefix}/0", orphans=False)


@pytest.fixture
async def world(kafka_bootstrap: str, mongo_uri: str, names: Names, tmp_path: Path) -> AsyncIterator[World]:
    """A topic with records to seal, and a store for their logs."""
    made = World(kafka_bootstrap, mongo_uri, names, tmp_path)
    await made.fill()
    yield made
    made.mongo.close()


async def fail_every_call(world: World, scenario: Scenario) -> Covered:
    """Let every call of the life under test fail in both ways, one after the other, before it is done."""
    faults = EveryCallFails()
    assert not await run(world, scenario, faults)
    return Covered(len(faults.failed), 1, {call for call, _ in faults.failed})


async def at_every_point(world: World, scenario: Scenario, failures: Collection[Failure] = KILLS) -> Covered:
    """Let each call of the life under test fail, by itself, in each of these ways; then restart and check all."""
    whole = Faults()
    await run(world, scenario, whole)
    points = [point for point in whole.points() if not scenario.only or point.call in scenario.only]
    cases = [
        (point, failure)
        for point in points
        for failure in failures
        if not (point.call == "source.poll" and failure is Failure.ANSWER_LOST)
    ]
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(point: Point, failure: Failure) -> None:
        async with turns:
            try:
                await _at(world, scenario, point, failure)
            except Exception as error:
                error.add_note(f"in {scenario.name}, at {point}, {failure}")
                raise

    async with asyncio.TaskGroup() as group:
        for point, failure in cases:
            group.create_task(in_turn(point, failure))
    return Covered(len(points), len(cases), {point.call for point in points})


async def _at(world: World, scenario: Scenario, point: Point, failure: Failure) -> None:
    """Run with a fault at a point. How often witnesses are asked is a matter of time: what is not reached is tried again."""
    for _ in range(TRIES):
        faults = Faults(point, failure)
        killed = await run(world, scenario, faults)
        if faults.reached:
            assert killed == (failure in KILLS)
            return
    raise AssertionError("not reached")


async def run(world: World, scenario: Scenario, faults: Faults) -> bool:
    """Run the lives of a scenario, check the log after each, and all of it after the last; tell of a kill under test."""
    prefix = world.new_prefix()
    for make in scenario.before:
        await world.live(prefix, make(), scenario, scenario.first)
        await world.assert_intact(prefix)
    if scenario.rotate:
        world.keys.rotate(f"{prefix}/0")
    killed = await world.live(prefix, faults, scenario, scenario.then)
    await world.assert_intact(prefix)
    await world.live(prefix, Faults(), scenario, scenario.last)
    await world.assert_whole(prefix, scenario.last)
    if scenario.rotate:
        (info,) = (info for info in await world.store.logs() if info.name == f"{prefix}/0")
        assert len(info.changes) == 1
        assert info.pending is None
    if scenario.witnessed:
        head = await world.store.head(f"{prefix}/0")
        assert head is not None
        assert head.published is not None
        assert POLICY.satisfied_by(head.published.note)
    return killed
