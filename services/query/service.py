"""`TraceService` over gRPC: walks the logs, proves what it shows, and shows it once the look is recorded."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import structlog

from goodstrace import tracing
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import (
    goods_pb2,
    recall_pb2,
    registrations_pb2,
    subscribe_pb2,
    trace_pb2,
    trace_pb2_grpc,
)
from goodstrace.tracing.model import TracedEvent
from goodstrace.tracing.named import named
from services.query import core, goods_pages, proofs, requests, withheld
from services.query.core import Page
from services.query.metrics import QueryMetrics
from services.query.registrations import Registrations
from services.query.requests import EventQuery, GoodsQuery, PageState, TraceQuery
from services.query.root_proofs import root_proof
from services.query.shown import Shown
from services.query.sight import Sight, VisibleLogs
from services.query.standing import Standings
from services.query.streamed_calls import StreamedCalls
from services.query.subscribing import Subscriptions
from services.query.thinking import Engine
from services.query.traces import KeptWalks, Traces
from services.query.walk import PartsGoneError, Walk, walk_over
from services.query.withheld import PageEnd
from services.runtime.access.current import principal
from services.runtime.call_errors import InvalidRequestError
from services.runtime.grpc import Context, caller
from services.runtime.page_tokens import PageTokens, TokenKey
from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute
from services.sealing import disclosure, showing
from services.sealing.browse import Browse, BrowseRecorder
from services.sealing.pins import Pins
from services.sealing.reader import LogReader
from services.sealing.values import StoredCheckpoint

_KIND = "goods"
Answer = TypeVar("Answer")
Checkpoints = Mapping[str, StoredCheckpoint]
_Query = TraceQuery | EventQuery | GoodsQuery


class _PageAsked(msgspec.Struct, frozen=True):
    """Which page of a trace is asked for, by whom and why. together: with one proof for the entries of a log."""

    user: str
    query: TraceQuery
    state: PageState | None
    page_size: int
    purpose: str
    together: bool


class TraceServicer(trace_pb2_grpc.TraceServiceServicer):
    """Answers TraceService's calls; errors leave as exceptions, for the interceptor's table."""

    def __init__(
        self,
        reader: LogReader,
        recorder: BrowseRecorder,
        pins: Pins,
        subscriptions: Subscriptions,
        *,
        sight: Sight,
        secret: bytes,
        page_key: TokenKey,
        max_events: int,
        page_bytes: int,
        max_walks: int,
        metrics: QueryMetrics,
        log: structlog.stdlib.BoundLogger,
        max_streams: int = 8,
        caller_share: float = 0.25,
        write_s: float = 30.0,
        max_goods: int = 1_000_000,
        keep_bytes: int = 64 * 2**20,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from `reader`'s logs what `sight` lets callers see.

        A trace stops at `max_events`, a recall at `max_goods`, a page at `page_bytes`.
        At most `max_walks` calls that walk are answered at a time, since each may hold tens of megabytes, and beside them
        `max_streams` streams, of which each caller has a `caller_share`; others wait. A stream that nobody reads for `write_s` ends. What came of traces that have more pages is kept, about `keep_bytes` in all.
        """
        self._engine = Engine(max_walks + max_streams)
        self._traces = Traces(secret, max_events, KeptWalks(keep_bytes, clock_s), metrics, self._engine)
        self._turns = asyncio.Semaphore(max_walks)
        self._shown = Shown(recorder, metrics, log)
        self._streamed = StreamedCalls(
            reader,
            self._shown,
            sight,
            secret=secret,
            max_events=max_events,
            max_goods=max_goods,
            page_bytes=page_bytes,
            most=max_streams,
            share=caller_share,
            write_s=write_s,
            metrics=metrics,
            engine=self._engine,
        )
        self._reader = reader
        self._pins = pins
        self._subscriptions = subscriptions
        self._sight = sight
        self._secret = secret
        self._max_events = max_events
        self._page_bytes = page_bytes
        self._tokens = PageTokens(page_key, PageState)
        self._registrations = Registrations(
            reader, self._shown, secret=secret, page_key=page_key, page_bytes=page_bytes
        )
        self._metrics = metrics

    async def Trace(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.TraceRequest, context: Context
    ) -> trace_pb2.TraceResponse:
        """Trace goods; see trace.proto."""
        user, query, page_size = (
            caller(context),
            requests.trace_query(request),
            requests.page_size_of(request),
        )
        logs = await self._logs()
        state = await self._opened(query, request.page_token, logs)
        async with self._turns:
            checkpoints = await self._checkpoints(query.as_of, state)
            asked = _PageAsked(user, query, state, page_size, request.purpose, request.share_proofs)
            try:
                return await self._trace_page(asked, logs, checkpoints, anew=state is None)
            except PartsGoneError:
                return await self._trace_page(asked, await self._logs(), checkpoints, anew=True)

    async def _trace_page(
        self, asked: "_PageAsked", logs: VisibleLogs, checkpoints: Checkpoints, *, anew: bool
    ) -> trace_pb2.TraceResponse:
        query, state, sizes = asked.query, asked.state, showing.sizes_of(checkpoints)
        walk, trace, held = walked = await self._traces.walked(query, logs, sizes, anew=anew)
        shown = query.only.shown(trace.events)
        page = self._cut(walk, trace.nodes, shown, state, asked.page_size)
        events, shared = await self._events(logs, walk, page, checkpoints, together=asked.together)
        answer = trace_pb2.TraceResponse(
            key=query.key,
            nodes=page.nodes,
            events=events,
            shared_proofs=shared,
            checkpoints=map(showing.checkpoint_message, checkpoints.values()),
            total_events=len(trace.events),
            paged_out=len(shown) - len(page.events),
            filtered=len(trace.events) - len(shown),
            erased=sum(not walk.incomplete.isdisjoint(event.positions) for event in shown),
            truncated=trace.truncated or logs.is_cut,
        )
        items = len(trace.nodes) + len(shown)
        place = PageEnd(state, sizes, asked.page_size, items, page.next_offset)
        answer.next_page_token = await self._ended(query, answer, logs, held, place)
        browse = _browse(
            asked.user,
            logs,
            "Trace",
            query.key,
            sizes=sizes,
            purpose=asked.purpose,
            shown=len(page.events),
        )
        answer.browse_id = await self._shown.record(browse)
        self._traces.shown(query, logs, sizes, walked, has_more=bool(answer.next_page_token))
        return answer

    async def StreamTrace(  # type: ignore[override]  # noqa: N802 - the name in the proto; the stubs know generators only
        self, request: trace_pb2.StreamTraceRequest, context: Context
    ) -> None:
        """Trace goods level after level; see trace.proto."""
        await self._streamed.trace(request, context)

    async def Recall(  # type: ignore[override]  # noqa: N802 - the name in the proto; the stubs know generators only
        self, request: recall_pb2.RecallRequest, context: Context
    ) -> None:
        """Recall goods; see recall.proto."""
        await self._streamed.recall(request, context)

    async def GetEvent(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.GetEventRequest, context: Context
    ) -> trace_pb2.GetEventResponse:
        """Show the events of an event ID or event hash; see trace.proto."""
        user, query, page_size = (
            caller(context),
            requests.event_query(request),
            requests.page_size_of(request),
        )
        logs = await self._logs()
        state = await self._opened(query, request.page_token, logs)
        async with self._turns:
            checkpoints = await self._checkpoints({}, state)
            walk, found = await walk_over(
                logs,
                self._secret,
                showing.sizes_of(checkpoints),
                lambda check: named(query.event_id, check),
                self._metrics,
                thinking=self._engine.thinking(),
            )
            page = self._cut(walk, (), found.events, state, page_size)
            events, shared = await self._events(logs, walk, page, checkpoints, together=request.share_proofs)
            answer = trace_pb2.GetEventResponse(
                events=events,
                shared_proofs=shared,
                checkpoints=map(showing.checkpoint_message, checkpoints.values()),
                total_events=len(found.events),
                truncated=found.truncated or logs.is_cut,
            )
            sizes = showing.sizes_of(checkpoints)
            place = PageEnd(state, sizes, page_size, len(found.events), page.next_offset)
            held = withheld.held(logs, walk.names)
            answer.next_page_token = await self._ended(query, answer, logs, held, place)
            browse = _browse(
                user,
                logs,
                "GetEvent",
                query.event_id,
                sizes=sizes,
                purpose=request.purpose,
                shown=len(page.events),
            )
            answer.browse_id = await self._shown.record(browse)
            return answer

    async def GetRegistrations(  # noqa: N802 - the name in the proto
        self, request: registrations_pb2.GetRegistrationsRequest, context: Context
    ) -> registrations_pb2.GetRegistrationsResponse:
        """Show what was registered under a key; see registrations.proto."""
        async with self._turns:
            return await self._registrations.answer(caller(context), request)

    async def GetCheckpoint(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.GetCheckpointRequest, _context: Context
    ) -> trace_pb2.GetCheckpointResponse:
        """Give checkpoints; see trace.proto."""
        return await proofs.checkpoints(self._reader, request)

    async def GetInclusionProof(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.GetInclusionProofRequest, _context: Context
    ) -> trace_pb2.GetInclusionProofResponse:
        """Prove that an entry is in a log; see trace.proto."""
        return await proofs.inclusion(self._reader, request)

    async def GetConsistencyProof(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.GetConsistencyProofRequest, _context: Context
    ) -> trace_pb2.GetConsistencyProofResponse:
        """Prove that a log only grew; see trace.proto."""
        return await proofs.consistency(self._reader, request)

    async def GetRootProof(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.GetRootProofRequest, _context: Context
    ) -> trace_pb2.GetRootProofResponse:
        """Prove that the root log covers a log at a size; see trace.proto."""
        return await root_proof(self._reader, self._pins, request)

    async def GetProofFile(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.GetProofFileRequest, _context: Context
    ) -> trace_pb2.GetProofFileResponse:
        """Make a proof that can be stored; see trace.proto."""
        return await proofs.proof_file(self._reader, request)

    async def GetKeyChanges(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.GetKeyChangesRequest, _context: Context
    ) -> trace_pb2.GetKeyChangesResponse:
        """Give the changes of a log's key; see trace.proto."""
        return await proofs.key_changes_of(self._reader, self._pins, request)

    async def GetGoods(  # noqa: N802 - the name in the proto
        self, request: goods_pb2.GetGoodsRequest, context: Context
    ) -> goods_pb2.GetGoodsResponse:
        """Tell how goods stand; see goods.proto."""
        user, query, page_size = (
            caller(context),
            requests.goods_query(request),
            requests.page_size_of(request),
        )
        logs = await self._logs()
        state = await self._opened(query, request.page_token, logs)
        async with self._turns:
            checkpoints = await self._checkpoints(query.as_of, state)
            sizes = showing.sizes_of(checkpoints)
            found = await Standings(logs, self._secret, self._max_events).find(query.key, sizes)
            cut = goods_pages.cut(query.key, found, state.offset if state else 0, page_size, self._page_bytes)
            await goods_pages.prove(cut, found, logs, sizes)
            answer = cut.answer
            answer.checkpoints.extend(map(showing.checkpoint_message, checkpoints.values()))
            place = PageEnd(state, sizes, page_size, len(found.places), cut.next_offset)
            held = withheld.held(logs, withheld.key_names(self._secret, found.kept))
            answer.next_page_token = await self._ended(query, answer, logs, held, place)
            shown = len(answer.events) + answer.HasField("registration") + len(answer.delegations)
            browse = _browse(
                user, logs, "GetGoods", query.key, sizes=sizes, purpose=request.purpose, shown=shown
            )
            answer.browse_id = await self._shown.record(browse)
            return answer

    async def Subscribe(  # type: ignore[override]  # noqa: N802 - the name in the proto; the stubs know generators only
        self, request: subscribe_pb2.SubscribeRequest, context: Context
    ) -> None:
        """Send events as they are published; see subscribe.proto."""
        await self._subscriptions.serve(request, context)

    async def _logs(self) -> VisibleLogs:
        """Give the logs as the caller may see them. Raises: UnauthenticatedError, ForbiddenError, UnavailableError."""
        return await self._sight.logs(self._reader, principal(), self._secret, self._max_events)

    async def _opened(self, query: _Query, token: str, logs: VisibleLogs) -> PageState | None:
        state = await self._tokens.open(query.encode(), token) if token else None
        if state is not None and state.merchant != logs.eyes.merchant:
            raise InvalidRequestError("it was given to another caller", "page_token")
        return state

    async def _ended(
        self, query: _Query, answer: withheld.Answer, logs: VisibleLogs, what: withheld.Held, page: PageEnd
    ) -> str:
        """Put what is withheld behind everything else; give the token of the next page, empty at the end."""
        self._metrics.withheld.inc(len(what.places))
        state = await withheld.end(answer, logs, what, page, self._page_bytes)
        return await self._tokens.seal(query.encode(), state) if state else ""

    async def _checkpoints(self, as_of: Mapping[str, int], state: PageState | None) -> Checkpoints:
        """Fix the vector of checkpoints: that of the page token, else the newest ones and those asked for."""
        return await disclosure.vector(self._reader, _KIND, as_of, state.sizes if state else None)

    def _cut(
        self,
        walk: Walk[Answer],
        nodes: Sequence[tracing.Node],
        events: Sequence[TracedEvent],
        state: PageState | None,
        page_size: int,
    ) -> Page:
        offset = state.offset if state else 0
        return core.cut_page(
            nodes, events, offset, page_size=page_size, page_bytes=self._page_bytes, cost=walk.cost
        )

    async def _events(
        self, logs: VisibleLogs, walk: Walk[Answer], page: Page, checkpoints: Checkpoints, *, together: bool
    ) -> tuple[list[trace_pb2.TraceEvent], list[log_pb2.SharedProof]]:
        """Fetch and prove the records of a page, each by itself or those of a log `together`."""
        with spans.span("prove", attributes={Attribute.EVENTS: len(page.events)}):
            return await self._proved(logs, walk, page, checkpoints, together=together)

    async def _proved(
        self, logs: VisibleLogs, walk: Walk[Answer], page: Page, checkpoints: Checkpoints, *, together: bool
    ) -> tuple[list[trace_pb2.TraceEvent], list[log_pb2.SharedProof]]:
        places = [place for event in page.events for place in (*event.full, *event.bare)]
        bare = {place for event in page.events for place in event.bare}
        records = await walk.records(places)
        sizes = showing.sizes_of(checkpoints)
        shared: list[log_pb2.SharedProof] = []
        if together:
            shown, shared = await disclosure.disclose_together(logs, records, sizes, bare)
        else:
            shown = await disclosure.disclose(logs, records, sizes, bare)
        return [core.completed(event, shown) for event in page.events], shared


def _browse(
    user: str,
    logs: VisibleLogs,
    method: str,
    key: str,
    *,
    sizes: Mapping[str, int],
    purpose: str,
    shown: int,
) -> Browse:
    return Browse(
        user=user,
        merchant=logs.eyes.merchant,
        method=method,
        keys=(key,),
        sizes=sizes,
        purpose=purpose,
        events=shown,
    )
