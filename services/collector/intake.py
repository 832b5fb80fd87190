"""Taking a capture in: bytes -> records -> durable in Kafka -> a job. Knows no HTTP."""

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog

from services.collector.errors import OverloadedError
from services.collector.flow import StageName
from services.collector.jobs import Job, describe
from services.collector.metrics import Metrics
from services.collector.mongo import JobStore
from services.collector.preparing import BEHAVIOURS, PROCEED, ROLLBACK, Ports, Prepared, Preparer, Request
from services.collector.producer import GroupCommit
from services.runtime.errors import ServiceError

__all__ = ["BEHAVIOURS", "PROCEED", "ROLLBACK", "Intake", "Ports", "Prepared", "Request"]

_REMEMBERED_JOBS: Final = 1_000


class Intake:
    """Captures, with a bound on what is held in memory."""

    def __init__(
        self,
        *,
        preparer: Preparer,
        max_held_bytes: int,
        commits: GroupCommit,
        jobs: JobStore,
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Take captures, made ready by `preparer`."""
        self.limits = preparer.limits
        self._preparer = preparer
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

    async def take(self, request: Request, *, patient: bool = False) -> Prepared:
        """Make one capture as `capture` does, and give what became of each event; `patient`: wait where there is no room.

        Raises: DocumentError: nothing was kept; OverloadedError, UnavailableError: try again.
        """
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._thread, self._preparer.document, request)
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


def count_collected(metrics: Metrics, prepared: Prepared) -> None:
    """Count what `collect` took in, passed on and refused, once it is durable."""
    stage = StageName.COLLECT.value
    metrics.stage_in.labels(stage).inc(prepared.job.events)
    metrics.stage_out.labels(stage).inc(prepared.job.events - len(prepared.refused))
    metrics.stage_last.labels(stage).set_to_current_time()
    for reason in prepared.refused:
        metrics.rejected.labels(stage, reason.value).inc()
