"""Asking the neighbours, again and again, whether a service can do its work: what `/readyz` says."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from services.runtime.errors import ServiceError
from services.runtime.monitoring import Readiness

PROBE_EVERY_S: Final = 2.0
Probe = Callable[[], Awaitable[None]]


async def watch(
    readiness: Readiness, probes: Mapping[str, Probe], stop: asyncio.Event, *, every_s: float
) -> None:
    """Run each probe every `every_s` seconds until `stop`; one that raises a ServiceError is a problem of its name. From `stop` on nothing is ready.

    A probe bounds its own time.
    """
    while not stop.is_set():
        await asyncio.gather(*(_probe(readiness, name, probe) for name, probe in probes.items()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every_s)
    readiness.set("started", problem="stopping")


async def _probe(readiness: Readiness, name: str, probe: Probe) -> None:
    try:
        await probe()
    except ServiceError as error:
        readiness.set(name, problem=str(error))
    else:
        readiness.set(name)
