"""Windows of event time, in milliseconds: hopping ones, and tumbling ones, which hop by their own size. Pure.

A window is [start, start + size), and starts are multiples of the hop since the epoch, so that every worker has the same windows. Counts are kept
in panes, whose size divides every hop: a window is a run of panes.
"""

from collections.abc import Iterable, Iterator
from math import gcd


def pane_of(time_ms: int, pane_ms: int) -> int:
    """Give the start of the pane that a time is in."""
    return time_ms - time_ms % pane_ms


def starts_with(pane: int, size_ms: int, hop_ms: int) -> Iterator[int]:
    """Give the starts of all windows that hold a pane, the earliest first.

    Args:
        pane: the pane's start.
        size_ms: of a window, a multiple of the hop.
        hop_ms: a multiple of the pane.
    """
    last = pane - pane % hop_ms
    return iter(range(last - size_ms + hop_ms, last + hop_ms, hop_ms))


def pane_size(lengths_ms: Iterable[int]) -> int:
    """Give the size of the largest panes of which all these sizes and hops are made."""
    return gcd(*lengths_ms)


def whole(start: int, size_ms: int, panes: Iterable[int]) -> list[int]:
    """Give those of the panes that a window holds, in order."""
    return sorted(pane for pane in panes if start <= pane < start + size_ms)
