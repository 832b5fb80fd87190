"""Asking the neighbours, again and again, whether a service can do its work: what `/readyz` says."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn

from services.runtime.errors import ServiceError
from services.runtime.monitoring import Readiness

PROBE_EVERY_S: Final = 2.0
_FIRST_PAUSE_S: Final = 0.1
Probe = Callable[[], Awaitable[None]]


async def watch(
    readiness: Readiness, probes: Mapping[str, Probe], stop: asyncio.Event, *, every_s: float
) -> None:
    """Run each probe every `every_s` seconds until `stop`; one that raises a ServiceError is a problem of its name. From `stop` on nothing is ready.

    After a problem they are run again sooner, at pauses that double from 0.1 s: services that start together wait for each other no longer than they must.
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
    pause_s = _FIRST_PAUSE_S
    while True:
        hold = await asyncio.gather(*(_probe(readiness, name, probe) for name, probe in probes.items()))
        if all(hold):
            pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(every_s)
        else:
            await asyncio.sleep(min(pause_s, every_s))
            pause_s = min(2 * pause_s, every_s)


async def _probe(readiness: Readiness, name: str, probe: Probe) -> bool:
    try:
        await probe()
    except ServiceError as error:
        readiness.set(name, problem=str(error))
        return False
    readiness.set(name)
    return True
