"""What `/readyz` says while neighbours come and go, and from the moment at which a service shall stop."""

import asyncio
import time

import pytest

from services.runtime.errors import UnavailableError
from services.runtime.monitoring import Readiness
from services.runtime.probes import watch
from tests.deadlines import DEADLINE_S


async def until(readiness: Readiness, problems: dict[str, str]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while readiness.problems() != problems:  # noqa: ASYNC110 - it is told from threads, too
            await asyncio.sleep(0.001)


async def test_problems_come_and_go() -> None:
    readiness, stop, away = Readiness("mongodb"), asyncio.Event(), [True]

    async def ping() -> None:
        if away[0]:
            raise UnavailableError("refused")

    watching = asyncio.create_task(watch(readiness, {"mongodb": ping}, stop, every_s=0.001))
    await until(readiness, {"mongodb": "refused"})
    away[0] = False
    await until(readiness, {})
    stop.set()
    await watching
    assert readiness.problems() == {"started": "stopping"}


async def test_what_did_not_hold_is_asked_again_soon_and_what_held_is_not() -> None:
    readiness, stop, asked = Readiness("mongodb"), asyncio.Event(), 0

    async def up_at_the_third() -> None:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise UnavailableError("refused")

    watching = asyncio.create_task(watch(readiness, {"mongodb": up_at_the_third}, stop, every_s=3600))
    await until(readiness, {})
    stop.set()
    await watching
    assert asked == 3


async def test_a_long_outage_is_asked_about_no_more_often_than_it_was_told() -> None:
    asked, stop = 0, asyncio.Event()

    async def away() -> None:
        nonlocal asked
        asked += 1
        if asked == 100:
            stop.set()
        raise UnavailableError("refused")

    began = time.monotonic()
    await watch(Readiness(), {"mongodb": away}, stop, every_s=0.01)
    assert time.monotonic() - began >= 99 * 0.01


async def test_stopping_is_said_while_a_probe_hangs() -> None:
    readiness, stop, begun = Readiness(), asyncio.Event(), asyncio.Event()

    async def hangs() -> None:
        begun.set()
        await asyncio.Event().wait()

    watching = asyncio.create_task(watch(readiness, {"mongodb": hangs}, stop, every_s=0.001))
    await begun.wait()
    assert not readiness.problems()
    stop.set()
    await until(readiness, {"started": "stopping"})
    async with asyncio.timeout(DEADLINE_S):
        await watching


async def test_what_is_no_fault_of_a_neighbour_is_raised() -> None:
    async def at_fault() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await watch(Readiness(), {"mongodb": at_fault}, asyncio.Event(), every_s=0.001)
