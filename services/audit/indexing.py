"""Keeping the index of looks up to date with `browse.watched`: at least once, which rows bear. Beside it days are forgotten when they are over."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
from confluent_kafka import Message
from google.protobuf.message import DecodeError
from prometheus_client import REGISTRY, CollectorRegistry, Counter

from goodstrace.record.v1 import record_pb2
from services.audit.browse_index import REST_S, BrowseIndex
from services.audit.figures.following import Figuring
from services.audit.index_values import MARKS, Row, marks_of, row_of
from services.runtime import clock
from services.runtime.errors import ServiceError
from services.runtime.group_source import Source
from services.runtime.kafka import OffsetGapError
from services.runtime.retry import StopAskedError, retried
from services.runtime.threads import OneThread
from services.runtime.vault import People
from services.runtime.waiting import until_set

CLIENT: Final = "browse_index"
SWEEP_S: Final = 3600.0
_BATCH_RECORDS: Final = 1000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_WAIT_S: Final = 0.2
_ARRIVED_MS: Final = 80
"""So long after marks were sent they can be read."""


class IndexMetrics:
    """What the index has taken in, and what it has not."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them."""
        self.rows = Counter(
            "goodstrace_audit_index_rows_total",
            "Looks taken into the index by which those of a user are listed.",
            registry=registry,
        )
        self.missed = Counter(
            "goodstrace_audit_index_missed_total",
            "Messages of browse.watched that the index could not take in: gone before it came to them, or malformed; should stay 0.",
            registry=registry,
        )


def rest_s(wanted_s: float, marked_ms: int, now_ms: int) -> float:
    """Say how long to rest so that the next batch ends with marks. Pure.

    Services send marks each second: a look that is read before its mark is written twice, and the second time costs the store four times as much.

    Args:
        wanted_s: how long to rest, but for that; not less than half of it is given. Where no time is left there is no rest: looks would get their
            rows later than LATE_S, and who lists would take them for those of users who are forgotten.
        marked_ms: when the newest marks were sent, Unix milliseconds; 0 where there were none.
        now_ms: the time now, Unix milliseconds.
    Returns: at most REST_S more than half of `wanted_s`.
    """
    if wanted_s <= 0 or not marked_ms:
        return max(0.0, wanted_s)
    least_s = wanted_s / 2
    period_ms = round(REST_S * 1000)
    due_ms = marked_ms + _ARRIVED_MS - now_ms - round(least_s * 1000)
    return least_s + due_ms % period_ms / 1000


class Indexing:
    """Follows `browse.watched` until it is asked to stop; neither recorder nor listing waits for it."""

    def __init__(
        self,
        source: Source,
        index: BrowseIndex,
        people: People,
        metrics: IndexMetrics,
        log: structlog.stdlib.BoundLogger,
        *,
        figures: Figuring | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put into `index` what comes from `source`, as users that `people` knows by their pseudonyms; `figures` counts the same."""
        self._source, self._index, self._people = source, index, people
        self._figures = figures
        self._metrics, self._log, self._clock_s = metrics, log, clock_s
        self._thread = OneThread("browse-index")
        self._is_behind = False
        self._sweep_at_s = clock_s()
        self._rest_s = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`. Raises: ServiceError that a retry does not mend."""
        try:
            while not stop.is_set():
                await retried(partial(self._cycle, stop), self._noticed, stop)
                await until_set(stop, self._rest_s)
        except StopAskedError:
            pass
        finally:
            await self._thread.run(self._source.close)
            self._thread.close()

    async def _cycle(self, stop: asyncio.Event) -> None:
        self._rest_s = 0.0
        if self._clock_s() >= self._sweep_at_s:
            await self._people.forget_days()
            self._sweep_at_s = self._clock_s() + SWEEP_S
        began_ms, began_s = clock.now_ms(), self._clock_s()
        try:
            batch = await self._thread.run(self._read)
        except OffsetGapError:
            missed = await self._thread.run(self._source.skip_gap)
            self._metrics.missed.inc(missed)
            self._log.error("the index of looks was away for too long: make it again", missed=missed)
            return
        if batch:
            self._is_behind = True  # until it is committed
            is_full = len(batch) >= _BATCH_RECORDS or sum(map(len, batch)) >= _BATCH_BYTES
            marked_ms = await self._keep(batch, stop, gently=not is_full)
            following = {
                (str(each.topic()), int(each.partition() or 0)): int(each.offset() or 0) + 1 for each in batch
            }
            await self._thread.run(self._source.commit, following)
            self._is_behind = False
            # Looks, and their marks that follow within a second, are written together so, and statistics once.
            if not is_full:
                self._rest_s = rest_s(began_s + REST_S - self._clock_s(), marked_ms, clock.now_ms())
        elif self._figures is not None and await self._thread.run(self._source.lag) == 0:
            assigned = sorted(partition for _, partition in self._source.assigned())
            await self._figures.at_end(assigned, began_ms)

    async def _keep(self, batch: Sequence[Message], stop: asyncio.Event, *, gently: bool) -> int:
        """Write what a batch says; gives the time of its newest marks, Unix milliseconds, 0 where it has none."""
        parsed = [(message, self._parsed(message)) for message in batch]
        told = [each for _, each in parsed if each is not None]
        looks = [each for each in told if each.kind != MARKS]
        subjects = await self._people.subjects_of({each.pseudonym for each in looks})
        rows: list[Row] = []
        marks: dict[bytes, str] = {}
        for each in told:
            try:
                if each.kind == MARKS:
                    marks |= marks_of(each)
                else:
                    rows.append(row_of(each, subjects.get(each.pseudonym)))
            except ValueError as error:
                self._miss(error)
        await self._index.put(rows, marks, gently=gently, stop=stop)
        self._metrics.rows.inc(len(rows))
        if self._figures is not None:
            await self._figures.take(
                [
                    (int(message.partition() or 0), int(message.offset() or 0), each)
                    for message, each in parsed
                    if each is not None
                ]
            )
        return max((each.time_ms for each in told if each.kind == MARKS), default=0)

    def _parsed(self, message: Message) -> record_pb2.WatchedBrowse | None:
        try:
            return record_pb2.WatchedBrowse.FromString(message.value() or b"")
        except DecodeError as error:
            self._miss(error)
            return None

    def _miss(self, error: Exception) -> None:
        """Go on without a message: what is malformed stays so, and the index can be made again from the logs."""
        self._metrics.missed.inc()
        self._log.error("not what is told of a look", cause=str(error))

    def _read(self) -> list[Message]:
        if self._is_behind:
            self._source.rewind()
            self._is_behind = False
        return self._source.poll(_BATCH_RECORDS, _BATCH_BYTES, _WAIT_S)

    def _noticed(self, error: ServiceError) -> None:
        self._log.warning("the index of looks waits", cause=str(error))
