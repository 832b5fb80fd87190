"""Waiting for an event: no longer than asked for, and no longer than until it is set."""

import asyncio

import pytest

from services.runtime.waiting import until_set


@pytest.mark.parametrize("most_s", [0.0, 60.0, None])
async def test_what_is_set_is_not_waited_for(most_s: float | None) -> None:
    event = asyncio.Event()
    event.set()
    async with asyncio.timeout(5):
        assert await until_set(event, most_s)


@pytest.mark.parametrize("most_s", [60.0, None])
async def test_an_event_ends_the_waiting(most_s: float | None) -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, event.set)
    async with asyncio.timeout(5):
        assert await until_set(event, most_s)


@pytest.mark.parametrize("most_s", [0.0, 0.01])
async def test_the_time_ends_the_waiting(most_s: float) -> None:
    async with asyncio.timeout(5):
        assert not await until_set(asyncio.Event(), most_s)
