"""Read storms as people see them: reads of the same things at the same place, again and again, are one. Pure.

Each is sealed as it came; from the second on its facts name the first (`Facts.repeats`). Who shows events to people puts them together here,
so that the command line and the web pages show the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from goodstrace.facts import READ_GAP_US, Facts

T = TypeVar("T")


class Said(NamedTuple):
    """What is shown of an event.

    time_us: event time, Unix microseconds. is_read: whether it says nothing but that things were seen. is_linked: whether it is known to
    repeat another. shown: all that is shown but its time and its proof.
    """

    time_us: int
    is_read: bool
    is_linked: bool
    shown: tuple[object, ...]


def said(facts: Facts, beside: tuple[object, ...]) -> Said:
    """Tell what is shown of an event with these facts, and `beside` them."""
    return Said(facts.time_us, is_read(facts), facts.repeats is not None, (beside, *_shown(facts)))


def is_read(facts: Facts) -> bool:
    """Tell whether an event is a read: an OBSERVE of things, and neither a correction nor the report of a sensor."""
    is_seen = facts.type == "ObjectEvent" and facts.action == "OBSERVE"
    return is_seen and facts.correction is None and not facts.sensor_reports


def runs(events: Iterable[T], said_of: Callable[[T], Said | None]) -> list[Sequence[T]]:
    """Put events, in the order of their times, into runs of reads; any other event is a run of its own.

    A run are reads of the same things at the same place that follow each other with nothing else in between, each within a
    minute of the one before, where at least one of them is linked as a repeat. `summarise` links within one partition, so a storm
    over several has several first reads: here they are one run again.

    Args:
        events: of one list that is shown, the oldest or the newest first.
        said_of: tells what is shown of an event; None where its facts are withheld or erased.
    """
    found: list[list[tuple[T, Said | None]]] = []
    for event in events:
        each = event, said_of(event)
        if found and _goes_on(found[-1][-1][1], each[1]):
            found[-1].append(each)
        else:
            found.append([each])
    return [run for group in found for run in _of_repeats(group)]


def _of_repeats(group: Sequence[tuple[T, Said | None]]) -> Iterable[Sequence[T]]:
    events = [event for event, _ in group]
    linked = any(each is not None and each.is_linked for _, each in group)
    return [events] if linked else [[event] for event in events]


def _goes_on(before: Said | None, after: Said | None) -> bool:
    if before is None or after is None or abs(after.time_us - before.time_us) > READ_GAP_US:
        return False
    return before.is_read and after.is_read and before.shown == after.shown


def _shown(facts: Facts) -> tuple[object, ...]:
    """Give all that a line says of an event but its time, what it is about, and which rules found something in it."""
    return (
        facts.type,
        facts.action,
        facts.step,
        facts.business_step,
        facts.disposition,
        facts.read_point,
        facts.business_location,
        facts.keys,
        facts.quantities,
        facts.transactions,
        facts.sources,
        facts.destinations,
        facts.flags,
        [verdict.rule for verdict in facts.verdicts],
    )
