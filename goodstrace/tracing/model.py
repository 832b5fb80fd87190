"""The values a trace is made of: what is asked, what is looked up, what is answered."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from goodstrace.entry import Position
from goodstrace.facts import Facts
from goodstrace.registration import Registration

MAX_DEPTH: Final = 100


class Direction(StrEnum):
    """Which way a trace goes, or a node was met."""

    HISTORY = "history"
    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    BOTH = "both"


class Certainty(StrEnum):
    """How sure a node, a link or a mention is."""

    CERTAIN = "certain"
    POSSIBLE = "possible"


class NodeRole(StrEnum):
    """Whether a node is goods, or a container that only carried goods of its level (rule 9)."""

    GOODS = "goods"
    CONTAINER = "container"


class LinkKind(StrEnum):
    """Why a node hangs on the key nearer to the root; the value reads from the node towards that key."""

    TRANSFORMATION = "transformation"
    CONTAINED = "contained"
    CONTAINS = "contains"
    LOT_OF_SERIAL = "lot-of-serial"
    SERIAL_OF_LOT = "serial-of-lot"
    ORDER = "order"
    COMPONENT_OF = "component-of"
    HAS_COMPONENT = "has-component"


class Mark(StrEnum):
    """Marks of nodes, links and events. Events also carry the flags of their facts."""

    NOT_EXPANDED = "not-expanded"
    TIME_CONFLICT = "time-conflict"
    SEEN = "seen"
    START_UNKNOWN = "start-unknown"
    REACHED_BACK = "reached-back"
    IMPLIED = "implied"
    SOME_OF = "some-of"
    CONFLICTING_ID = "conflicting-id"
    CORRECTED = "corrected"
    CORRECTION = "correction"


class NameKind(StrEnum):
    """Kinds of names by which records are looked up."""

    KEY = "key"
    TRANSFORMATION = "transformation"
    EVENT_ID = "event-id"
    ORDER = "order"
    REGISTRATION = "registration"


Name = tuple[NameKind, str]
"""A name to look up: its kind and its exact text."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to trace.

    key: canonical. max_depth: levels, 0 to 100. max_nodes, max_events: where the walk stops, at least 1; one node's
    history may go past max_events before it does. Raises ValueError where a limit is out of range.
    """

    key: str
    direction: Direction = Direction.BOTH
    max_depth: int = 10
    max_nodes: int = 10_000
    max_events: int = 10_000

    def __post_init__(self) -> None:
        if not 0 <= self.max_depth <= MAX_DEPTH:
            raise ValueError(f"max_depth must be 0 to {MAX_DEPTH}")
        if self.max_nodes < 1 or self.max_events < 1:
            raise ValueError("max_nodes and max_events must be at least 1")


@dataclass(frozen=True, slots=True)
class Lookup:
    """One round of look-ups: the records of all these names, for each name the first `limit` by log and index."""

    names: frozenset[Name]
    limit: int


@dataclass(frozen=True, slots=True)
class SealedFacts:
    """The facts of one sealed event and where they lie; `record_ms`: record time, Unix milliseconds.

    registration: what it says where it is no event but a registration, which is found by names of that kind alone.
    """

    log: str
    index: int
    merchant: int
    record_ms: int
    facts: Facts
    registration: Registration | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Why a node is where it is.

    key: the key nearer to the root. identities: of the events that make the link, in the order of rule 1.
    from_us, until_us: Unix microseconds while it held; 0 where the start is not known, or it is open.
    """

    key: str
    kind: LinkKind
    identities: tuple[str, ...]
    certainty: Certainty = Certainty.CERTAIN
    marks: tuple[str, ...] = ()
    from_us: int = 0
    until_us: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """A business transaction of a node (rule 11); `until_us` 0 while it is open."""

    key: str
    type: str
    from_us: int
    until_us: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One key met on the way; the fields are those of goodstrace.query.v1.TraceNode."""

    key: str
    level: int
    direction: Direction
    grade: str
    role: NodeRole
    certainty: Certainty
    links: tuple[Link, ...] = ()
    marks: tuple[str, ...] = ()
    transactions: tuple[Listing, ...] = ()


@dataclass(frozen=True, slots=True)
class Mention:
    """A node whose history an event belongs to; `path`: the containers (or the lot) from the node outwards."""

    key: str
    certainty: Certainty = Certainty.CERTAIN
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """One event of the answer. positions: (log, index), the first one by record time first.

    Without mentions it is there to prove the answer: it makes a link, bounds an interval, or has the ID of one that does. So is a
    registration (`registration` is not None), from which a lot or a delegation follows.
    """

    identity: str
    positions: tuple[Position, ...]
    merchant: int
    record_ms: int
    facts: Facts
    marks: tuple[str, ...] = ()
    mentions: tuple[Mention, ...] = ()
    registration: Registration | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """The answer: nodes by level, direction and key; events in the order of rule 1; `truncated` where a limit was met."""

    key: str
    nodes: tuple[Node, ...]
    events: tuple[TracedEvent, ...]
    truncated: bool = False
