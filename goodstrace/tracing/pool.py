"""The events fetched so far, and the names still to be looked up."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, TypeVar

from goodstrace.entry import Position
from goodstrace.facts import identity
from goodstrace.registration import merchant_key, speaks_for
from goodstrace.tracing.events import Event, goods_of, means, names
from goodstrace.tracing.model import Mark, Name, NameKind, SealedFacts

Result = TypeVar("Result")
Check = Callable[[], None]
"""Called again and again while the engine computes; what it raises ends the computation. That is how a caller stops it."""

_NOTHING: Final[AbstractSet[Hashable]] = frozenset()


def unchecked() -> None:
    """Let the engine compute to its end."""


class _Settled(NamedTuple):
    """What came of a task, and what was noted on the way."""

    result: object
    notes: AbstractSet[Hashable]


class Pool:
    """Events by the names they are looked up by.

    Asking for a name that was not looked up yet answers nothing and notes it in `missing`; so a computation may be run
    again and again until it misses nothing, and only that last run counts. What its parts come to is remembered between the runs.

    Attributes:
        missing: names asked for that were not looked up yet.
        notes: what the run that goes on has noted, whether it computed the parts that say so or met them settled.
        check: called wherever the parts that read it loop.
    """

    def __init__(self, limit: int, check: Check = unchecked) -> None:
        self.check: Final = check
        self.missing: set[Name] = set()
        self.is_cut = False
        self._limit: Final = limit
        self._misses = 0
        self._asked: set[Name] = set()
        self._places: set[Position] = set()
        self._outlines: set[Position] = set()
        self._events: dict[str, Event] = {}
        self._by_name: dict[Name, dict[str, Event]] = {}
        self._sorted: dict[Name, Sequence[Event]] = {}
        self._settled: dict[Hashable, _Settled] = {}
        # What came out with something missing, until more is added.
        self._unsettled: dict[Hashable, _Settled] = {}
        self.notes: set[Hashable] = set()

    @property
    def size(self) -> int:
        """How many records it holds."""
        return len(self._places)

    def add(self, asked: Iterable[Name], found: Iterable[SealedFacts]) -> None:
        """Take in what was found for the names asked; events that nobody asked for do no harm."""
        asked = frozenset(asked)
        self._take(asked, found)
        for name in asked:
            places = sum(len(event.places) for event in self._by_name.get(name, {}).values())
            self.is_cut = self.is_cut or places > self._limit

    def _take(self, asked: frozenset[Name], found: Iterable[SealedFacts]) -> None:
        for sealed in found:
            self._add(sealed)
        self._asked |= asked
        self.missing -= asked
        self._sorted.clear()
        self._unsettled.clear()

    def add_outlines(self, name: Name, asked: Iterable[Name], found: Iterable[SealedFacts]) -> None:
        """Take in what was found for `name` and others, of which much was left out; where it is found whole later, that takes its place.

        Of `name` there may be more than the limit: whether any that matter are missing is for the caller to say (`is_cut`).
        """
        outlines = list(found)
        self._take(frozenset([name]), outlines)
        self.add(asked, ())
        self._outlines.update((each.log, each.index) for each in outlines)

    def _add(self, sealed: SealedFacts) -> None:
        place = (sealed.log, sealed.index)
        if place in self._outlines:
            self._outlines.discard(place)
            self._settled.clear()
            self._events[identity(sealed.merchant, sealed.facts)].complete(sealed)
        elif place in self._places:
            return
        self._places.add(place)
        event = Event(sealed)
        known = self._events.setdefault(event.identity, event)
        if known is not event:
            known.merge(sealed)
            self._settled.clear()
        for name in names(sealed.facts):
            named = self._by_name.setdefault(name, {})
            if name in self._asked and known.identity not in named:
                self._settled.clear()  # of that name there were more than the limit: what went by the first ones does not hold
            named[known.identity] = known

    def find(self, kind: NameKind, text: str) -> Sequence[Event]:
        """Return all events of a name in the order of rule 1; none yet where it was not looked up."""
        self.check()
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
        return () if event.registration else self.find(NameKind.EVENT_ID, event.facts.event_id)

    def registrations(self, key: str) -> Sequence[Event]:
        """Return what was registered of a key, and of goods as being of that lot, oldest first."""
        found = (event for event in self.find(NameKind.REGISTRATION, key) if event.registration)
        return sorted(found, key=lambda event: (event.record_ms, event.facts.event_id))

    def registered(self, key: str, until_ms: int | None = None) -> Event | None:
        """Return the newest registration of a key itself; `until_ms`: the one that counted then, Unix milliseconds."""
        newest = None
        for event in self.registrations(key):
            is_own = event.registration is not None and event.registration.key == key
            if is_own and (until_ms is None or event.record_ms <= until_ms):
                newest = event
        return newest

    def get(self, identity: str) -> Event:
        """Return the event of an identity that was met."""
        return self._events[identity]

    def is_live(self, event: Event) -> bool:
        """Tell whether the event yields links, intervals and state: no correction, and not corrected (rule 3)."""
        return event.facts.correction is None and not self.is_corrected(event)

    def is_corrected(self, event: Event) -> bool:
        """Tell whether a correction cancels the event (rule 3)."""
        return any(self._cancels(correction, event) for correction in self.siblings(event))

    def _cancels(self, correction: Event, event: Event) -> bool:
        """Tell whether a correction cancels an event.

        Where one ID has several contents, it cancels that of the same content; where its merchant has an event of its own that it
        means, it does not speak for another.
        """
        if not means(correction, event) or not self._may_correct(correction, event):
            return False
        meant = [other for other in self.siblings(event) if means(correction, other)]
        own = [other for other in meant if other.merchant == correction.merchant]
        if own and event.merchant != correction.merchant:
            return False
        same = correction.facts.event_hash
        if event.facts.event_hash == same:
            return True
        rivals = own or [other for other in meant if self._may_correct(correction, other)]
        return not any(other.facts.event_hash == same for other in rivals)

    def _may_correct(self, correction: Event, event: Event) -> bool:
        """Tell whether a correction is by the event's merchant, or by who spoke for these goods of its when it was recorded."""
        if correction.merchant == event.merchant:
            return True
        giver = self._giver(correction, event)
        if giver is None or giver.registration is None:
            return False
        return speaks_for(giver.registration, correction.merchant, goods_of(event), correction.record_ms)

    def _giver(self, correction: Event, event: Event) -> Event | None:
        return self.registered(merchant_key(event.merchant), correction.record_ms)

    def deciding(self, event: Event) -> Iterable[Event]:
        """Yield the registrations that decide whether corrections by other merchants count for the event."""
        for correction in self.siblings(event):
            if correction.merchant != event.merchant and means(correction, event):
                giver = self._giver(correction, event)
                if giver is not None:
                    yield giver

    def marks(self, event: Event) -> tuple[str, ...]:
        """Return the marks of an event: its flags, and those of rules 2 and 3."""
        if event.registration is not None:
            return ()
        marks: set[str] = set(event.facts.flags)
        same_id = [other for other in self.siblings(event) if other.facts.event_id == event.facts.event_id]
        if any(other.facts.event_hash != event.facts.event_hash for other in same_id):
            marks.add(Mark.CONFLICTING_ID)
        if event.facts.correction is not None:
            marks.add(Mark.CORRECTION)
        elif self.is_corrected(event):
            marks.add(Mark.CORRECTED)
        return tuple(sorted(marks))

    def begin(self) -> None:
        """Begin another run: nothing is noted yet."""
        self.notes = set()

    def settled(self, task: Hashable, compute: Callable[[], Result]) -> Result:
        """Return what `compute` gives, from memory; what it notes is noted either way.

        Where it came out without missing anything that is remembered for good, else until something is added: were a part that
        misses something computed anew for each item and each time, a run would cost their product.
        """
        self.check()
        known = self._settled.get(task)
        if known is None and (known := self._unsettled.get(task)) is not None:
            self._misses += 1  # so that what is made of it is not settled either
        if known is not None:
            self.notes |= known.notes
            return known.result  # type: ignore[return-value]  # a task always has the same type of result
        before, around = self._misses, self.notes
        self.notes = set()
        result = compute()
        mine, self.notes = self.notes, around
        around |= mine
        kept = self._settled if self._misses == before else self._unsettled
        kept[task] = _Settled(result, mine or _NOTHING)
        return result


class WholePool(Pool):
    """All events of a whole answer: each name counts as looked up, so that nothing is missing and one run of a computation is the last."""

    def __init__(self, events: Sequence[SealedFacts], check: Check = unchecked) -> None:
        super().__init__(len(events), check)  # so that it is never cut
        self.add((), events)

    @property
    def asked(self) -> frozenset[Name]:
        """Which names were asked for so far."""
        return frozenset(self._asked)

    def find(self, kind: NameKind, text: str) -> Sequence[Event]:
        """Return all events of a name in the order of rule 1."""
        self._asked.add((kind, text))
        return super().find(kind, text)
