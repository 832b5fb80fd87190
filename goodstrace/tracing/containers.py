"""Which containers carried a key and when, and what was inside a container (rules 4, 5, 6 and 9)."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Final, NamedTuple

from goodstrace.identifiers import Grade
from goodstrace.tracing.events import AGGREGATION, Event, grade, is_followed
from goodstrace.tracing.intervals import ALWAYS, BEGINNING, Interval, Window, contain
from goodstrace.tracing.pool import Pool
from goodstrace.tracing.timeline import Cover, Timeline, timeline_of

MAX_NESTING: Final = 100


class Carrier(NamedTuple):
    """A container that a key was in during `window`, and how: the path of containers from the key outwards."""

    window: Window
    path: tuple[str, ...]
    intervals: tuple[Interval, ...]
    is_possible: bool

    @property
    def container(self) -> str:
        """The outermost container of the path."""
        return self.path[-1]

    @property
    def inner(self) -> str:
        """What is directly inside it."""
        return self.intervals[-1].child


class Carriage(NamedTuple):
    """All carriers of a key, surest and nearest first; `is_cut` where a limit ended the search."""

    carriers: tuple[Carrier, ...]
    is_cut: bool


class Content(NamedTuple):
    """A key that was inside a container during `window`."""

    child: str
    window: Window
    interval: Interval


class _Longest(NamedTuple):
    """When children may have been in a container, by child, and by time the numbers of these intervals."""

    intervals: Sequence[Interval]
    times: Timeline[int]


class _Opened(NamedTuple):
    """Noted in a pool: the contents of a container were read."""

    kind: str
    container: str


class _Checked(NamedTuple):
    """Noted in a pool: the events of a child were read, to tell when it was in a container."""

    kind: str
    child: str
    container: str


class _Cut(NamedTuple):
    """Noted in a pool: a container has more contents than were looked at."""

    kind: str


class Containers:
    """Reads containment out of a pool; where `kind` is ASSOCIATION, of which things others are components (rule 10).

    What was read to tell is noted in the pool, since whoever meets it settled must say the same of it.
    """

    def __init__(self, pool: Pool, limit: int, kind: str = AGGREGATION) -> None:
        self._pool: Final = pool
        self._kind: Final = kind
        self._limit: Final = limit

    @property
    def opened(self) -> set[str]:
        """The containers whose contents were read in this run."""
        return {
            each.container
            for each in self._pool.notes
            if isinstance(each, _Opened) and each.kind == self._kind
        }

    @property
    def checked(self) -> set[tuple[str, str]]:
        """(child, container) where the child's events were read in this run."""
        return {
            (each.child, each.container)
            for each in self._pool.notes
            if isinstance(each, _Checked) and each.kind == self._kind
        }

    @property
    def is_cut(self) -> bool:
        """Whether a container has more contents than were looked at in this run."""
        return _Cut(self._kind) in self._pool.notes

    def intervals(self, child: str) -> tuple[Interval, ...]:
        """Return when `child` was inside which parent (rules 4 and 5)."""
        return self._pool.settled(("intervals", self._kind, child), lambda: self._intervals(child))

    def _intervals(self, child: str) -> tuple[Interval, ...]:
        pool = self._pool
        own = pool.naming(child)
        parents = {event.parent for event in own if event.puts(child, event.parent, self._kind)}
        if not parents:
            return ()
        # A location is never emptied as a whole: what else happens there is not asked for (rule 10).
        asked = sorted(parent for parent in parents if is_followed(parent))
        of_parents = {parent: self._emptying(parent) for parent in asked}
        return contain(child, own, of_parents, pool.is_live, kind=self._kind)

    def _emptying(self, parent: str) -> tuple[Event, ...]:
        """Return the events from which on nothing is inside `parent`: few, of a parent with many events and many children."""
        return self._pool.settled(
            ("emptying", self._kind, parent),
            lambda: tuple(
                event for event in self._pool.naming(parent) if event.ends_inside(parent, self._kind)
            ),
        )

    def carriage(self, key: str) -> Carriage:
        """Return the containers of `key` at any depth, each with the stretch of time they share (rule 6).

        An interval is followed again only for time that a surer or shorter path to it does not cover: so loops end.
        """
        return self._pool.settled(("carriage", key), lambda: self._carriage(key))

    def _carriage(self, key: str) -> Carriage:
        found: list[Carrier] = []
        covered: dict[Interval, Cover] = {}
        # Sorted by sureness, then length of the path; the number in the last place keeps carriers from being compared.
        waiting: list[tuple[bool, int, tuple[str, ...], Window, int, Carrier]] = []
        number = count()

        def around(inner: str, carrier: Carrier) -> None:
            for outer in self._around(inner, carrier):
                place = (outer.is_possible, len(outer.path), outer.path, outer.window, next(number))
                heapq.heappush(waiting, (*place, outer))

        around(key, Carrier(ALWAYS, (), (), is_possible=False))
        while waiting:
            self._pool.check()
            carrier = heapq.heappop(waiting)[-1]
            cover = covered.setdefault(carrier.intervals[-1], Cover())
            if carrier.container == key or cover.covers(carrier.window):
                continue
            if len(carrier.path) > MAX_NESTING or len(found) >= self._limit:
                return Carriage(tuple(found), is_cut=True)
            cover.add(carrier.window)
            found.append(carrier)
            if is_followed(carrier.container):
                around(carrier.container, carrier)
        return Carriage(tuple(found), is_cut=False)

    def _around(self, key: str, carrier: Carrier) -> Iterator[Carrier]:
        """Yield what `key` was in while `carrier` held, each the carrier one further out."""
        for interval in self._during(key, carrier.window):
            window = interval.window.meet(carrier.window)
            if window is not None:
                is_possible = carrier.is_possible or interval.counted
                path = (*carrier.path, interval.parent)
                yield Carrier(window, path, (*carrier.intervals, interval), is_possible)

    def _during(self, key: str, window: Window) -> tuple[Interval, ...]:
        """Return the intervals of `key` that share a moment with `window`: once for all that was in it meanwhile."""
        return self._pool.settled(
            ("during", self._kind, key, window), lambda: tuple(self._by_time(key).meeting(window))
        )

    def _by_time(self, key: str) -> Timeline[Interval]:
        return self._pool.settled(
            ("by-time", self._kind, key),
            lambda: Timeline((each.window, each) for each in self.intervals(key)),
        )

    def passing(self, carrier: Carrier) -> tuple[Event, ...]:
        """Return the events of a carrier that concern what it carries (rule 6): settled once for all it carried beside each other."""
        container, inner, window = carrier.container, carrier.inner, carrier.window
        if not is_followed(container):
            return ()
        return self._pool.settled(
            ("passing", container, inner, window),
            lambda: tuple(
                event
                for event in self.events_during(container, window)
                if not event.only_moves_others(container, inner)
            ),
        )

    def events_during(self, key: str, window: Window) -> tuple[Event, ...]:
        """Return the events naming `key` that are inside `window`, in order."""
        return self._pool.settled(
            ("events-during", key, window),
            lambda: tuple(event for event in self._times(key).meeting(window) if window.holds(event)),
        )

    def _times(self, key: str) -> Timeline[Event]:
        return self._pool.settled(("times", key), lambda: timeline_of(self._pool.naming(key)))

    def inside(self, container: str, windows: Iterable[Window]) -> tuple[Content, ...]:
        """Return what was directly inside `container` during any of `windows` (rule 9)."""
        windows = tuple(windows)
        return self._pool.settled(
            ("inside", self._kind, container, windows), lambda: self._inside(container, windows)
        )

    def _inside(self, container: str, windows: tuple[Window, ...]) -> tuple[Content, ...]:
        own = self._putting(container)
        if own:
            self._pool.notes.add(_Opened(self._kind, container))
        if len(own) > self._limit:
            self._pool.notes.add(_Cut(self._kind))
        longest = self._longest(container)
        near: dict[str, list[Interval]] = {}
        # By number, so that the intervals of a child stay in order where several windows meet them.
        for number in sorted({each for window in windows for each in longest.times.meeting(window)}):
            interval = longest.intervals[number]
            near.setdefault(interval.child, []).append(interval)
        asked = Timeline((window, window) for window in windows)
        return tuple(
            Content(child, shared, interval)
            for child, found in near.items()
            for interval in self._stays(child, container, windows, found)
            for window in asked.meeting(interval.window)
            if (shared := interval.window.meet(window)) is not None
        )

    def _stays(
        self, child: str, container: str, windows: tuple[Window, ...], longest: Sequence[Interval]
    ) -> Iterator[Interval]:
        """Yield the intervals of `child` in `container`, of which `longest` meet `windows`. A class is never looked up (rule 12)."""
        if grade(child) is Grade.CLASS:
            yield from longest
            return
        self._pool.notes.add(_Checked(self._kind, child, container))
        found = self._during(child, windows[0]) if len(windows) == 1 else self.intervals(child)
        yield from (interval for interval in found if interval.parent == container)

    def _putting(self, container: str) -> dict[str, list[Event]]:
        """Return by child the events that say of it that it was put into `container`, taken out or seen there."""
        return self._pool.settled(("putting", self._kind, container), lambda: self._by_child(container))

    def _by_child(self, container: str) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        for event in self._pool.naming(container):
            if event.joins(self._kind) and event.parent == container:
                for child in event.children - {container}:
                    found.setdefault(child, []).append(event)
        return found

    def _longest(self, container: str) -> "_Longest":
        """Return when children may have been in `container`: by what names both, which can only be too long.

        So of a container that is used again and again, only children that may have been inside are looked up.
        """
        return self._pool.settled(("longest", self._kind, container), lambda: self._read_longest(container))

    def _read_longest(self, container: str) -> "_Longest":
        pool, putting = self._pool, self._putting(container)
        emptying = {container: self._emptying(container)}
        intervals: list[Interval] = []
        for child in sorted(putting)[: self._limit]:
            pool.check()
            reach = None if grade(child) is Grade.CLASS else BEGINNING
            intervals += contain(child, putting[child], emptying, pool.is_live, reach=reach, kind=self._kind)
        return _Longest(intervals, Timeline((each.window, n) for n, each in enumerate(intervals)))
