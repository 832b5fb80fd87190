"""The threads of the engine: a call that is over ends its computation, and holds its turn until then."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from services.query.thinking import Engine, StoppedError, Thinking
from tests.deadlines import DEADLINE_S


class Endless:
    """A computation that only its check ends."""

    def __init__(self, thinking: Thinking) -> None:
        self.thinking = thinking
        self.begun, self.ended = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        try:
            while True:
                self.thinking.check()
        finally:
            self.ended.set()


async def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.001)


async def test_a_deadline_ends_the_thread_before_the_turn_is_given_up() -> None:
    engine, turns = Engine(1), asyncio.Semaphore(1)
    work = Endless(thinking := engine.thinking())

    async def call() -> None:
        async with turns:
            try:
                await thinking.run(work)
            finally:
                assert work.ended.is_set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await call()
    assert not turns.locked()
    assert await engine.thinking().run(lambda: 1) == 1  # the one thread is free


async def test_a_second_cancellation_does_not_leave_the_thread_behind() -> None:
    engine = Engine(1)
    thinking, blocked, go_on = engine.thinking(), threading.Event(), threading.Event()

    def work() -> None:
        blocked.set()
        go_on.wait()
        thinking.check()

    task = asyncio.create_task(thinking.run(work))
    await until(blocked.is_set)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_was_waiting_for_a_thread_when_its_call_ended_is_never_computed() -> None:
    engine = Engine(1)
    first, second = Endless(engine.thinking()), Endless(engine.thinking())
    tasks = [asyncio.create_task(each.thinking.run(each)) for each in (first, second)]
    await until(first.begun.is_set)
    for task in reversed(tasks):
        task.cancel()
    for task in tasks:
        with pytest.raises(asyncio.CancelledError):
            await task
    assert first.ended.is_set()
    assert not second.begun.is_set()


async def test_small_computations_have_their_share_beside_endless_ones() -> None:
    engine = Engine(5)
    works = [Endless(engine.thinking()) for _ in range(4)]
    tasks = [asyncio.create_task(each.thinking.run(each)) for each in works]
    await until(lambda: all(each.begun.is_set() for each in works))
    assert await engine.thinking().run(lambda: "small") == "small"
    assert not any(each.ended.is_set() for each in works)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(each.ended.is_set() for each in works)


async def test_errors_of_a_computation_are_its_callers() -> None:
    def fail() -> None:
        raise ValueError("bad")

    thinking = Engine(1).thinking()
    with pytest.raises(ValueError, match="bad"):
        await thinking.run(fail)
    assert await thinking.run(lambda: 2) == 2  # the share was given back
    assert issubclass(StoppedError, Exception)
