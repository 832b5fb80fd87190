"""Rates over several collectors: together they let in what one would, but for a second."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.collector.registry.errors import RateLimitedError
from services.collector.registry.rates import BYTES, EVENTS, Rate, Rates
from services.collector.registry.sharing import FullAt, Sharing, Taken
from services.runtime.errors import UnavailableError

RATES = {EVENTS: Rate(10, 600), BYTES: Rate(1000, 60_000)}
T0_MS = 1_800_000_000_000


class Store:
    """The store in memory: `$max`, then `$inc`. It can be away."""

    def __init__(self) -> None:
        self.away = False
        self.calls = 0
        self.rows: dict[int, dict[str, float]] = {}

    async def add(self, taken: Mapping[int, Mapping[str, Taken]]) -> None:
        self._asked()
        for merchant, of_merchant in taken.items():
            row = self.rows.setdefault(merchant, {})
            for name, each in of_merchant.items():
                row[name] = max(row.get(name, 0.0), each.from_ms) + each.used_ms

    async def full_at_ms(self, merchants: Sequence[int]) -> dict[int, FullAt]:
        self._asked()
        return {each: dict(self.rows[each]) for each in merchants if each in self.rows}

    def _asked(self) -> None:
        self.calls += 1
        if self.away:
            raise UnavailableError("away")


class Collectors:
    """Some collectors on one store; `now_s` moves the clocks of all."""

    def __init__(self, count: int) -> None:
        self.store, self.now_s, self.failures = Store(), 0.0, 0
        self.rates = [Rates(lambda: self.now_s) for _ in range(count)]
        self.sharing = [
            Sharing(
                each, self.store, lambda: self.now_s, lambda: T0_MS + round(self.now_s * 1000), self._failed
            )
            for each in self.rates
        ]

    def _failed(self) -> None:
        self.failures += 1

    async def take(self, which: int, events: int, merchant: int = 1) -> bool:
        await self.sharing[which].meet(merchant, RATES)
        try:
            self.rates[which].take(merchant, RATES, {EVENTS: events, BYTES: 0})
        except RateLimitedError:
            return False
        return True

    async def second(self) -> None:
        self.now_s += 1
        for each in self.sharing:
            await each.step()

    def left(self, which: int, merchant: int = 1) -> int:
        return self.rates[which].left(merchant, RATES)[0].remaining


async def test_what_one_let_in_the_others_count_a_second_later() -> None:
    here = Collectors(3)
    assert await here.take(0, 500)
    await here.second()
    assert await here.take(1, 60)  # it looks at once, since it has not met the merchant: 110 are left
    await here.second()
    await here.second()  # the first one looked before the second one told
    assert [here.left(each) for each in range(3)] == [70, 70, 600]
    assert await here.take(2, 71)
    assert not await here.take(2, 1)
    await here.second()
    await here.second()
    assert here.left(0) <= 20


async def test_a_collector_by_itself_counts_as_without_others() -> None:
    here, alone = Collectors(1), Rates(lambda: here.now_s)
    for events in (700, 1, 5, 0, 0, 100, 3, 3) * 5:
        if events:
            taken = await here.take(0, events)
            try:
                alone.take(1, RATES, {EVENTS: events, BYTES: 0})
            except RateLimitedError:
                assert not taken
            else:
                assert taken
        await here.second()
        assert abs(here.left(0) - alone.left(1, RATES)[0].remaining) <= 1


@settings(deadline=None, max_examples=60)
@given(
    asked=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 100), st.booleans()), min_size=1, max_size=150)
)
def test_together_they_hold_the_rate_but_for_what_the_others_took_meanwhile(
    asked: list[tuple[int, int, bool]],
) -> None:
    async def run() -> None:
        here = Collectors(3)
        let_in, in_second, most_in_second = 0, 0, 0
        for which, events, later in asked:
            if await here.take(which, events):
                let_in += events
                in_second += events
                most_in_second = max(most_in_second, in_second)
            if later:
                in_second = 0
                await here.second()
            # burst and rate, one request over, what comes back in the second before a take is told, and what all took until the others heard of it
            assert let_in <= 600 + 10 * (here.now_s + 1) + 100 + 2 * most_in_second

    asyncio.run(run())


async def test_while_the_store_is_away_each_counts_by_itself_and_tells_later() -> None:
    here = Collectors(2)
    here.store.away = True
    assert await here.take(0, 600)
    assert not await here.take(0, 1)
    assert await here.take(1, 300)
    await here.second()
    assert here.failures == 4  # two that met a merchant, two that told
    here.store.away = False
    await here.second()
    await here.second()
    assert not await here.take(1, 1)
    assert here.rates[0].untold(1) == here.rates[1].untold(1) == {}
    for _ in range(40):
        await here.second()
    assert await here.take(1, 1)


async def test_who_sends_nothing_is_not_looked_up() -> None:
    here = Collectors(1)
    assert await here.take(0, 1)
    for _ in range(12):
        await here.second()
    calls = here.store.calls
    await here.second()
    assert here.store.calls == calls
    assert await here.take(0, 1)
    assert here.store.calls == calls + 1


async def test_what_was_taken_last_is_told_before_the_end() -> None:
    here, stop = Collectors(1), asyncio.Event()
    running = asyncio.create_task(here.sharing[0].run(stop))
    assert await here.take(0, 500)
    stop.set()
    await running
    assert here.store.rows[1][EVENTS] == pytest.approx(T0_MS + 50_000)
