"""The sealer over a store and a topic in memory: every call fails both ways, the process dies at every point."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from prometheus_client import CollectorRegistry

from goodstrace import block as blocks
from services.runtime import retry
from services.runtime.errors import UnavailableError
from services.runtime.kafka import OffsetGapError
from services.runtime.monitoring import Readiness
from services.sealing import core, service
from services.sealing.core import Fetched, Limits, LogState, TopicIdentity
from services.sealing.errors import (
    CorruptError,
    LogKeyError,
    LostRaceError,
    TopicChangedError,
    UnprovableRecordError,
)
from services.sealing.metrics import SealMetrics
from services.sealing.service import Sealer
from services.sealing.values import Head, Pack, StoredBlock, StoredCheckpoint
from services.sealing.writer import SealerParts
from tests.log_checks import all_blocks, assert_store_intact
from tests.memory_store import Failure, Killed, MemoryKeys, MemorySource, MemoryStore, MemoryTopic, TestClock
from tests.records import make_record, make_value

LOG = "goods/0"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(retry, "LONGEST_WAIT_S", 0.0)


async def until(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    """Let the loop turn until a condition holds."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is a store's state, which tells nobody
            await asyncio.sleep(0)


class Bench:
    """A topic and a store that outlive the processes that seal one into the other."""

    def __init__(self, partitions: int = 1) -> None:
        self.topic = MemoryTopic(partitions)
        self.store = MemoryStore()
        self.keys = MemoryKeys()
        self.clock = TestClock()
        self.epochs = 0
        self.readiness = Readiness()
        self.metrics = SealMetrics("test", CollectorRegistry())

    def fill(self, count: int, *, partition: int = 0, hole: int = 0) -> None:
        first = len(self.topic.records[partition])
        for number in range(first, first + count):
            self.topic.append(partition, make_value(number, partition=partition), hole=hole)

    def new_epoch(self) -> str:
        self.epochs += 1
        return f"epoch{self.epochs}"

    def sealer(self, *, entries: int = 4, source: MemorySource | None = None, age_ms: int = 1) -> Sealer:
        self.metrics = SealMetrics("test", CollectorRegistry())
        self.readiness = Readiness()
        parts = SealerParts(
            store=self.store,
            source=source or MemorySource(self.topic),
            clock=self.clock,
            limits=Limits(entries=entries, age_ms=age_ms),
            new_epoch=self.new_epoch,
            metrics=self.metrics,
            log=structlog.get_logger(),
        )
        return Sealer(parts, self.keys, prefix="goods", name="test.local", readiness=self.readiness)

    async def run(self, *, entries: int = 4) -> None:
        """Run one process until all is sealed and published, then ask it to stop."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.sealer(entries=entries).run(stop))
        await until(lambda: task.done() or self.done())
        stop.set()
        await task

    def done(self) -> bool:
        heads = [self.store.heads.get(f"goods/{p}") for p in range(len(self.topic.records))]
        sizes = [head.checkpoint.size if head else 0 for head in heads]
        return sizes == [len(records) for records in self.topic.records]

    def crash(self) -> bool:
        """Run one process that may be killed on its way; False where it was not."""
        try:
            asyncio.run(self.run())
        except Killed:
            return True
        return False

    async def entries(self, *, partition: int = 0) -> list[bytes]:
        return await assert_store_intact(self.store, f"goods/{partition}")

    def expected(self, partition: int = 0) -> list[bytes]:
        count = len(self.topic.records[partition])
        return [make_record(number, partition=partition).entry for number in range(count)]


async def test_seals_in_order_with_holes_and_by_partition() -> None:
    bench = Bench(partitions=3)
    for partition in range(3):
        bench.fill(7 + partition, partition=partition, hole=partition)
    await bench.run()
    for partition in range(3):
        assert await bench.entries(partition=partition) == bench.expected(partition)
    assert bench.metrics.sealed._value.get() == 7 + 8 + 9
    assert bench.metrics.waiting._value.get() == 0
    assert bench.metrics.conflicts._value.get() == 0


async def test_a_restart_goes_on_and_gives_the_same_log() -> None:
    bench, again = Bench(), Bench()
    for count in (5, 1, 300, 2):
        bench.fill(count)
        again.fill(count)
        await bench.run(entries=64)
        assert await bench.entries() == bench.expected()
    await again.run(entries=7)
    assert await again.entries() == bench.expected()
    head, other = bench.store.heads[LOG].checkpoint, again.store.heads[LOG].checkpoint
    assert (head.root, head.note) == (other.root, other.note)


def _points() -> int:
    """How many calls of the store one run makes, the first start included."""
    bench = Bench()
    bench.fill(10)
    asyncio.run(bench.run())
    return bench.store.calls


@pytest.mark.parametrize("failure", list(Failure))
def test_every_call_fails_in_every_way(failure: Failure) -> None:
    for point in range(_points()):
        bench = Bench()
        bench.fill(6)
        bench.store.failures = {point: failure}
        killed = bench.crash()
        assert killed == (
            failure in {Failure.KILLED_BEFORE, Failure.KILLED_AFTER} and bench.store.calls == point + 1
        )
        bench.store.failures = {}
        bench.fill(4)
        asyncio.run(bench.run(entries=3))
        assert asyncio.run(bench.entries()) == bench.expected(), f"call {point}"
        unnamed = set(bench.store.packs) - {
            each for block in bench.store.blocks.values() for each in block.packs
        }
        assert not unnamed, f"call {point}: orphans stay"


def test_orphans_are_removed_when_the_next_process_dies_too() -> None:
    for point in range(_points()):
        bench = Bench()
        bench.fill(6)
        for first in range(
            _points()
        ):  # dies a call later each time, until it leaves packs behind and no block
            if bench.store.packs:
                break
            bench.store.failures = {bench.store.calls + first: Failure.KILLED_AFTER}
            bench.crash()
        assert bench.store.packs
        assert not bench.store.blocks
        bench.store.failures = {bench.store.calls + point: Failure.KILLED_AFTER}
        bench.crash()
        bench.store.failures = {}
        bench.fill(1)
        asyncio.run(bench.run())
        assert asyncio.run(bench.entries()) == bench.expected()
        unnamed = set(bench.store.packs) - {
            each for block in bench.store.blocks.values() for each in block.packs
        }
        assert not unnamed, f"call {point}"


class CrashAnywhere(RuleBasedStateMachine):
    """Append, crash anywhere, restart: intact, nothing lost, nothing twice."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()

    @rule(count=st.integers(1, 9), hole=st.integers(0, 2))
    def append(self, count: int, hole: int) -> None:
        self.bench.fill(count, hole=hole)

    @rule(
        failures=st.dictionaries(st.integers(0, 25), st.sampled_from(list(Failure)), max_size=3),
        back_ms=st.integers(0, 5000),
    )
    def run_and_fail(self, failures: dict[int, Failure], back_ms: int) -> None:
        self.bench.clock.value_ms -= back_ms
        calls = self.bench.store.calls
        self.bench.store.failures = {calls + number: failure for number, failure in failures.items()}
        self.bench.crash()
        self.bench.store.failures = {}

    @invariant()
    def intact(self) -> None:
        expected = self.bench.expected()
        assert asyncio.run(self.bench.entries()) == expected[: len(asyncio.run(self.bench.entries()))]

    def teardown(self) -> None:
        asyncio.run(self.bench.run())
        assert asyncio.run(self.bench.entries()) == self.bench.expected()


TestCrashAnywhere = CrashAnywhere.TestCase
TestCrashAnywhere.settings = settings(
    max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)


async def test_of_two_writers_one_loses_and_stops() -> None:
    bench = Bench()
    bench.fill(3)
    await bench.run()
    bench.fill(40)
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(bench.sealer(source=MemorySource(bench.topic, batch=batch)).run(stop))
        for batch in (2, 3)
    ]
    done, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    assert len(done) == 1
    with pytest.raises(LostRaceError, match="goods/0#"):
        done.pop().result()
    await until(bench.done)
    stop.set()
    await running.pop()
    assert await bench.entries() == bench.expected()


async def test_packs_of_another_writer_under_the_same_ids_stop_the_sealer() -> None:
    bench = Bench()
    bench.fill(3)
    block = core.next_block(
        LogState(LOG, 0), bench.topic.identity, [core.sealable(LOG, Fetched(7, make_value(7)))], 0, "epoch1"
    )
    await bench.store.put_packs(block.packs)
    with pytest.raises(CorruptError, match=r"pack goods/0#0\.0@epoch1"):
        await bench.run()
    assert not bench.store.blocks


class FullDisk(MemoryStore):
    """Reads, and takes no more of what `refused` names while `full`."""

    full = False

    def __init__(self, refused: str) -> None:
        super().__init__()
        self.refused = refused

    def _refuse(self, call: str) -> None:
        if self.full and call == self.refused:
            raise UnavailableError("the store's disk is full")

    async def put_packs(self, packs: Sequence[Pack]) -> None:
        self._refuse("put_packs")
        await super().put_packs(packs)

    async def put_head(self, head: Head) -> None:
        self._refuse("put_head")
        await super().put_head(head)


@pytest.mark.parametrize("refused", ["put_packs", "put_head"])
async def test_not_ready_while_a_commit_is_retried(refused: str) -> None:
    bench, store = Bench(), FullDisk(refused)
    bench.store = store
    bench.fill(2)
    stop = asyncio.Event()
    task = asyncio.create_task(bench.sealer().run(stop))
    await until(lambda: bench.done() and not bench.readiness.problems())
    store.full = True
    bench.fill(2)
    await until(lambda: bench.readiness.problems() == {"sealing": "the store's disk is full"})
    store.full = False
    await until(lambda: bench.done() and not bench.readiness.problems())
    stop.set()
    await task


async def test_not_ready_while_a_log_is_taken_up() -> None:
    bench, store = Bench(), FullDisk("put_head")
    bench.store = store
    bench.fill(2)
    await bench.run()
    store.full = True
    stop = asyncio.Event()
    sealer = bench.sealer()
    bench.readiness.set("sealing")  # as after another log was taken up
    task = asyncio.create_task(sealer.run(stop))
    await until(lambda: "goods/0 is being taken up" in bench.readiness.problems().get("sealing", ""))
    store.full = False
    await until(lambda: not bench.readiness.problems())
    stop.set()
    await task


class HangsOnce(MemoryStore):
    """Does not answer the first block, which never gets there."""

    hung = False

    async def insert_block(self, block: StoredBlock) -> None:
        if not self.hung:
            self.hung = True
            await asyncio.Event().wait()
        await super().insert_block(block)


async def test_a_log_taken_up_again_by_the_same_process_names_no_packs_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, store = Bench(), HangsOnce()
    bench.store = store
    bench.fill(3)

    class GivenUpAndTaken(MemorySource):
        moved = False

        async def start(
            self, taken: Callable[[int], Awaitable[int]], given_up: Callable[[Sequence[int]], Awaitable[None]]
        ) -> None:
            self._taken, self._given_up = taken, given_up
            await super().start(taken, given_up)

        async def poll(self, max_records: int, timeout_s: float) -> list[tuple[int, list[Fetched]]]:
            if store.hung and not self.moved:
                self.moved = True
                await self._given_up([0])
                bench.fill(5)  # more has come meanwhile: the block is cut otherwise
                self._batch = 100
                self._next[0] = await self._taken(0)
            return await super().poll(max_records, timeout_s)

    monkeypatch.setattr(service, "FINISH_S", 0.01)
    stop = asyncio.Event()
    sealer = bench.sealer(entries=8, source=GivenUpAndTaken(bench.topic, batch=100))
    task = asyncio.create_task(sealer.run(stop))
    await until(lambda: task.done() or bench.done())
    stop.set()
    await task
    assert await bench.entries() == bench.expected()


async def test_a_clock_that_went_back_gives_no_block_an_earlier_time() -> None:
    bench = Bench()
    for back_ms in (0, 60_000, 60_000):
        bench.clock.value_ms -= back_ms
        bench.fill(2)
        await bench.run()
    times = [blocks.decode(block.header).time for block in await all_blocks(bench.store, LOG)]
    assert times == sorted(times)
    await bench.entries()


async def test_an_unprovable_record_stops_the_sealer_after_what_came_before_it() -> None:
    bench = Bench()
    bench.fill(5)
    bench.topic.append(0, make_value(5).replace(b'{"number":5}', b'{"number":6}'))
    for _ in range(2):
        with pytest.raises(
            UnprovableRecordError, match=r"goods/0: the record at offset 5 .* does not commit"
        ):
            await bench.run()
        assert len(await bench.entries()) == 5
    assert bench.metrics.unprovable._value.get() == 1


@pytest.mark.parametrize(
    ("field", "value"), [("topic_id", "made-anew"), ("cluster", "another"), ("topic", "goods.other")]
)
async def test_another_topic_stops_the_sealer(field: str, value: str) -> None:
    bench = Bench()
    bench.fill(5)
    await bench.run()
    now = bench.topic.identity
    identity = {"cluster": now.cluster, "topic": now.topic, "topic_id": now.topic_id, field: value}
    bench.topic.identity = TopicIdentity(**identity)
    bench.fill(1)
    with pytest.raises(TopicChangedError, match=f"{field} is {value}"):
        await bench.run()
    assert len(await bench.entries()) == 5


async def test_a_topic_made_anew_while_records_wait_is_not_sealed() -> None:
    class Swapped(MemorySource):
        asked = 0

        async def identity(self) -> TopicIdentity:
            self.asked += 1
            now = await super().identity()
            return now if self.asked == 1 else TopicIdentity(now.cluster, now.topic, "made-anew")

    bench = Bench()
    bench.fill(2)
    with pytest.raises(TopicChangedError, match="made anew"):
        await bench.sealer(source=Swapped(bench.topic)).run(asyncio.Event())
    assert await bench.entries() == []


async def test_a_gap_stops_the_sealer() -> None:
    bench = Bench()
    bench.topic.low = 1
    bench.fill(5)
    with pytest.raises(OffsetGapError):
        await bench.run()


async def test_a_cut_tail_stops_the_sealer() -> None:
    bench = Bench()
    bench.fill(8)
    await bench.run()
    last = (await all_blocks(bench.store, LOG))[-1]
    del bench.store.blocks[last.id]
    bench.fill(1)
    with pytest.raises(CorruptError, match="size 8 is published"):
        await bench.run()


async def test_a_checkpoint_of_another_root_stops_the_sealer() -> None:
    bench = Bench()
    bench.fill(4)
    await bench.run()
    bench.store.checkpoints[LOG, 8] = StoredCheckpoint(LOG, 8, b"\x00" * 32, "forged")
    bench.fill(4)
    with pytest.raises(CorruptError):
        await bench.run()


async def test_another_key_or_name_stops_the_sealer() -> None:
    bench = Bench()
    bench.fill(4)
    await bench.run()
    bench.fill(1)
    bench.keys = MemoryKeys(b"other")
    with pytest.raises(LogKeyError, match="no key"):
        await bench.run()
    bench.keys.made.add(LOG)
    with pytest.raises(LogKeyError, match="is not the one registered"):
        await bench.run()


async def test_stopping_seals_what_was_read() -> None:
    bench = Bench()
    bench.fill(3)
    stop = asyncio.Event()
    sealer = bench.sealer(source=MemorySource(bench.topic, batch=10), age_ms=60_000)
    task = asyncio.create_task(sealer.run(stop))
    await until(lambda: bench.metrics.read._value.get() == 3)
    stop.set()
    await task
    assert await bench.entries() == bench.expected()


async def test_a_full_log_holds_its_partition() -> None:
    held: list[set[int]] = []

    class Watched(MemorySource):
        async def hold(self, partitions: Sequence[int]) -> None:  # type: ignore[override]
            await super().hold(partitions)
            held.append(set(self._held))

    bench = Bench()
    bench.fill(60)
    stop = asyncio.Event()
    task = asyncio.create_task(bench.sealer(entries=2, source=Watched(bench.topic, batch=10)).run(stop))
    await until(bench.done)
    stop.set()
    await task
    assert {0} in held
    assert await bench.entries() == bench.expected()
