"""`TraceService` over gRPC: walks the logs, proves what it shows, and shows it once the look is recorded."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar

import structlog

from goodstrace import tracing
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import goods_pb2, registrations_pb2, subscribe_pb2, trace_pb2, trace_pb2_grpc
from goodstrace.tracing.model import TracedEvent
from goodstrace.tracing.named import named
from services.query import core, goods_pages, proofs, requests
from services.query.core import Page
from services.query.metrics import QueryMetrics
from services.query.registrations import Registrations
from services.query.requests import EventQuery, GoodsQuery, PageState, TraceQuery
from services.query.root_proofs import root_proof
from services.query.standing import Standings
from services.query.subscribing import Subscriptions
from services.query.walk import Walk, Walker
from services.runtime.call_errors import InvalidRequestError, NotFoundError
from services.runtime.grpc import Context, caller
from services.runtime.page_tokens import PageTokens
from services.sealing import disclosure, showing
from services.sealing.browse import Browse, BrowseRecorder
from services.sealing.pins import Pins
from services.sealing.reader import LogReader
from services.sealing.showing import Position
from services.sealing.values import StoredCheckpoint

_KIND = "goods"
Answer = TypeVar("Answer")
Checkpoints = Mapping[str, StoredCheckpoint]


class TraceServicer(trace_pb2_grpc.TraceServiceServicer):
    """Answers TraceService's calls; errors leave as exceptions, for the interceptor's table."""

    def __init__(
        self,
        reader: LogReader,
        recorder: BrowseRecorder,
        pins: Pins,
        subscriptions: Subscriptions,
        *,
        secret: bytes,
        max_events: int,
        page_bytes: int,
        max_walks: int,
        metrics: QueryMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Answer from `reader`'s logs; a trace stops at `max_events`, a page at `page_bytes`.

        At most `max_walks` calls that walk are answered at a time, since each may hold tens of megabytes; others wait.
        """
        self._turns = asyncio.Semaphore(max_walks)
        self._reader = reader
        self._recorder = recorder
        self._pins = pins
        self._subscriptions = subscriptions
        self._secret = secret
        self._max_events = max_events
        self._page_bytes = page_bytes
        self._tokens = PageTokens(secret, PageState)
        self._standings = Standings(reader, secret, max_events)
        self._registrations = Registrations(reader, recorder, secret=secret, page_bytes=page_bytes)
        self._metrics = metrics
        self._log = log

    async def Trace(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.TraceRequest, context: Context
    ) -> trace_pb2.TraceResponse:
        """Trace goods; see trace.proto."""
        user, query, page_size = (
            caller(context),
            requests.trace_query(request),
            requests.page_size_of(request),
        )
        state = self._opened(query, request.page_token)
        async with self._turns:
            checkpoints = await self._checkpoints(query.as_of, state)
            walk, trace = await self._walk(
                checkpoints, tracing.trace(core.engine_query(query, self._max_events))
            )
            shown = query.only.shown(trace.events)
            page = self._cut(walk, trace.nodes, shown, state, page_size)
            answer = trace_pb2.TraceResponse(
                key=query.key,
                nodes=page.nodes,
                events=await self._events(walk, page, checkpoints),
                checkpoints=map(showing.checkpoint_message, checkpoints.values()),
                next_page_token=self._sealed(query, page, checkpoints),
                total_events=len(trace.events),
                paged_out=len(shown) - len(page.events),
                filtered=len(trace.events) - len(shown),
                erased=sum(not walk.incomplete.isdisjoint(event.positions) for event in shown),
                truncated=trace.truncated,
            )
            browse = _browse(
                user, "Trace", query.key, checkpoints=checkpoints, purpose=request.purpose, page=page
            )
            answer.browse_id = await self._record(browse)
            return answer

    async def GetEvent(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.GetEventRequest, context: Context
    ) -> trace_pb2.GetEventResponse:
        """Show the events of an event ID or event hash; see trace.proto."""
        user, query, page_size = (
            caller(context),
            requests.event_query(request),
            requests.page_size_of(request),
        )
        state = self._opened(query, request.page_token)
        async with self._turns:
            checkpoints = await self._checkpoints({}, state)
            walk, found = await self._walk(checkpoints, named(query.event_id))
            page = self._cut(walk, (), found.events, state, page_size)
            answer = trace_pb2.GetEventResponse(
                events=await self._events(walk, page, checkpoints),
                checkpoints=map(showing.checkpoint_message, checkpoints.values()),
                next_page_token=self._sealed(query, page, checkpoints),
                total_events=len(found.events),
                truncated=found.truncated,
            )
            browse = _browse(
                user, "GetEvent", query.event_id, checkpoints=checkpoints, purpose=request.purpose, page=page
            )
            answer.browse_id = await self._record(browse)
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
        return await proofs.key_changes_of(self._reader, request)

    async def GetGoods(  # noqa: N802 - the name in the proto
        self, request: goods_pb2.GetGoodsRequest, context: Context
    ) -> goods_pb2.GetGoodsResponse:
        """Tell how goods stand; see goods.proto."""
        user, query, page_size = (
            caller(context),
            requests.goods_query(request),
            requests.page_size_of(request),
        )
        state = self._opened(query, request.page_token)
        async with self._turns:
            checkpoints = await self._checkpoints(query.as_of, state)
            sizes = showing.sizes_of(checkpoints)
            found = await self._standings.find(query.key, sizes)
            cut = goods_pages.cut(query.key, found, state.offset if state else 0, page_size, self._page_bytes)
            await goods_pages.prove(cut, found, self._reader, sizes)
            answer = cut.answer
            answer.checkpoints.extend(map(showing.checkpoint_message, checkpoints.values()))
            if cut.next_offset is not None:
                answer.next_page_token = self._tokens.seal(query.encode(), PageState(sizes, cut.next_offset))
            browse = Browse(
                user=user,
                method="GetGoods",
                keys=(query.key,),
                sizes=sizes,
                purpose=request.purpose,
                events=len(answer.events) + answer.HasField("registration"),
            )
            answer.browse_id = await self._record(browse)
            return answer

    async def Subscribe(  # type: ignore[override]  # noqa: N802 - the name in the proto; the stubs know generators only
        self, request: subscribe_pb2.SubscribeRequest, context: Context
    ) -> None:
        """Send events as they are published; see subscribe.proto."""
        await self._subscriptions.serve(request, context)

    def _opened(self, query: TraceQuery | EventQuery | GoodsQuery, token: str) -> PageState | None:
        return self._tokens.open(query.encode(), token) if token else None

    def _sealed(self, query: TraceQuery | EventQuery, page: Page, checkpoints: Checkpoints) -> str:
        if page.next_offset is None:
            return ""
        state = PageState(showing.sizes_of(checkpoints), page.next_offset)
        return self._tokens.seal(query.encode(), state)

    async def _checkpoints(self, as_of: Mapping[str, int], state: PageState | None) -> Checkpoints:
        """Fix the vector of checkpoints: that of the page token, else the newest ones and those asked for."""
        if state is not None:
            found = await disclosure.exactly(self._reader, state.sizes)
            if found is None:
                raise InvalidRequestError("its checkpoints are not those of these logs", "page_token")
            return found
        found = await disclosure.vector(self._reader, _KIND, as_of)
        if found is None:
            raise NotFoundError("a size named is not that of a checkpoint of a goods log", "as_of")
        return found

    async def _walk(self, checkpoints: Checkpoints, walker: "Walker[Answer]") -> tuple[Walk[Answer], Answer]:
        walk: Walk[Answer] = Walk(self._reader, self._secret, showing.sizes_of(checkpoints))
        answer = await walk.run(walker)
        self._metrics.rounds.observe(walk.rounds)
        return walk, answer

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
        self, walk: Walk[Answer], page: Page, checkpoints: Checkpoints
    ) -> list[trace_pb2.TraceEvent]:
        """Fetch and prove the records of a page."""
        places = [place for event in page.events for place in (*event.full, *event.bare)]
        bare = {place for event in page.events for place in event.bare}
        records = await walk.records(places)
        sizes = showing.sizes_of(checkpoints)
        shown: dict[Position, log_pb2.SealedEntry] = await disclosure.disclose(
            self._reader, records, sizes, bare
        )
        return [core.completed(event, shown) for event in page.events]

    async def _record(self, browse: Browse) -> str:
        """Record the look: nothing may leave before this has returned (design.md, invariant 4)."""
        browse_id = await self._recorder.record(browse)
        self._metrics.shown.inc(browse.events)
        self._log.info("shown", browse=browse_id, method=browse.method, events=browse.events)
        return browse_id


def _browse(
    user: str, method: str, key: str, *, checkpoints: Checkpoints, purpose: str, page: Page
) -> Browse:
    return Browse(
        user=user,
        method=method,
        keys=(key,),
        sizes=showing.sizes_of(checkpoints),
        purpose=purpose,
        events=len(page.events),
    )
