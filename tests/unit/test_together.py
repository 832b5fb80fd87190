"""Reads made together: each begins after it was asked for, and nobody gets another's error or waits beyond his time."""

import asyncio
from collections.abc import Collection, Coroutine

import pytest

from services.runtime.errors import OutOfTimeError, UnavailableError
from services.runtime.mongo import within
from services.runtime.together import AT_ONCE, Together, gathered

MOST = 4


class Store:
    """Gives each key as text once it may; notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[set[int]] = []
        self.may = asyncio.Event()
        self.bad: dict[int, Exception] = {}

    async def read(self, keys: Collection[int]) -> dict[int, str]:
        self.asked.append(set(keys))
        await self.may.wait()
        for key in keys:
            if key in self.bad:
                raise self.bad[key]
        return {key: str(key) for key in keys if key >= 0}


async def _begun(store: Store, *keys: Collection[int]) -> list[asyncio.Task[dict[int, str]]]:
    together = Together(store.read, MOST)

    async def get(some: Collection[int]) -> dict[int, str]:
        found = await together.get(some)
        return {key: found[key] for key in some if key in found}

    tasks = [asyncio.create_task(get(some)) for some in keys]
    for _ in range(4):
        await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_reads_are_under_way_goes_into_the_next_up_to_a_bound() -> None:
    store = Store()
    tasks = await _begun(store, [1], [2], [3], [4], [3, 5], [6], [7])
    assert store.asked == [{1}, {2}]
    assert len(store.asked) == AT_ONCE
    store.may.set()
    assert await asyncio.gather(*tasks) == [
        {1: "1"},
        {2: "2"},
        {3: "3"},
        {4: "4"},
        {3: "3", 5: "5"},
        {6: "6"},
        {7: "7"},
    ]
    assert store.asked[AT_ONCE:] == [{3, 4, 5, 6}, {7}]


async def test_any_number_of_callers_share_a_read_of_the_same() -> None:
    store = Store()
    tasks = await _begun(store, *[[1]] * (AT_ONCE + 4 * MOST))
    store.may.set()
    assert await asyncio.gather(*tasks) == [{1: "1"}] * len(tasks)
    assert store.asked == [{1}] * (AT_ONCE + 1)


async def test_calls_gathered_come_in_their_order() -> None:
    async def told(what: int) -> int:
        await asyncio.sleep(0.001 * (3 - what))
        return what

    assert await gathered([told(1)]) == [1]
    assert await gathered([told(1), told(2), told(3)]) == [1, 2, 3]
    assert await gathered(list[Coroutine[None, None, int]]()) == []


async def test_a_caller_may_ask_for_more_than_the_bound_and_for_what_is_not_there() -> None:
    store = Store()
    store.may.set()
    tasks = await _begun(store, range(2 * MOST), [-1])
    assert [len(await task) for task in tasks] == [2 * MOST, 0]


async def test_only_who_asks_for_what_is_damaged_gets_the_error() -> None:
    store = Store()
    store.bad[4] = ValueError("damaged")
    tasks = await _begun(store, [1], [2], [3], [4])
    store.may.set()
    assert await tasks[2] == {3: "3"}
    with pytest.raises(ValueError, match="damaged"):
        await tasks[3]


async def test_a_store_that_is_away_is_asked_once_for_all() -> None:
    store = Store()
    store.bad[3] = UnavailableError("away")
    tasks = await _begun(store, [1], [2], [3], [4])
    store.may.set()
    for task in tasks[2:]:
        with pytest.raises(UnavailableError, match="away"):
            await task
    assert len(store.asked) == AT_ONCE + 1


async def test_a_caller_waits_as_long_as_his_time_lasts_and_the_others_go_on() -> None:
    store = Store()
    together = Together(store.read, MOST)
    other = asyncio.create_task(together.get([1]))
    with pytest.raises(OutOfTimeError), within(0.01):
        await together.get([1])
    store.may.set()
    assert await other == {1: "1"}


async def test_a_caller_that_gave_up_is_not_read_for() -> None:
    store = Store()
    tasks = await _begun(store, [1], [2], [3], [4])
    tasks[2].cancel()
    await asyncio.sleep(0)
    store.may.set()
    assert await tasks[3] == {4: "4"}
    assert store.asked[AT_ONCE:] == [{4}]
