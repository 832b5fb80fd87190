"""Every call of the root log's rounds fails both ways, and the process is killed there: nothing on the topic goes backwards."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest
import structlog
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import CollectorRegistry

from goodstrace import root
from goodstrace.log_keys import ROOT_LOG
from services.ledger.metrics import RootMetrics
from services.ledger.root_rounds import HeadStore, RootRounds, RoundTopic
from services.ledger.root_topic import KafkaRoundTopic
from services.runtime import clock, envelope, kafka
from services.runtime.topics import LOGS_CHECKPOINTS, Topic
from services.sealing.pins import Pins
from tests.conftest import Names
from tests.crash_campaign import Covered, Scenario, World
from tests.crash_points import KILLS, Faulted, Faults, Point, RealTopic, TopicSource, make_sealer
from tests.deadlines import DEADLINE_S
from tests.log_checks import assert_log_intact
from tests.memory_store import Failure, Killed

FEW = Scenario("a few records")


class Rounds:
    """Processes that make rounds, one after the other, over one database and one topic."""

    def __init__(self, world: World, topic: str) -> None:
        self.world, self.topic = world, topic
        kafka.create_topics(world.bootstrap, [Topic(topic, 1, 1)])
        self._reader = Consumer(
            {"bootstrap.servers": world.bootstrap, "group.id": "unused", "isolation.level": "read_committed"}
        )
        self._reader.assign([TopicPartition(topic, 0, 0)])
        self.written: list[tuple[str, int]] = []

    async def live(self, faults: Faults) -> bool:
        """Make rounds until all logs are pinned, or the process is killed; tell whether it was."""
        rounds = RootRounds(
            cast(HeadStore, Faulted(Pins(self.world.mongo.database), faults, "pins")),
            cast(RoundTopic, Faulted(self._round_topic(), faults, "topic")),
            lambda: True,
            interval_s=0.01,
            now_ms=clock.now_ms,
            metrics=RootMetrics(CollectorRegistry()),
            log=structlog.get_logger(),
        )
        stop = asyncio.Event()
        task = asyncio.create_task(rounds.run(stop))
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not task.done() and not await self._all_pinned():  # noqa: ASYNC110 - a store tells nobody
                    await asyncio.sleep(0.01)
                stop.set()
                await task
        except Killed:
            pass
        return faults.dead

    def read(self) -> None:
        """Read what has come onto the topic."""
        _, end = self._reader.get_watermark_offsets(TopicPartition(self.topic, 0), timeout=DEADLINE_S)
        while self._reader.position([TopicPartition(self.topic, 0)])[0].offset < end:
            message = self._reader.poll(10)
            if message is None:
                continue
            assert message.error() is None, message.error()
            pinned = root.decode(envelope.decode(message.value() or b"").part("checkpoint").content)
            self.written.append((pinned.log, int(pinned.note.split("\n")[1])))

    def close(self) -> None:
        self._reader.close()

    def _round_topic(self) -> KafkaRoundTopic:
        return KafkaRoundTopic(self.world.bootstrap, self.topic, f"{self.topic}.rounds")

    async def _all_pinned(self) -> bool:
        pins = Pins(self.world.mongo.database)
        heads = await pins.heads()
        return len(await pins.pinned(heads.values())) == len(heads)


@pytest.fixture
async def rounds(kafka_bootstrap: str, mongo_uri: str, names: Names, tmp_path: Path) -> AsyncIterator[Rounds]:
    world = World(kafka_bootstrap, mongo_uri, names, tmp_path)
    await world.fill()
    made = Rounds(world, names.topic(LOGS_CHECKPOINTS))
    yield made
    made.close()
    world.mongo.close()


async def test_rounds_fail_and_are_killed_at_every_call(rounds: Rounds, tell: Callable[[str], None]) -> None:
    prefix = rounds.world.new_prefix()
    await rounds.world.live(prefix, Faults(), FEW, 1)
    whole = Faults()
    await rounds.live(whole)
    points = [Point(call, 0) for call in sorted(whole.counts) if call != "topic.give_up"]
    cases = [(point, failure) for point in points for failure in Failure]
    rounds.world.append(len(cases) + 1 - rounds.world.records)
    rounds.world.topic = RealTopic(rounds.world.bootstrap, rounds.world.name)
    rounds.world.topic.read(rounds.world.records)
    for number, (point, failure) in enumerate(cases, 2):
        await rounds.world.live(prefix, Faults(), FEW, number)
        faults = Faults(point, failure)
        assert await rounds.live(faults) == (failure in KILLS)
        assert faults.reached
        await rounds.live(Faults())
    covered = Covered(len(points), len(cases), {each.call for each in points})
    tell(f"failed both ways and killed, rounds of the root log: {covered}")
    rounds.read()
    sizes = [size for log, size in rounds.written if log == f"{prefix}/0"]
    assert sizes == sorted(sizes)
    assert set(sizes) == set(range(1, len(cases) + 2)), "every checkpoint was pinned"
    assert max(Counter(sizes).values()) == 1, "no accident leaves a checkpoint twice"
    marks = [each async for each in rounds.world.mongo.database["pins"].find({"log": f"{prefix}/0"})]
    assert sorted(each["size"] for each in marks) == sizes, (
        "every one is marked, whatever died before it could"
    )
    await assert_sealed(rounds)


async def assert_sealed(rounds: Rounds) -> None:
    """What is on the topic can be sealed into the root log."""
    topic = RealTopic(rounds.world.bootstrap, rounds.topic)
    topic.read(len(rounds.written))
    source = TopicSource(topic, Faults(), len(rounds.written))
    sealer = make_sealer(rounds.world.store, source, rounds.world.keys, Faults(), prefix=ROOT_LOG, entries=10)
    stop = asyncio.Event()
    task = asyncio.create_task(sealer.run(stop))
    async with asyncio.timeout(DEADLINE_S):
        while not task.done():
            head = await rounds.world.store.head(ROOT_LOG)
            if head is not None and head.checkpoint.size == len(rounds.written):
                stop.set()
            await asyncio.sleep(0.01)
        await task
    expected = [envelope.decode(record.value).entry for record in topic.records]
    await assert_log_intact(rounds.world.mongo.database, ROOT_LOG, expected=expected)
