"""What the calls of TraceService ask, read from the wire and checked against their limits. Pure, no I/O."""

from collections.abc import Collection
from typing import Final

import msgspec

from goodstrace.identifiers import canonical_key
from goodstrace.log.v1 import log_pb2
from goodstrace.merkle import MAX_SIZE
from goodstrace.query.v1 import goods_pb2, recall_pb2, trace_pb2
from goodstrace.tracing.filtering import EventFilter
from goodstrace.tracing.recalling import RecallQuery
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_KEY_CHARS, MAX_PURPOSE_CHARS, check_text, checked_page_size

_DIRECTIONS: Final = frozenset(trace_pb2.Direction.values())
MAX_DEPTH: Final = 100
DEFAULT_DEPTH: Final = 10
DEFAULT_PAGE_SIZE: Final = 200
MAX_AS_OF: Final = 1024
MAX_STEPS: Final = 32
MAX_STEP_CHARS: Final = 64


class TraceQuery(msgspec.Struct, frozen=True):
    """All that the answer to a trace depends on, beside the checkpoints: what page tokens are bound to.

    key: canonical. direction: never DIRECTION_UNSPECIFIED. max_depth: 1 to 100. as_of: sizes by log. only: the events shown.
    """

    key: str
    direction: int
    max_depth: int
    as_of: dict[str, int]
    only: EventFilter = EventFilter()

    def encode(self) -> bytes:
        """Give the bytes that page tokens are bound to."""
        only = (self.only.from_us, self.only.until_us, sorted(self.only.steps))
        return msgspec.json.encode(
            ("Trace", self.key, self.direction, self.max_depth, sorted(self.as_of.items()), only)
        )


class EventQuery(msgspec.Struct, frozen=True):
    """An event asked for by its event ID or event hash."""

    event_id: str

    def encode(self) -> bytes:
        """Give the bytes that page tokens are bound to."""
        return msgspec.json.encode(("GetEvent", self.event_id))


class GoodsQuery(msgspec.Struct, frozen=True):
    """Goods asked for by their canonical key; as_of: sizes by log."""

    key: str
    as_of: dict[str, int]

    def encode(self) -> bytes:
        """Give the bytes that page tokens are bound to."""
        return msgspec.json.encode(("GetGoods", self.key, sorted(self.as_of.items())))


class PageState(msgspec.Struct, frozen=True):
    """Where an answer goes on: the checkpoints' sizes by log, and how many of its items were shown.

    withheld: the digest of what was withheld, empty for nothing. merchant: who looked, 0 for nobody's.
    """

    sizes: dict[str, int]
    offset: int
    withheld: str = ""
    merchant: int = 0


def trace_query(request: trace_pb2.TraceRequest) -> TraceQuery:
    """Read a trace request. Raises: InvalidRequestError naming the field."""
    check_text(request.key, "key", MAX_KEY_CHARS, least=1)
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    if request.max_depth > MAX_DEPTH:
        raise InvalidRequestError(f"at most {MAX_DEPTH}", "max_depth")
    if request.direction not in _DIRECTIONS:
        raise InvalidRequestError(f"{request.direction} is no direction", "direction")
    return TraceQuery(
        key=canonical_key(request.key),
        direction=request.direction or trace_pb2.DIRECTION_BOTH,
        max_depth=request.max_depth or DEFAULT_DEPTH,
        as_of=sizes_asked(request.as_of),
        only=_only(request),
    )


def goods_query(request: goods_pb2.GetGoodsRequest) -> GoodsQuery:
    """Read a request for how goods stand. Raises: InvalidRequestError naming the field."""
    check_text(request.key, "key", MAX_KEY_CHARS, least=1)
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    return GoodsQuery(canonical_key(request.key), sizes_asked(request.as_of))


def sizes_asked(as_of: Collection[log_pb2.LogSize]) -> dict[str, int]:
    """Read the sizes to answer as of, by log. Raises: InvalidRequestError."""
    sizes = {each.log: each.size for each in as_of}
    if len(sizes) != len(as_of) or len(sizes) > MAX_AS_OF:
        raise InvalidRequestError(f"at most {MAX_AS_OF} logs, each once", "as_of")
    if any(size > MAX_SIZE for size in sizes.values()):
        raise InvalidRequestError("a size is at most 2**63-1", "as_of")
    return sizes


def _only(request: trace_pb2.TraceRequest) -> EventFilter:
    if request.until_us and request.from_us >= request.until_us:
        raise InvalidRequestError("must be later than from_us", "until_us")
    steps = frozenset(request.steps)
    if len(request.steps) > MAX_STEPS or len(steps) != len(request.steps):
        raise InvalidRequestError(f"at most {MAX_STEPS} steps, each once", "steps")
    for step in steps:
        check_text(step, "steps", MAX_STEP_CHARS, least=1)
    return EventFilter(request.from_us, request.until_us, steps)


def streamed_query(request: trace_pb2.StreamTraceRequest) -> TraceQuery:
    """Read a request for a trace as a stream. Raises: InvalidRequestError naming the field."""
    if request.trace.page_size or request.trace.page_token:
        raise InvalidRequestError("a stream has no pages", "trace.page_token")
    if request.trace.share_proofs:
        raise InvalidRequestError("a stream shares no proofs", "trace.share_proofs")
    return trace_query(request.trace)


def recall_query(request: recall_pb2.RecallRequest, *, limit: int, max_goods: int) -> RecallQuery:
    """Read a recall request. Raises: InvalidRequestError naming the field."""
    check_text(request.key, "key", MAX_KEY_CHARS, least=1)
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    if request.max_depth > MAX_DEPTH:
        raise InvalidRequestError(f"at most {MAX_DEPTH}", "max_depth")
    return RecallQuery(canonical_key(request.key), request.max_depth or MAX_DEPTH, limit, max_goods)


def event_query(request: trace_pb2.GetEventRequest) -> EventQuery:
    """Read a request for an event. Raises: InvalidRequestError naming the field."""
    check_text(request.event_id, "event_id", MAX_KEY_CHARS, least=1)
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    return EventQuery(request.event_id)


def page_size_of(
    request: trace_pb2.TraceRequest | trace_pb2.GetEventRequest | goods_pb2.GetGoodsRequest,
) -> int:
    """Read how many events a page may have. Raises: InvalidRequestError."""
    return checked_page_size(request.page_size, DEFAULT_PAGE_SIZE)
