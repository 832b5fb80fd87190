"""Limits of rate: one bucket for each merchant's events, one for its bytes. Pure; the clock is passed in.

A bucket fills at the rate, up to a burst. What is asked while it is above zero is taken whole, and may leave a debt, so that a
document larger than what is left gets in and is made up for by a longer wait: over any time the rate holds, plus a burst, plus one
request. Why not a library: docs/decisions/0020. What several collectors take is put together by `sharing`.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from services.collector.registry.errors import RateLimitedError

EVENTS: Final = "events"
BYTES: Final = "bytes"
NAMES: Final = (EVENTS, BYTES)
MAX_BUCKETS: Final = 20_000


class Rate(msgspec.Struct, frozen=True):
    """So much a second, and `burst` at most at once."""

    per_s: float
    burst: float


class Bucket(msgspec.Struct):
    """What is left, at a time in seconds; `untold_s`: what was taken since `since_s` and the others do not know, in seconds of the rate."""

    level: float
    at_s: float
    untold_s: float = 0.0
    since_s: float = 0.0

    def take(self, amount: float, rate: Rate) -> None:
        """Take so much, and note it."""
        self.level -= amount
        if not self.untold_s:
            self.since_s = self.at_s
        self.untold_s += amount / rate.per_s

    def settle(self, rate: Rate, now_s: float) -> float:
        """Fill up to now; gives the level."""
        self.level = min(rate.burst, self.level + max(0.0, now_s - self.at_s) * rate.per_s)
        self.at_s = max(self.at_s, now_s)
        return self.level


class Untold(msgspec.Struct, frozen=True):
    """What was taken of a bucket: `used_s` seconds of its rate, since `ago_s` seconds."""

    used_s: float
    ago_s: float


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
                self._bucket(merchant, name, rates[name]).take(amount, rates[name])

    def untold(self, merchant: int) -> dict[str, Untold]:
        """Give what a merchant has taken since the last `told`, by bucket; those of which nothing was taken are left out."""
        with self._lock:
            now_s = self._clock_s()
            found = {name: self._buckets.get((merchant, name)) for name in NAMES}
            return {
                name: Untold(each.untold_s, now_s - each.since_s)
                for name, each in found.items()
                if each is not None and each.untold_s
            }

    def told(
        self, merchant: int, rates: dict[str, Rate], sent: dict[str, Untold], full_in_s: dict[str, float]
    ) -> None:
        """Stand where all collectors together do.

        Args:
            merchant: whose buckets.
            rates: its rates.
            sent: what `untold` gave, which the others know now.
            full_in_s: how many seconds each bucket needs until it is full again, by what all have told.
        """
        with self._lock:
            for name, rate in rates.items():
                bucket = self._bucket(merchant, name, rate)
                if name in sent:  # what was taken since is of now
                    bucket.untold_s = max(0.0, bucket.untold_s - sent[name].used_s)
                    bucket.since_s = bucket.at_s
                missing_s = full_in_s.get(name, 0.0) + bucket.untold_s
                bucket.level = min(rate.burst, rate.burst - missing_s * rate.per_s)

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
