"""The sealer over a store and a topic in memory: every call fails both ways, the process dies at every point."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from goodstrace import block as blocks
from services.runtime.kafka import OffsetGapError
from services.sealing import service
from services.sealing.core import BUSY_ENTRIES, TopicIdentity
from services.sealing.errors import (
    CorruptError,
    LogKeyError,
    LostRaceError,
    TopicChangedError,
    UnprovableRecordError,
)
from services.sealing.values import StoredCheckpoint
from tests.log_checks import all_blocks
from tests.memory_store import Failure, MemoryKeys, MemorySource
from tests.records import make_value
from tests.unit.sealing_bench import LOG, Bench, no_waiting, until

__all__ = ["no_waiting"]  # the fixture


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


async def test_commits_get_turns_while_a_large_poll_is_checked() -> None:
    bench, stop, waiting = Bench(), asyncio.Event(), set[float]()
    bench.fill(5 * service.ADD_AT_ONCE)
    whole = MemorySource(bench.topic, batch=5 * service.ADD_AT_ONCE)
    task = asyncio.create_task(
        bench.sealer(entries=5 * service.ADD_AT_ONCE, source=whole, age_ms=10_000).run(stop)
    )
    while not bench.done() and not task.done():
        waiting.add(bench.metrics.waiting._value.get())
        await asyncio.sleep(0)
    stop.set()
    await task
    assert {service.ADD_AT_ONCE * times for times in range(1, 5)} <= waiting
    assert await bench.entries() == bench.expected()


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
        for first in range(
            _points()
        ):  # dies a call later each time, until it leaves packs behind and no block
            bench = Bench()
            bench.fill(6)
            bench.store.failures = {first: Failure.KILLED_AFTER}
            bench.crash()
            if bench.store.packs:
                break
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
    bench.keys.held[LOG] = [0]
    with pytest.raises(LogKeyError, match="is not the one registered"):
        await bench.run()


@pytest.mark.parametrize(
    ("together", "entries", "apart"),
    [(BUSY_ENTRIES, 100, True), (BUSY_ENTRIES - 1, 100, False), (BUSY_ENTRIES, BUSY_ENTRIES, False)],
)
async def test_blocks_of_a_busy_log_are_spaced_unless_they_are_full(
    together: int, entries: int, apart: bool
) -> None:
    bench, stop, loop = Bench(), asyncio.Event(), asyncio.get_running_loop()
    source = MemorySource(bench.topic, batch=together)
    task = asyncio.create_task(bench.sealer(entries=entries, source=source, spacing_ms=400).run(stop))
    sealed_s = []
    for _ in range(2):
        bench.fill(together)
        await until(lambda: task.done() or bench.done())
        sealed_s.append(loop.time())
    assert (sealed_s[1] - sealed_s[0] > 0.3) is apart
    stop.set()
    await task
    assert bench.store.heads[LOG].height == 1


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


@pytest.mark.parametrize("slow", [True, False])
async def test_a_log_that_stays_full_holds_its_partition(slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HOLD_AFTER_S", 0 if slow else 60)
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
    assert ({0} in held) is slow
    assert await bench.entries() == bench.expected()
