"""Browse records of refusals: nothing was shown, so nobody waits for them, but whoever tries is seen.

Up to so many a second have a record each; those above are counted and recorded together (`services.sealing.crowd`), so that who knocks without end cannot fill a log. What a caller
typed is in none of them. Made where Kafka takes it; where it does not, the log of the process and a metric say so.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter

from services.runtime.access.guard import Reason, Refusal
from services.runtime.access.values import NOBODY, Means
from services.runtime.errors import ServiceError
from services.runtime.waiting import until_set
from services.sealing.browse import Browse, BrowseKind, BrowseRecorder, role_of
from services.sealing.crowd import TOGETHER_S, Crowd, Kind

_MAX_UNDER_WAY: Final = 100


class RefusalMetrics:
    """Refusals by service and reason; every label pair exists from the start."""

    def __init__(self, service: str, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them for `service`."""
        self._refused = Counter(
            "goodstrace_access_refusals_total",
            "Calls refused for who made them, by service and reason.",
            ["service", "reason"],
            registry=registry,
        )
        self._service = service
        for reason in Reason:
            self._refused.labels(service, reason.value)
        self.unrecorded = Counter(
            "goodstrace_access_refusals_unrecorded_total",
            "Refusals of which no browse record could be made; should stay 0.",
            registry=registry,
        )

    def count(self, refusal: Refusal) -> None:
        """Count one."""
        self._refused.labels(self._service, refusal.reason.value).inc()


class Refusals:
    """Notes refusals; `note` is what a guard is given."""

    def __init__(
        self,
        recorder: BrowseRecorder,
        metrics: RefusalMetrics,
        log: structlog.stdlib.BoundLogger,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Record by `recorder`; `clock_s` never goes back."""
        self._recorder, self._metrics, self._log = recorder, metrics, log
        self._crowd = Crowd(clock_s)
        self._under_way: set[asyncio.Task[None]] = set()

    def note(self, refusal: Refusal) -> None:
        """Note one, without waiting; called from the event loop."""
        self._metrics.count(refusal)
        self._log.info(
            "refused a caller",
            operation=refusal.operation,
            reason=refusal.reason.value,
            network=refusal.network,
        )
        kind = Kind(
            refusal.reason.value, refusal.operation, refusal.network, names_somebody=refusal.who != NOBODY
        )
        if len(self._under_way) >= _MAX_UNDER_WAY or not self._crowd.has_own(kind):
            self._crowd.join(kind)
            return
        task = asyncio.create_task(self._record(browse_of(refusal), 1))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def run(self, stop: asyncio.Event) -> None:
        """Record those above the rate together, every ten seconds, until `stop`; then what is left."""
        while not await until_set(stop, TOGETHER_S):
            await self.flush()
        await self.flush()

    async def flush(self) -> None:
        """Record now what was counted, and wait for what is under way."""
        await asyncio.gather(
            *(
                self._record(
                    browse_of(Refusal("", kind.operation, NOBODY, Reason(kind.outcome), kind.network), times),
                    times,
                )
                for kind, times in self._crowd.taken()
            )
        )
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _record(self, browse: Browse, times: int) -> None:
        try:
            await self._recorder.record(browse)
        except ServiceError as error:
            self._metrics.unrecorded.inc(times)
            self._log.warning("a refusal could not be recorded", times=times, cause=str(error))


def browse_of(refusal: Refusal, times: int = 1) -> Browse:
    """Say what is recorded of a refusal. Pure."""
    who = refusal.who
    return Browse(
        user=who.name,
        merchant=who.merchant,
        method=refusal.operation.rpartition("/")[2]
        if refusal.operation.startswith("/")
        else refusal.operation,
        keys=(),
        sizes={},
        purpose="",
        events=0,
        kind=BrowseKind.REFUSAL,
        means="" if who.means is Means.NOTHING else who.means,
        network=refusal.network,
        refused=refusal.reason,
        times=times,
        role=role_of(who),
    )
