"""Traces sent level after level, each piece with its proofs as soon as the level is walked."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing import trace_levels
from goodstrace.tracing.filtering import EventFilter
from goodstrace.tracing.model import Lookup, Name, Query, SealedFacts, Trace, TracedEvent
from services.query import core, withheld
from services.query.level_changes import Changes, Sent
from services.query.sight import VisibleLogs
from services.query.steps import Done, Steps
from services.query.thinking import Thinking
from services.query.walk import Walk
from services.query.withheld_streams import WithheldStream
from services.sealing import disclosure, showing
from services.sealing.values import StoredCheckpoint

Checkpoints = Mapping[str, StoredCheckpoint]
Send = Callable[[trace_pb2.StreamTraceResponse], Awaitable[None]]
PAGE_EVENTS = 200


class TraceStream:
    """One trace that is sent level after level."""

    def __init__(
        self,
        reader: VisibleLogs,
        secret: bytes,
        checkpoints: Checkpoints,
        page_bytes: int,
        thinking: Thinking,
    ) -> None:
        """Trace as of these checkpoints; a message has at most `page_bytes`, unless a single event is larger."""
        self._reader = reader
        self._thinking = thinking
        self._sizes = showing.sizes_of(checkpoints)
        self._page_bytes = page_bytes
        self._walk: Walk[Trace] = Walk(reader, secret, self._sizes, thinking)
        self._sent = Sent()
        self._looked_up: set[Name] = set()
        self._withheld = WithheldStream(reader, self._sizes, page_bytes)
        self.shown = 0

    @property
    def withheld(self) -> int:
        """How many entries were told to be withheld."""
        return self._withheld.told

    async def run(self, query: Query, only: EventFilter, send: Send) -> None:
        """Send all levels. Raises: UnavailableError, CorruptError, EntryError."""
        tracing: Steps[Lookup | Trace, Iterable[SealedFacts] | None, Trace] = Steps(
            self._thinking, lambda check: trace_levels(query, check)
        )
        found: list[SealedFacts] | None = None
        level = 0
        while True:
            step = await tracing.next(found, at_once=self._walk.is_small)
            if isinstance(step, Lookup):
                self._looked_up |= step.names
                found = await self._walk.look_up(step)
                continue
            found = None
            is_last = isinstance(step, Done)
            trace = step.answer if isinstance(step, Done) else step
            async for message in self._level(level, query, trace, only, is_last=is_last):
                await send(message)
            if is_last:
                return
            level += 1

    async def _level(
        self, level: int, query: Query, trace: Trace, only: EventFilter, *, is_last: bool
    ) -> AsyncIterator[trace_pb2.StreamTraceResponse]:
        shown = only.shown(trace.events)
        async for message in self._changes(level, await self._thinking.run(self._sent.changes, trace, shown)):
            yield message
        async for message in self._held(level, query, trace, is_last=is_last):
            yield message
        summary = trace_pb2.StreamTraceSummary(
            total_events=len(trace.events),
            filtered=len(trace.events) - len(shown),
            erased=sum(not self._walk.incomplete.isdisjoint(event.positions) for event in shown),
            total_withheld=self._withheld.told,
            truncated=trace.truncated or self._reader.is_cut,
            last=is_last,
        )
        yield trace_pb2.StreamTraceResponse(level=level, summary=summary)

    async def _held(
        self, level: int, query: Query, trace: Trace, *, is_last: bool
    ) -> AsyncIterator[trace_pb2.StreamTraceResponse]:
        """Tell what is withheld of the trace up to a level, by names for which each deeper one asks, too, so that it stays told.

        With the last level comes what was found by other names.
        """
        if is_last:
            asked = await self._asked(query, trace)
        elif self._reader.told == self._withheld.told:
            return
        else:
            asked = await withheld.names_so_far(replace(query, max_depth=level), trace, self._thinking)
        held = withheld.held(self._reader, self._walk.names, asked)
        async for entries in self._withheld.messages(held):
            yield trace_pb2.StreamTraceResponse(level=level, withheld_entries=entries)

    async def _asked(self, query: Query, trace: Trace) -> frozenset[Name] | None:
        """Give the names for which the whole trace asks, as `withheld.asked_by` does, all of them looked up.

        `Trace` looks up several levels in one round, some of it on ways that a correction ends, and tells what is withheld there; this
        walk, level by level, did not go there.
        """
        if trace.truncated or self._reader.is_cut or self._reader.eyes.sees_all:
            return None
        asked = await withheld.names_of(query, trace, self._thinking)
        missing = asked - self._looked_up
        if missing:
            await self._walk.look_up(Lookup(missing, query.max_events + 1))
        return None if self._reader.is_cut else asked

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
