"""Answers with figures; each is recorded as a look before it leaves."""

from goodstrace.audit.v1 import audit_pb2
from services.audit.figures import requests
from services.audit.figures.requests import Next, Span
from services.audit.figures.store import Statistics
from services.runtime import clock
from services.runtime.access.current import principal
from services.runtime.goods_browses.days import span_of
from services.runtime.goods_browses.store import GoodsBrowses
from services.runtime.goods_browses.values import LEAST_VIEWERS
from services.runtime.mongo import Database
from services.runtime.page_tokens import PageTokens, TokenKey
from services.sealing.browse import Browse, BrowseRecorder


class FigureAnswers:
    """Answers GetStatistics and CountGoodsBrowses."""

    def __init__(self, database: Database, recorder: BrowseRecorder, page_key: TokenKey) -> None:
        """Answer from what is kept in a database."""
        self._statistics, self._goods = Statistics(database), GoodsBrowses(database)
        self._recorder = recorder
        self._tokens = PageTokens(page_key, Next)

    async def statistics(
        self, request: audit_pb2.GetStatisticsRequest, user: str
    ) -> audit_pb2.GetStatisticsResponse:
        """Give the figures of windows, the oldest first."""
        span, size = requests.span_of(request, clock.now_ms()), requests.page_size_of(request)
        bound = requests.bound_to(request)
        if request.page_token:
            following = await self._tokens.open(bound, request.page_token)
            span = Span(span.window, following.start_ms, following.end_ms)
        page, rest = requests.page_of(span, size)
        found = await self._statistics.windows(page.window, page.start_ms, page.end_ms)
        answer = audit_pb2.GetStatisticsResponse(
            windows=[requests.statistics_message(page.window, start, each) for start, each in found]
        )
        if rest is not None:
            answer.next_page_token = await self._tokens.seal(bound, rest)
        answer.browse_id = await self._recorded(
            "GetStatistics", user, request.purpose, asked=bound.decode(), shown=len(found)
        )
        return answer

    async def goods(
        self, request: audit_pb2.CountGoodsBrowsesRequest, user: str
    ) -> audit_pb2.CountGoodsBrowsesResponse:
        """Say what a merchant may be told of looks at its goods."""
        merchant = requests.merchant_of(request, principal())
        first, last = span_of(request.first_day, request.last_day)
        found, counted = await self._goods.of(merchant, first, last)
        answer = audit_pb2.CountGoodsBrowsesResponse(
            merchant=merchant,
            days=[requests.day_message(day.isoformat(), told) for day, told in found.items()],
            least_viewers=LEAST_VIEWERS,
            counted_until=counted.until.isoformat() if counted and counted.until else "",
        )
        answer.browse_id = await self._recorded(
            "CountGoodsBrowses",
            user,
            request.purpose,
            asked=f"{merchant}\n{first.isoformat()}\n{last.isoformat()}",
            shown=len(found),
        )
        return answer

    async def _recorded(self, method: str, user: str, purpose: str, *, asked: str, shown: int) -> str:
        """Record the look: nothing may leave before this has returned (design.md, invariant 4)."""
        return await self._recorder.record(
            Browse(user=user, method=method, keys=(), sizes={}, purpose=purpose, events=shown, query=asked)
        )
