"""Taking a capture in: bytes -> records -> durable in Kafka -> a job. Knows no HTTP."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from services.collector import capture_spans
from services.collector.calendar import Position
from services.collector.errors import OverloadedError
from services.collector.flow import StageName
from services.collector.jobs import Job, Progress, Refusal, Verdicts, progress
from services.collector.metrics import Metrics
from services.collector.mongo import JobStore
from services.collector.preparing import (
    Line,
    Prepared,
    Preparer,
    Request,
)
from services.collector.producer import GroupCommit
from services.collector.ranging import Ranges, with_ranges
from services.runtime.errors import ServiceError
from services.runtime.personal_values import PersonalKey
from services.runtime.threads import OneThread

_REMEMBERED_JOBS: Final = 1_000
_OVERDUE_AT_ONCE: Final = 10
_LISTED_EVENTS: Final = 20_000


class Keeper(Protocol):
    """Keeps keys of personal data; `services.runtime.vault.personal.PersonalKeys` is the real one."""

    async def keep(self, keys: Sequence[PersonalKey]) -> None:
        """Keep keys: durable when this returns. Raises: UnavailableError."""


class Rejections(Protocol):
    """Knows what was refused; `services.collector.rejection_store.RejectionStore` is the real one."""

    async def refusals(self, records: Iterable[str]) -> dict[str, Refusal]:
        """Say by record ID which of some records were refused. Raises: UnavailableError."""


class Intake:
    """Captures, with a bound on what is held in memory."""

    def __init__(
        self,
        *,
        preparer: Preparer,
        max_held_bytes: int,
        commits: GroupCommit,
        jobs: JobStore,
        rejections: Rejections,
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
        keeper: Keeper,
        ranges: Ranges,
    ) -> None:
        """Take captures, made ready by `preparer`; `keeper` keeps the keys of personal data that was taken out of them.

        `ranges` tells what is registered of the goods in them, `rejections` what became of the first records of duplicates.
        """
        self.limits = preparer.limits
        self.gate = preparer.gate
        self._preparer = preparer
        self._max_held_bytes = max_held_bytes
        metrics.waiting_limit.set(max_held_bytes)
        self._commits = commits
        self._jobs, self._rejections = jobs, rejections
        self._metrics = metrics
        self._log = log
        self._keeper = keeper
        self._ranges = ranges
        self._held_bytes = 0
        self._released = asyncio.Event()
        self._recent: OrderedDict[str, Job] = OrderedDict()
        self._overdue: deque[Job] = deque(maxlen=_REMEMBERED_JOBS)
        self._thread = OneThread("collect")

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

        Raises: DocumentError, RateLimitedError: nothing was kept; OverloadedError, UnavailableError: try again.
        """
        return (await self.take(request)).job

    async def take(self, request: Request, *, patient: bool = False) -> Prepared:
        """Make one capture as `capture` does, and give what became of each event; `patient`: wait where there is no room.

        Raises: DocumentError, RateLimitedError: nothing was kept; OverloadedError, UnavailableError: try again.
        """
        return await self._make(request, self._preparer.document, patient=patient)

    async def capture_lines(self, request: Request, lines: Sequence[Line]) -> Prepared:
        """Capture some lines of a stream together: when it returns, every event that was taken is durable in Kafka.

        Args:
            request: what holds for all lines; its body is not looked at.
            lines: each one event, or one document.
        Returns: what became of each line. Where none of their events was taken there is no job.
        Raises: RateLimitedError, OverloadedError, UnavailableError: as `capture`.
        """
        return await self._make(request, lambda wanted: self._preparer.lines(wanted, lines))

    async def job(self, capture: str, merchant: int | None) -> Progress | None:
        """Tell how far a merchant's job has come, or with None anyone's; None where there is none. Raises: UnavailableError."""
        described, found = await self._jobs.find(capture)
        job = described or self._recent.get(capture)
        if job is None and found:  # acknowledged, and killed before its description was written
            first = found[0]
            job = Job(capture, first.created_ms, first.size, merchant=first.merchant)
        if job is None or not (merchant is None or job.is_of(merchant)):
            return None
        (made,) = await self._told_of_firsts([progress(job, found)])
        return made

    async def list_jobs(
        self, merchant: int, before: Position | None, limit: int
    ) -> tuple[list[Progress], bool]:
        """List a merchant's jobs, newest first, at most `limit`, and fewer where they have very many events.

        `before` is where the page before ended. Gives also whether there are more. Raises: UnavailableError.
        """
        jobs = await self._jobs.page(merchant, before, limit + 1)
        shown, events = 0, 0
        while shown < min(limit, len(jobs)) and (not shown or events + jobs[shown].events <= _LISTED_EVENTS):
            events += jobs[shown].events
            shown += 1
        of_job: dict[str, list[Verdicts]] = {job.id: [] for job in jobs[:shown]}
        for each in await self._jobs.verdicts(list(of_job)) if of_job else ():
            of_job[each.capture].append(each)
        made = [progress(job, of_job[job.id]) for job in jobs[:shown]]
        return await self._told_of_firsts(made), shown < len(jobs)

    async def _told_of_firsts(self, made: Sequence[Progress]) -> list[Progress]:
        """Tell jobs which of the records that their events are duplicates of were refused; not while they are running, when clients ask again and again."""
        firsts = {first for each in made if not each.running for first in each.firsts()}
        refused = await self._rejections.refusals(firsts) if firsts else {}
        return [
            each if each.running else msgspec.structs.replace(each, refused_firsts=refused) for each in made
        ]

    async def is_captured(self, capture: str) -> bool:
        """Say whether a capture is known to be durable. Raises: UnavailableError."""
        return capture in self._recent or await self._jobs.is_known(capture)

    async def _make(
        self, request: Request, prepare: Callable[[Request], Prepared], *, patient: bool = False
    ) -> Prepared:
        with capture_spans.collecting(request.traceparent) as opened:
            wanted = capture_spans.stamped(request, opened)
            made = await self._thread.run(prepare, wanted)
            (prepared,) = await with_ranges(self._ranges, [made])
            capture_spans.say(opened, prepared)
            with structlog.contextvars.bound_contextvars(capture_id=prepared.job.id):
                if prepared.personal:
                    await self._keeper.keep(prepared.personal)
                with capture_spans.sending():
                    await self._commits.commit(prepared.placed, patient=patient)
                count_collected(self._metrics, prepared)
                if prepared.placed or not prepared.lines:
                    await self._open(prepared.job)
        return prepared

    async def _open(self, job: Job) -> None:
        """Write the job's description; the events are safe by now, so a store that is away fails nothing."""
        self._recent[job.id] = job
        if len(self._recent) > _REMEMBERED_JOBS:
            self._recent.popitem(last=False)
        if await self._is_written(job):
            for _ in range(min(len(self._overdue), _OVERDUE_AT_ONCE)):
                if not await self._is_written(self._overdue.popleft()):
                    break

    async def _is_written(self, job: Job) -> bool:
        """Write a job's description; where that cannot be, it is overdue: written with one that comes after it."""
        try:
            await self._jobs.open(job)
        except ServiceError as error:
            self._overdue.append(job)
            self._metrics.jobs_unwritten.inc()
            self._metrics.failures.labels("jobs", error.category).inc()
            self._log.warning("job not written", capture_id=job.id, error=str(error))
            return False
        return True


def count_collected(metrics: Metrics, prepared: Prepared) -> None:
    """Count what `collect` took in, passed on and refused, once it is durable."""
    stage = StageName.COLLECT.value
    metrics.stage_in.labels(stage).inc(prepared.job.events)
    metrics.stage_out.labels(stage).inc(prepared.job.events - len(prepared.refused))
    metrics.stage_last.labels(stage).set_to_current_time()
    for reason in prepared.refused:
        metrics.rejected.labels(stage, reason.value).inc()
