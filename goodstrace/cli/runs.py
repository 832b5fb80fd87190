"""Reads that a reader repeated, put together for people: one line says how often and from when to when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from goodstrace.facts import READ_GAP_US, Facts
from goodstrace.query.v1.trace_pb2 import TraceMention
from goodstrace.retrace import ShownEvent

Shown = tuple[ShownEvent, TraceMention]


def runs(events: Iterable[Shown]) -> list[Sequence[Shown]]:
    """Put events of one node, in the order of their times, into runs of reads; any other event is a run of its own.

    A run are reads of the same things at the same place that follow each other with nothing else in between, each within a
    minute of the one before, where at least one of them is linked as a repeat. `summarise` links within one partition, so a storm
    over several has several first reads: here they are one run again.
    """
    found: list[list[Shown]] = []
    for each in events:
        if found and _goes_on(found[-1][-1], each):
            found[-1].append(each)
        else:
            found.append([each])
    return [run for group in found for run in _of_repeats(group)]


def _of_repeats(group: list[Shown]) -> Iterable[Sequence[Shown]]:
    linked = any(event.event.facts is not None and event.event.facts.repeats for event, _ in group)
    return [group] if linked else [[each] for each in group]


def _goes_on(before: Shown, after: Shown) -> bool:
    earlier, later = before[0].event.facts, after[0].event.facts
    if earlier is None or later is None or later.time_us - earlier.time_us > READ_GAP_US:
        return False
    return _is_read(later) and _alike(before) == _alike(after)


def _is_read(facts: Facts) -> bool:
    return facts.type == "ObjectEvent" and facts.action == "OBSERVE" and facts.correction is None


def _alike(shown: Shown) -> tuple[object, ...]:
    """Give all that a line of a tree says of an event but its time and its proof, and what it is about."""
    event, mention = shown
    facts = event.event.facts
    assert facts is not None
    return (
        event.event.position.entry.merchant,
        tuple(event.marks),
        mention.SerializeToString(deterministic=True),
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
    )
