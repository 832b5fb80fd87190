"""Spans of sealing: for each trace in a block one until the block is committed, and one until it is under a signed checkpoint.

They are below the span that made the records, in another process before; the block's own is of a trace of its own, linked to them.
"""

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from goodstrace import entry as entries
from services.runtime import envelope, topics
from services.runtime.errors import EnvelopeError
from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute, Value, messaging
from services.runtime.tracing.context import TraceContext, read
from services.runtime.tracing.spans import MAX_LINKS, Finished, Kind
from services.sealing.core import Fetched, Sealable
from services.sealing.values import StoredBlock

_MAX_ARRIVALS: Final = 4096
_TOPICS: Final = {"goods": topics.GOODS_STORED, "browse": topics.GOODS_BROWSED}


class _Arrival(msgspec.Struct, frozen=True):
    offset: int
    context: TraceContext
    came_ns: int


class _Sealed(msgspec.Struct):
    """The records of one trace in a block: the first one's entry, and when that came."""

    came_ns: int
    entry: bytes
    records: int = 1


class Arrivals:
    """The traced records of a log that wait for their block. Bounded: of too many the newer are not traced."""

    def __init__(self) -> None:
        """Begin with none."""
        self._waiting: list[_Arrival] = []

    def note(self, records: Sequence[Fetched]) -> None:
        """Note what came, in the order of its offsets."""
        came_ns = time.time_ns()
        for fetched in records:
            context = _context_of(fetched.value)
            if context is not None and len(self._waiting) < _MAX_ARRIVALS:
                self._waiting.append(_Arrival(fetched.offset, context, came_ns))

    def taken(self, records: Sequence[Sealable]) -> "BlockSpans | None":
        """Give the spans of the block of these records; None where none of them is traced."""
        mine = [each for each in self._waiting if each.offset <= records[-1].offset]
        del self._waiting[: len(mine)]
        return BlockSpans(mine, records) if mine else None


class BlockSpans:
    """The spans of one block."""

    def __init__(self, arrived: Sequence[_Arrival], records: Sequence[Sealable]) -> None:
        """Take the traced ones among `records`, of which there is at least one."""
        self._records = len(records)
        self._began_ns = arrived[0].came_ns
        self._committed_ns = 0
        self._sealed: dict[TraceContext, _Sealed] = {}
        self._left_out: set[TraceContext] = set()
        by_offset = {each.offset: each.record.entry for each in records}
        for each in arrived:
            sealed = self._sealed.get(each.context)
            if sealed is not None:
                sealed.records += 1
            elif len(self._sealed) >= MAX_LINKS:
                self._left_out.add(each.context)
            elif each.offset in by_offset:
                self._sealed[each.context] = _Sealed(each.came_ns, by_offset[each.offset])

    def committed(self) -> None:
        """Note that the block is durable."""
        self._committed_ns = time.time_ns()

    def published(self, stored: StoredBlock) -> TraceContext | None:
        """Tell the spans of a block whose checkpoint is signed and stored now; gives the first trace that is kept."""
        kept = spans.kept(list(self._sealed))
        if not kept:
            return None
        now_ns = time.time_ns()
        where: dict[Attribute, Value] = {
            Attribute.LOG: stored.log,
            Attribute.HEIGHT: stored.height,
            Attribute.SIZE: stored.size,
        }
        kind = stored.log.partition("/")[0]
        told = {**messaging("seal", "process", _TOPICS.get(kind, kind)), **where}
        block = spans.tell(
            Finished(
                f"block {kind}",
                self._began_ns,
                now_ns,
                Kind.CONSUMER,
                links=kept,
                attributes={
                    **told,
                    Attribute.MESSAGES: self._records,
                    Attribute.LEFT_OUT: len(self._left_out),
                },
            )
        )
        for context in kept:
            self._tell(context, kind, told, now_ns, (block,) if block else ())
        return kept[0]

    def _tell(
        self,
        context: TraceContext,
        kind: str,
        told: dict[Attribute, Value],
        now_ns: int,
        links: Sequence[TraceContext],
    ) -> None:
        sealed = self._sealed[context]
        own: dict[Attribute, Value] = {Attribute.EVENTS: sealed.records}
        if sealed.records == 1:
            own[Attribute.RECORD] = entries.decode(sealed.entry).id
        seal = spans.tell(
            Finished(
                f"seal {kind}",
                sealed.came_ns,
                self._committed_ns,
                Kind.CONSUMER,
                parent=context,
                links=links,
                attributes={**told, **own},
            )
        )
        spans.tell(
            Finished(
                f"checkpoint {kind}",
                self._committed_ns,
                now_ns,
                parent=seal or context,
                attributes={name: told[name] for name in (Attribute.LOG, Attribute.HEIGHT, Attribute.SIZE)},
            )
        )


def arrivals() -> Arrivals | None:
    """Give what notes the traced records of a log; None where there are no traces."""
    return Arrivals() if spans.is_on() else None


def _context_of(value: bytes) -> TraceContext | None:
    try:
        return read(envelope.traceparent_of(value))
    except EnvelopeError:
        return None
