"""Tracing goods level by level over sealed facts; docs/tracing.md says by which rules. Pure: no I/O, no clock."""

from goodstrace.tracing.engine import Tracing, drive, trace, trace_levels
from goodstrace.tracing.filtering import EventFilter
from goodstrace.tracing.model import (
    Certainty,
    Direction,
    Link,
    LinkKind,
    Listing,
    Lookup,
    Mark,
    Mention,
    Name,
    NameKind,
    Node,
    NodeRole,
    Query,
    SealedFacts,
    Trace,
    TracedEvent,
)

__all__ = [
    "Certainty",
    "Direction",
    "EventFilter",
    "Link",
    "LinkKind",
    "Listing",
    "Lookup",
    "Mark",
    "Mention",
    "Name",
    "NameKind",
    "Node",
    "NodeRole",
    "Query",
    "SealedFacts",
    "Trace",
    "TracedEvent",
    "Tracing",
    "drive",
    "trace",
    "trace_levels",
]
