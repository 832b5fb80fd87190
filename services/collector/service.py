"""The collector as a process: its parts started, watched, and stopped in order."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from services.collector.producer import GroupCommit
from services.collector.projector import Projector
from services.collector.runner import Runner
from services.runtime.errors import ServiceError
from services.runtime.monitoring import Readiness

_DRAIN_S: Final = 15
_LOOK_S: Final = 0.02


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class Api:
    """The HTTP part: the server, and the group commit behind it."""

    def __init__(
        self, app: FastAPI, host: str, port: int, commits: GroupCommit, log: structlog.stdlib.BoundLogger
    ) -> None:
        """Prepare to serve `app` on `host`:`port`."""
        self._commits = commits
        self._log = log
        self._server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=_DRAIN_S,
                timeout_keep_alive=30,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )

    async def run(self, stop: asyncio.Event, readiness: Readiness) -> None:
        """Serve until asked to stop; then finish the captures that have begun. Raises: ServiceError."""
        committing = asyncio.create_task(self._commits.run(self._log))
        serving = asyncio.create_task(self._serve())
        stopping = asyncio.create_task(stop.wait())
        starting = asyncio.create_task(self._tell_started(readiness))
        try:
            await asyncio.wait({committing, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._server.should_exit = True
            await serving
            self._commits.close()
            stopping.cancel()
            starting.cancel()
            await committing
        if not stop.is_set():
            raise ServiceError("the capture API ended by itself: is its port taken?")

    async def _serve(self) -> None:
        # Where the port is taken, uvicorn has said so and wants to end the process: that is for our caller to do.
        with contextlib.suppress(SystemExit):
            await self._server.serve()

    async def _tell_started(self, readiness: Readiness) -> None:
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has a flag only
            await asyncio.sleep(_LOOK_S)
        readiness.set("api")


async def run_parts(
    stop: asyncio.Event,
    readiness: Readiness,
    api: Api | None,
    runner: Runner | None,
    projector: Projector | None,
) -> None:
    """Run what there is until asked to stop, or until one of them fails: then stop the others and raise its error.

    On a stop the API goes first, so that nothing comes in while the stages finish their batch.
    """
    drained = asyncio.Event()  # set when no capture can come in any more
    parts: set[asyncio.Task[None]] = set()
    if runner:
        parts.add(asyncio.create_task(runner.run(drained, started=lambda: readiness.set("stages"))))
    if projector:
        parts.add(asyncio.create_task(projector.run(drained)))
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
