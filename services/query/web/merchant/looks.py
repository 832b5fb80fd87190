"""Who looked at my goods: counts by day, role and step, as far as the audit service tells them. It is asked with the token of who is signed in."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
from fastapi import Request, Response

from goodstrace.audit.v1 import audit_pb2
from services.query.web.auditing import asker_of
from services.query.web.merchant.ports import Page
from services.query.web.neighbours import Asker
from services.query.web.visiting import Visit
from services.runtime.call_errors import InvalidRequestError

DAYS: Final = 14
MOST_DAYS: Final = 92
ROLES: Final = ("shopper", "merchant", "auditor", "operator", "platform", "anybody")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


class CountsLooks(Protocol):
    """Counts looks; `services.query.web.neighbours.ServiceNeighbours` is the real one."""

    async def goods_browses(
        self, asker: Asker, request: audit_pb2.CountGoodsBrowsesRequest
    ) -> audit_pb2.CountGoodsBrowsesResponse:
        """Count who looked at a merchant's goods; recorded there."""
        ...


class Day(msgspec.Struct, frozen=True):
    """A day: how many people in all, -1 where that is not told; by role over all steps, and by role and step, what is told."""

    day: str
    total: int
    roles: dict[str, int]
    steps: tuple[tuple[str, str, int], ...]


class LooksPages:
    """Answers /merchant/looks."""

    def __init__(self, page: Page, audit: CountsLooks, today: Callable[[], dt.date]) -> None:
        """Ask `audit`; `today` is UTC's."""
        self._page, self._audit, self._today = page, audit, today

    async def looks(self, request: Request, visit: Visit) -> Response:
        """Show the counts of some days, the newest first."""
        yesterday = self._today() - dt.timedelta(days=1)
        last = _day(request, "until", yesterday)
        first = _day(request, "from", last - dt.timedelta(days=DAYS - 1))
        if not 0 <= (last - first).days < MOST_DAYS:
            raise InvalidRequestError(f"1 to {MOST_DAYS} days", "from")
        asked = audit_pb2.CountGoodsBrowsesRequest(
            first_day=first.isoformat(), last_day=last.isoformat(), purpose="merchant page"
        )
        answer = await self._audit.goods_browses(asker_of(request), asked)
        days = days_of(answer)
        return await self._page(
            request,
            visit,
            "merchant/looks.html",
            days=days,
            roles=[each for each in ROLES if any(each in day.roles for day in days)] or ROLES[:1],
            answer=answer,
            first=first.isoformat(),
            last=last.isoformat(),
        )


def days_of(answer: audit_pb2.CountGoodsBrowsesResponse) -> list[Day]:
    """Take an answer apart, the newest day first. Pure."""
    found = [
        Day(
            day=each.day,
            total=each.total_viewers if each.HasField("total_viewers") else -1,
            roles={count.role: count.viewers for count in each.counts if not count.step},
            steps=tuple((count.role, count.step, count.viewers) for count in each.counts if count.step),
        )
        for each in answer.days
    ]
    return sorted(found, key=lambda day: day.day, reverse=True)


def _day(request: Request, name: str, otherwise: dt.date) -> dt.date:
    text = request.query_params.get(name, "")
    if not text:
        return otherwise
    if not _DAY.fullmatch(text):
        raise InvalidRequestError("a day, such as 2026-11-01", name)
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequestError("a day, such as 2026-11-01", name) from error
