"""Where the keys lie that somebody may speak for: ranges of canonical keys in their order. Pure.

An index over keys finds what lies in them; `Claims.cover` then says which of it counts (a range of a URI holds more than what is below it).
"""

from collections.abc import Iterable
from typing import Final

from goodstrace.claims import Claims

_LAST: Final = "\U0010ffff"
_GS1: Final = "https://id.gs1.org"
_BEHIND_A_DIGIT: Final = ("00", "01", "8003", "8006")
_AT_ONCE: Final = ("8004", "8010")
KeyRange = tuple[str, str]
"""The first key of a range, and the first behind it."""


def key_ranges(claims: Claims) -> list[KeyRange]:
    """List the ranges of goods (items, lots, classes, containers, assets), in order and apart from one another; for `everything` one of all."""
    if claims.everything:
        return [("", _LAST)]
    begins = [
        f"{_GS1}/{ai}/{digit}{prefix}"
        for prefix in claims.prefixes
        for ai in _BEHIND_A_DIGIT
        for digit in range(10)
    ]
    begins += [f"{_GS1}/{ai}/{prefix}" for prefix in claims.prefixes for ai in _AT_ONCE]
    return _joined(begin_range(each) for each in (*begins, *claims.uris))


def begin_range(begin: str) -> KeyRange:
    """Give the range of all keys that begin so."""
    return begin, begin + _LAST


def within(ranges: Iterable[KeyRange], other: KeyRange) -> list[KeyRange]:
    """Give what of some ranges lies in another one."""
    low, high = other
    return [(max(first, low), min(end, high)) for first, end in ranges if max(first, low) < min(end, high)]


def _joined(ranges: Iterable[KeyRange]) -> list[KeyRange]:
    found: list[KeyRange] = []
    for first, end in sorted(ranges):
        if found and first < found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((first, end))
    return found
