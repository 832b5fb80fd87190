"""Logs in a real store, cosigned by three real witnesses that nobody here wrote (litewitness), some of them ended or lied to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.checkpoint import open_checkpoint
from goodstrace.note import Verifier
from goodstrace.policy import Policy
from services.runtime import clock
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Readiness
from services.runtime.settings import MongoSettings
from services.sealing.core import Limits
from services.sealing.cosigning import FaultKind
from services.sealing.epochs import random_epoch
from services.sealing.errors import RolledBackError
from services.sealing.indexes import INSTANCE
from services.sealing.metrics import SealMetrics
from services.sealing.mongo import MongoBlockStore
from services.sealing.provision import provision
from services.sealing.publishing import AtOnce, Publishing, Witnessed, WitnessParts
from services.sealing.service import Sealer
from services.sealing.values import Head, StoredCheckpoint
from services.sealing.witness_client import witness_clients
from services.sealing.witness_metrics import WitnessMetrics
from services.sealing.writer import SealerParts
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.integration.test_ledger import eventually
from tests.litewitness import LABELS, Litewitness, witnesses
from tests.log_checks import assert_log_intact
from tests.memory_store import MemoryKeys, MemorySource, MemoryTopic
from tests.records import make_value

__all__ = ["witnesses"]  # the fixture

LOG = "goods/0"


class Installation:
    """A log's topic and keys, and the database it is sealed into: `database` may be changed, as an operator might."""

    def __init__(self, mongo: Mongo, witnesses: list[Litewitness]) -> None:
        self.mongo = mongo
        self.witnesses = witnesses
        self.topic = MemoryTopic()
        self.keys = MemoryKeys()
        lines = [witness.policy_line(label) for witness, label in zip(witnesses, LABELS, strict=True)]
        self.policy = Policy.parse("".join(lines) + "group most 2 one two three\nquorum most\n")

    def fill(self, count: int, *, first: int | None = None) -> None:
        start = len(self.topic.records[0]) if first is None else first
        for number in range(start, start + count):
            self.topic.append(0, make_value(number))

    async def head(self) -> Head | None:
        return await MongoBlockStore(self.mongo.database).head(LOG)

    async def published(self) -> StoredCheckpoint | None:
        head = await self.head()
        return head.published if head else None

    async def signed(self, size: int) -> None:
        """Wait until so much is sealed."""

        async def done() -> bool:
            head = await self.head()
            return head is not None and head.checkpoint.size == size

        await eventually(done)

    async def cosigned(self, size: int, *by: str) -> None:
        """Wait until this size is published with the cosignatures of exactly these."""

        async def done() -> bool:
            found = await self.published()
            return (
                found is not None
                and found.size == size
                and self.policy.cosigners(found.note) == frozenset(by)
            )

        with suppress(TimeoutError):
            await eventually(done)
        found = await self.published()
        assert found is not None
        assert (found.size, self.policy.cosigners(found.note)) == (size, frozenset(by))

    async def register(self) -> Verifier:
        """Make the log's key known to the witnesses, as its operator would ask theirs to."""
        origin = f"test.local/{await MongoBlockStore(self.mongo.database).instance_id()}/{LOG}"
        [signer] = self.keys.find(LOG, origin, create=True)
        for witness in self.witnesses:
            witness.add_log(signer.verifier.vkey())
        return signer.verifier

    def sealer(self, publishing: Publishing) -> Sealer:
        parts = SealerParts(
            store=MongoBlockStore(self.mongo.database),
            source=MemorySource(self.topic),
            now_ms=clock.now_ms,
            limits=Limits(entries=100, age_ms=5),
            new_epoch=random_epoch,
            metrics=SealMetrics("test", CollectorRegistry()),
            log=structlog.get_logger(),
            publishing=publishing,
        )
        return Sealer(parts, self.keys, prefix="goods", name="test.local", readiness=Readiness())

    @asynccontextmanager
    async def running(self, *, witnessed: bool = True) -> AsyncIterator["Process"]:
        process = Process(self, witnessed=witnessed)
        try:
            yield process
        finally:
            await process.end()


class Process:
    """A process that seals and publishes."""

    def __init__(self, installation: Installation, *, witnessed: bool) -> None:
        policy = installation.policy
        clients = witness_clients(policy, timeout_s=2)
        self.counts = WitnessMetrics("test", policy, LABELS, CollectorRegistry())
        parts = WitnessParts(
            policy=policy,
            witnesses=clients,
            store=MongoBlockStore(installation.mongo.database),
            now_ms=clock.now_ms,
            metrics=self.counts,
            log=structlog.get_logger(),
            interval_s=0.02,
            first_wait_s=0.05,
            longest_wait_s=0.5,
        )
        self.publishing: Publishing = Witnessed(parts) if witnessed else AtOnce()
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(installation.sealer(self.publishing).run(self._stop))

    def faults(self, label: str, kind: FaultKind) -> Callable[[], bool]:
        return lambda: self.counts.faults.labels(label, kind.value)._value.get() > 0

    async def end(self) -> None:
        self._stop.set()
        failed = await asyncio.gather(self.task, return_exceptions=True)
        await self.publishing.close()
        assert all(each is None or isinstance(each, RolledBackError) for each in failed), failed


@pytest.fixture
async def installation(mongo: Mongo, witnesses: list[Litewitness]) -> AsyncIterator[Installation]:
    await provision(mongo.database)
    yield Installation(mongo, witnesses)
    for witness in witnesses:
        witness.start()


async def test_three_witnesses_cosign_and_two_of_three_are_enough(
    installation: Installation, witnesses: list[Litewitness]
) -> None:
    log = await installation.register()
    async with installation.running() as process:
        for size in (4, 8, 700):
            installation.fill(size - len(installation.topic.records[0]))
            await installation.cosigned(size, "one", "two", "three")
        witnesses[1].kill()
        installation.fill(300)
        await installation.cosigned(1000, "one", "three")
        await eventually(process.faults("two", FaultKind.UNAVAILABLE))
        witnesses[1].start()
        await installation.cosigned(1000, "one", "two", "three")
    found = await installation.published()
    assert found is not None
    assert open_checkpoint(found.note, [log]).size == 1000
    assert installation.policy.satisfied_by(found.note)
    assert [witness.seen(log.name) for witness in witnesses] == [(1000, found.root)] * 3
    await assert_log_intact(installation.mongo.database, LOG)


async def test_without_the_quorum_sealing_goes_on_unpublished_until_the_witnesses_are_back(
    installation: Installation, witnesses: list[Litewitness]
) -> None:
    await installation.register()
    async with installation.running() as process:
        installation.fill(4)
        await installation.cosigned(4, "one", "two", "three")
        witnesses[0].kill()
        witnesses[2].kill()
        for size in (104, 204):
            installation.fill(100)
            await installation.signed(size)
        await eventually(process.faults("one", FaultKind.UNAVAILABLE))
        await eventually(process.faults("three", FaultKind.UNAVAILABLE))
        assert not process.task.done()
        published = await installation.published()
        assert published is not None
        assert published.size == 4
        assert process.counts.signed.labels(LOG)._value.get() == 204
        assert process.counts.published.labels(LOG)._value.get() == 4
        witnesses[0].start()
        await installation.cosigned(204, "one", "two")
        witnesses[2].start()
        await installation.cosigned(204, "one", "two", "three")


async def test_a_paused_witness_delays_nothing_but_its_own_cosignature(
    installation: Installation, witnesses: list[Litewitness]
) -> None:
    await installation.register()
    async with installation.running():
        witnesses[2].pause()
        try:
            for size in (4, 8, 12):
                installation.fill(4)
                await installation.cosigned(size, "one", "two")
        finally:
            witnesses[2].resume()
        await installation.cosigned(12, "one", "two", "three")


async def test_a_fork_is_refused_by_all(
    installation: Installation, witnesses: list[Litewitness], mongo_uri: str, names: Names
) -> None:
    """The log's key signs two histories: a second store, of the same name and key, with other records."""
    log = await installation.register()
    installation.fill(30)
    async with installation.running():
        await installation.cosigned(30, "one", "two", "three")
    honest, first = await installation.published(), installation.mongo
    assert honest is not None
    second = Mongo(MongoSettings(uri=mongo_uri, database=f"{names.database}-fork", timeout_ms=10_000))
    instance = await first.database[INSTANCE].find_one({"_id": "instance"})
    assert instance is not None
    await second.database[INSTANCE].insert_one(instance)
    await provision(second.database)
    installation.mongo, installation.topic = second, MemoryTopic()
    installation.fill(40, first=1000)
    async with installation.running(witnessed=False):
        await installation.signed(40)
    async with installation.running() as process:
        installation.fill(8, first=1040)
        await installation.signed(48)
        for label in LABELS:
            await eventually(process.faults(label, FaultKind.FORK))
        assert not process.task.done()
    assert [witness.seen(log.name) for witness in witnesses] == [(30, honest.root)] * 3
    for stored in await MongoBlockStore(second.database).scan_checkpoints(LOG, 0, 100):
        assert open_checkpoint(stored.note, [log]).origin == log.name
        assert installation.policy.cosigners(stored.note) == frozenset()
    published = await installation.published()
    assert published is not None
    assert published.size == 40, "nothing is published since there are witnesses"
    installation.mongo = first
    second.close()


async def test_a_store_that_lost_its_tail_is_stopped_at(
    installation: Installation, mongo_uri: str, names: Names
) -> None:
    await installation.register()
    installation.fill(8)
    async with installation.running():
        await installation.cosigned(8, "one", "two", "three")
        first = installation.mongo
        backup = {
            name: await first.database[name].find({}).to_list(None)
            for name in await first.database.list_collection_names()
        }
        installation.fill(20)
        await installation.cosigned(28, "one", "two", "three")
    second = Mongo(MongoSettings(uri=mongo_uri, database=f"{names.database}-old", timeout_ms=10_000))
    await provision(second.database)
    await second.database[INSTANCE].delete_many({})
    for name, stored in backup.items():
        if stored:
            await second.database[name].insert_many(stored)
    installation.mongo = second
    installation.topic.records[0] = installation.topic.records[0][:8]
    async with installation.running() as process:
        with pytest.raises(RolledBackError, match="has cosigned size 28 and the store ends at 8"):
            await asyncio.wait_for(process.task, DEADLINE_S)
    installation.mongo = first
    second.close()


async def test_a_witness_that_does_not_know_the_log_is_counted_and_asked_again(
    installation: Installation,
) -> None:
    async with installation.running() as process:
        installation.fill(4)
        await installation.signed(4)
        for label in LABELS:
            await eventually(process.faults(label, FaultKind.UNKNOWN_LOG))
        await installation.register()
        await installation.cosigned(4, "one", "two", "three")
