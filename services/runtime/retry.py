"""Repeating a call while a neighbour is away: in place, with growing waits, for as long as it takes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from services.runtime.errors import ServiceError
from services.runtime.waiting import until_set

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

    Tenacity is asked only after a failure: it takes 30 us, a twelfth of what a ledger's interpreter does at a steady load.
    """
    try:
        return await call()
    except ServiceError as error:
        if not error.retry:
            raise
        failed: list[ServiceError] = [error]

    def tell(state: RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome else None
        if isinstance(fault, ServiceError):
            noticed(fault)

    async def sleep(seconds: float) -> None:
        if stop is None:
            await asyncio.sleep(seconds)
            return
        if await until_set(stop, seconds):
            raise StopAskedError("asked to stop")

    async def attempt() -> T:  # tenacity awaits what it can see to be a coroutine function only
        if failed:  # the first time: the wait and the notice are of the failure that was before
            raise failed.pop()
        return await call()

    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda fault: isinstance(fault, ServiceError) and fault.retry),
        wait=wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S),
        before_sleep=tell,
        sleep=sleep,
        reraise=True,
    )
    return await retrying(attempt)
