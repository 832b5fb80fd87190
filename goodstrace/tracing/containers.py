"""Which containers carried a key and when, and what was inside a container (rules 4, 5, 6 and 9)."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Final, NamedTuple

from goodstrace.identifiers import Grade
from goodstrace.tracing.events import AGGREGATION, Event, grade, is_followed
from goodstrace.tracing.intervals import ALWAYS, BEGINNING, Interval, Window, contain
from goodstrace.tracing.pool import Pool

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
        of_parents = {parent: pool.naming(parent) for parent in asked}
        return contain(child, own, of_parents, pool.is_live, kind=self._kind)

    def carriage(self, key: str) -> Carriage:
        """Return the containers of `key` at any depth, each with the stretch of time they share (rule 6).

        An interval is followed again only for time that a surer or shorter path to it does not cover: so loops end.
        """
        return self._pool.settled(("carriage", key), lambda: self._carriage(key))

    def _carriage(self, key: str) -> Carriage:
        found: list[Carrier] = []
        covered: dict[Interval, list[Window]] = {}
        # Sorted by sureness, then length of the path; the number in the last place keeps carriers from being compared.
        waiting: list[tuple[bool, int, tuple[str, ...], Window, int, Carrier]] = []
        number = count()

        def around(inner: str, carrier: Carrier) -> None:
            for outer in self._around(inner, carrier):
                place = (outer.is_possible, len(outer.path), outer.path, outer.window, next(number))
                heapq.heappush(waiting, (*place, outer))

        around(key, Carrier(ALWAYS, (), (), is_possible=False))
        while waiting:
            carrier = heapq.heappop(waiting)[-1]
            windows = covered.setdefault(carrier.intervals[-1], [])
            if carrier.container == key or any(window.covers(carrier.window) for window in windows):
                continue
            if len(carrier.path) > MAX_NESTING or len(found) >= self._limit:
                return Carriage(tuple(found), is_cut=True)
            windows.append(carrier.window)
            found.append(carrier)
            if is_followed(carrier.container):
                around(carrier.container, carrier)
        return Carriage(tuple(found), is_cut=False)

    def _around(self, key: str, carrier: Carrier) -> Iterator[Carrier]:
        """Yield what `key` was in while `carrier` held, each the carrier one further out."""
        for interval in self.intervals(key):
            window = interval.window.meet(carrier.window)
            if window is not None:
                is_possible = carrier.is_possible or interval.counted
                path = (*carrier.path, interval.parent)
                yield Carrier(window, path, (*carrier.intervals, interval), is_possible)

    def passing(self, carrier: Carrier) -> Iterator[Event]:
        """Yield the events of a carrier that concern what it carries (rule 6)."""
        if not is_followed(carrier.container):
            return
        for event in self._pool.naming(carrier.container):
            if carrier.window.holds(event) and not event.only_moves_others(carrier.container, carrier.inner):
                yield event

    def inside(self, container: str, windows: Iterable[Window]) -> tuple[Content, ...]:
        """Return what was directly inside `container` during any of `windows` (rule 9)."""
        windows = tuple(windows)
        return self._pool.settled(
            ("inside", self._kind, container, windows), lambda: self._inside(container, windows)
        )

    def _inside(self, container: str, windows: tuple[Window, ...]) -> tuple[Content, ...]:
        children = {
            child
            for event in self._pool.naming(container)
            if event.joins(self._kind) and event.parent == container
            for child in event.children
        }
        children.discard(container)
        if children:
            self._pool.notes.add(_Opened(self._kind, container))
        if len(children) > self._limit:
            self._pool.notes.add(_Cut(self._kind))
        found: list[Content] = []
        for child in sorted(children)[: self._limit]:
            for interval in self._stays(child, container, windows):
                shared = filter(None, map(interval.window.meet, windows))
                found.extend(Content(child, window, interval) for window in shared)
        return tuple(found)

    def _stays(self, child: str, container: str, windows: tuple[Window, ...]) -> Iterator[Interval]:
        """Yield the intervals of `child` in `container`.

        First by what names both, which can only be too long: so of a container that is used again and again, only
        children that may have been inside are looked up. A class is never looked up (rule 12).
        """
        events = self._pool.naming(container)
        own = [event for event in events if event.puts(child, container, self._kind)]
        is_class = grade(child) is Grade.CLASS
        reach = None if is_class else BEGINNING
        longest = contain(child, own, {container: events}, self._pool.is_live, reach=reach, kind=self._kind)
        if is_class:
            yield from longest
        elif any(interval.window.meet(window) for interval in longest for window in windows):
            self._pool.notes.add(_Checked(self._kind, child, container))
            yield from (interval for interval in self.intervals(child) if interval.parent == container)
