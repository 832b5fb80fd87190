"""Repeating a call while a neighbour is away."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from services.runtime.errors import ServiceError

T = TypeVar("T")
FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 2.0


async def retried(call: Callable[[], Awaitable[T]], noticed: Callable[[ServiceError], None]) -> T:
    """Repeat an idempotent call until it succeeds, with growing waits; errors not worth a retry are raised at once.

    There is no limit: what is sealed waits for its store, and who waits for this is cancelled when the process stops.
    """
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return await call()
        except ServiceError as error:
            if not error.retry:
                raise
            noticed(error)
        await asyncio.sleep(wait_s * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
