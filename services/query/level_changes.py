"""What a trace up to one level adds to the one up to the level before. Pure, no I/O."""

from collections.abc import Sequence

import msgspec

from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing.model import Direction, Trace, TracedEvent
from goodstrace.tracing.wire import DIRECTIONS, node_message
from services.query.core import event_message

NodeId = tuple[str, Direction]


class Changes(msgspec.Struct, frozen=True):
    """From the trace up to one level to the next.

    nodes: new or other than before. removed_nodes, removed_events: not there any more. events: new. changed: sent before, and with
    other marks or mentions now.
    """

    nodes: list[trace_pb2.TraceNode]
    removed_nodes: list[trace_pb2.TraceNode]
    events: list[TracedEvent]
    changed: list[trace_pb2.TraceEvent]
    removed_events: list[str]


class Sent:
    """What was sent of a trace so far."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._nodes: dict[NodeId, bytes] = {}
        self._events: dict[str, bytes] = {}

    def changes(self, trace: Trace, shown: Sequence[TracedEvent]) -> Changes:
        """Take note of the trace up to the next level, of which `shown` are the events that are shown; give what is to be sent."""
        nodes = {(node.key, node.direction): node_message(node) for node in trace.nodes}
        node_bytes = {each: message.SerializeToString(deterministic=True) for each, message in nodes.items()}
        events = {event.identity: event_message(event) for event in shown}
        event_bytes = {
            each: message.SerializeToString(deterministic=True) for each, message in events.items()
        }
        changes = Changes(
            nodes=[nodes[each] for each, data in node_bytes.items() if self._nodes.get(each) != data],
            removed_nodes=[
                trace_pb2.TraceNode(key=key, direction=DIRECTIONS[direction])
                for key, direction in self._nodes
                if (key, direction) not in nodes
            ],
            events=[event for event in shown if event.identity not in self._events],
            changed=[
                events[each] for each, data in event_bytes.items() if self._events.get(each, data) != data
            ],
            removed_events=[each for each in self._events if each not in events],
        )
        self._nodes, self._events = node_bytes, event_bytes
        return changes
