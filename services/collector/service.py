"""The collector as a process: its parts started, watched, and stopped in order."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from fastapi import FastAPI

from services.collector.following import Following
from services.collector.producer import GroupCommit
from services.collector.runner import Runner
from services.runtime.http import HttpServer
from services.runtime.monitoring import Readiness

_DRAIN_S: Final = 15
_MAX_CONNECTIONS: Final = 1000


class Api:
    """The HTTP part: the server, and the group commit behind it."""

    def __init__(
        self, app: FastAPI, host: str, port: int, commits: GroupCommit, log: structlog.stdlib.BoundLogger
    ) -> None:
        """Prepare to serve `app` on `host`:`port`."""
        self._commits = commits
        self._log = log
        self._server = HttpServer(app, host, port, max_connections=_MAX_CONNECTIONS, drain_s=_DRAIN_S)

    async def run(self, stop: asyncio.Event, readiness: Readiness) -> None:
        """Serve until asked to stop; then finish the captures that have begun. Raises: ServiceError."""
        ending = asyncio.Event()
        committing = asyncio.create_task(self._commits.run(self._log))
        serving = asyncio.create_task(self._server.run(ending, lambda _: readiness.set("api")))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({committing, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            ending.set()
            await asyncio.wait({serving})
            self._commits.close()
            await committing
        serving.result()


async def run_parts(
    stop: asyncio.Event,
    readiness: Readiness,
    api: Api | None,
    runner: Runner | None,
    followers: Sequence[Following],
) -> None:
    """Run what there is until asked to stop, or until one of them fails: then stop the others and raise its error.

    On a stop the API goes first, so that nothing comes in while the stages finish their batch.
    """
    drained = asyncio.Event()  # set when no capture can come in any more
    parts: set[asyncio.Task[None]] = set()
    if runner:
        parts.add(asyncio.create_task(runner.run(drained, started=lambda: readiness.set("stages"))))
    parts.update(asyncio.create_task(each.run(drained)) for each in followers)
    serving = asyncio.create_task(api.run(stop, readiness) if api else _wait(stop))
    readiness.set("started")
    try:
        await asyncio.wait({serving, *parts}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        await asyncio.wait({serving})
        drained.set()
        if parts:
            await asyncio.wait(parts)
    for task in (serving, *parts):
        task.result()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()
