"""Renewals: states of goods to derive anew, because a merchant's registration changed whose corrections count. Pure.

They may be millions, and a consumer that does not poll for minutes loses its partitions. So the states that depend on a merchant are spread over
`PARTS` parts by a hash of their key, and are derived anew some parts at a time, with a mark of how far. The parts are a circle: another
registration of the merchant on the way does not begin again, it goes on from the mark once around. So however often one registers, each of
its states comes after at most `PARTS` parts.
"""

import math
from hashlib import blake2b
from typing import Annotated, Final

import msgspec

_PART_BYTES: Final = 2
PARTS: Final = 256**_PART_BYTES
PORTION_NAMES: Final = 128
"""So many names are read at a time, about: their states are derived anew in about half a second, and SIGTERM and the next batch wait for that.

A window may have twice as many, seldom more. A part is not split, so one that has more alone is a portion, however large it is. A name
comes once for each day that it was corrected on: a merchant has PORTION_NAMES a part from eight million key-days on.
"""
_OVERSEEN_NAMES: Final = 8
"""Where so many names are to be expected in a window, it has none once in 3,000 times: so behind an empty one, one that is wider by PORTION_NAMES / 8 has a portion at most."""

Renewed = tuple[str, int]
"""A log in which a registration of a merchant was sealed, and the merchant's number."""


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to derive anew of what depends on a merchant.

    log: where its registrations were sealed; who follows that partition derives. merchant: its number. first_ms: record time of the
    earliest of the registrations, Unix milliseconds: a state matters that depends on what was registered up to then or later. next: the part to go on with, 0 to
    PARTS - 1. left: how many parts are left, 1 to PARTS, from `next` on and around. stamp: drawn with each write, so that who writes can
    tell whether another did since it was read.
    """

    log: str
    merchant: int
    first_ms: int
    next: Annotated[int, msgspec.Meta(ge=0, lt=PARTS)] = 0
    left: Annotated[int, msgspec.Meta(ge=1, le=PARTS)] = PARTS
    stamp: str = ""

    @property
    def of(self) -> Renewed:
        """What it is of: of each there is one at a time."""
        return self.log, self.merchant

    def window(self, width: int) -> range:
        """Give the parts to take next: `width` of them (at least 1), less where the circle or the renewal ends before."""
        return range(self.next, min(self.next + width, self.next + self.left, PARTS))

    def after(self, parts: range) -> "Renewal | None":
        """Give what is left once the parts of a window are done; None where that is nothing."""
        left = self.left - len(parts)
        return msgspec.structs.replace(self, next=parts.stop % PARTS, left=left) if left else None


def begun(known: Renewal | None, of: Renewed, first_ms: int) -> Renewal:
    """Give the renewal after another registration: all parts, from where the one that is known has come to."""
    if known is None:
        return Renewal(log=of[0], merchant=of[1], first_ms=first_ms)
    return msgspec.structs.replace(known, first_ms=min(known.first_ms, first_ms), left=PARTS)


def part_of(key: str) -> int:
    """Give the part of a key, 0 to PARTS - 1, as even as a hash is."""
    return int.from_bytes(blake2b(key.encode(), digest_size=_PART_BYTES).digest())


class Pace(msgspec.Struct, frozen=True):
    """How many parts of a renewal to take at a time, so that their names are about PORTION_NAMES, and how dense they were.

    width: parts of the next window. covered, found: parts that were looked at, and the states that were derived anew in them.
    """

    width: int = 1
    covered: int = 0
    found: int = 0

    def after(self, parts: range, names: int, found: int) -> "Pace":
        """Give the pace after a window in which so many names were read, of so many states that were derived anew."""
        width = self.width
        if names > PORTION_NAMES:
            width = max(1, width // 2)
        elif names < PORTION_NAMES // 2 and len(parts) == width:  # one that was cut short says nothing
            growth = 2 if names else max(2, PORTION_NAMES // _OVERSEEN_NAMES)
            width = min(PARTS, width * growth)
        return Pace(width, self.covered + len(parts), self.found + found)

    def states_left(self, renewal: Renewal) -> int:
        """Estimate how many states are left to derive anew: at least 1."""
        return max(1, math.ceil(self.found * renewal.left / self.covered)) if self.covered else 1
