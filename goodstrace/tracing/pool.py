"""The events fetched so far, and the names still to be looked up."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from goodstrace.tracing.events import Event, cancels, names
from goodstrace.tracing.model import Mark, Name, NameKind, SealedFacts

Result = TypeVar("Result")


class Pool:
    """Events by the names they are looked up by.

    Asking for a name that was not looked up yet answers nothing and notes it in `missing`; so a computation may be run
    again and again until it misses nothing, and only that last run counts.
    """

    def __init__(self, limit: int) -> None:
        self.missing: set[Name] = set()
        self.is_cut = False
        self._limit: Final = limit
        self._misses = 0
        self._asked: set[Name] = set()
        self._places: set[tuple[str, int]] = set()
        self._events: dict[str, Event] = {}
        self._by_name: dict[Name, dict[str, Event]] = {}
        self._sorted: dict[Name, Sequence[Event]] = {}
        self._settled: dict[object, object] = {}

    def add(self, asked: Iterable[Name], found: Iterable[SealedFacts]) -> None:
        """Take in what was found for the names asked; events that nobody asked for do no harm."""
        asked = frozenset(asked)
        for sealed in found:
            self._add(sealed)
        self._asked |= asked
        self.missing -= asked
        for name in asked:
            places = sum(len(event.places) for event in self._by_name.get(name, {}).values())
            self.is_cut = self.is_cut or places > self._limit
        self._sorted.clear()

    def _add(self, sealed: SealedFacts) -> None:
        if (sealed.log, sealed.index) in self._places:
            return
        self._places.add((sealed.log, sealed.index))
        event = Event(sealed)
        known = self._events.setdefault(event.identity, event)
        if known is not event:
            known.merge(sealed)
            self._settled.clear()
        for name in names(sealed.facts):
            self._by_name.setdefault(name, {})[known.identity] = known

    def find(self, kind: NameKind, text: str) -> Sequence[Event]:
        """Return all events of a name in the order of rule 1; none yet where it was not looked up."""
        name = (kind, text)
        if name not in self._asked:
            self.missing.add(name)
            self._misses += 1
            return ()
        if name not in self._sorted:
            self._sorted[name] = sorted(self._by_name.get(name, {}).values(), key=lambda event: event.order)
        return self._sorted[name]

    def naming(self, key: str) -> Sequence[Event]:
        """Return all events naming a key, in order."""
        return self.find(NameKind.KEY, key)

    def siblings(self, event: Event) -> Sequence[Event]:
        """Return all events that carry the event's ID (or have it as their hash), itself among them."""
        return self.find(NameKind.EVENT_ID, event.facts.event_id)

    def get(self, identity: str) -> Event:
        """Return the event of an identity that was met."""
        return self._events[identity]

    def is_live(self, event: Event) -> bool:
        """Tell whether the event yields links, intervals and state: no correction, and not corrected (rule 3)."""
        return event.facts.correction is None and not self.is_corrected(event)

    def is_corrected(self, event: Event) -> bool:
        """Tell whether a correction cancels the event; where one ID has several contents, that of the same content."""
        siblings = self.siblings(event)
        for correction in siblings:
            if cancels(correction, event):
                same_content = correction.facts.event_hash == event.facts.event_hash
                if same_content or not any(
                    cancels(correction, other) and other.facts.event_hash == correction.facts.event_hash
                    for other in siblings
                ):
                    return True
        return False

    def marks(self, event: Event) -> tuple[str, ...]:
        """Return the marks of an event: its flags, and those of rules 2 and 3."""
        marks: set[str] = set(event.facts.flags)
        same_id = [other for other in self.siblings(event) if other.facts.event_id == event.facts.event_id]
        if any(other.facts.event_hash != event.facts.event_hash for other in same_id):
            marks.add(Mark.CONFLICTING_ID)
        if event.facts.correction is not None:
            marks.add(Mark.CORRECTION)
        elif self.is_corrected(event):
            marks.add(Mark.CORRECTED)
        return tuple(sorted(marks))

    def forget(self) -> None:
        """Drop what `settled` remembers."""
        self._settled.clear()

    def settled(self, task: object, compute: Callable[[], Result]) -> Result:
        """Return what `compute` gives, from memory once it came out without missing anything."""
        if task in self._settled:
            return self._settled[task]  # type: ignore[return-value]  # a task always has the same type of result
        before = self._misses
        result = compute()
        if self._misses == before:
            self._settled[task] = result
        return result
