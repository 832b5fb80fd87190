"""The collector as a process: its parts started, watched, and stopped in order."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog
from fastapi import FastAPI

from services.collector.producer import GroupCommit
from services.runtime.http import HttpServer
from services.runtime.monitoring import Readiness
from services.runtime.tls import ServedCertificate
from services.runtime.tracing.http import traced

_MAX_CONNECTIONS: Final = 1000


class Leaving(msgspec.Struct, frozen=True):
    """How a port is given up: for `notice_s` it goes on, so that balancers see it; then what has begun may take `drain_s`."""

    notice_s: float = 0.5
    drain_s: float = 15.0


LEAVING: Final = Leaving()


class Edge(Protocol):
    """A port on which captures come in; `name` is that of its readiness."""

    name: str

    async def run(self, stop: asyncio.Event, started: Callable[[int], None]) -> None:
        """Serve until `stop`, then end what has begun; `started` is told the bound port. Raises: ServiceError."""


class HttpEdge:
    """Captures over HTTP."""

    name = "api"

    def __init__(
        self,
        app: FastAPI,
        host: str,
        port: int,
        certificate: ServedCertificate | None = None,
        *,
        leaving: Leaving = LEAVING,
        share_port: bool = False,
    ) -> None:
        """Prepare to serve `app` on `host`:`port`, by TLS with a certificate; with `share_port` others may listen there too."""
        self._server = HttpServer(
            traced(app),
            host,
            port,
            max_connections=_MAX_CONNECTIONS,
            drain_s=leaving.drain_s,
            notice_s=leaving.notice_s,
            share_port=share_port,
            certificate=certificate,
        )

    async def run(self, stop: asyncio.Event, started: Callable[[int], None]) -> None:
        """Serve until `stop`."""
        await self._server.run(stop, started)


class Api:
    """What answers when a capture is durable: its edges, and the group commit behind them."""

    def __init__(
        self, edges: Sequence[Edge], commits: GroupCommit, log: structlog.stdlib.BoundLogger
    ) -> None:
        """Prepare to serve."""
        self.edges = edges
        self._commits = commits
        self._log = log

    async def run(self, stop: asyncio.Event, readiness: Readiness) -> None:
        """Serve until asked to stop; then finish the captures that have begun. Raises: ServiceError."""
        ending = asyncio.Event()
        committing = asyncio.create_task(self._commits.run(self._log))
        serving = [asyncio.create_task(self._serve(edge, ending, readiness)) for edge in self.edges]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({committing, *serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            ending.set()
            await asyncio.wait(serving)
            self._commits.close()
            await committing
        for each in serving:
            each.result()

    async def _serve(self, edge: Edge, ending: asyncio.Event, readiness: Readiness) -> None:
        def started(port: int) -> None:
            self._log.info("serving", edge=edge.name, port=port)
            readiness.set(edge.name)

        await edge.run(ending, started)


class Part(Protocol):
    """A part that works from topic to topic or store: the ingress, the stages, the projector."""

    async def run(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        """Work until `stop`; `started` is called once it reads. Raises: ServiceError that a retry does not mend."""


async def run_parts(
    stop: asyncio.Event,
    readiness: Readiness,
    *,
    api: Api | None,
    ingress: Part | None,
    behind: dict[str, Part],
) -> None:
    """Run what there is until asked to stop, or until one of them fails: then stop the others and raise its error.

    On a stop the ways in go first, so that nothing comes in while the parts `behind` them, by the name of their readiness,
    finish their batch.
    """
    drained = asyncio.Event()  # set when no capture can come in any more
    parts = [asyncio.create_task(_run(each, name, drained, readiness)) for name, each in behind.items()]
    ways_in = [asyncio.create_task(api.run(stop, readiness) if api else _wait(stop))]
    if ingress:
        ways_in.append(asyncio.create_task(_run(ingress, "ingress", stop, readiness)))
    readiness.set("started")
    try:
        await asyncio.wait({*ways_in, *parts}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        await asyncio.wait(ways_in)
        drained.set()
        if parts:
            await asyncio.wait(parts)
    for task in (*ways_in, *parts):
        task.result()


async def _run(part: Part, name: str, stop: asyncio.Event, readiness: Readiness) -> None:
    await part.run(stop, lambda: readiness.set(name))


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()
