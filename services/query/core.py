"""From what a walk found to the pages of an answer. Pure, no I/O.

The items of an answer are its nodes, then its events; a page goes on where the last one ended and takes what fits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from goodstrace.entry import Position
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing.model import Direction, Node, Query, TracedEvent
from goodstrace.tracing.wire import ABRIDGED, DIRECTIONS, mention_messages, node_message
from services.query.requests import TraceQuery

_OVERHEAD_BYTES: Final = 16  # tag and length of an embedded message

_DIRECTION_OF: Final[Mapping[int, Direction]] = {
    number: direction for direction, number in DIRECTIONS.items()
}


class Cost(msgspec.Struct, frozen=True):
    """What a record takes in an answer, in bytes with its proof: with its parts, and `bare` without them."""

    full: int
    bare: int


class PlannedEvent(msgspec.Struct, frozen=True):
    """An event of a page: `full` are the positions shown with their parts, the first one first; `bare` without."""

    message: trace_pb2.TraceEvent
    full: tuple[Position, ...]
    bare: tuple[Position, ...]


class Page(msgspec.Struct, frozen=True):
    """One page of an answer; `next_offset` counts the items before the next page, None at the end."""

    nodes: list[trace_pb2.TraceNode]
    events: list[PlannedEvent]
    next_offset: int | None


def cut_page(
    nodes: Sequence[Node],
    events: Sequence[TracedEvent],
    offset: int,
    *,
    page_size: int,
    page_bytes: int,
    cost: Callable[[Position], Cost],
) -> Page:
    """Cut the page that begins after `offset` items.

    Args:
        nodes: of the whole answer.
        events: of the whole answer.
        offset: how many items earlier pages had; nodes count first.
        page_size: how many events at the most.
        page_bytes: how many bytes at the most. One item is on the page in any case; an event that is sealed in so many
            places that it alone is over shows the first place whole, and of the others what fits.
        cost: of a record.
    """
    page = Page([], [], None)
    left = page_bytes
    for node in nodes[offset:]:
        message = node_message(node)
        left -= message.ByteSize() + _OVERHEAD_BYTES
        if left < 0 and page.nodes:
            return Page(page.nodes, [], offset + len(page.nodes))
        page.nodes.append(message)
    first = max(0, offset - len(nodes))
    for event in events[first : first + page_size]:
        planned, size_bytes = _planned(event, left, cost)
        if size_bytes > left and (page.nodes or page.events):
            break
        if size_bytes > left:
            planned, size_bytes = _abridged(event, left, cost)
        left -= size_bytes
        page.events.append(planned)
    end = first + len(page.events)
    return Page(page.nodes, page.events, len(nodes) + end if end < len(events) else None)


def engine_query(query: TraceQuery, max_events: int) -> Query:
    """Ask the engine for a trace that stops at `max_events` events or as many nodes."""
    return Query(
        key=query.key,
        direction=_DIRECTION_OF[query.direction],
        max_depth=query.max_depth,
        max_nodes=max_events,
        max_events=max_events,
    )


def event_message(event: TracedEvent, marks: Iterable[str] = ()) -> trace_pb2.TraceEvent:
    """Show an event, without its records; `marks` are added to its own."""
    return trace_pb2.TraceEvent(
        identity=event.identity,
        marks=sorted({*event.marks, *marks}),
        mentions=mention_messages(event.mentions),
    )


def completed(planned: PlannedEvent, shown: Mapping[Position, log_pb2.SealedEntry]) -> trace_pb2.TraceEvent:
    """Put the records into a planned event."""
    message = trace_pb2.TraceEvent()
    message.CopyFrom(planned.message)
    message.sealed.CopyFrom(shown[planned.full[0]])
    message.also_at.extend(shown[each] for each in (*planned.full[1:], *planned.bare))
    return message


def _planned(event: TracedEvent, left: int, cost: Callable[[Position], Cost]) -> tuple[PlannedEvent, int]:
    message = event_message(event)
    size_bytes = message.ByteSize() + _OVERHEAD_BYTES
    for each in event.positions:
        size_bytes += cost(each).full
        if size_bytes > left:
            break  # it does not fit, by how much is of no interest
    return PlannedEvent(message, event.positions, ()), size_bytes


def _abridged(event: TracedEvent, left: int, cost: Callable[[Position], Cost]) -> tuple[PlannedEvent, int]:
    """Show the first place whole, the others whole, bare or not at all, as long as there is room."""
    message = event_message(event, (ABRIDGED,) if len(event.positions) > 1 else ())
    full, bare = [event.positions[0]], list[Position]()
    size_bytes = message.ByteSize() + _OVERHEAD_BYTES + cost(full[0]).full
    for each in event.positions[1:]:
        price = cost(each)
        if size_bytes + price.full <= left:
            full.append(each)
            size_bytes += price.full
        elif size_bytes + price.bare <= left:
            bare.append(each)
            size_bytes += price.bare
    return PlannedEvent(message, tuple(full), tuple(bare)), size_bytes
