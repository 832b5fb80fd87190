"""`WatchService` over gRPC: what the watch found and counted; each answer is recorded as a look before it leaves."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import structlog

from goodstrace.audit.v1 import watch_pb2, watch_pb2_grpc
from services.audit import watch_requests as requests
from services.audit.watch.values import Kind
from services.audit.watch_names import WatchNames
from services.audit.watch_reader import StoredAlert, WatchReader
from services.audit.watch_requests import DEFAULT_PAGE_SIZE, Before, Since
from services.runtime import clock
from services.runtime.call_errors import ExhaustedError
from services.runtime.call_limits import MAX_PURPOSE_CHARS, check_text, checked_page_size
from services.runtime.errors import UnavailableError
from services.runtime.grpc import Context, caller
from services.runtime.page_tokens import PageTokens, TokenKey
from services.runtime.shares import Shares
from services.runtime.waiting import until_set
from services.sealing.browse import Browse, BrowseRecorder

POLL_S: Final = 1.0
HEARTBEAT_S: Final = 15.0
OVERLAP_MS: Final = 10_000
"""So much earlier than the last alert a stream looks again: clocks of workers differ, and a write may take a while."""
MAX_STREAMS: Final = 100
_SHARE: Final = 0.25  # of them that one caller may have
_STREAMED: Final = 100
_REMEMBERED: Final = 10_000
_BOUND: Final = b'"StreamAlerts"'


class WatchServicer(watch_pb2_grpc.WatchServiceServicer):
    """Answers WatchService's calls; errors leave as exceptions, for the interceptor's table."""

    def __init__(
        self,
        reader: WatchReader,
        names: WatchNames,
        recorder: BrowseRecorder,
        *,
        page_key: TokenKey,
        stop: asyncio.Event,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Answer from what the watch keeps, streams until `stop`; users are found by name, and named, by `names`."""
        self._reader, self._names, self._recorder = reader, names, recorder
        self._stop, self._log = stop, log
        self._tokens = PageTokens(page_key, Before)
        self._cursors = PageTokens(page_key, Since, "cursor")
        self._streams, self._shares = 0, Shares(MAX_STREAMS, _SHARE, "streams of alerts")

    async def ListAlerts(  # noqa: N802 - the name in the proto
        self, request: watch_pb2.ListAlertsRequest, context: Context
    ) -> watch_pb2.ListAlertsResponse:
        """List alerts, those stored last first."""
        user, wanted = caller(context), requests.alerts_wanted(request)
        bound = _asked("ListAlerts", wanted.rule, wanted.subject, str(wanted.after_ms), wanted.user)
        before = await self._opened(bound, request.page_token)
        size = checked_page_size(request.page_size, DEFAULT_PAGE_SIZE)
        subjects = [wanted.subject] if wanted.subject else []
        if wanted.user:
            subjects = await self._names.subjects(wanted.user, 0, clock.now_ms())
        found = await self._reader.alerts(wanted, subjects, before, size + 1)
        page = found[:size]
        answer = watch_pb2.ListAlertsResponse(
            alerts=[each.alert for each in page], users=await self._who(page)
        )
        if len(found) > size:
            last = page[-1]
            answer.next_page_token = await self._tokens.seal(bound, Before(last.stored_ms, last.alert.id))
        told = _asked("ListAlerts", wanted.rule, wanted.subject, str(wanted.after_ms))
        answer.browse_id = await self._recorded(
            "ListAlerts", user, request.purpose, asked=told, shown=len(page), of=wanted.user
        )
        return answer

    async def StreamAlerts(  # type: ignore[override]  # noqa: N802 - it writes to its context
        self, request: watch_pb2.StreamAlertsRequest, context: Context
    ) -> None:
        """Send alerts as they are stored."""
        user = caller(context)
        check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
        since_ms = (
            (await self._cursors.open(_BOUND, request.cursor)).stored_ms
            if request.cursor
            else clock.now_ms() + OVERLAP_MS
        )
        if self._streams >= MAX_STREAMS:
            raise ExhaustedError(f"there are {MAX_STREAMS} streams of alerts already: try again later")
        with self._shares.taken():
            self._streams += 1
            try:
                await self._stream(user, request.purpose, since_ms, context)
            finally:
                self._streams -= 1

    async def _stream(self, user: str, purpose: str, since_ms: int, context: Context) -> None:
        sent: dict[str, None] = {}
        said_at_s = -HEARTBEAT_S
        while True:
            found = await self._new(since_ms, sent)
            if found:
                since_ms = max(since_ms, found[-1].stored_ms)
                sent |= dict.fromkeys(each.alert.id for each in found)
                while len(sent) > _REMEMBERED:
                    del sent[next(iter(sent))]
            if found or time.monotonic() - said_at_s >= HEARTBEAT_S:
                message = watch_pb2.StreamAlertsResponse(
                    alerts=[each.alert for each in found],
                    users=await self._who(found),
                    cursor=await self._cursors.seal(_BOUND, Since(since_ms)),
                )
                if found:
                    message.browse_id = await self._recorded(
                        "StreamAlerts", user, purpose, asked=_BOUND, shown=len(found)
                    )
                await context.write(message)
                said_at_s = time.monotonic()
            if len(found) < _STREAMED:
                await self._rest()

    async def _new(self, since_ms: int, sent: dict[str, None]) -> Sequence[StoredAlert]:
        """Read on, and look once more at the time just before."""
        found = await self._reader.alerts_since(since_ms - OVERLAP_MS, _REMEMBERED)
        return [each for each in found if each.alert.id not in sent][:_STREAMED]

    async def GetActivity(  # noqa: N802
        self, request: watch_pb2.GetActivityRequest, context: Context
    ) -> watch_pb2.GetActivityResponse:
        """Give a subject's statistics."""
        user, asked = caller(context), requests.window_of(request, clock.now_ms())
        subjects = [asked.subject]
        if asked.about == Kind.USER:
            subjects = await self._names.subjects(asked.subject, asked.start_ms, asked.end_ms)
        found = await self._reader.activity(asked.about, subjects, asked.start_ms, asked.end_ms)
        of = asked.subject if asked.about == Kind.USER else ""
        told = _asked(
            "GetActivity", asked.about, "" if of else asked.subject, str(asked.start_ms), str(asked.end_ms)
        )
        key = asked.subject if asked.about == "key" else ""
        browse_id = await self._recorded(
            "GetActivity", user, request.purpose, asked=told, shown=len(found), key=key, of=of
        )
        users = await self._names.known((each.about, each.subject) for each in found)
        return watch_pb2.GetActivityResponse(windows=found, browse_id=browse_id, users=users)

    async def ListBusiest(  # noqa: N802
        self, request: watch_pb2.ListBusiestRequest, context: Context
    ) -> watch_pb2.ListBusiestResponse:
        """List the busiest of one window."""
        user = caller(context)
        requests.check_busiest(request)
        bound = _asked("ListBusiest", request.about, str(request.at_ms))
        after = await self._opened(bound, request.page_token)
        size = checked_page_size(request.page_size, DEFAULT_PAGE_SIZE)
        found = await self._reader.busiest(request.about, request.at_ms or clock.now_ms(), after, size + 1)
        page = found[:size]
        users = await self._names.known((each.about, each.subject) for each, _ in page)
        answer = watch_pb2.ListBusiestResponse(busiest=[each for each, _ in page], users=users)
        if len(found) > size:
            answer.next_page_token = await self._tokens.seal(bound, Before(*page[-1][1]))
        answer.browse_id = await self._recorded(
            "ListBusiest", user, request.purpose, asked=bound, shown=len(page)
        )
        return answer

    async def _who(self, found: Sequence[StoredAlert]) -> Sequence[watch_pb2.KnownUser]:
        return await self._names.known((each.alert.about, each.alert.subject) for each in found)

    async def _opened(self, bound: bytes, token: str) -> tuple[int, str] | None:
        if not token:
            return None
        before = await self._tokens.open(bound, token)
        return before.at, before.last

    async def _recorded(
        self, method: str, user: str, purpose: str, *, asked: bytes, shown: int, key: str = "", of: str = ""
    ) -> str:
        """Record the look, `of` a user where it names one, whose name is nowhere else in it: nothing may leave before this has returned (design.md, invariant 4)."""
        browse_id = await self._recorder.record(
            Browse(
                user=user,
                method=method,
                keys=(key,) if key else (),
                sizes={},
                purpose=purpose,
                events=shown,
                asked_user=of,
                query=asked.decode(),
            )
        )
        self._log.info("shown", browse=browse_id, method=method, records=shown)
        return browse_id

    async def _rest(self) -> None:
        if await until_set(self._stop, POLL_S):
            raise UnavailableError("the service stops")


def _asked(method: str, *values: str) -> bytes:
    """Give the bytes that page tokens are bound to, and that say in the browse record what was asked."""
    return "\n".join((method, *values)).encode()
