"""Asking the neighbours, again and again, whether a service can do its work: what `/readyz` says."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn

from services.runtime.errors import ServiceError
from services.runtime.monitoring import Readiness

PROBE_EVERY_S: Final = 2.0
Probe = Callable[[], Awaitable[None]]


async def watch(
    readiness: Readiness, probes: Mapping[str, Probe], stop: asyncio.Event, *, every_s: float
) -> None:
    """Run each probe every `every_s` seconds until `stop`; one that raises a ServiceError is a problem of its name. From `stop` on nothing is ready.

    A probe bounds its own time. One that is under way at `stop` is given up: balancers have no more than the notice to see that nothing is ready.
    """
    probing = asyncio.create_task(_again(readiness, probes, every_s))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({probing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if probing.done():
            probing.result()  # raises what is no ServiceError
        readiness.set("started", problem="stopping")
    finally:
        probing.cancel()
        stopping.cancel()
        await asyncio.gather(probing, stopping, return_exceptions=True)


async def _again(readiness: Readiness, probes: Mapping[str, Probe], every_s: float) -> NoReturn:
    while True:
        await asyncio.gather(*(_probe(readiness, name, probe) for name, probe in probes.items()))
        await asyncio.sleep(every_s)


async def _probe(readiness: Readiness, name: str, probe: Probe) -> None:
    try:
        await probe()
    except ServiceError as error:
        readiness.set(name, problem=str(error))
    else:
        readiness.set(name)
