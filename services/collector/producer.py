"""Group commit: captures that wait are put into one Kafka transaction together, and each is told when it is durable."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from services.collector import commit_spans
from services.collector.errors import OverloadedError
from services.collector.metrics import Metrics
from services.collector.transactions import Write
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.threads import OneThread
from services.runtime.tracing import spans
from services.runtime.tracing.context import TraceContext

_GROUP_BYTES: Final = 64 * 1024 * 1024
_GROUP_RECORDS: Final = 50_000


class Transactor(Protocol):
    """What writes one transaction, blocking."""

    def write(self, writes: Sequence[Write]) -> None:
        """Write everything or nothing. Raises: ServiceError."""


class Placed(msgspec.Struct, frozen=True):
    """A value and where it belongs."""

    topic: str
    partition: int
    value: bytes


def writes_of(placed: Iterable[Placed]) -> list[Write]:
    """Gather values by where they belong, in their order."""
    places: dict[tuple[str, int], list[bytes]] = {}
    for each in placed:
        places.setdefault((each.topic, each.partition), []).append(each.value)
    return [Write(topic, partition, values) for (topic, partition), values in places.items()]


class _Waiting(msgspec.Struct):
    placed: Sequence[Placed]
    size: int
    done: asyncio.Future[None]
    trace: TraceContext | None = None


class GroupCommit:
    """Commits captures in the order in which they came, several at a time.

    Args:
        transactions: what writes; only ever called from one thread at a time.
        max_waiting_bytes: over this much waiting, new captures are turned away.
        linger_s: how long a capture waits for company, seconds.
        interval_s: the least time between the beginnings of two transactions, seconds: each costs Kafka what hundreds of
            events do. A capture that comes after a pause waits for `linger_s` only.
    """

    def __init__(
        self,
        transactions: Transactor,
        max_waiting_bytes: int,
        linger_s: float,
        interval_s: float,
        metrics: Metrics,
    ) -> None:
        self._transactions = transactions
        self._max_waiting_bytes = max_waiting_bytes
        self._linger_s = linger_s
        self._interval_s = interval_s
        self._metrics = metrics
        self._waiting: deque[_Waiting] = deque()
        self._held_bytes = 0
        self._came = asyncio.Event()
        self._freed = asyncio.Event()
        self._closing = False
        self._thread = OneThread("group-commit")

    async def commit(self, placed: Sequence[Placed], *, patient: bool = False) -> None:
        """Return once all values are durable in Kafka, in one transaction; `patient` callers wait for room first.

        Raises: OverloadedError: nothing was taken; UnavailableError: it was not written, or its fate is unknown (sent
        again, it is recognised as a duplicate).
        """
        if not placed:
            return
        size = sum(len(each.value) for each in placed)
        while self._closing or (self._waiting and self._held_bytes + size > self._max_waiting_bytes):
            if self._closing or not patient:
                raise OverloadedError("too much waits to be captured")
            self._freed.clear()
            await self._freed.wait()
        waiting = _Waiting(placed, size, asyncio.get_running_loop().create_future(), spans.current())
        self._waiting.append(waiting)
        self._held_bytes += size
        self._came.set()
        await waiting.done

    async def run(self, log: structlog.stdlib.BoundLogger) -> None:
        """Commit what comes until `close`; then what waits, and return. Raises: ServiceError that must stop the process."""
        begun_s = -self._interval_s
        while True:
            await self._came.wait()
            if not self._waiting:
                if self._closing:
                    return
                self._came.clear()
                continue
            wait_s = max(self._linger_s, begun_s + self._interval_s - time.monotonic())
            if wait_s > 0 and not self._closing:
                await asyncio.sleep(wait_s)
            begun_s = time.monotonic()
            await self._commit_group(self._next_group(), log)

    def close(self) -> None:
        """Take nothing more; `run` returns when nothing waits."""
        self._closing = True
        self._came.set()
        self._freed.set()

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = records = 0
        while self._waiting and (not group or (size < _GROUP_BYTES and records < _GROUP_RECORDS)):
            each = self._waiting.popleft()
            group.append(each)
            size += each.size
            records += len(each.placed)
        return group

    async def _commit_group(self, group: list[_Waiting], log: structlog.stdlib.BoundLogger) -> None:
        started = time.perf_counter()
        try:
            await self._thread.run(self._write, group)
        except ServiceError as error:
            self._metrics.failures.labels("group_commit", error.category).inc()
            log.warning("captures could not be committed", captures=len(group), error=str(error))
            self._observed(group, started, error.category)
            _settle(group, UnavailableError("the events could not be handed to Kafka"))
            if not error.retry:
                raise
        else:
            self._metrics.group_captures.observe(len(group))
            self._metrics.group_records.observe(sum(len(each.placed) for each in group))
            self._observed(group, started)
            _settle(group, None)
        finally:
            self._held_bytes -= sum(each.size for each in group)
            self._freed.set()

    def _observed(self, group: Sequence[_Waiting], started: float, failed: str = "") -> None:
        traces = [each.trace for each in group]
        if not failed:
            traced = next(filter(None, traces), None)
            seconds = time.perf_counter() - started
            self._metrics.group_seconds.observe(seconds, spans.exemplar(traced) if traced else None)
        commit_spans.committed(traces, sum(len(each.placed) for each in group), started, failed)

    def _write(self, group: list[_Waiting]) -> None:
        self._transactions.write(writes_of(placed for each in group for placed in each.placed))


def _settle(group: Sequence[_Waiting], error: ServiceError | None) -> None:
    for each in group:
        if each.done.done():  # its request was given up
            continue
        if error is None:
            each.done.set_result(None)
        else:
            each.done.set_exception(error)
