"""The calls of `TraceService` whose answers are streams: recorded before their first message, in turns of their own, of which each caller has a share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from goodstrace.query.v1 import recall_pb2, trace_pb2
from services.query import core, requests
from services.query.metrics import QueryMetrics
from services.query.recalls import Recalling
from services.query.shown import Shown
from services.query.sight import Sight, VisibleLogs
from services.query.thinking import Engine
from services.query.trace_streams import TraceStream
from services.runtime.access.current import principal
from services.runtime.grpc import Context, caller
from services.runtime.shares import Shares
from services.sealing import disclosure, showing
from services.sealing.browse import Browse
from services.sealing.reader import LogReader
from services.sealing.values import StoredCheckpoint

_KIND: Final = "goods"
Message = trace_pb2.StreamTraceResponse | recall_pb2.RecallResponse
UNTOLD_S: Final = 30.0  # as long as a call that is no stream may read what may not be told


class _Begun(msgspec.Struct, frozen=True):
    """A stream that is recorded and whose turn it is: what it reads, as of when, and the ID of its browse record."""

    logs: VisibleLogs
    checkpoints: Mapping[str, StoredCheckpoint]
    browse_id: str


class StreamedCalls:
    """Answers StreamTrace and Recall."""

    def __init__(
        self,
        reader: LogReader,
        shown: Shown,
        sight: Sight,
        *,
        secret: bytes,
        max_events: int,
        max_goods: int,
        page_bytes: int,
        most: int,
        share: float,
        write_s: float,
        metrics: QueryMetrics,
        engine: Engine,
    ) -> None:
        """Answer from `reader`'s logs what `sight` lets callers see, to `most` at a time; others wait.

        Each caller has a `share` of the turns (`services.runtime.shares`), and a stream of which nobody reads a message for `write_s` seconds ends. A trace stops at `max_events`, a recall at `max_goods`; a message has at most `page_bytes`, unless a single record is larger.
        """
        self._reader, self._shown, self._sight = reader, shown, sight
        self._secret, self._page_bytes, self._metrics = secret, page_bytes, metrics
        self._max_events, self._max_goods = max_events, max_goods
        self._engine = engine
        self._turns = asyncio.Semaphore(most)
        self._shares = Shares(most, share, "streams")
        self._write_s = write_s

    async def trace(self, request: trace_pb2.StreamTraceRequest, context: Context) -> None:
        """Trace goods level after level; see trace.proto."""
        user, query = caller(context), requests.streamed_query(request)
        send = self._sending(context)
        async with self._begun(user, "StreamTrace", query.key, query.as_of, request.trace.purpose) as begun:
            await send(
                trace_pb2.StreamTraceResponse(
                    key=query.key,
                    checkpoints=map(showing.checkpoint_message, begun.checkpoints.values()),
                    browse_id=begun.browse_id,
                )
            )
            stream = TraceStream(
                begun.logs, self._secret, begun.checkpoints, self._page_bytes, self._engine.thinking()
            )
            asked = core.engine_query(query, self._max_events)
            await self._counted(stream, stream.run(asked, query.only, send))

    async def recall(self, request: recall_pb2.RecallRequest, context: Context) -> None:
        """Recall goods; see recall.proto."""
        user = caller(context)
        query = requests.recall_query(request, limit=self._max_events, max_goods=self._max_goods)
        as_of = requests.sizes_asked(request.as_of)
        send = self._sending(context)
        async with self._begun(user, "Recall", query.key, as_of, request.purpose) as begun:
            await send(
                recall_pb2.RecallResponse(
                    key=query.key,
                    checkpoints=map(showing.checkpoint_message, begun.checkpoints.values()),
                    browse_id=begun.browse_id,
                )
            )
            recalling = Recalling(
                begun.logs, self._secret, begun.checkpoints, self._page_bytes, self._engine.thinking()
            )
            await self._counted(recalling, recalling.run(query, send))

    @asynccontextmanager
    async def _begun(
        self, user: str, method: str, key: str, as_of: Mapping[str, int], purpose: str
    ) -> AsyncIterator[_Begun]:
        """Wait for a turn, fix the checkpoints and record the look: how much it shows cannot be told yet.

        Who waits counts as well: else one caller's calls would stand in line before those of all others.
        """
        logs = await self._sight.logs(self._reader, principal(), self._secret, self._max_events, UNTOLD_S)
        with self._shares.taken():
            async with self._turns:
                yield await self._recorded(logs, as_of, user=user, method=method, key=key, purpose=purpose)

    async def _recorded(
        self, logs: VisibleLogs, as_of: Mapping[str, int], *, user: str, method: str, key: str, purpose: str
    ) -> _Begun:
        checkpoints = await disclosure.vector(self._reader, _KIND, as_of)
        browse = Browse(
            user=user,
            merchant=logs.eyes.merchant,
            method=method,
            keys=(key,),
            sizes=showing.sizes_of(checkpoints),
            purpose=purpose,
            events=0,
            query="stream",
        )
        return _Begun(logs, checkpoints, await self._shown.record(browse))

    def _sending(self, context: Context) -> Callable[[Message], Awaitable[None]]:
        """Give what sends messages, and gives up where the caller does not read: a turn is held all the while.

        What it gives raises TimeoutError.
        """

        async def send(message: Message) -> None:
            try:
                async with asyncio.timeout(self._write_s) as limit:
                    await context.write(message)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise TimeoutError(f"no message was read for {self._write_s:g} s") from error

        return send

    async def _counted(self, stream: TraceStream | Recalling, running: Awaitable[None]) -> None:
        """Send a stream; count what it showed and withheld, however it ends."""
        try:
            await running
        finally:
            self._metrics.shown.inc(stream.shown)
            self._metrics.withheld.inc(stream.withheld)
