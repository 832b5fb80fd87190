"""Publishing beside sealing: what readers see is what the quorum cosigned, and no witness delays the log or another one."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from goodstrace.note import Verifier
from goodstrace.policy import Policy
from goodstrace.witnessing import Cosigned
from services.sealing.cosigning import FaultKind
from services.sealing.errors import CorruptError, RolledBackError
from services.sealing.ports import TileNames
from services.sealing.publishing import AtOnce, Witnessed, WitnessParts
from services.sealing.values import StoredCheckpoint
from services.sealing.witness_metrics import WitnessMetrics
from tests.fake_witness import FakeWitness, policy_of
from tests.memory_store import Failure, Killed, MemoryStore, MemoryTopic
from tests.records import make_value
from tests.unit.sealing_bench import LOG, Bench, until

ORIGIN = "test.local/00112233445566ff/goods/0"


class WitnessedBench(Bench):
    """A bench whose checkpoints three fake witnesses cosign."""

    def __init__(self, threshold: int = 2, interval_s: float = 0.001) -> None:
        super().__init__()
        self.interval_s = interval_s
        self.witnesses = [FakeWitness(name) for name in ("one", "two", "three")]
        self.policy = policy_of(self.witnesses, threshold)
        [signer] = self.keys.find(LOG, ORIGIN, create=True)
        self.know(signer.verifier)

    def know(self, verifier: Verifier) -> None:
        for witness in self.witnesses:
            witness.logs[ORIGIN] = verifier

    def witnessed(self, policy: Policy | None = None) -> Witnessed:
        """What a new process would make."""
        labels = [witness.label for witness in self.witnesses]
        self.counts = WitnessMetrics("test", policy or self.policy, labels, CollectorRegistry())
        parts = WitnessParts(
            policy=policy or self.policy,
            witnesses=self.witnesses,
            store=self.store,
            now_ms=self.clock.now_ms,
            metrics=self.counts,
            log=structlog.get_logger(),
            interval_s=self.interval_s,
            first_wait_s=0.001,
            longest_wait_s=0.01,
        )
        return Witnessed(parts)

    @asynccontextmanager
    async def running(self, policy: Policy | None = None) -> AsyncIterator[asyncio.Task[None]]:
        """A process that seals and publishes."""
        self.publishing, stop = self.witnessed(policy), asyncio.Event()
        task = asyncio.create_task(self.sealer().run(stop))
        try:
            yield task
        finally:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)
            await self.publishing.close()
        assert (
            task.cancelled()
            or task.exception() is None
            or isinstance(task.exception(), (RolledBackError, CorruptError))
        )

    @property
    def published(self) -> StoredCheckpoint | None:
        head = self.store.heads.get(LOG)
        return head.published if head else None

    def is_published(self, size: int, by: int = 0) -> Callable[[], bool]:
        """Whether this size is published, with at least so many cosignatures."""
        return lambda: (
            self.published is not None and (self.published.size == size and self.published.signatures > by)
        )

    def faults(self, witness: FakeWitness, kind: FaultKind) -> float:
        return float(self.counts.faults.labels(witness.label, kind.value)._value.get())


async def test_three_witnesses_cosign_what_is_sealed() -> None:
    bench = WitnessedBench()
    async with bench.running():
        for _ in range(3):
            bench.fill(5)
            await until(bench.is_published(len(bench.topic.records[0]), by=3))
    assert bench.published is not None
    assert bench.policy.cosigners(bench.published.note) == {"one", "two", "three"}
    assert bench.store.checkpoints[LOG, 15] == bench.published, "as_of finds the cosignatures too"
    assert await bench.entries() == bench.expected()
    assert bench.counts.signed.labels(LOG)._value.get() == 0, "forgotten with the log"


async def test_a_dead_witness_is_not_missed_where_the_quorum_does_without() -> None:
    bench = WitnessedBench()
    bench.witnesses[1].dead = True
    async with bench.running():
        bench.fill(9)
        await until(bench.is_published(9, by=2))
        await until(lambda: bench.faults(bench.witnesses[1], FaultKind.UNAVAILABLE) > 2)
    assert bench.published is not None
    assert bench.policy.cosigners(bench.published.note) == {"one", "three"}


async def test_without_a_quorum_nothing_is_published_and_sealing_goes_on_until_the_witnesses_are_back() -> (
    None
):
    bench = WitnessedBench()
    async with bench.running() as task:
        bench.fill(4)
        await until(bench.is_published(4, by=3))
        bench.witnesses[0].dead = bench.witnesses[1].dead = True
        for size in (8, 12, 16):
            bench.fill(4)
            await until(bench.done)
            assert bench.store.heads[LOG].checkpoint.size == size
        assert bench.is_published(4)()
        assert (
            bench.counts.signed.labels(LOG)._value.get(),
            bench.counts.published.labels(LOG)._value.get(),
        ) == (16, 4)
        assert not task.done()
        assert bench.readiness.problems() == {}
        bench.witnesses[0].dead = bench.witnesses[1].dead = False
        await until(bench.is_published(16, by=3))
    assert await bench.entries() == bench.expected()


async def test_a_silent_witness_delays_nothing_but_its_own_cosignature() -> None:
    bench = WitnessedBench()
    slow = bench.witnesses[2]
    slow.silence()
    async with bench.running():
        for size in (4, 8, 12):
            bench.fill(4)
            await until(bench.is_published(size, by=2))
        assert len(slow.asked) == 1
        slow.silence(silent=False)
        await until(bench.is_published(12, by=3))
        asked = bench.store.checkpoints[LOG, slow.asked[0]]
        assert bench.policy.cosigners(asked.note) >= {"three"}, (
            "late, and kept with the size it was asked for"
        )


async def test_two_slow_witnesses_whose_quorum_is_needed_meet_at_one_size() -> None:
    bench = WitnessedBench(threshold=3)
    async with bench.running():
        for size in (4, 8, 12):
            bench.witnesses[0].silence()
            bench.fill(4)
            await until(bench.done)
            assert not bench.is_published(size)()
            bench.witnesses[0].silence(silent=False)
            await until(bench.is_published(size, by=3))


async def test_a_fork_is_not_cosigned_and_told_of() -> None:
    """The same log and key, with another history: a second store."""
    bench = WitnessedBench()
    bench.fill(6)
    async with bench.running():
        await until(bench.is_published(6, by=3))
    honest = bench.published
    assert honest is not None
    bench.store, bench.topic, bench.publishing = MemoryStore(), MemoryTopic(), AtOnce()
    for number in range(100, 110):  # other records
        bench.topic.append(0, make_value(number))
    await bench.run()
    async with bench.running() as task:
        await until(lambda: all(bench.faults(each, FaultKind.FORK) > 1 for each in bench.witnesses))
        bench.topic.append(0, make_value(110))
        await until(bench.done)
        assert not task.done()
        assert bench.is_published(10)(), "it was before there were witnesses; no more is"
    assert all(each.seen[ORIGIN].root == honest.root for each in bench.witnesses)
    for stored in bench.store.checkpoints.values():
        assert bench.policy.cosigners(stored.note) == frozenset()


@pytest.mark.parametrize("kept", [0, 4])
async def test_a_store_that_was_rolled_back_is_stopped_at(kept: int) -> None:
    bench = WitnessedBench()
    async with bench.running():
        bench.fill(4)
        await until(bench.is_published(4, by=3))
        backup = copy.deepcopy(bench.store)
        bench.fill(8)
        await until(bench.is_published(12, by=3))
    bench.store = backup if kept else MemoryStore()
    bench.topic.records[0] = bench.topic.records[0][: kept or 2]
    async with bench.running() as task:
        await until(task.done)
        with pytest.raises(
            RolledBackError, match=rf"{LOG}: the witness .* has cosigned size 12 and the store ends at"
        ):
            task.result()
    assert "has cosigned size 12" in bench.readiness.problems()["sealing"]
    assert bench.metrics.faults.labels("rolled-back")._value.get() == 1
    assert sum(bench.faults(each, FaultKind.ROLLED_BACK) for each in bench.witnesses) >= 1


async def test_a_process_goes_on_from_what_was_published() -> None:
    bench = WitnessedBench()
    bench.witnesses[2].dead = True
    bench.fill(4)
    async with bench.running():
        await until(bench.is_published(4, by=2))
    for witness in bench.witnesses:
        witness.asked.clear()
        witness.dead = False
    async with bench.running():
        await until(bench.is_published(4, by=3))
        await until(lambda: all(each.asked for each in bench.witnesses))
    assert {size for each in bench.witnesses for size in each.asked} == {4}
    assert bench.is_published(4, by=3)()


async def test_what_was_signed_and_not_published_is_published_at_the_next_start() -> None:
    bench = WitnessedBench()
    for witness in bench.witnesses:
        witness.dead = True
    bench.fill(4)
    async with bench.running():
        await until(bench.done)
    assert bench.published is None
    for witness in bench.witnesses:
        witness.dead = False
    async with bench.running():
        await until(bench.is_published(4, by=3))


async def test_a_process_that_died_between_the_cosigned_checkpoint_and_the_head_is_followed() -> None:
    bench = WitnessedBench()
    bench.fill(4)
    async with bench.running():
        await until(bench.is_published(4, by=3))
    cosigned = bench.published
    bench.store.heads[LOG] = msgspec.structs.replace(bench.store.heads[LOG], published=None)
    for witness in bench.witnesses:
        witness.dead = True
    async with bench.running():
        await until(bench.is_published(4, by=3))
    assert bench.published == cosigned, "the very note: head and checkpoint never grow apart"


async def test_a_witness_that_has_cosigned_more_than_the_round_is_asked_for_the_newest() -> None:
    """As where two processes had the log: what we signed is stored, though we do not remember asking for it."""
    bench = WitnessedBench()
    async with bench.running():
        for witness in bench.witnesses:
            witness.dead = True
        bench.fill(4)
        await until(lambda: bool(bench.witnesses[0].asked))
        bench.fill(4)
        await until(bench.done)
        head = bench.store.heads[LOG].checkpoint
        for witness in bench.witnesses:
            witness.seen[ORIGIN] = Cosigned(head.size, head.root)
            witness.dead = False
        await until(bench.is_published(8, by=3))


async def test_without_a_quorum_line_checkpoints_are_public_at_once_and_get_cosignatures_later() -> None:
    bench = WitnessedBench(threshold=0)
    for witness in bench.witnesses:
        witness.silence()
    async with bench.running():
        bench.fill(8)
        await until(bench.is_published(8))
        for witness in bench.witnesses:
            witness.silence(silent=False)
        await until(bench.is_published(8, by=3))


async def test_turning_the_quorum_on_and_off_never_takes_back_what_was_published() -> None:
    bench = WitnessedBench()
    bench.fill(4)
    await bench.run()
    assert bench.is_published(4)()
    for witness in bench.witnesses:
        witness.dead = True
    bench.fill(4)
    async with bench.running():
        await until(bench.done)
    assert bench.is_published(4)()
    async with bench.running(policy_of(bench.witnesses, 0)):
        await until(bench.is_published(8))


@pytest.mark.parametrize("failure", [Failure.NOT_DONE, Failure.ANSWER_LOST])
async def test_a_store_that_fails_is_asked_again(failure: Failure) -> None:
    bench = WitnessedBench(threshold=3)
    bench.witnesses[0].silence()
    async with bench.running():
        bench.fill(4)
        await until(bench.done)
        bench.store.failures = dict.fromkeys(range(bench.store.calls, bench.store.calls + 2), failure)
        bench.witnesses[0].silence(silent=False)
        await until(bench.is_published(4, by=3))
    assert await bench.entries() == bench.expected()


class WithoutTiles(MemoryStore):
    """A store whose tiles are gone, once `gone` is set."""

    gone = False

    async def tiles(self, log: str, names: TileNames) -> dict[tuple[int, int], bytes]:
        return {} if self.gone else await super().tiles(log, names)


async def publish(bench: WitnessedBench, size: int) -> None:
    """Run one process until this size is published and cosigned by all, or it ends. Raises: Killed."""
    async with bench.running() as task:
        await until(lambda: task.done() or bench.is_published(size, by=3)())
        if task.done():
            task.result()


@pytest.mark.parametrize("failure", list(Failure))
def test_wherever_a_call_fails_or_the_process_dies_the_next_one_goes_on(failure: Failure) -> None:
    points = 0
    while True:
        bench = WitnessedBench()
        bench.fill(6)
        bench.store.failures = {points: failure}
        with suppress(Killed):
            asyncio.run(publish(bench, 6))
        for shown in (bench.published, *bench.store.checkpoints.values()):
            # Nobody has seen more than a quorum cosigned.
            assert shown is None or shown.signatures == 1 or bench.policy.satisfied_by(shown.note)
        assert bench.published is None or bench.policy.satisfied_by(bench.published.note)
        passed = bench.store.calls <= points
        bench.store.failures = {}
        asyncio.run(publish(bench, 6))
        assert bench.published is not None
        assert bench.store.checkpoints[LOG, 6] == bench.published
        assert asyncio.run(bench.entries()) == bench.expected()
        if passed:
            break
        points += 1
    assert points > 15


async def test_a_missing_tile_stops_the_log() -> None:
    bench, store = WitnessedBench(), WithoutTiles()
    bench.store = store
    async with bench.running() as task:
        bench.fill(4)
        await until(bench.is_published(4, by=3))
        store.gone = True
        bench.fill(4)
        await until(task.done)
        with pytest.raises(CorruptError, match=LOG):
            task.result()


async def test_a_lying_witness_that_says_another_size_each_time_is_waited_for() -> None:
    bench = WitnessedBench()
    liar = bench.witnesses[0]
    async with bench.running():
        bench.fill(4)
        await until(bench.is_published(4, by=3))
        liar.lying = 2
        bench.fill(4)
        await until(bench.is_published(8, by=2))
        await until(lambda: bench.faults(liar, FaultKind.CONFLICT) > 1)


async def test_a_lying_witness_that_is_always_ahead_takes_no_round_from_the_others() -> None:
    """It says that it has cosigned a little more than it is asked for, which is signed already: the log grows all the time."""
    bench = WitnessedBench(interval_s=0.2)
    liar, *others = bench.witnesses
    async with bench.running():
        bench.fill(4)
        await until(bench.is_published(4, by=3))
        for witness in bench.witnesses:
            witness.silence()
        bench.fill(4)
        await until(lambda: all(witness.asked[-1] == 8 for witness in bench.witnesses))
        bench.fill(4)
        await until(bench.done)
        asked, liar.lying = len(liar.asked), 9
        liar.silence(silent=False)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(liar.asked) == asked, "there is nothing more to ask it in this round"
        for witness in others:
            witness.silence(silent=False)
        await until(lambda: bench.store.checkpoints[LOG, 8].signatures == 3)
        await until(bench.is_published(12, by=2))


async def test_an_unknown_log_is_counted() -> None:
    bench = WitnessedBench()
    bench.witnesses[0].logs.clear()
    async with bench.running():
        bench.fill(4)
        await until(bench.is_published(4, by=2))
        await until(lambda: bench.faults(bench.witnesses[0], FaultKind.UNKNOWN_LOG) > 1)
