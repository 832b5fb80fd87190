"""How a service starts and stops: SIGTERM and SIGINT ask it to finish what it holds; a second one ends it at once."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import structlog
import uvloop

from services.runtime.errors import ServiceError, SettingsError
from services.runtime.settings import EXIT_BAD_SETTINGS

EXIT_FAILED = 1
# How long a thread that comes back from the network waits for a busy one: each call of a driver does so several times.
_THREAD_SWITCH_S: Final = 0.001


def run(
    service: Callable[[asyncio.Event], Awaitable[None]],
    log: structlog.stdlib.BoundLogger,
    asked_by: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> None:
    """Run a service until it returns or fails; it gets an event that is set when it shall stop, as it is by one of the signals `asked_by`.

    Exits with 1 after a failure, which is logged with its category, with 2 where a setting is wrong; returns after a graceful stop.
    """
    gc.freeze()  # what was imported stays: the collector need not look at it again and again
    sys.setswitchinterval(_THREAD_SWITCH_S)
    try:
        uvloop.run(_supervised(service, log, asked_by))
    except ServiceError as error:
        # The cause is in the text and a traceback would bury it.
        log.error("stopped by a fault", category=error.category, error=str(error))  # noqa: TRY400
        sys.exit(EXIT_BAD_SETTINGS if isinstance(error, SettingsError) else EXIT_FAILED)


async def together(stop: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Run parts of a service that each end at `stop`; where one ends before, stop the others too and raise its error."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in (*done, *tasks):  # a later fault mostly follows from the first
        task.result()


async def _supervised(
    service: Callable[[asyncio.Event], Awaitable[None]],
    log: structlog.stdlib.BoundLogger,
    asked_by: Sequence[signal.Signals],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask(name: str) -> None:
        if stop.is_set():
            log.warning("second signal: ending at once", signal=name)
            sys.exit(EXIT_FAILED)
        log.info("asked to stop", signal=name)
        stop.set()

    for number in asked_by:
        loop.add_signal_handler(number, ask, number.name)
    await service(stop)
    log.info("stopped")
