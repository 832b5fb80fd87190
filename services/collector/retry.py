"""Doing something again until it works, as long as nobody asks to stop; each failure is counted and logged."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from services.collector.metrics import Metrics
from services.runtime.errors import ServiceError
from services.runtime.retry import StopAskedError, retried

T = TypeVar("T")


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

    def noticed(error: ServiceError) -> None:
        metrics.failures.labels(loop_name, error.category).inc()
        log.warning("failed, trying again", loop=loop_name, category=error.category, error=str(error))

    try:
        return await retried(attempt, noticed, stop)
    except StopAskedError:
        return None
    except ServiceError as error:
        metrics.failures.labels(loop_name, error.category).inc()
        raise
