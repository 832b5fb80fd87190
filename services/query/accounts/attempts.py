"""Every attempt to sign in is a browse record. Refused ones, over a rate, are counted and recorded together (`services.sealing.crowd`).

Of a name that nobody has nothing is recorded: people type passwords into the wrong field, and what is sealed stays.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from services.query.accounts.metrics import LoginMetrics, Outcome
from services.runtime.access.values import Means
from services.runtime.errors import UnavailableError
from services.runtime.waiting import until_set
from services.sealing.browse import Browse, BrowseKind, Recorder
from services.sealing.crowd import TOGETHER_S, Crowd, Kind

UNKNOWN: Final = "unknown"
SEVERAL: Final = "several"


class Attempts:
    """Records, counts and logs attempts. The log names nobody, since it cannot be erased: it has the ID of the record that does."""

    def __init__(
        self,
        recorder: Recorder,
        clock_s: Callable[[], float],
        metrics: LoginMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Record with `recorder`; `clock_s` never goes back."""
        self._recorder, self._metrics, self._log = recorder, metrics, log
        self._crowd = Crowd(clock_s)

    async def granted(self, method: str, user: str, merchant: int, means: Means, network: str) -> None:
        """Record that somebody was let in: only then may the tokens leave. Raises: UnavailableError."""
        browse = await self._recorder.record(
            _browse(method, user, merchant=merchant, means=means, network=network, refused="")
        )
        self._metrics.attempts.labels(Outcome.GRANTED.value).inc()
        self._log.info("let in", method=method, browse=browse, means=means.value, network=network)

    async def refused(self, method: str, user: str, outcome: Outcome, network: str) -> None:
        """Record that somebody was not let in, or join it to others. `user` is an account's name, or UNKNOWN. What cannot be recorded is logged."""
        self._metrics.attempts.labels(outcome.value).inc()
        kind = Kind(outcome.value, method, network, names_somebody=user != UNKNOWN)
        if not self._crowd.has_own(kind):
            self._crowd.join(kind)
            self._metrics.records_joined.inc()
            return
        browse = await self._try(_browse(method, user, network=network, refused=outcome.value))
        self._log.info("not let in", method=method, browse=browse, outcome=outcome.value, network=network)

    async def flush(self) -> None:
        """Record what was joined, each record with how many it stands for; what cannot be recorded now is joined again. All at once: where Kafka is away that takes one time-out."""
        await asyncio.gather(*(self._record(kind, times) for kind, times in self._crowd.taken()))

    async def _record(self, kind: Kind, times: int) -> None:
        joined = _browse(kind.operation, SEVERAL, network=kind.network, refused=kind.outcome, times=times)
        browse = await self._try(joined)
        self._log.info(
            "not let in",
            method=kind.operation,
            browse=browse,
            outcome=kind.outcome,
            network=kind.network,
            times=times,
        )
        if not browse:
            self._crowd.join(kind, times)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush every `TOGETHER_S` seconds until `stop`, and once more then."""
        while not await until_set(stop, TOGETHER_S):
            await self.flush()
        await self.flush()

    async def _try(self, browse: Browse) -> str:
        """Record it; gives the record's ID, empty where that cannot be."""
        try:
            return await self._recorder.record(browse)
        except UnavailableError as error:
            self._log.warning("a refused attempt is not recorded", cause=str(error), outcome=browse.refused)
            return ""


def _browse(
    method: str,
    user: str,
    *,
    merchant: int = 0,
    means: Means | None = None,
    network: str = "",
    refused: str,
    times: int = 1,
) -> Browse:
    return Browse(
        user=user,
        method=method,
        keys=(),
        sizes={},
        purpose="",
        events=0,
        merchant=merchant,
        kind=BrowseKind.SIGN_IN,
        means=means.value if means else "",
        network=network,
        refused=refused,
        times=times,
    )
