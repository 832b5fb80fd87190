"""Which runs become one: the policy of who builds the index. Nothing in the format depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

RATIO: Final = 4
LEVEL_ROWS: Final = 4096
"""Runs of fewer rows than RATIO times this count as equally small: an idle platform makes tiny ones."""


def level(rows: int) -> int:
    """Tell a run's level: each has runs of RATIO times as many rows as the one below."""
    found = 0
    while rows >= LEVEL_ROWS * RATIO:
        rows //= RATIO
        found += 1
    return found


def next_merge(rows: Sequence[int]) -> int:
    """Tell how many of the newest runs are to become one: at least RATIO, or 0 where nothing is to be done.

    They are the newest runs up to some level, of the lowest level of which there are RATIO in a row; so at most RATIO - 1 of
    each level stay, and a row is written again about once for each level.

    Args:
        rows: how many rows each live run has, oldest first.
    """
    levels = [level(each) for each in rows]
    for lowest in sorted(set(levels)):
        count = 0
        while count < len(levels) and levels[-1 - count] <= lowest:
            count += 1
        if count >= RATIO:
            return count
    return 0
