"""Repeating a call while a neighbour is away: in place, with growing waits, for as long as it takes."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from services.runtime.errors import ServiceError

T = TypeVar("T")
FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 2.0


class StopAskedError(ServiceError):
    """The process was asked to stop while a call was being repeated; whether it was ever done is not known."""

    category = "stopped"


async def retried(
    call: Callable[[], Awaitable[T]],
    noticed: Callable[[ServiceError], None],
    stop: asyncio.Event | None = None,
) -> T:
    """Repeat an idempotent call until it succeeds.

    Args:
        call: what to do.
        noticed: told of each failure that is worth a retry.
        stop: set when the process shall stop; without it, whoever waits is cancelled instead.
    Raises: StopAskedError; ServiceError not worth a retry, at once.
    """
    longest_s = FIRST_WAIT_S
    while True:
        try:
            return await call()
        except ServiceError as error:
            if not error.retry:
                raise
            noticed(error)
        await _pause(random.uniform(0, longest_s), stop)  # noqa: S311 - spreads those who wait
        longest_s = min(2 * longest_s, LONGEST_WAIT_S)


async def _pause(seconds: float, stop: asyncio.Event | None) -> None:
    """Wait. Raises: StopAskedError."""
    if stop is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    if stop.is_set():
        raise StopAskedError("asked to stop")
