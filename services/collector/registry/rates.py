"""Limits of rate: one bucket for each merchant's events, one for its bytes. Pure; the clock is passed in.

A bucket fills at the rate, up to a burst. What is asked while it is above zero is taken whole, and may leave a debt, so that a
document larger than what is left gets in and is made up for by a longer wait: over any time the rate holds, plus a burst, plus one
request. Why not a library: docs/decisions/0020. In memory of one process: several collectors each give the whole rate.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from services.runtime.merchants.errors import RateLimitedError

EVENTS: Final = "events"
BYTES: Final = "bytes"
MAX_BUCKETS: Final = 20_000


class Rate(msgspec.Struct, frozen=True):
    """So much a second, and `burst` at most at once."""

    per_s: float
    burst: float


class Bucket(msgspec.Struct):
    """What is left, at a time in seconds."""

    level: float
    at_s: float

    def settle(self, rate: Rate, now_s: float) -> float:
        """Fill up to now; gives the level."""
        self.level = min(rate.burst, self.level + max(0.0, now_s - self.at_s) * rate.per_s)
        self.at_s = max(self.at_s, now_s)
        return self.level


class Left(msgspec.Struct, frozen=True):
    """How a merchant stands: quota of a burst, what is left of it, seconds until it is whole again."""

    name: str
    quota: int
    remaining: int
    reset_s: int
    window_s: int


class Rates:
    """The buckets of one process; safe from any thread."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        """Start with all buckets full; `clock_s` never goes back."""
        self._clock_s = clock_s
        self._buckets: OrderedDict[tuple[int, str], Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, merchant: int, rates: dict[str, Rate]) -> None:
        """Return where something is left of each. Raises: RateLimitedError, with the time to wait."""
        with self._lock:
            self._check(merchant, rates)

    def take(self, merchant: int, rates: dict[str, Rate], amounts: dict[str, int]) -> None:
        """Take all of `amounts`, or nothing. Raises: RateLimitedError."""
        with self._lock:
            self._check(merchant, rates)
            for name, amount in amounts.items():
                self._bucket(merchant, name, rates[name]).level -= amount

    def left(self, merchant: int, rates: dict[str, Rate]) -> list[Left]:
        """Tell how a merchant stands."""
        with self._lock:
            return [
                self._left(name, rate, self._bucket(merchant, name, rate)) for name, rate in rates.items()
            ]

    def _check(self, merchant: int, rates: dict[str, Rate]) -> None:
        waits = {
            name: -level / rate.per_s
            for name, rate in rates.items()
            if (level := self._bucket(merchant, name, rate).level) <= 0
        }
        if waits:
            name = max(waits, key=waits.__getitem__)
            raise RateLimitedError(f"over the rate of {rates[name].per_s:g} {name} a second", waits[name])

    def _bucket(self, merchant: int, name: str, rate: Rate) -> Bucket:
        now_s = self._clock_s()
        bucket = self._buckets.get((merchant, name))
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets.popitem(last=False)
            bucket = self._buckets[merchant, name] = Bucket(rate.burst, now_s)
        self._buckets.move_to_end((merchant, name))
        bucket.settle(rate, now_s)
        return bucket

    def _left(self, name: str, rate: Rate, bucket: Bucket) -> Left:
        missing = rate.burst - bucket.level
        return Left(
            name,
            int(rate.burst),
            max(0, int(bucket.level)),
            int(missing / rate.per_s + 1) if missing > 0 else 0,
            round(rate.burst / rate.per_s),
        )


def rate_headers(standing: list[Left]) -> dict[str, str]:
    """Tell a caller how it stands. Source: IETF draft-ietf-httpapi-ratelimit-headers-10."""
    units = {BYTES: ';qu="content-bytes"'}
    return {
        "RateLimit-Policy": ", ".join(
            f'"{each.name}";q={each.quota};w={each.window_s}{units.get(each.name, "")}' for each in standing
        ),
        "RateLimit": ", ".join(f'"{each.name}";r={each.remaining};t={each.reset_s}' for each in standing),
    }
