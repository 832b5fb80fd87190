"""A trace that comes level after level: what has come so far, verified piece by piece. Pure but for what gives the pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from goodstrace.answer_checks import check_totals
from goodstrace.answers import Trace
from goodstrace.entry import Position
from goodstrace.errors import AnswerError
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import trace_pb2, withheld_pb2
from goodstrace.receipts import Receipt, receipts_in
from goodstrace.retrace import ShownEvent, check_tree, names_of, places_of, query_of, shown
from goodstrace.signatures import MerchantKeys
from goodstrace.tracing.filtering import EventFilter
from goodstrace.verification import VerifiedCheckpoint
from goodstrace.withheld import Withheld, check_names, check_total, verify_found_by

Opened = Callable[[Sequence[log_pb2.Checkpoint]], Mapping[str, VerifiedCheckpoint]]


class TraceAssembly:
    """Puts the pieces of one stream together."""

    def __init__(
        self,
        key: str,
        direction: str,
        only: EventFilter,
        *,
        max_depth: int,
        opened: Opened,
        merchant_keys: MerchantKeys | None,
    ) -> None:
        """Begin with nothing; what was asked comes first, `opened` verifies the checkpoints of the first piece."""
        self._key: Final = key
        self._direction: Final = direction
        self._only: Final = only
        self._max_depth: Final = max_depth
        self._opened: Final = opened
        self._merchants: Final = merchant_keys
        self._checkpoints: Mapping[str, VerifiedCheckpoint] | None = None
        self._browse_id = ""
        self._receipts: tuple[Receipt, ...] = ()
        self._nodes: dict[tuple[str, int], trace_pb2.TraceNode] = {}
        self._events: dict[str, ShownEvent] = {}
        self._withheld: dict[Position, Withheld] = {}

    def traces(self, pieces: Iterable[trace_pb2.StreamTraceResponse]) -> Iterator[Trace]:
        """Yield the trace up to each level, the whole one last.

        Raises: what `verify_event` does; AnswerError where pieces do not fit together, or the stream ends before its last level.
        """
        level = 0
        for piece in pieces:
            if piece.level not in (level, level + 1):
                raise AnswerError(f"level {piece.level} comes after level {level}")
            level = piece.level
            self._take(piece)
            if piece.HasField("summary"):
                yield self._trace(level, piece.summary)
                if piece.summary.last:
                    return
        raise AnswerError("the stream of the trace ended before its last level")

    def _take(self, piece: trace_pb2.StreamTraceResponse) -> None:
        if self._checkpoints is None:
            if piece.key != self._key:
                raise AnswerError(f"asked for {self._key} and answered for {piece.key}")
            self._checkpoints, self._browse_id = self._opened(piece.checkpoints), piece.browse_id
            self._receipts = receipts_in([piece])
        for node in piece.removed_nodes:
            if self._nodes.pop((node.key, node.direction), None) is None:
                raise AnswerError(f"the node {node.key} is taken back, and was not there")
        for node in piece.nodes:
            self._nodes[node.key, node.direction] = node
        for identity in piece.removed_events:
            if self._events.pop(identity, None) is None:
                raise AnswerError(f"the event {identity} is taken back, and was not there")
        for event in piece.events:
            self._events[event.identity] = self._event(event)
        for entry in piece.withheld_entries:
            self._withhold(entry)

    def _event(self, message: trace_pb2.TraceEvent) -> ShownEvent:
        known = self._events.get(message.identity)
        if message.HasField("sealed"):
            if known is not None:
                raise AnswerError("the answer shows one event twice")
            return shown(message, self._checkpoints or {}, self._merchants)
        if known is None:
            raise AnswerError(f"the event {message.identity} changes, and was not there")
        return ShownEvent(known.event, tuple(message.marks), tuple(message.mentions))

    def _withhold(self, message: withheld_pb2.WithheldEntry) -> None:
        withheld = verify_found_by(message.sealed, message.found_by, self._checkpoints or {})
        if self._withheld.setdefault(withheld.place, withheld) is not withheld:
            log, index = withheld.place
            raise AnswerError(f"{log}[{index}]: it is named twice as withheld")

    def _trace(self, level: int, summary: trace_pb2.StreamTraceSummary) -> Trace:
        nodes = tuple(sorted(self._nodes.values(), key=lambda node: (node.level, node.direction, node.key)))
        events = tuple(sorted(self._events.values(), key=_order))
        check_totals(summary, events, self._only)
        query = query_of(self._key, self._direction, level)
        is_whole = self._only.is_open and not summary.truncated
        check_total(self._withheld, count=summary.total_withheld, shown=places_of(events))
        withheld = tuple(self._withheld[place] for place in sorted(self._withheld))
        if is_whole and withheld and summary.last:
            asked = query_of(self._key, self._direction, self._max_depth)
            check_names(withheld, names_of(asked, events))
        return Trace(
            key=self._key,
            nodes=nodes,
            events=events,
            checkpoints=self._checkpoints or {},
            withheld=summary.withheld,
            total_withheld=len(withheld),
            withheld_entries=withheld,
            erased=summary.erased,
            truncated=summary.truncated,
            tree_verified=is_whole and check_tree(query, nodes, events),
            browse_ids=(self._browse_id,),
            filtered=summary.filtered,
            receipts=self._receipts,
        )


def _order(shown_event: ShownEvent) -> tuple[int, int, int, str, int]:
    """Give the place of an event in the order of tracing, rule 1; where its facts are withheld it comes last."""
    event = shown_event.event
    place = (event.position.entry.time, event.position.log, event.position.index)
    if event.facts is None:
        return (2**63, 0, *place)
    return (event.facts.time_us, 0 if event.facts.action == "DELETE" else 1, *place)
