"""Taking a capture in: bytes -> records -> durable in Kafka -> a job. Knows no HTTP."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import structlog

from goodstrace.entry import ID_BYTES
from services.collector import documents
from services.collector.collect import Rules, Sent, Stamp, collect, refuse_whole
from services.collector.documents import Limits
from services.collector.errors import DocumentError, Fault, OverloadedError
from services.collector.flow import MAX_COLLECTED_BYTES, Item, Reason, Rejected, StageName, to_wire
from services.collector.jobs import Job, describe
from services.collector.metrics import Metrics
from services.collector.mongo import JobStore
from services.collector.producer import GroupCommit, Placed
from services.runtime import envelope, topics
from services.runtime.errors import ServiceError
from services.runtime.partitioner import partition_of
from services.runtime.settings import KafkaSettings

ROLLBACK: Final = "rollback"
PROCEED: Final = "proceed"
BEHAVIOURS: Final = (ROLLBACK, PROCEED)
_REMEMBERED_JOBS: Final = 1_000


class Ports(msgspec.Struct, frozen=True):
    """The outside that `collect` needs: the time in Unix milliseconds, and random bytes."""

    now_ms: Callable[[], int]
    random: Callable[[int], bytes]


class Request(msgspec.Struct, frozen=True):
    """One capture as it was asked for."""

    body: bytes
    behaviour: str = ROLLBACK
    traceparent: str = ""
    bare: bool = False


class Prepared(msgspec.Struct, frozen=True):
    """A capture ready for Kafka: its job, where each value belongs, and what `collect` made of each event."""

    job: Job
    placed: list[Placed]
    refused: list[Reason]
    sent: list[Sent]


class Intake:
    """Captures, with a bound on what is held in memory."""

    def __init__(
        self,
        *,
        preparer: "Preparer",
        merchant: int,
        max_held_bytes: int,
        commits: GroupCommit,
        jobs: JobStore,
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Take captures; `merchant` is whose they are where the caller is not known."""
        self.limits = preparer.limits
        self._preparer = preparer
        self._merchant = merchant
        self._max_held_bytes = max_held_bytes
        self._commits = commits
        self._jobs = jobs
        self._metrics = metrics
        self._log = log
        self._held_bytes = 0
        self._released = asyncio.Event()
        self._recent: OrderedDict[str, Job] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="collect")

    def hold(self, size_bytes: int) -> None:
        """Account for bytes of a request in memory (negative: released). Raises: OverloadedError."""
        if size_bytes > 0 and self._held_bytes + size_bytes > self._max_held_bytes:
            raise OverloadedError("too many captures at a time")
        self._held_bytes += size_bytes
        self._metrics.waiting_bytes.set(self._held_bytes)
        if size_bytes < 0:
            self._released.set()

    async def hold_when_free(self, size_bytes: int) -> None:
        """Account for bytes as `hold` does, and wait until there is room for them: for callers who can be made to wait."""
        while True:
            self._released.clear()
            try:
                return self.hold(size_bytes)
            except OverloadedError:
                await self._released.wait()

    async def capture(self, request: Request) -> Job:
        """Make one capture: when it returns, every event is durable in Kafka, in one transaction.

        Raises: DocumentError: nothing was kept; OverloadedError, UnavailableError: try again.
        """
        return (await self.take(request)).job

    async def take(self, request: Request, *, merchant: int | None = None, patient: bool = False) -> Prepared:
        """Make one capture as `capture` does, and give what became of each event.

        Args:
            request: what was sent.
            merchant: whose it is; None for the one of the settings.
            patient: wait for room rather than raise OverloadedError.
        Raises: DocumentError: nothing was kept; OverloadedError, UnavailableError: try again.
        """
        loop = asyncio.get_running_loop()
        whose = self._merchant if merchant is None else merchant
        prepared = await loop.run_in_executor(self._thread, self._preparer.prepare, request, whose)
        await self._commits.commit(prepared.placed, patient=patient)
        count_collected(self._metrics, prepared)
        await self._open(prepared.job)
        return prepared

    async def job(self, capture: str) -> dict[str, Any] | None:
        """Describe a job, None where there is none. Raises: UnavailableError."""
        described, found = await self._jobs.find(capture)
        job = described or self._recent.get(capture)
        if job is None and found:  # acknowledged, and killed before its description was written
            job = Job(capture, found[0].created_ms, found[0].size)
        return describe(job, found) if job else None

    async def _open(self, job: Job) -> None:
        """Write the job's description; the events are safe by now, so a store that is away fails nothing."""
        self._recent[job.id] = job
        if len(self._recent) > _REMEMBERED_JOBS:
            self._recent.popitem(last=False)
        try:
            await self._jobs.open(job)
        except ServiceError as error:
            self._metrics.jobs_unwritten.inc()
            self._metrics.failures.labels("jobs", error.category).inc()
            self._log.warning("job not written", capture_id=job.id, error=str(error))


class Preparer:
    """Makes records of what was sent: what is captured by whatever way goes through here. Any thread may call it."""

    def __init__(self, kafka: KafkaSettings, limits: Limits, rules: Rules, ports: Ports) -> None:
        """Go by the given limits and rules; `ports` are the outside."""
        self.limits = limits
        self._kafka = kafka
        self._rules = rules
        self._ports = ports

    def prepare(self, request: Request, merchant: int) -> Prepared:
        """Check a capture of `merchant` and make its records. Raises: DocumentError: nothing of it can be kept."""
        document = documents.read(request.body, self.limits)
        if request.bare and document.place is not None:
            raise DocumentError(Fault("/type", "must be one event; documents go to /epcis/v2/capture"))
        stamp = Stamp(self._ports.random(ID_BYTES), merchant, self._ports.now_ms(), request.traceparent)
        sent = collect(document, stamp, self._rules, self._ports.random)
        faults = [each.fault for each in sent if each.fault is not None]
        unkeepable = any(len(event) > MAX_COLLECTED_BYTES for event in document.events)
        if faults and (request.behaviour == ROLLBACK or unkeepable):
            too_large = any(_reason(each) is Reason.TOO_LARGE for each in sent)
            raise DocumentError(*faults, too_large=too_large)
        job = Job(stamp.capture_id.hex(), stamp.time_ms, len(sent), request.behaviour)
        reasons = [reason for each in sent if (reason := _reason(each)) is not None]
        return Prepared(job, self._place(sent), reasons, sent)

    def refuse(self, body: bytes, merchant: int, detail: str, *, too_large: bool) -> Prepared:
        """Make one refusal of what is no document: with all its bytes, or none of them where Kafka would not take them."""
        stamp = Stamp(self._ports.random(ID_BYTES), merchant, self._ports.now_ms())
        reason = Reason.TOO_LARGE if too_large else Reason.INVALID
        kept = body if len(body) <= MAX_COLLECTED_BYTES else b""
        sent = [refuse_whole(kept, stamp, reason, detail, self._ports.random)]
        job = Job(stamp.capture_id.hex(), stamp.time_ms, len(sent), PROCEED)
        return Prepared(job, self._place(sent), [reason], sent)

    def _place(self, sent: Sequence[Sent]) -> list[Placed]:
        collected, rejected = (
            self._kafka.topic(topics.GOODS_COLLECTED),
            self._kafka.topic(topics.GOODS_REJECTED),
        )
        placed = []
        for each in sent:
            partition = partition_of(each.key, self._kafka.partitions)
            if isinstance(each.outcome, Item):
                placed.append(Placed(collected, partition, to_wire(each.outcome)))
            else:
                placed.append(Placed(rejected, partition, envelope.encode(each.outcome.record)))
        return placed


def _reason(sent: Sent) -> Reason | None:
    if isinstance(sent.outcome, Rejected) and sent.outcome.record.rejection is not None:
        return Reason(sent.outcome.record.rejection.reason)
    return None


def count_collected(metrics: Metrics, prepared: Prepared) -> None:
    """Count what `collect` took in, passed on and refused, once it is durable."""
    stage = StageName.COLLECT.value
    metrics.stage_in.labels(stage).inc(prepared.job.events)
    metrics.stage_out.labels(stage).inc(prepared.job.events - len(prepared.refused))
    metrics.stage_last.labels(stage).set_to_current_time()
    for reason in prepared.refused:
        metrics.rejected.labels(stage, reason.value).inc()
