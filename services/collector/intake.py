"""Taking a capture in: bytes -> records -> durable in Kafka -> a job. Knows no HTTP."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import structlog

from goodstrace.entry import ID_BYTES
from goodstrace.signatures import MEMBER
from services.collector import documents
from services.collector.collect import Rules, Sent, Stamp, collect
from services.collector.documents import Document, Limits
from services.collector.errors import DocumentError, Fault, OverloadedError
from services.collector.flow import MAX_COLLECTED_BYTES, Item, Reason, Rejected, StageName, to_wire
from services.collector.jobs import Job, describe
from services.collector.metrics import Metrics
from services.collector.mongo import JobStore
from services.collector.producer import GroupCommit, Placed
from services.collector.registry.gate import Caller, Gate
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
    """One capture as it was asked for, by a caller that the gate let in; `signature` is over a bare event, "" for none."""

    caller: Caller
    body: bytes
    behaviour: str = ROLLBACK
    traceparent: str = ""
    bare: bool = False
    signature: str = ""


class Prepared(msgspec.Struct, frozen=True):
    """A capture ready for Kafka."""

    job: Job
    placed: list[Placed]
    refused: list[Reason]


class Intake:
    """Captures, with a bound on what is held in memory."""

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        gate: Gate,
        limits: Limits,
        rules: Rules,
        max_held_bytes: int,
        ports: Ports,
        commits: GroupCommit,
        jobs: JobStore,
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Take captures of whom `gate` lets in."""
        self.limits = limits
        self.gate = gate
        self._kafka = kafka
        self._rules = rules
        self._max_held_bytes = max_held_bytes
        self._ports = ports
        self._commits = commits
        self._jobs = jobs
        self._metrics = metrics
        self._log = log
        self._held_bytes = 0
        self._recent: OrderedDict[str, Job] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="collect")

    def hold(self, size_bytes: int) -> None:
        """Account for bytes of a request in memory (negative: released). Raises: OverloadedError."""
        if size_bytes > 0 and self._held_bytes + size_bytes > self._max_held_bytes:
            raise OverloadedError("too many captures at a time")
        self._held_bytes += size_bytes
        self._metrics.waiting_bytes.set(self._held_bytes)

    async def capture(self, request: Request) -> Job:
        """Make one capture: when it returns, every event is durable in Kafka, in one transaction.

        Raises: DocumentError, RateLimitedError: nothing was kept; OverloadedError, UnavailableError: try again.
        """
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._thread, self._prepare, request)
        await self._commits.commit(prepared.placed)
        self._count(prepared)
        await self._open(prepared.job)
        return prepared.job

    async def job(self, capture: str) -> dict[str, Any] | None:
        """Describe a job, None where there is none. Raises: UnavailableError."""
        described, found = await self._jobs.find(capture)
        job = described or self._recent.get(capture)
        if job is None and found:  # acknowledged, and killed before its description was written
            job = Job(capture, found[0].created_ms, found[0].size)
        return describe(job, found) if job else None

    def _prepare(self, request: Request) -> Prepared:
        document = documents.read(request.body, self.limits)
        if request.bare and document.place is not None:
            raise DocumentError(Fault("/type", "must be one event; documents go to /epcis/v2/capture"))
        if request.signature:
            document = _signed(document, request.signature)
        caller = request.caller
        self.gate.take(caller, events=len(document.events), size_bytes=len(request.body))
        stamp = Stamp(
            self._ports.random(ID_BYTES),
            caller.merchant,
            self._ports.now_ms(),
            request.traceparent,
            caller.speech,
            caller.keys,
        )
        sent = collect(document, stamp, self._rules, self._ports.random)
        faults = [each.fault for each in sent if each.fault is not None]
        unkeepable = any(len(event) > MAX_COLLECTED_BYTES for event in document.events)
        if faults and (request.behaviour == ROLLBACK or unkeepable):
            reasons = {reason for each in sent if (reason := _reason(each)) is not None}
            raise DocumentError(
                *faults,
                too_large=Reason.TOO_LARGE in reasons,
                forbidden=reasons == {Reason.FORBIDDEN},
            )
        job = Job(stamp.capture_id.hex(), stamp.time_ms, len(sent), request.behaviour)
        refused = [reason for each in sent if (reason := _reason(each)) is not None]
        return Prepared(job, self._place(sent), refused)

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

    def _count(self, prepared: Prepared) -> None:
        stage = StageName.COLLECT.value
        self._metrics.stage_in.labels(stage).inc(prepared.job.events)
        self._metrics.stage_out.labels(stage).inc(prepared.job.events - len(prepared.refused))
        self._metrics.stage_last.labels(stage).set_to_current_time()
        for reason in prepared.refused:
            self._metrics.rejected.labels(stage, reason.value).inc()


def _signed(document: Document, signature: str) -> Document:
    if document.place is not None:
        raise DocumentError(
            Fault("", f"signatures over the events of a document go into its member {MEMBER}")
        )
    return msgspec.structs.replace(document, signatures=(signature,))


def _reason(sent: Sent) -> Reason | None:
    if isinstance(sent.outcome, Rejected) and sent.outcome.record.rejection is not None:
        return Reason(sent.outcome.record.rejection.reason)
    return None
