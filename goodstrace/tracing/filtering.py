"""Which events of an answer are shown: a filter never changes what is walked, and so neither nodes nor what is said of an event."""

from collections.abc import Iterable
from dataclasses import dataclass

from goodstrace.facts import Facts
from goodstrace.tracing.model import TracedEvent


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Events from a time on and before another (Unix microseconds of event time; 0: no bound), of some steps (empty: all)."""

    from_us: int = 0
    until_us: int = 0
    steps: frozenset[str] = frozenset()

    @property
    def is_open(self) -> bool:
        """Tell whether it lets all events through."""
        return self == EventFilter()

    def shows(self, facts: Facts) -> bool:
        """Tell whether an event is shown."""
        is_early = bool(self.from_us) and facts.time_us < self.from_us
        is_late = bool(self.until_us) and facts.time_us >= self.until_us
        return not is_early and not is_late and (not self.steps or facts.step in self.steps)

    def shown(self, events: Iterable[TracedEvent]) -> tuple[TracedEvent, ...]:
        """Return the events that are shown, in their order."""
        return tuple(event for event in events if self.shows(event.facts))
