"""Bounded sets of numbers: how many distinct things there were, a fair sample, the smallest numbers. Pure.

All are kept as the smallest members, in order: the same members give the same set whatever the order they came in, and
however often, so that a replay agrees. Of hashes, the k smallest also tell how many distinct ones there were.
Source: Bar-Yossef et al., Counting Distinct Elements in a Data Stream (2002), the k-minimum-values sketch.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

DISTINCT_KEPT: Final = 256
"""Up to so many distinct things are counted exactly; beyond, the standard error is 6.3 %."""
_HASH_RANGE: Final = 2**63

T = TypeVar("T", int, bytes)


def hashed(text: str) -> int:
    """Give 63 bits of a text's BLAKE2b hash: a member of a set that counts distinct texts."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def keep(smallest: list[T], member: T, most: int) -> None:
    """Add a member to an ordered list of the smallest ones, of which `most` stay."""
    place = bisect_left(smallest, member)
    if place < len(smallest) and smallest[place] == member:
        return
    if place < most:
        smallest.insert(place, member)
        del smallest[most:]


def union(sets: Iterable[Sequence[T]], most: int) -> list[T]:
    """Merge ordered lists of the smallest members into one of `most` at the most."""
    merged: set[Any] = set()
    for each in sets:
        merged.update(each)
    return sorted(merged)[:most]


def distinct(hashes: Sequence[int]) -> int:
    """Tell how many distinct texts a set of hashes stands for: exactly below DISTINCT_KEPT, else an estimate. It never falls as members come."""
    if len(hashes) < DISTINCT_KEPT:
        return len(hashes)
    return max(DISTINCT_KEPT, (DISTINCT_KEPT - 1) * _HASH_RANGE // (hashes[DISTINCT_KEPT - 1] + 1))


def longest_run(numbers: Sequence[int], step: int) -> int:
    """Count the members of the longest run in which neighbours differ by `step` at the most.

    Args:
        numbers: in order, distinct.
        step: 1 for numbers without a gap.
    """
    longest = run = 0
    before = None
    for number in numbers:
        run = run + 1 if before is not None and number - before <= step else 1
        longest, before = max(longest, run), number
    return longest
