"""Registrations of merchants that are under way in some collector: what holds two of them apart. Pure.

A registration is checked against all merchants and is among them only once Kafka and the store have it. Meanwhile what it wants stands in one
document that all collectors share, put there by comparing and swapping its version: of two that were checked against the same state one
is first, and the other one is checked again with the first in view.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from services.collector.registry.values import Merchant

LASTS_MS: Final = 120_000
"""So long it counts where nobody says how it ended: its collector was killed, or Kafka did not answer. Kafka knows by then, and the
projector has put what was sealed among the merchants."""
MAX_UNDER_WAY: Final = 100


class UnderWay(msgspec.Struct, frozen=True):
    """A registration that has been checked. id: random, hex. number: the merchant's, 0: a new one. since_ms: Unix milliseconds."""

    id: str
    number: int
    since_ms: int
    content: dict[str, Any]

    def merchant(self) -> Merchant:
        """Give the merchant as it will be."""
        return msgspec.convert(self.content, Merchant)


class AllUnderWay(msgspec.Struct, frozen=True):
    """All that is under way; each change makes another version of it."""

    version: int = 0
    registrations: tuple[UnderWay, ...] = ()

    def counting(self, now_ms: int) -> Iterator[UnderWay]:
        """Give those that count still."""
        return (each for each in self.registrations if now_ms < each.since_ms + LASTS_MS)

    def changes(self, number: int, now_ms: int) -> bool:
        """Say whether a merchant is being changed."""
        return any(each.number == number for each in self.counting(now_ms) if number)

    def with_one(self, mine: UnderWay, now_ms: int) -> "AllUnderWay":
        """Give the next version, with one more."""
        return AllUnderWay(self.version + 1, (*self.counting(now_ms), mine))

    def is_full(self, now_ms: int) -> bool:
        """Say whether there are too many for one more."""
        return sum(1 for _ in self.counting(now_ms)) >= MAX_UNDER_WAY
