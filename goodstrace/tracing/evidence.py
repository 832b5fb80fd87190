"""Which events an answer must hold so that tracing over them alone gives the same answer again."""

from collections.abc import Iterator

from goodstrace.tracing.intervals import FOREVER, Bound, Interval
from goodstrace.tracing.pool import Pool
from goodstrace.tracing.walk import Walk


def answer_events(walk: Walk, pool: Pool) -> frozenset[str]:
    """Return the identities of all events of the answer.

    1. The histories of the nodes, and the events that make links (intervals of containers outside of the time in
       which they carried the goods are not shown, but the events that start and end an interval are).
    2. All events of a container whose contents were walked.
    3. Whatever carries the event ID of one of these: it may correct it, or conflict with it (rules 2 and 3); and the registrations
       that decide for whom a correction speaks.
    4. Of an interval of a walked container that is named by an event already in the answer: its start, and its end
       where it begins before the container's last time with the goods. Without that end it would seem to go on.
    3 and 4 hold of what they add, too.
    """
    found = {identity for identity, _ in walk.mentions} | walk.link_events
    for container in walk.containers.opened:
        if walk.is_goods(container):
            found.update(event.identity for event in pool.naming(container))
    ends = _ends_by_event(walk)
    waiting = list(found)
    while waiting:
        event = pool.get(waiting.pop())
        added = {each.identity for each in (*pool.siblings(event), *pool.deciding(event))}
        added.update(ends.get(event.identity, ()))
        waiting += added - found
        found |= added
    return frozenset(found)


def _ends_by_event(walk: Walk) -> dict[str, set[str]]:
    """Return which events an event in an interval brings into the answer (4): so each event is gone through once."""
    found: dict[str, set[str]] = {}
    for interval, last in _bounds(walk):
        closed = interval.closed if interval.window.start <= last else None
        ends = {event.identity for event in (interval.opened, closed) if event is not None}
        for event in interval.touched:
            found.setdefault(event.identity, set()).update(ends)
    return found


def _bounds(walk: Walk) -> Iterator[tuple[Interval, Bound]]:
    """Yield the intervals that must not seem longer than they are, each with the last moment that matters.

    Those of the containers that carried goods, and of children that were looked at as contents or components: what shows that
    one was not inside any more must be shown.
    """
    for container, last in walk.walked.items():
        for interval in walk.containers.intervals(container):
            yield interval, last
    for child, container in walk.containers.checked:
        if walk.is_goods(container):
            for interval in walk.containers.intervals(child):
                if interval.parent == container:
                    yield interval, FOREVER
    for child, container in walk.associations.checked:
        for interval in walk.associations.intervals(child):
            if interval.parent == container:
                yield interval, FOREVER
