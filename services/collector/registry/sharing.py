"""Rates of merchants over all collectors: each tells the others, every second, what it let in.

What all took of a bucket is one number in the store: the time at which it will be full again. To take is to move that time on, from when
it was taken at the earliest: `$max` with that time, then `$inc` by what was taken. Both commute with what others do, so nobody waits for anybody. A collector
counts by itself between two looks, so that a rate can be exceeded by what the others let in during two seconds. While the store does not answer
each counts by itself. Source: ITU-T I.371, generic cell rate algorithm (the theoretical arrival time).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from services.collector.registry.rates import NAMES, Rate, Rates, Untold
from services.runtime.errors import UnavailableError
from services.runtime.waiting import until_set

EVERY_S: Final = 1.0
_IN_USE_S: Final = 10.0  # who sends nothing for so long is looked up when it comes again
_AT_ONCE: Final = 1000


class Taken(msgspec.Struct, frozen=True):
    """What was taken of a bucket: `used_ms` milliseconds of its rate, from `from_ms` on (Unix milliseconds)."""

    used_ms: float
    from_ms: float


FullAt = Mapping[str, float]
"""Of a merchant's buckets: when each is full again, in Unix milliseconds."""


class RateStore(Protocol):
    """Where it is kept; services.collector.registry.rate_store.MongoRateStore."""

    async def add(self, taken: Mapping[int, Mapping[str, Taken]]) -> None:
        """Move the times of merchants' buckets on. Raises: UnavailableError; what was added then is not known."""

    async def full_at_ms(self, merchants: Sequence[int]) -> dict[int, FullAt]:
        """Give the times of merchants' buckets; those that nobody took from are left out. Raises: UnavailableError."""


class _Use(msgspec.Struct):
    """A merchant that sends through this process."""

    rates: dict[str, Rate]
    asked_s: float


class Sharing:
    """Keeps the buckets of this process in step with the others'."""

    def __init__(
        self,
        rates: Rates,
        store: RateStore,
        clock_s: Callable[[], float],
        now_ms: Callable[[], int],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep `rates` in step by `store`; `failed` is told of each look that came to nothing."""
        self._rates = rates
        self._store = store
        self._clock_s = clock_s
        self._now_ms = now_ms
        self._failed = failed
        self._used: dict[int, _Use] = {}

    async def meet(self, merchant: int, rates: dict[str, Rate]) -> None:
        """Note that a merchant sends here; where it did not lately, first look how it stands. Raises nothing."""
        if not rates:
            return
        known = self._used.get(merchant)
        self._used[merchant] = _Use(rates, self._clock_s())
        if known is None:
            await self._step([merchant])

    async def run(self, stop: asyncio.Event) -> None:
        """Tell and look every second, until `stop`, and then once more."""
        stopped = False
        while not stopped:
            stopped = stop.is_set()
            await until_set(stop, EVERY_S)
            await self.step()

    async def step(self) -> None:
        """Tell what was taken, look how all stand, and forget who sends nothing any more."""
        numbers = list(self._used)
        for start in range(0, len(numbers), _AT_ONCE):
            await self._step(numbers[start : start + _AT_ONCE])
        until_s = self._clock_s() - _IN_USE_S
        for number in numbers:
            if self._used[number].asked_s < until_s and not self._rates.untold(number):
                del self._used[number]

    async def _step(self, merchants: Sequence[int]) -> None:
        sent = {number: told for number in merchants if (told := self._rates.untold(number))}
        now_ms = self._now_ms()
        try:
            if sent:
                await self._store.add({number: _taken(told, now_ms) for number, told in sent.items()})
            found = await self._store.full_at_ms(merchants)
        except UnavailableError:
            self._failed()
            return
        for number in merchants:
            full = found.get(number, {})
            full_in_s = {name: max(0.0, full.get(name, 0) - now_ms) / 1000 for name in NAMES}
            self._rates.told(number, self._used[number].rates, sent.get(number, {}), full_in_s)


def _taken(told: Mapping[str, Untold], now_ms: int) -> dict[str, Taken]:
    return {name: Taken(each.used_s * 1000, now_ms - each.ago_s * 1000) for name, each in told.items()}
