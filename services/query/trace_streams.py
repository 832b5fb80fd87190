"""Traces sent level after level, each piece with its proofs as soon as the level is walked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing import trace_levels
from goodstrace.tracing.engine import LevelTracing
from goodstrace.tracing.filtering import EventFilter
from goodstrace.tracing.model import Lookup, Query, SealedFacts, Trace, TracedEvent
from services.query import core
from services.query.level_changes import Changes, Sent
from services.query.sight import VisibleLogs
from services.query.walk import Walk
from services.sealing import disclosure, showing
from services.sealing.values import StoredCheckpoint

Checkpoints = Mapping[str, StoredCheckpoint]
Send = Callable[[trace_pb2.StreamTraceResponse], Awaitable[None]]
PAGE_EVENTS = 200


class TraceStream:
    """One trace that is sent level after level."""

    def __init__(self, reader: VisibleLogs, secret: bytes, checkpoints: Checkpoints, page_bytes: int) -> None:
        """Trace as of these checkpoints; a message has at most `page_bytes`, unless a single event is larger."""
        self._reader = reader
        self._sizes = showing.sizes_of(checkpoints)
        self._page_bytes = page_bytes
        self._walk: Walk[Trace] = Walk(reader, secret, self._sizes)
        self._sent = Sent()
        self.shown = 0

    async def run(self, query: Query, only: EventFilter, send: Send) -> None:
        """Send all levels. Raises: UnavailableError, CorruptError, EntryError."""
        tracing = trace_levels(query)
        found: list[SealedFacts] | None = None
        level = 0
        while True:
            step, is_last = await asyncio.to_thread(_advance, tracing, found)
            if isinstance(step, Lookup):
                found = await self._walk.look_up(step)
                continue
            found = None
            async for message in self._level(level, step, only, is_last=is_last):
                await send(message)
            if is_last:
                return
            level += 1

    async def _level(
        self, level: int, trace: Trace, only: EventFilter, *, is_last: bool
    ) -> AsyncIterator[trace_pb2.StreamTraceResponse]:
        shown = only.shown(trace.events)
        async for message in self._changes(level, self._sent.changes(trace, shown)):
            yield message
        summary = trace_pb2.StreamTraceSummary(
            total_events=len(trace.events),
            filtered=len(trace.events) - len(shown),
            erased=sum(not self._walk.incomplete.isdisjoint(event.positions) for event in shown),
            total_withheld=self._reader.told,
            truncated=trace.truncated or self._reader.is_cut,
            last=is_last,
        )
        yield trace_pb2.StreamTraceResponse(level=level, summary=summary)

    async def _changes(self, level: int, changes: Changes) -> AsyncIterator[trace_pb2.StreamTraceResponse]:
        message = trace_pb2.StreamTraceResponse(
            level=level, removed_nodes=changes.removed_nodes, removed_events=changes.removed_events
        )
        left = self._page_bytes
        for node in changes.nodes:
            if left < node.ByteSize() and message.nodes:
                yield message
                message, left = trace_pb2.StreamTraceResponse(level=level), self._page_bytes
            message.nodes.append(node)
            left -= node.ByteSize()
        for event in changes.changed:
            if left < event.ByteSize():
                yield message
                message, left = trace_pb2.StreamTraceResponse(level=level), self._page_bytes
            message.events.append(event)
            left -= event.ByteSize()
        yield message
        async for events in self._proved(changes.events):
            yield trace_pb2.StreamTraceResponse(level=level, events=events)

    async def _proved(self, events: list[TracedEvent]) -> AsyncIterator[list[trace_pb2.TraceEvent]]:
        """Prove events, page after page."""
        offset: int | None = 0
        while offset is not None and events:
            page = core.cut_page(
                (), events, offset, page_size=PAGE_EVENTS, page_bytes=self._page_bytes, cost=self._walk.cost
            )
            places = [place for event in page.events for place in (*event.full, *event.bare)]
            bare = {place for event in page.events for place in event.bare}
            records = await self._walk.records(places)
            shown = await disclosure.disclose(self._reader, records, self._sizes, bare)
            self.shown += len(shown)
            yield [core.completed(event, shown) for event in page.events]
            offset = page.next_offset


def _advance(tracing: LevelTracing, found: list[SealedFacts] | None) -> tuple[Lookup | Trace, bool]:
    """Let the engine go on; True with the last trace."""
    try:
        return tracing.send(found), False
    except StopIteration as stop:
        trace: Trace = stop.value
        return trace, True
