"""The events of one event ID or event hash, as a walk of its own: the look-ups and marks of a trace, without its nodes."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Final

from goodstrace.tracing.events import Event
from goodstrace.tracing.model import Lookup, NameKind, SealedFacts, TracedEvent
from goodstrace.tracing.pool import Check, Pool, unchecked

MAX_RECORDS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Named:
    """The events of a name in the order of rule 1; `truncated` where more records have it than were looked at."""

    events: tuple[TracedEvent, ...]
    truncated: bool


def named(event_id: str, check: Check = unchecked) -> Generator[Lookup, Iterable[SealedFacts], Named]:
    """Find all events of an event ID or event hash, with their marks (rules 2 and 3)."""
    pool = Pool(MAX_RECORDS, check)
    while True:
        found = pool.find(NameKind.EVENT_ID, event_id)
        events = tuple(_traced(event, pool.marks(event)) for event in [*found, *_givers(pool, found)])
        if not pool.missing:
            return Named(events, pool.is_cut)
        asked = frozenset(pool.missing)
        pool.add(asked, (yield Lookup(asked, MAX_RECORDS + 1)))


def _givers(pool: Pool, found: Iterable[Event]) -> Iterable[Event]:
    """The registrations that decide whether corrections count: behind the events, since they are none of that name."""
    givers = {giver.identity: giver for event in found for giver in pool.deciding(event)}
    return [givers[identity] for identity in sorted(givers)]


def _traced(event: Event, marks: tuple[str, ...]) -> TracedEvent:
    record_ms = event.places[0][0]
    positions = tuple((log, index) for _, log, index in event.places)
    return TracedEvent(
        event.identity,
        positions,
        event.merchant,
        record_ms,
        event.facts,
        marks,
        registration=event.registration,
    )
