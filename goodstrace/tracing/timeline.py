"""Looking up by time: what meets a window is found without going over all that there is."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, Generic, TypeVar

from goodstrace.tracing.events import Event
from goodstrace.tracing.intervals import Bound, Window

Item = TypeVar("Item")


class Timeline(Generic[Item]):
    """Things that each have a window, by time; which of them meet another window is found by bisecting.

    What is looked at without being found is only what began before the window and ended before something that began earlier still.
    """

    def __init__(self, items: Iterable[tuple[Window, Item]]) -> None:
        """Index these, whose order is that in which they are found."""
        numbered = [(window, number, item) for number, (window, item) in enumerate(items)]
        self._sorted: Final = sorted(numbered, key=lambda each: each[:2])
        self._starts: Final = [window.start for window, _, _ in self._sorted]
        self._latest_ends: Final[list[Bound]] = list(
            accumulate((window.end for window, _, _ in self._sorted), max)
        )

    def meeting(self, window: Window) -> list[Item]:
        """Return those that share a moment with `window`."""
        first = bisect_left(self._latest_ends, window.start)
        last = bisect_right(self._starts, window.end)
        found = [each for each in self._sorted[first:last] if each[0].end >= window.start]
        found.sort(key=lambda each: each[1])
        return [item for _, _, item in found]


def timeline_of(events: Sequence[Event]) -> Timeline[Event]:
    """Index events, each with the whole of its moment: whether a window holds it is for the window to say."""
    return Timeline((Window((event.facts.time_us, 0), (event.facts.time_us, 1)), event) for event in events)


class Cover:
    """Windows, to tell whether one lies inside one of them."""

    def __init__(self) -> None:
        """Begin with none."""
        # Those that lie in no other: so both their starts and their ends go up.
        self._starts: list[Bound] = []
        self._ends: list[Bound] = []

    def covers(self, window: Window) -> bool:
        """Tell whether one of them covers `window`."""
        before = bisect_right(self._starts, window.start)
        return before > 0 and self._ends[before - 1] >= window.end

    def add(self, window: Window) -> None:
        """Add a window that is not covered."""
        first = bisect_left(self._starts, window.start)
        last = bisect_right(self._ends, window.end)
        self._starts[first:last] = [window.start]
        self._ends[first:last] = [window.end]
