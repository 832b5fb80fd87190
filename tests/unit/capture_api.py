"""The capture API in this process, on a transactor and stores in memory that can be told to fail."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from goodstrace import entry as entries
from goodstrace.entry import TagKind
from services.collector.api import make_app
from services.collector.calendar import Position
from services.collector.collect import Rules
from services.collector.documents import Limits
from services.collector.idempotency import Idempotency
from services.collector.intake import Intake
from services.collector.job_views import JobViews
from services.collector.jobs import Job, Refusal, Verdicts
from services.collector.keys import Reservation
from services.collector.metrics import Metrics
from services.collector.positions import Positions
from services.collector.preparing import Ports, Preparer
from services.collector.producer import GroupCommit
from services.collector.ranging import Ranges
from services.collector.registry.gate import Gate
from services.collector.registry.ranges import Kept, Known
from services.collector.registry.rates import Rates
from services.collector.registry.registrar import Registrar
from services.collector.transactions import Write
from services.runtime.access.guard import Guard
from services.runtime.envelope import Record
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.page_tokens import fixed_key
from services.runtime.personal_values import PersonalKey
from services.runtime.settings import KafkaSettings
from services.sealing.values import SealedRecord, StoredCheckpoint
from tests.open_guard import open_guard
from tests.unit.collector_builders import NOW_MS, SECRET, counted

LOG = structlog.get_logger()
MERCHANT = 1


class Keeper:
    """Keeps keys of personal data; the next calls fail with `failures`."""

    def __init__(self) -> None:
        self.keys: list[PersonalKey] = []
        self.failures: list[ServiceError] = []

    async def keep(self, keys: Sequence[PersonalKey]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.keys += keys


class Registered:
    """Says what is registered of goods, by key; `asked` are the keys of each look-up, and nothing can be read while `away`."""

    def __init__(self, kept: Mapping[str, Kept] | None = None) -> None:
        self.kept, self.asked, self.away = dict(kept or {}), list[list[str]](), False

    async def of(self, keys: Iterable[str]) -> Known:
        self.asked.append(sorted(keys))
        return {} if self.away else {key: self.kept.get(key) for key in self.asked[-1]}


class Kafka:
    """Takes transactions; the next ones fail with `failures`."""

    def __init__(self) -> None:
        self.transactions: list[list[Write]] = []
        self.failures: list[ServiceError] = []

    def write(self, writes: Sequence[Write]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.transactions.append(list(writes))

    def values(self, topic: str) -> list[bytes]:
        return [
            value
            for writes in self.transactions
            for write in writes
            if write.topic == topic
            for value in write.values
        ]


class Jobs:
    """Keeps jobs in memory; away while `away`."""

    def __init__(self) -> None:
        self.away = False
        self.jobs: dict[str, Job] = {}
        self.found: list[Verdicts] = []

    async def open(self, job: Job) -> None:
        if self.away:
            raise UnavailableError("away")
        self.jobs[job.id] = job

    async def find(self, capture: str) -> tuple[Job | None, list[Verdicts]]:
        return self.jobs.get(capture), await self.verdicts([capture])

    async def verdicts(self, captures: Sequence[str]) -> list[Verdicts]:
        return [each for each in self.found if each.capture in captures]

    async def is_known(self, capture: str) -> bool:
        if self.away:
            raise UnavailableError("away")
        return capture in self.jobs or bool(await self.verdicts([capture]))

    async def page(self, merchant: int, before: Position | None, limit: int) -> list[Job]:
        placed = {
            Position(job.created_ms, job.id): job for job in self.jobs.values() if job.merchant == merchant
        }
        wanted = sorted((each for each in placed if before is None or each < before), reverse=True)
        return [placed[each] for each in wanted[:limit]]


class Rejections:
    """Knows what was refused, by record ID; `calls` are what it was asked for."""

    def __init__(self) -> None:
        self.refused: dict[str, Refusal] = {}
        self.calls: list[set[str]] = []

    async def refusals(self, records: Iterable[str]) -> dict[str, Refusal]:
        self.calls.append(set(records))
        return {record: self.refused[record] for record in self.calls[-1] & self.refused.keys()}


class Keys:
    """Keeps idempotency keys in memory, for several processes; away while `away`."""

    def __init__(self) -> None:
        self.away = False
        self.held: dict[str, Reservation] = {}
        self.reserved = asyncio.Event()

    async def reserve(self, wanted: Reservation) -> Reservation | None:
        self._reach()
        held = self.held.setdefault(wanted.name, wanted)
        self.reserved.set()
        return None if held is wanted else held

    async def take_over(self, held: Reservation, wanted: Reservation) -> bool:
        self._reach()
        if self.held.get(held.name) != held:
            return False
        self.held[held.name] = wanted
        return True

    async def release(self, held: Reservation) -> None:
        self._reach()
        if self.held.get(held.name) == held:
            del self.held[held.name]

    def _reach(self) -> None:
        if self.away:
            raise UnavailableError("away")


class Logs:
    """Logs in memory: `sealed` in order; `published` limits what is told of each, and `calls` counts."""

    def __init__(self) -> None:
        self.sealed: dict[str, list[Record]] = {}
        self.published: dict[str, int] = {}
        self.calls = 0

    def tag(self, kind: TagKind, text: str) -> bytes:
        return entries.tag(SECRET, kind, text)

    async def newest(self, prefix: str = "") -> dict[str, StoredCheckpoint]:
        return {
            log: StoredCheckpoint(log, self.published.get(log, len(records)), b"", "")
            for log, records in self.sealed.items()
        }

    async def find(
        self, tags: Sequence[bytes], sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        self.calls += 1
        return {
            tag: [
                record for log, size in sizes.items() for record in self._all(log, size) if tag in record.tags
            ][:limit]
            for tag in tags
        }

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        self.calls += 1
        return [self._all(log, len(self.sealed[log]))[index] for index in indexes]

    def _all(self, log: str, size: int) -> list[SealedRecord]:
        return [
            SealedRecord(log, index, record.entry, record.parts, record.tags)
            for index, record in enumerate(self.sealed[log][:size])
        ]


def open_gate(merchant: int) -> Gate:
    """Give a gate that everyone passes, as this merchant."""
    return Gate(None, rates=Rates(lambda: 0.0), open_merchant=merchant)


class Running:
    """The application, with a clock that stands still: `now_ms` may be set."""

    def __init__(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        max_bytes: int = 10**9,
        body_timeout_s: float = 10,
        interval_s: float = 0,
        keys: Keys | None = None,
        jobs: Jobs | None = None,
        instance: str = "0",
        start: int = 0,
        gate: Gate | None = None,
        random: Callable[[int], bytes] | None = None,
        registrar: Callable[["Running"], Registrar | None] = lambda _: None,
        guard: Guard | None = None,
        ranges: Ranges | None = None,
    ) -> None:
        self.kafka, self.jobs, self.metrics = Kafka(), jobs or Jobs(), Metrics(CollectorRegistry())
        self.keys, self.logs, self.now_ms = keys or Keys(), Logs(), NOW_MS
        self.commits = GroupCommit(self.kafka, max_bytes, 0, interval_s, self.metrics)
        self.ports = Ports(now_ms=lambda: self.now_ms, random=random or counted(start))
        self.keeper, self.rejections = Keeper(), Rejections()
        self.intake = Intake(
            keeper=self.keeper,
            ranges=ranges or Registered(),
            preparer=Preparer(
                KafkaSettings(),  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
                gate or open_gate(MERCHANT),
                limits,
                Rules(event_bytes=limits.event),
                self.ports,
            ),
            max_held_bytes=max_bytes,
            commits=self.commits,
            jobs=self.jobs,  # type: ignore[arg-type]
            rejections=self.rejections,
            metrics=self.metrics,
            log=LOG,
        )
        idempotency = Idempotency(
            self.intake,
            self.keys,
            instance=instance,
            ports=self.ports,
            lifetime_s=3600,
            replayed=self.metrics.replayed_keys.inc,
            log=LOG,
        )
        views = JobViews(self.intake, Positions(self.logs), fixed_key(b"p" * 32), lambda: self.now_ms)
        self.app: FastAPI = make_app(
            self.intake,
            self.metrics,
            idempotency,
            views,
            body_timeout_s,
            guard=guard or open_guard("collector"),
            registrar=registrar(self),
        )
        transport = httpx.ASGITransport(self.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://collector")

    async def post(
        self, body: bytes | AsyncIterator[bytes], path: str = "capture", **headers: str
    ) -> httpx.Response:
        told = {
            "content-type": "application/ld+json",
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        return await self.http.post(f"/epcis/v2/{path}", content=body, headers=told)


@asynccontextmanager
async def committing(commits: GroupCommit) -> AsyncIterator[None]:
    """Let what comes be committed; a commit that ended by an error is for the test to have noticed."""
    task = asyncio.create_task(commits.run(LOG))
    try:
        yield
    finally:
        commits.close()
        await asyncio.wait([task])


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Running]:
    here = Running(**settings)
    async with committing(here.commits):
        yield here
