"""The calls of the client for figures of who looked. They are the service's word: what can be proved of them is in the transparency report."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from goodstrace.errors import AnswerError

WINDOWS: Final = {
    "hour": audit_pb2.STATISTICS_WINDOW_HOUR,
    "day": audit_pb2.STATISTICS_WINDOW_DAY,
    "month": audit_pb2.STATISTICS_WINDOW_MONTH,
}


@dataclass(frozen=True, slots=True)
class GoodsBrowses:
    """Who looked at a merchant's goods, by day: only what it may be told.

    days: each that is over and counted. least_viewers: fewer people are told of nobody. counted_until: the last day counted, such as
    "2026-11-25"; empty where none is yet.
    """

    merchant: int
    days: tuple[audit_pb2.GoodsBrowsesDay, ...]
    least_viewers: int
    counted_until: str
    browse_id: str


class FigureCalls(ABC):
    """What `Client` has of these calls; see there."""

    _audit_channel: grpc.Channel | None
    _purpose: str

    @abstractmethod
    def _pages(self, request: Any, method: Callable[..., Any]) -> Iterator[Any]: ...

    @abstractmethod
    def _call(self, method: Callable[..., Any], request: Any) -> Any: ...

    def statistics(self, window: str, start_ms: int, end_ms: int = 0) -> Sequence[audit_pb2.BrowseStatistics]:
        """Give figures of all looks, for auditors and operators, the oldest window first.

        Args:
            window: hour, day or month, in UTC.
            start_ms: windows that begin then or later, Unix milliseconds.
            end_ms: windows that begin before it; 0 for now. At most 1000 windows.
        Raises: ValueError where the client has no `audit_target`; else as all calls.
        """
        request = audit_pb2.GetStatisticsRequest(
            window=WINDOWS[window], start_ms=start_ms, end_ms=end_ms, page_size=1000, purpose=self._purpose
        )
        return [each for page in self._pages(request, self._audit().GetStatistics) for each in page.windows]

    def goods_browses(self, first: dt.date, last: dt.date, *, merchant: int = 0) -> GoodsBrowses:
        """Tell who looked at a merchant's goods, by day, role and step, as far as that merchant may know.

        Args:
            first: the first day (UTC).
            last: the last day, at most 91 days later.
            merchant: its number, for auditors and operators; 0 for the caller's own.
        Raises: ValueError where the client has no `audit_target`; AnswerError where the answer is of something else; else as all calls.
        """
        request = audit_pb2.CountGoodsBrowsesRequest(
            merchant=merchant,
            first_day=first.isoformat(),
            last_day=last.isoformat(),
            purpose=self._purpose,
        )
        answer: audit_pb2.CountGoodsBrowsesResponse = self._call(self._audit().CountGoodsBrowses, request)
        days = [each.day for each in answer.days]
        if sorted(set(days)) != days or not all(first.isoformat() <= day <= last.isoformat() for day in days):
            raise AnswerError(f"asked for the days {first} to {last} and got others, or not in their order")
        if merchant not in (0, answer.merchant):
            raise AnswerError(
                f"asked for the goods of merchant {merchant} and got those of {answer.merchant}"
            )
        return GoodsBrowses(
            answer.merchant,
            tuple(answer.days),
            answer.least_viewers,
            answer.counted_until,
            answer.browse_id,
        )

    def _audit(self) -> audit_pb2_grpc.AuditServiceStub:
        if self._audit_channel is None:
            raise ValueError("this wants a client with an audit_target")
        return audit_pb2_grpc.AuditServiceStub(self._audit_channel)
