"""Walking a trace again over the proved events of an answer, to check the tree that the server drew from them.

The proofs show that the events are sealed; that the levels, links, containers and marks follow from them is shown by deriving
them once more. It works because the events of an answer suffice to give the same answer (docs/tracing.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from goodstrace import registration
from goodstrace.entry import Kind, Position
from goodstrace.errors import AnswerError
from goodstrace.signatures import MerchantKeys
from goodstrace.tracing import Direction, Query, SealedFacts, Trace, TracedEvent, drive, trace
from goodstrace.tracing.model import Name
from goodstrace.tracing.named import named
from goodstrace.tracing.names import names_asked
from goodstrace.tracing.reading import FACTS, facts_at
from goodstrace.tracing.wire import ABRIDGED, mention_messages, node_message
from goodstrace.verification import VerifiedCheckpoint, VerifiedEvent, verify_event

if TYPE_CHECKING:
    from goodstrace.query.v1 import trace_pb2


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """An event of an answer with what the server says of it."""

    event: VerifiedEvent
    marks: Sequence[str]
    mentions: Sequence[trace_pb2.TraceMention]


def shown(
    message: trace_pb2.TraceEvent,
    checkpoints: Mapping[str, VerifiedCheckpoint],
    keys: MerchantKeys | None = None,
) -> ShownEvent:
    """Verify an event of an answer, see `verify_event`, and keep what the server says of it."""
    return ShownEvent(verify_event(message, checkpoints, keys), tuple(message.marks), tuple(message.mentions))


def check_tree(query: Query, nodes: Iterable[trace_pb2.TraceNode], events: Sequence[ShownEvent]) -> bool:
    """Check that the nodes of a whole answer, and what it says of each event, follow from its verified events.

    Args:
        query: what was asked, with the canonical key.
        nodes: of all pages, in order.
        events: of all pages, in order.
    Returns: True; or False where it cannot be told, because facts were withheld or places left away.
    Raises: AnswerError naming the first node or event that does not follow.
    """
    if any(not _is_told(each.event) or ABRIDGED in each.marks for each in events):
        return False
    sealed = [facts for each in events for facts in _sealed(each.event)]
    check_against(drive(trace(query), lambda _: sealed), nodes, events)
    return True


def check_against(again: Trace, nodes: Iterable[trace_pb2.TraceNode], events: Sequence[ShownEvent]) -> None:
    """Check that a whole answer is what a walk gave. Raises: AnswerError naming the first node or event that differs."""
    _compare_nodes(again, nodes)
    _compare_events(again.events, events)


def names_of(query: Query, events: Iterable[ShownEvent]) -> frozenset[Name]:
    """Give every name for which a walk over the verified events of a whole answer looks up records."""
    return names_asked(query, [facts for each in events for facts in _sealed(each.event)])


def places_of(events: Iterable[ShownEvent]) -> set[Position]:
    """Give the places of all records that are shown."""
    return {
        (entry.log, entry.index)
        for each in events
        for entry in (each.event.position, *each.event.also_at)
        if entry.parts
    }


def check_named(event_id: str, events: Sequence[ShownEvent], *, truncated: bool) -> None:
    """Check that a whole answer about an event ID or hash shows each event once, with marks that follow from all of them.

    Args:
        event_id: the event ID or event hash asked for.
        events: of all pages, in order.
        truncated: what the answer says of itself; its marks cannot be told then, nor where facts are withheld, nor for events
            found by their hash, since their marks depend on others of their ID.
    Raises: AnswerError.
    """
    known = [facts for facts in (each.event.facts for each in events if _is_event(each)) if facts is not None]
    for facts in known:
        if event_id not in (facts.event_id, facts.event_hash):
            raise AnswerError(f"asked for the event {event_id} and got {facts.event_id}")
    identities = {each.event.identity for each in events}
    if len(identities) != len(events):
        raise AnswerError("the answer shows one event twice")
    abridged = not all(_is_told(each.event) for each in events) or any(
        ABRIDGED in each.marks for each in events
    )
    if truncated or abridged or any(facts.event_id != event_id for facts in known):
        return
    sealed = [facts for each in events for facts in _sealed(each.event)]
    _compare_events(drive(named(event_id), lambda _: sealed).events, events)


def _is_event(each: ShownEvent) -> bool:
    return each.event.position.entry.kind is Kind.EVENT


def _is_told(event: VerifiedEvent) -> bool:
    """Tell whether all that tracing reads was disclosed, at each place: what a place without facts is one of, nobody has shown."""
    return all(
        FACTS in each.parts and (each.entry.kind is Kind.EVENT or registration.PART in each.parts)
        for each in (event.position, *event.also_at)
    )


def query_of(key: str, direction: str, max_depth: int) -> Query:
    """Build the query of the engine from what a client asks; limits are those that never cut a whole answer."""
    return Query(
        key=key, direction=Direction(direction), max_depth=max_depth, max_nodes=10**6, max_events=10**6
    )


def _sealed(event: VerifiedEvent) -> Iterable[SealedFacts]:
    """Give what tracing reads of an event, by each place that tells it itself."""
    for entry in (event.position, *event.also_at):
        found = facts_at(entry.entry, entry.log, entry.index, entry.parts)
        if found is not None:
            yield found


def _compare_nodes(again: Trace, nodes: Iterable[trace_pb2.TraceNode]) -> None:
    given = list(nodes)
    derived = [node_message(node) for node in again.nodes]
    for mine, theirs in zip(derived, given, strict=False):
        if mine != theirs:
            raise AnswerError(
                f"the node {theirs.key} at level {theirs.level} does not follow from the events of the answer"
            )
    if len(derived) != len(given):
        raise AnswerError(f"the answer has {len(given)} nodes where its events make {len(derived)}")


def _compare_events(again: Sequence[TracedEvent], events: Sequence[ShownEvent]) -> None:
    if len(again) != len(events):
        raise AnswerError(f"the answer has {len(events)} events where its events make {len(again)}")
    for mine, theirs in zip(again, events, strict=True):
        if not _agree(mine, theirs):
            raise AnswerError(
                f"what is said of the event {theirs.event.identity} does not follow from the events of the answer"
            )


def _agree(mine: TracedEvent, theirs: ShownEvent) -> bool:
    return (
        mine.identity == theirs.event.identity
        and sorted(mine.marks) == sorted(theirs.marks)
        and mention_messages(mine.mentions) == list(theirs.mentions)
        and {*mine.positions}
        == {(each.log, each.index) for each in (theirs.event.position, *theirs.event.also_at)}
    )
