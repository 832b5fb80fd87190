"""Faults at chosen calls of a ledger over real neighbours: a call is not done, or done but its answer lost, or the process dies.

A *point* is the n-th call of one method of a port, in one life of a process. `Faulted` stands before any port, so that a
method which a port gets later has points too.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog
from confluent_kafka import TopicPartition
from prometheus_client import CollectorRegistry

from goodstrace.cosignature import Cosigner
from goodstrace.note import SigningKey, Verifier
from goodstrace.policy import Policy
from goodstrace.witnessing import AddCheckpoint, Conflict, Cosign, Cosigned, decide
from services.runtime import clock, kafka
from services.runtime.errors import UnavailableError
from services.runtime.monitoring import Readiness
from services.sealing.core import Fetched, Limits, TopicIdentity
from services.sealing.cosigning import Answer, Cosignatures, Fault, FaultKind, Holds
from services.sealing.epochs import random_epoch
from services.sealing.metrics import SealMetrics
from services.sealing.ports import BlockStore, Keys, RecordSource
from services.sealing.publishing import AtOnce, Publishing
from services.sealing.service import Sealer
from services.sealing.values import LogInfo
from services.sealing.writer import SealerParts
from tests.memory_store import Failure, Killed

T = TypeVar("T")
WITNESS = Cosigner("witness.example/1", bytes(32))
POLICY = Policy.parse(f"witness witness {WITNESS.verifier.vkey()} http://127.0.0.1:1\nquorum witness\n")
KILLS = (Failure.KILLED_BEFORE, Failure.KILLED_AFTER)


@dataclass(frozen=True, order=True)
class Point:
    """The n-th call (from 0) of a method, such as "store.insert_block"."""

    call: str
    nth: int


class Faults:
    """What happens at the calls of one process. After a kill none of its calls comes through any more.

    `die` is called in the place of the kill, where the process is one of its own.
    """

    def __init__(
        self,
        point: Point | None = None,
        failure: Failure | None = None,
        die: Callable[[], None] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.reached = False
        self.dead = False
        self._point, self._failure, self._die = point, failure, die

    def points(self) -> list[Point]:
        """All points that this process came by."""
        return sorted(Point(call, nth) for call, count in self.counts.items() for nth in range(count))

    async def call(self, name: str, do: Callable[[], Awaitable[T]]) -> T:
        failure = self._before(name)
        done = await do()
        self._after(failure)
        return done

    def call_now(self, name: str, do: Callable[[], T]) -> T:
        failure = self._before(name)
        done = do()
        self._after(failure)
        return done

    def _before(self, name: str) -> Failure | None:
        if self.dead:
            raise Killed
        hit = self._point == Point(name, self.counts[name])
        self.counts[name] += 1
        if not hit:
            return None
        if self._failure is Failure.NOT_DONE:
            self.reached = True
            raise UnavailableError(f"{name}: not done")
        self._kill(Failure.KILLED_BEFORE, self._failure)
        return self._failure

    def _after(self, failure: Failure | None) -> None:
        if failure is Failure.ANSWER_LOST:
            self.reached = True
            raise UnavailableError("done, but the answer was lost")
        self._kill(Failure.KILLED_AFTER, failure)

    def _kill(self, when: Failure, failure: Failure | None) -> None:
        if failure is not when:
            return
        self.reached = True  # not before: the call that it should follow may have been cancelled meanwhile
        if self._die is not None:
            self._die()
        else:
            self.dead = True
            raise Killed


class EveryCallFails(Faults):
    """Each method's first call is not done, its second done with the answer lost, then it succeeds: and so for each block.

    Not for each call: a take-up begins again where one of its calls fails, and would never come to an end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failed: Counter[tuple[str, int]] = Counter()

    def _before(self, name: str) -> Failure | None:
        place = name, self.counts["store.insert_block"]
        self.failed[place] += 1
        if self.failed[place] == 1:
            raise UnavailableError(f"{name}: not done")
        if self.failed[place] == 2 and name != "source.poll":
            return Failure.ANSWER_LOST
        self.counts[name] += 1
        return None


class Faulted:
    """Stands before a port; its methods, or those named only, are calls of `part`."""

    def __init__(self, inner: object, faults: Faults, part: str, only: Collection[str] = ()) -> None:
        self._inner, self._faults, self._part, self._only = inner, faults, part, only

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or (self._only and name not in self._only):
            return found
        label = f"{self._part}.{name}"
        if inspect.iscoroutinefunction(found):

            async def call(*arguments: Any, **named: Any) -> Any:
                return await self._faults.call(label, lambda: found(*arguments, **named))

            return call
        return lambda *arguments, **named: self._faults.call_now(label, lambda: found(*arguments, **named))


class FaultedKeys:
    """Keys with faults where they are found, settled and used. A signer that may fail is one kept elsewhere."""

    def __init__(self, inner: Keys, faults: Faults) -> None:
        self._inner, self._faults = inner, faults

    def find(self, log: str, origin: str, *, create: bool) -> Sequence[SigningKey]:
        found = self._faults.call_now("keys.find", lambda: self._inner.find(log, origin, create=create))
        return [_FaultedSigner(key, self._faults) for key in found]

    def may_have_next(self, log: str) -> bool:
        return self._inner.may_have_next(log)

    def settle(self, info: LogInfo) -> None:
        self._faults.call_now("keys.settle", lambda: self._inner.settle(info))


class _FaultedSigner:
    def __init__(self, inner: SigningKey, faults: Faults) -> None:
        self._inner, self._faults = inner, faults

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def verifier(self) -> Verifier:
        return self._inner.verifier

    def sign(self, message: bytes) -> bytes:
        return self._faults.call_now("keys.sign", lambda: self._inner.sign(message))


class FaultedWitness:
    """A witness that holds what it cosigned of a log over the lives of the ledger; whatever fails is an answer."""

    names = frozenset({"witness"})
    label = "witness"

    def __init__(
        self, memory: dict[str, Cosigned], key_of: Callable[[str], Verifier], faults: Faults
    ) -> None:
        self._memory, self._key_of, self._faults = memory, key_of, faults

    async def add_checkpoint(self, request: AddCheckpoint) -> Answer:
        try:
            return await self._faults.call("witness.add_checkpoint", lambda: self._judge(request))
        except UnavailableError as error:
            return Fault(FaultKind.UNAVAILABLE, str(error))

    async def _judge(self, request: AddCheckpoint) -> Answer:
        before = self._memory.get(request.origin, Cosigned())
        decision = decide(before, request, [self._key_of(request.origin)])
        if isinstance(decision, Conflict):
            return Holds(decision.size)
        assert isinstance(decision, Cosign), decision
        self._memory[request.origin] = Cosigned(decision.checkpoint.size, decision.checkpoint.root)
        return Cosignatures({"witness": WITNESS.cosign(decision.note.text, 1_700_000_000)})

    async def close(self) -> None:
        return


class RealTopic:
    """Partition 0 of a topic of the real Kafka: its records, read once, and its identity, asked for each time."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap, self._topic = bootstrap, topic
        self._admin = kafka.admin_client(bootstrap)
        self.records: list[Fetched] = []

    def read(self, count: int) -> None:
        """Read so many records from the beginning."""
        reader = kafka.consumer(self._bootstrap, f"{self._topic}.unused")
        reader.assign([TopicPartition(self._topic, 0, 0)])
        while len(self.records) < count:
            for message in reader.consume(count, 1):
                assert message.error() is None, message.error()
                self.records.append(Fetched(message.offset() or 0, message.value() or b""))
        reader.close()

    async def identity(self) -> TopicIdentity:
        cluster, topic_id = await asyncio.to_thread(
            kafka.cluster_and_topic_id, self._bootstrap, self._topic, admin=self._admin
        )
        return TopicIdentity(cluster, self._topic, topic_id)


class TopicSource:
    """The first `visible` records of a topic, without a consumer group, so that a life begins at once.

    Only polls that bring records are points, since how many bring none is chance. Their answer cannot be lost: what was
    polled lies in this process, dies with it or is given again.
    """

    def __init__(self, topic: RealTopic, faults: Faults, visible: int) -> None:
        self._topic, self._faults = topic, faults
        self._records = topic.records[:visible]
        self.joined = False

    async def start(
        self, taken: Callable[[int], Awaitable[int]], given_up: Callable[[Sequence[int]], Awaitable[None]]
    ) -> None:
        offset = await taken(0)
        self._records = [record for record in self._records if record.offset >= offset]
        self.joined = True

    async def poll(self, max_records: int, timeout_s: float) -> list[tuple[int, list[Fetched]]]:
        if self._records:
            return await self._faults.call("source.poll", self._given)
        await asyncio.sleep(0.005)
        return []

    async def _given(self) -> list[tuple[int, list[Fetched]]]:
        given, self._records = self._records[:5], self._records[5:]
        return [(0, given)]

    async def identity(self) -> TopicIdentity:
        return await self._faults.call("source.identity", self._topic.identity)

    async def hold(self, partitions: Iterable[int]) -> None:
        return

    async def close(self) -> None:
        return


def make_sealer(
    store: BlockStore,
    source: RecordSource,
    keys: Keys,
    faults: Faults,
    *,
    prefix: str,
    entries: int,
    now_ms: Callable[[], int] = clock.now_ms,
    publishing: Publishing | None = None,
) -> Sealer:
    """A sealer whose calls of the store and the keys go through the faults; blocks of at most `entries`."""
    parts = SealerParts(
        store=cast(BlockStore, Faulted(store, faults, "store")),
        source=source,
        now_ms=now_ms,
        limits=Limits(entries=entries, age_ms=5),
        new_epoch=random_epoch,
        metrics=SealMetrics("test", CollectorRegistry()),
        log=structlog.get_logger(),
        publishing=publishing or AtOnce(),
    )
    return Sealer(
        parts, FaultedKeys(keys, faults), prefix=prefix, name="goodstrace.test", readiness=Readiness()
    )
