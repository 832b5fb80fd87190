"""Making signed checkpoints public: at once, or once the policy's quorum of witnesses has cosigned them.

Each log has tasks of its own, one for each witness and one that begins rounds (`cosigning`), beside its writer and never in
the way of a commit: the writer only tells them what it signed. A witness that is slow, dead or wrong delays its own task.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from goodstrace import tiles as tlog
from goodstrace.errors import TreeError
from goodstrace.policy import Policy
from goodstrace.witnessing import AddCheckpoint
from services.runtime.errors import ServiceError
from services.runtime.retry import retried
from services.runtime.waiting import until_set
from services.sealing.cosigning import Answer, Cosigning, Fault, FaultKind, Holds, Round
from services.sealing.errors import CorruptError, RolledBackError
from services.sealing.log_metrics import LogMetrics
from services.sealing.ports import BlockStore, LogScan
from services.sealing.values import StoredCheckpoint
from services.sealing.witness_metrics import WitnessMetrics

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 15.0
LOG_EVERY_S: Final = 300.0  # the same fault of the same witness and log is not logged more often


class Publishing(Protocol):
    """Who makes checkpoints public. What is not awaited returns at once."""

    @property
    def at_once(self) -> bool:
        """Whether a checkpoint is public as soon as it is signed: the writer publishes it itself."""
        ...

    def take_up(self, log: str) -> None:
        """Go on with a log that this process seals from now on; its newest checkpoint is stored."""
        ...

    def signed(self, checkpoint: StoredCheckpoint) -> None:
        """Take notice of a log's newest checkpoint, which is stored."""
        ...

    def check(self, log: str) -> None:
        """Raise what stopped a log's publishing, if anything did: RolledBackError, CorruptError."""
        ...

    async def give_up(self, logs: Iterable[str]) -> None:
        """Leave logs to another process."""
        ...

    async def close(self) -> None:
        """Leave all logs."""
        ...


class AtOnce:
    """Without witnesses: what is signed is published."""

    at_once = True

    def __init__(self, metrics: LogMetrics | None = None) -> None:
        """Show sizes in `metrics`, where there are such."""
        self._metrics = metrics

    def take_up(self, log: str) -> None:
        """See Publishing."""
        if self._metrics:
            self._metrics.begin(log)

    def signed(self, checkpoint: StoredCheckpoint) -> None:
        """See Publishing."""
        if self._metrics:
            self._metrics.signed.labels(checkpoint.log).set(checkpoint.size)
            self._metrics.published.labels(checkpoint.log).set(checkpoint.size)
            self._metrics.last_published.labels(checkpoint.log).set_to_current_time()

    def check(self, log: str) -> None:
        """See Publishing."""

    async def give_up(self, logs: Iterable[str]) -> None:
        """See Publishing."""
        if self._metrics:
            for log in logs:
                self._metrics.forget(log)

    async def close(self) -> None:
        """See Publishing."""


class Later(AtOnce):
    """Signed and not published: with a quorum to wait for, whoever goes on with the log asks for it."""

    at_once = False


class Witness(Protocol):
    """A witness as it is asked; `label` names it in logs and metrics, `names` in the policy."""

    @property
    def names(self) -> frozenset[str]:
        """The policy's names of the keys that it signs with."""
        ...

    @property
    def label(self) -> str:
        """Its name in metrics."""
        ...

    async def add_checkpoint(self, request: AddCheckpoint) -> Answer:
        """Ask for a cosignature; returns within a bounded time, whatever happens."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class CosignedStore(BlockStore, LogScan, Protocol):
    """Where logs are kept, and their checkpoints with the cosignatures they have."""


class WitnessParts(msgspec.Struct, frozen=True):
    """What the logs of a process share; `interval_s` is the least time between two rounds of one log."""

    policy: Policy
    witnesses: Sequence[Witness]
    store: CosignedStore
    now_ms: Callable[[], int]
    metrics: WitnessMetrics
    log: structlog.stdlib.BoundLogger
    interval_s: float = 1.0
    first_wait_s: float = FIRST_WAIT_S
    longest_wait_s: float = LONGEST_WAIT_S

    def noticed(self, error: ServiceError) -> None:
        """Log a fault of the store, which is retried."""
        self.log.warning("publishing: retrying", category=error.category, error=str(error))


class Witnessed:
    """Publishes by a policy: implements Publishing. The rounds go on in tasks of the event loop that calls it."""

    def __init__(self, parts: WitnessParts) -> None:
        """Take the parts; nothing runs yet."""
        self._parts = parts
        self._logs: dict[str, LogRounds] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def at_once(self) -> bool:
        """See Publishing."""
        return self._parts.policy.is_satisfied(())

    def take_up(self, log: str) -> None:
        """See Publishing."""
        self._parts.metrics.begin(log)
        self._logs[log] = LogRounds(log, self._parts)
        self._tasks[log] = asyncio.create_task(self._logs[log].run(), name=f"publish-{log}")

    def signed(self, checkpoint: StoredCheckpoint) -> None:
        """See Publishing. A log that is just being taken up reads its newest checkpoint itself."""
        self._parts.metrics.signed.labels(checkpoint.log).set(checkpoint.size)
        if checkpoint.log in self._logs:
            self._logs[checkpoint.log].signed(checkpoint)

    def check(self, log: str) -> None:
        """See Publishing."""
        task = self._tasks.get(log)
        if task is not None and task.done():
            task.result()

    async def give_up(self, logs: Iterable[str]) -> None:
        """See Publishing."""
        tasks = []
        for log in logs:
            self._logs.pop(log, None)
            self._parts.metrics.forget(log)
            if (task := self._tasks.pop(log, None)) is not None:
                task.cancel()
                tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """See Publishing. The connections to the witnesses are closed too."""
        await self.give_up(list(self._tasks))
        await asyncio.gather(*(witness.close() for witness in self._parts.witnesses))


class LogRounds:
    """The rounds of one log with all witnesses."""

    def __init__(self, log: str, parts: WitnessParts) -> None:
        """Take a log; `run` does the rest."""
        self._log = log
        self._parts = parts
        asked = {name for witness in parts.witnesses for name in witness.names}
        self._cosigning = Cosigning(parts.policy, parts.interval_s, asked)
        self._changed = asyncio.Event()
        self._logged_s: dict[tuple[str, FaultKind], float] = {}

    def signed(self, checkpoint: StoredCheckpoint) -> None:
        """Take notice of a newer checkpoint."""
        self._cosigning.signed(checkpoint)
        self._wake()

    async def run(self) -> None:
        """Ask and publish until cancelled. Raises: RolledBackError, CorruptError."""
        await self._resume()
        tasks = [asyncio.create_task(self._pace())]
        tasks += [asyncio.create_task(self._ask_on(witness)) for witness in self._parts.witnesses]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _resume(self) -> None:
        parts = self._parts
        head = await retried(lambda: parts.store.head(self._log), parts.noticed)
        known = {log.verifier.vkey() for log in parts.policy.logs}
        if known:
            infos = await retried(parts.store.logs, parts.noticed)
            if not any(info.name == self._log and info.vkey in known for info in infos):
                parts.log.warning("the policy lists logs, but not this one with its key", log=self._log)
        if head is None:
            return
        size = head.checkpoint.size
        found = await retried(lambda: parts.store.scan_checkpoints(self._log, size - 1, size), parts.noticed)
        self._cosigning.resume(head.checkpoint, found[0].note if found else "", _now_s())
        parts.metrics.signed.labels(self._log).set(size)
        if head.published is not None:
            parts.metrics.published.labels(self._log).set(head.published.size)
        round_ = self._cosigning.round
        if round_ is not None and head.published != round_.checkpoint:
            await self._publish(round_)  # the process before us may have died over it

    async def _pace(self) -> None:
        """Begin a round whenever one is due."""
        while True:
            changed = self._changed
            due_s = self._cosigning.due_s(_now_s())
            if due_s is None:
                await changed.wait()
            elif due_s > 0:
                await until_set(changed, due_s)  # a quorum makes it due sooner
            else:
                self._cosigning.turn(_now_s())
                if self._parts.policy.is_satisfied(()):  # published already, by the log's writer
                    self._published(self._cosigning.round)
                self._wake()

    async def _ask_on(self, witness: Witness) -> None:
        """Ask one witness in round after round; after a failure the waits grow."""
        size, failures = 0, 0
        while True:
            changed = self._changed
            round_ = self._cosigning.wanted(witness.names)
            if round_ is None:
                await changed.wait()
                continue
            size, fault = await self._ask(witness, round_, size)
            if fault is None:
                failures = 0
                continue
            self._report(witness, fault)
            longest_s = min(self._parts.longest_wait_s, self._parts.first_wait_s * 2**failures)
            failures = min(failures + 1, 20)
            await asyncio.sleep(longest_s * random.uniform(0.5, 1))  # noqa: S311 - to spread the load

    async def _ask(self, witness: Witness, round_: Round, size: int) -> tuple[int, Fault | None]:
        """Ask a witness that we take to be at `size`; give the size that it is at now, and why it did not cosign.

        1. A first 409 is answered from the size that the witness gives.
        2. Where that is beyond the round but signed by us, it is left out of the round. Where we never signed as much,
           the store was rolled back. Raises: RolledBackError, CorruptError.
        3. A cosignature is attached, and the checkpoint published if it has its quorum.
        """
        answer = await self._request(witness, round_, size)
        if isinstance(answer, Holds) and answer.size <= round_.size:
            size = answer.size
            answer = await self._request(witness, round_, size)
        if isinstance(answer, Holds):
            if answer.size <= round_.size:
                return answer.size, Fault(FaultKind.CONFLICT, f"at {size}, then at {answer.size}")
            await self._catch_up(witness, answer.size)
            return answer.size, None
        if isinstance(answer, Fault):
            return size, answer
        if round_.add(answer):
            for name in answer.by_name:
                self._parts.metrics.cosigned(name, self._parts.now_ms() / 1000)
            await self._publish(round_)
        return round_.size, None

    async def _request(self, witness: Witness, round_: Round, size: int) -> Answer:
        proof = await self._proof(size, round_.size)
        with self._parts.metrics.seconds.labels(witness.label).time():
            return await witness.add_checkpoint(AddCheckpoint(size, proof, round_.signed.note))

    async def _proof(self, old_size: int, size: int) -> tuple[bytes, ...]:
        """Make the consistency proof; none is needed from the empty log. Raises: CorruptError."""
        if not 0 < old_size < size:
            return ()
        names = {(tile.level, tile.n) for tile in tlog.tiles_for_consistency(old_size, size)}
        tiles = await retried(lambda: self._parts.store.tiles(self._log, names), self._parts.noticed)
        try:
            return tuple(tlog.consistency_proof(old_size, size, tiles))
        except TreeError as error:
            raise CorruptError(f"{self._log}: {error}") from error

    async def _catch_up(self, witness: Witness, size: int) -> None:
        """Take notice that a witness is beyond the round. Raises: RolledBackError where it is beyond all we signed."""
        parts = self._parts
        head = await retried(lambda: parts.store.head(self._log), parts.noticed)
        stored = head.checkpoint.size if head else 0
        if head is None or size > stored:
            self._report(witness, Fault(FaultKind.ROLLED_BACK, f"at {size}, stored are {stored}"))
            raise RolledBackError(
                f"{self._log}: the witness {witness.label} has cosigned size {size} and the store ends at {stored}: it lost"
                " its tail, or is another installation's; restore it, or rebuild it from Kafka (docs/witnesses.md)"
            )
        self._cosigning.signed(head.checkpoint)
        self._cosigning.left_behind(witness.names, size)
        self._wake()

    async def _publish(self, round_: Round) -> None:
        """Store what has its quorum, with the cosignatures it has by now."""
        if not round_.reached:
            return
        parts = self._parts
        await retried(lambda: parts.store.put_published(round_.checkpoint), parts.noticed)
        self._published(round_)
        self._wake()

    def _published(self, round_: Round | None) -> None:
        if round_ is not None and round_ is self._cosigning.round:  # not where it was a late cosignature
            self._parts.metrics.published.labels(self._log).set(round_.size)
            self._parts.metrics.last_published.labels(self._log).set(self._parts.now_ms() / 1000)

    def _report(self, witness: Witness, fault: Fault) -> None:
        """Count a fault, and log it unless the same was just logged."""
        self._parts.metrics.faults.labels(witness.label, fault.kind.value).inc()
        key, now_s = (witness.label, fault.kind), _now_s()
        if now_s - self._logged_s.get(key, -LOG_EVERY_S) < LOG_EVERY_S:
            return
        self._logged_s[key] = now_s
        alarm = fault.kind in (FaultKind.FORK, FaultKind.ROLLED_BACK)
        tell = self._parts.log.error if alarm else self._parts.log.warning
        tell(
            "a witness did not cosign",
            log=self._log,
            witness=witness.label,
            category=fault.kind.value,
            error=fault.detail,
        )

    def _wake(self) -> None:
        """Let everyone who waits look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
