"""Lives of ledgers as processes: started, killed at a point by themselves or by a signal, and the log checked after each."""

import asyncio
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.crash_campaign import World
from tests.crash_driver import Life
from tests.deadlines import DEADLINE_S

ROOT = Path(__file__).resolve().parents[1]


class Process:
    """One process over a world's topic and store."""

    def __init__(self, world: World, prefix: str, uri: str, *, group: str = "", **told: object) -> None:
        life = Life(
            bootstrap=world.bootstrap, topic=world.name, group=group or f"{world.name}.{uuid.uuid4().hex}", uri=uri,
            database=world.mongo.database.name, keys=str(world.folder), prefix=prefix,
        )  # fmt: skip
        self.world, self.prefix = world, prefix
        self._log = world.folder.parent / f"{uuid.uuid4().hex}.log"
        told_life = msgspec.json.encode(msgspec.structs.replace(life, **told)).decode()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash_driver", told_life],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def sealed(self, records: int) -> bool:
        """Wait until so many records are published; False where the process ended before."""
        async with asyncio.timeout(DEADLINE_S):
            while await self.world.size(self.prefix) < records:
                if self.process.poll() is not None:
                    return False
                await asyncio.sleep(0.02)
        return True

    async def told(self, what: str, times: int) -> None:
        """Wait until it has logged something so many times."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                if self.has_told(what, times):
                    return
                await asyncio.sleep(0.02)

    def has_told(self, what: str, times: int) -> bool:
        """Say whether it has logged something so many times; it must run still."""
        output = self.output()
        assert self.process.poll() is None, output
        return output.count(what) >= times

    def output(self) -> str:
        """What it printed and logged."""
        return self._log.read_text(errors="replace")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, if it runs still."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(DEADLINE_S)

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.process.poll() == -signal.SIGKILL


async def kill_in_turn(
    world: World, uri: str, prefix: str, points: Sequence[tuple[str, int, bool]], records: int
) -> int:
    """Let one process after the other go on with one log, each killed at its point; give how many were.

    After each the log must be intact, and at the end hold `records` records.
    """
    killed = 0
    for call, nth, after in points:
        process = Process(world, prefix, uri, call=call, nth=nth, after=after)
        await process.sealed(records)
        process.end()
        killed += process.killed
        await world.assert_intact(prefix)
    last = Process(world, prefix, uri)
    assert await last.sealed(records)
    last.end()
    assert last.process.returncode == 0
    await world.assert_whole(prefix, records)
    return killed
