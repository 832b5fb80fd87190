"""Containment: from when until when a child was inside a parent (rules 4 and 5)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final, NamedTuple

from goodstrace.facts import Quantity, Role
from goodstrace.identifiers import Grade
from goodstrace.tracing.events import AGGREGATION, ASSOCIATION, Event, grade, is_counted, is_followed
from goodstrace.tracing.model import Mark

Bound = tuple[int, int]
"""A moment: event time in microseconds, then 0 for what a DELETE does and 1 for what anything else does (rule 1)."""

BEGINNING: Final[Bound] = (-(2**63), 0)
FOREVER: Final[Bound] = (2**63, 1)
_MAX_EXPONENT: Final = 40


class Window(NamedTuple):
    """A closed stretch of time."""

    start: Bound = BEGINNING
    end: Bound = FOREVER

    def meet(self, other: "Window") -> "Window | None":
        """Return what both share; None where that is nothing. DELETE comes before ADD at equal times (rule 1)."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Window(start, end) if start <= end else None

    def covers(self, other: "Window") -> bool:
        """Tell whether `other` lies inside."""
        return self.start <= other.start and other.end <= self.end

    def holds(self, event: Event) -> bool:
        """Tell whether an event is inside, boundaries included; one that moves nothing counts by its time alone."""
        time = event.facts.time_us
        if event.facts.action == "DELETE":
            return self.start <= (time, 0) <= self.end
        if event.facts.action == "ADD":
            return self.start <= (time, 1) <= self.end
        return self.start[0] <= time <= self.end[0]


ALWAYS: Final = Window()


@dataclass(frozen=True, slots=True)
class Interval:
    """`child` was inside `parent` during `window`.

    opened, closed: the events that say so; `opened` None where a DELETE without ADD finds no event to reach back to,
    `closed` None while it is open. touched: the events in it that name both. counted: only some of a lot or class (rule 5).
    """

    child: str
    parent: str
    window: Window
    opened: Event | None
    closed: Event | None
    touched: tuple[Event, ...]
    counted: bool
    marks: tuple[str, ...]

    @property
    def bounds(self) -> tuple[Event, ...]:
        """The events that start and end it, as far as they are known."""
        return tuple(event for event in (self.opened, self.closed) if event is not None)


@dataclass(slots=True)
class _Open:
    """A containment that is open while the events are read."""

    start: Bound
    opened: Event
    counted: bool
    marks: set[str]
    touched: list[Event]
    amount: Fraction = field(default_factory=Fraction)
    unknown: bool = False


class Containment:
    """The intervals of one child, read from events in order. Give each event to `read`, then take `result`."""

    def __init__(self, child: str, is_live: Callable[[Event], bool], reach: Bound | None, kind: str) -> None:
        self._child: Final = child
        self._kind: Final = kind
        self._is_live: Final = is_live
        self._reach: Final = reach
        self._previous: Event | None = None
        self._open: dict[tuple[str, str], _Open] = {}
        self._done: list[Interval] = []

    def read(self, event: Event, *, is_own: bool) -> None:
        """Read the next event; `is_own`: it names the child. Others matter only where they end an open containment."""
        if not is_own and not any(event.ends_inside(parent, self._kind) for parent, _ in self._open):
            return
        if not self._is_live(event):
            return
        if event.puts(self._child, event.parent, self._kind) and event.parent != self._child:
            self._move(event)
        self._end(event)
        if is_own:
            self._previous = event

    def result(self) -> tuple[Interval, ...]:
        """Return all intervals, those still open last."""
        for parent, unit in sorted(self._open):
            self._close(parent, unit, None)
        return tuple(self._done)

    def _end(self, event: Event) -> None:
        """Close what the event ends: consumption or end of either, or a DELETE naming no child (rule 4).

        A lot is not ended by what happens to some of it elsewhere (rule 5); its parent's end ends it there.
        """
        is_child_ended = event.ends(self._child)
        for parent, unit in sorted(self._open):
            child_ends_it = is_child_ended and not self._open[parent, unit].counted
            if child_ends_it or event.ends_inside(parent, self._kind):
                self._close(parent, unit, event)

    def _move(self, event: Event) -> None:
        counted = is_counted(event, self._child)
        match event.facts.action:
            case "ADD":
                if not counted:
                    self._leave_others(event)
                self._enter(event, counted=counted, marks=set())
            case "OBSERVE":
                self._enter(event, counted=counted, marks={Mark.START_UNKNOWN})
            case "DELETE":
                self._leave(event, counted=counted)

    def _leave_others(self, event: Event) -> None:
        for parent, unit in sorted(self._open):
            found = self._open[parent, unit]
            # A sensor in a box is in the room as well: only a box that it is said to be in now ends the box before.
            stays = self._kind == ASSOCIATION and is_followed(parent) != is_followed(event.parent)
            if parent != event.parent and not found.counted and not stays:
                found.marks.add(Mark.IMPLIED)
                self._close(parent, unit, event)

    def _enter(self, event: Event, *, counted: bool, marks: set[str]) -> None:
        """ADD, or OBSERVE where nothing is open: an OBSERVE adds nothing to what is known to be inside."""
        is_add = not marks
        for unit, amount in self._amounts(event, counted=counted):
            if amount == 0:
                continue
            found = self._open.get((event.parent, unit))
            if found is None:
                start = (event.facts.time_us, 1 if is_add else 0)
                found = _Open(start, event, counted, set(marks), [])
                self._open[event.parent, unit] = found
            elif not is_add:
                found.touched.append(event)
                continue
            found.touched.append(event)
            found.unknown = found.unknown or amount is None
            found.amount += amount or 0

    def _leave(self, event: Event, *, counted: bool) -> None:
        for unit, amount in self._amounts(event, counted=counted):
            if amount is None:
                units = [key[1] for key in sorted(self._open) if key[0] == event.parent]
                for each in units:
                    self._open[event.parent, each].touched.append(event)
                    self._close(event.parent, each, event)
                if not units:
                    self._reach_back(event, counted=counted)
            elif (found := self._open.get((event.parent, unit))) is not None:
                found.touched.append(event)
                found.amount = max(found.amount - amount, Fraction())
                if not found.amount and not found.unknown:
                    self._close(event.parent, unit, event)
            elif amount:
                self._reach_back(event, counted=counted)

    def _reach_back(self, event: Event, *, counted: bool) -> None:
        """A DELETE without ADD: it was inside since its previous own event (rule 4). A class has none of its own."""
        end = (event.facts.time_us, 0)
        previous = None if grade(self._child) is Grade.CLASS else self._previous
        start = end if previous is None else (previous.facts.time_us, 0)
        window = Window(start if self._reach is None else self._reach, end)
        marks = {Mark.REACHED_BACK, *((Mark.SOME_OF,) if counted else ())}
        self._done.append(
            Interval(
                self._child,
                event.parent,
                window,
                previous,
                event,
                (event,),
                counted,
                tuple(sorted(marks)),
            )
        )

    def _close(self, parent: str, unit: str, event: Event | None) -> None:
        found = self._open.pop((parent, unit))
        end = FOREVER
        if event is not None:
            end = (event.facts.time_us, 0 if event.facts.action == "DELETE" else 1)
        window = Window(found.start, end)
        marks = found.marks | ({Mark.SOME_OF} if found.counted else set())
        touched = tuple(found.touched)
        self._done.append(
            Interval(
                self._child, parent, window, found.opened, event, touched, found.counted, tuple(sorted(marks))
            )
        )

    def _amounts(self, event: Event, *, counted: bool) -> Iterator[tuple[str, Fraction | None]]:
        """Yield (unit, amount) of the child; amount None where it is not known. A serial is one of itself."""
        if not counted:
            yield "", None
            return
        listed = [each for each in event.facts.quantities.get(Role.CHILD, ()) if each.key == self._child]
        if not listed:
            yield "", None
        for each in listed:
            yield each.unit, amount_of(each)


def amount_of(quantity: Quantity) -> Fraction | None:
    """Return a quantity exactly; None where it is absent, no decimal, negative, or beyond 40 digits either side."""
    try:
        number = Decimal(quantity.quantity)
    except InvalidOperation:
        return None
    if not number.is_finite() or number < 0:
        return None
    exponent = number.as_tuple().exponent
    if abs(number.adjusted()) > _MAX_EXPONENT or (isinstance(exponent, int) and exponent < -_MAX_EXPONENT):
        return None
    return Fraction(number)


def contain(
    child: str,
    own: Sequence[Event],
    of_parents: Mapping[str, Sequence[Event]],
    is_live: Callable[[Event], bool],
    *,
    reach: Bound | None = None,
    kind: str = AGGREGATION,
) -> tuple[Interval, ...]:
    """Return when `child` was inside which parent, or a component of it.

    Args:
        child: the key.
        own: the events naming it.
        of_parents: for each parent named in them, the events naming that parent.
        is_live: whether an event counts (rule 3); asked only of those that would matter.
        reach: where a DELETE without ADD reaches back to, in place of the child's previous own event.
        kind: the type of events that say so: AGGREGATION, or ASSOCIATION (rule 10).
    """
    containment = Containment(child, is_live, reach, kind)
    own_ids = {event.identity for event in own}
    others = {
        event.identity: event
        for parent, events in of_parents.items()
        for event in events
        if event.identity not in own_ids and event.ends_inside(parent, kind)
    }
    for event in sorted([*own, *others.values()], key=lambda event: event.order):
        containment.read(event, is_own=event.identity in own_ids)
    return containment.result()
