"""Doing something again until it works: in place, with a growing pause, as long as nobody asks to stop."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from services.collector.metrics import Metrics
from services.runtime.errors import ServiceError

T = TypeVar("T")
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0


async def persistently(
    attempt: Callable[[], Awaitable[T]],
    loop_name: str,
    stop: asyncio.Event,
    metrics: Metrics,
    log: structlog.stdlib.BoundLogger,
) -> T | None:
    """Await `attempt` again and again while it fails in a way that may pass; None where the stop comes first.

    Raises: ServiceError that a retry does not mend.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return await attempt()
        except ServiceError as error:
            metrics.failures.labels(loop_name, error.category).inc()
            if not error.retry:
                raise
            log.warning("failed, trying again", loop=loop_name, category=error.category, error=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
        if stop.is_set():
            return None
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
