"""The nodes and events of a trace as protobuf messages: what the server sends, and what a client compares with its own walk."""

from collections.abc import Iterable, Mapping
from typing import Final

from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing.model import Certainty, Direction, Link, Mention, Node

DIRECTIONS: Final[Mapping[Direction, "trace_pb2.Direction.ValueType"]] = {
    Direction.HISTORY: trace_pb2.DIRECTION_HISTORY,
    Direction.UPSTREAM: trace_pb2.DIRECTION_UPSTREAM,
    Direction.DOWNSTREAM: trace_pb2.DIRECTION_DOWNSTREAM,
    Direction.BOTH: trace_pb2.DIRECTION_BOTH,
}
# The server adds this mark to an event's own where it leaves places of one identity away for want of room.
ABRIDGED: Final = "also-at-abridged"
_CERTAINTIES: Final[Mapping[Certainty, "trace_pb2.Certainty.ValueType"]] = {
    Certainty.CERTAIN: trace_pb2.CERTAINTY_CERTAIN,
    Certainty.POSSIBLE: trace_pb2.CERTAINTY_POSSIBLE,
}


def node_message(node: Node) -> trace_pb2.TraceNode:
    """Show a node."""
    return trace_pb2.TraceNode(
        key=node.key,
        level=node.level,
        direction=DIRECTIONS[node.direction],
        grade=node.grade,
        role=node.role.value,
        certainty=_CERTAINTIES[node.certainty],
        links=map(_link_message, node.links),
        marks=node.marks,
        transactions=[
            trace_pb2.TraceTransaction(
                key=each.key, type=each.type, from_us=each.from_us, until_us=each.until_us
            )
            for each in node.transactions
        ],
    )


def mention_messages(mentions: Iterable[Mention]) -> list[trace_pb2.TraceMention]:
    """Show where an event counts."""
    return [
        trace_pb2.TraceMention(key=each.key, certainty=_CERTAINTIES[each.certainty], path=each.path)
        for each in mentions
    ]


def _link_message(link: Link) -> trace_pb2.TraceLink:
    return trace_pb2.TraceLink(
        key=link.key,
        kind=link.kind.value,
        identities=link.identities,
        certainty=_CERTAINTIES[link.certainty],
        marks=link.marks,
        from_us=link.from_us,
        until_us=link.until_us,
    )
