"""Logs checked side by side in processes of their own: hashing keeps one core each, so tasks of one process do not help."""

import asyncio
import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final, Self

import msgspec

from goodstrace.note import Verifier
from goodstrace.policy import Policy
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings, load
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.feeding import Check, Progress, check_log
from services.sealing.fsck.saved import Saved
from services.sealing.fsck.scan import MongoDocuments
from services.sealing.values import LogInfo

TELL_EVERY_S: Final = 0.5
Told = Callable[[str, Progress], None]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A log to check, as a worker process is told; see feeding.Check. `policy` is the file's text, `trusted` a vkey."""

    info: LogInfo
    mongo: MongoSettings | None = None
    trusted: str | None = None
    policy: bytes | None = None
    saved: tuple[Saved, ...] = ()
    start: Progress | None = None
    repair: bool = False


class _Failed(msgspec.Struct, frozen=True):
    problem: str


def run(jobs: Sequence[Job], workers: int, told: Told) -> list[Verdict]:
    """Check logs.

    Args:
        jobs: one for each log, the longest first.
        workers: processes at once; with 1 the check is made in this one.
        told: called in this process with a log and how far it was checked, now and then.
    Raises: UnavailableError, also where a worker died; KeyboardInterrupt ends all workers.
    """
    if workers <= 1 or len(jobs) <= 1:
        return [asyncio.run(_check(job, partial(told, job.info.name))) for job in jobs]
    with _Workers(min(workers, len(jobs))) as pool:
        return pool.run(jobs, told)


class _Workers:
    """Processes that check one log after the other, made by `spawn`: nothing of this process is shared."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, BaseProcess] = {}
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._processes[ours] = process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection, process in self._processes.items():
            with contextlib.suppress(OSError):
                connection.send(None)
            connection.close()
            process.terminate()
            process.join()

    def run(self, jobs: Sequence[Job], told: Told) -> list[Verdict]:
        """Give each worker a job as soon as it is free."""
        waiting = list(jobs)
        at_work: dict[Connection, str] = {}
        verdicts: list[Verdict] = []
        for connection in self._processes:
            self._give(connection, waiting, at_work)
        while at_work:
            for ready in wait(list(at_work)):
                assert isinstance(ready, Connection)
                answer = self._answer(ready, at_work[ready])
                if isinstance(answer, Progress):
                    told(at_work[ready], answer)
                    continue
                verdicts.append(answer)
                self._give(ready, waiting, at_work)
        return verdicts

    def _give(self, connection: Connection, waiting: list[Job], at_work: dict[Connection, str]) -> None:
        at_work.pop(connection, None)
        if waiting:
            job = waiting.pop(0)
            connection.send(job)
            at_work[connection] = job.info.name

    def _answer(self, connection: Connection, log: str) -> Progress | Verdict:
        try:
            answer = connection.recv()
        except (EOFError, OSError) as error:
            process = self._processes[connection]
            process.join(1)
            raise UnavailableError(
                f"{log}: the process that checked it ended with {process.exitcode}"
            ) from error
        if isinstance(answer, _Failed):
            raise UnavailableError(answer.problem)
        assert isinstance(answer, Progress | Verdict)
        return answer


def _work(connection: Connection) -> None:
    """Be a worker process: take jobs until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    with contextlib.suppress(EOFError, BrokenPipeError):
        while (job := connection.recv()) is not None:
            try:
                connection.send(asyncio.run(_check(job, connection.send)))
            except ServiceError as error:
                connection.send(_Failed(f"{job.info.name}: {error}"))


async def _check(job: Job, tell: Callable[[Progress], None]) -> Verdict:
    last = 0.0

    def told(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= TELL_EVERY_S:
            last = now
            tell(progress)

    check = Check(
        info=job.info,
        trusted=Verifier.parse(job.trusted) if job.trusted else None,
        policy=Policy.parse(job.policy) if job.policy is not None else None,
        saved=job.saved,
        start=job.start,
        repair=job.repair,
        told=told,
    )
    mongo = Mongo(job.mongo or load(MongoSettings))
    try:
        return await check_log(MongoDocuments(mongo.database), check)
    finally:
        mongo.close()
