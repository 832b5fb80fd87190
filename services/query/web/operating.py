"""Pages of operators: health of the services, the backlog, where the dashboards are, and what the collector refused.

The collector is asked as who is signed in, as `goodstrace rejected` asks it; it says who may see what.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from fastapi import Request, Response

from services.query.web.auditing import Book, asker_of
from services.query.web.neighbours import Neighbours, Rung
from services.query.web.pages import Handler, WebPages
from services.query.web.settings import WebSettings
from services.query.web.visiting import Visit
from services.runtime.call_errors import InvalidRequestError, NotFoundError
from services.runtime.errors import UnavailableError

REJECTIONS_ON_PAGE: Final = 100
STATES: Final = ("open", "resubmitted", "settled")
REASONS: Final = ("INVALID", "FORBIDDEN", "TOO_LARGE", "FAULT", "DUPLICATE")
_RECORD: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MOST_TEXT: Final = 20_000
_ON_TOP: Final = frozenset(("recordID", "reason", "detail"))


class Rejection(msgspec.Struct, frozen=True, rename={"record": "recordID", "time": "recordTime"}):
    """What the list shows of a rejection; the collector leaves out what has no value."""

    record: str = ""
    reason: str = ""
    state: str = ""
    detail: str = ""
    merchant: int = 0
    time: str = ""


class OperatorPages:
    """Answers the requests for pages below /operator."""

    def __init__(self, pages: WebPages, book: Book, neighbours: Neighbours, settings: WebSettings) -> None:
        """Show what `neighbours` tell, and of `book` how far the logs are published."""
        self._pages, self._book, self._neighbours, self._settings = pages, book, neighbours, settings

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        """See MorePages."""
        return (
            ("GET", "/operator", self.overview),
            ("GET", "/operator/rejected", self.rejected),
            ("GET", "/operator/rejected/one", self.one),
        )

    async def overview(self, request: Request, visit: Visit) -> Response:
        """Show health, backlog, and where the dashboards are; what does not answer is said, and the rest shown."""
        health, backlog, heads = await asyncio.gather(
            self._neighbours.health(), self._backlog(), self._book.heads()
        )
        sizes = {log: head.published.size if head.published else 0 for log, head in heads.items()}
        logs = [
            (log, head.checkpoint.size, head.checkpoint.size - sizes[log])
            for log, head in sorted(heads.items())
        ]
        dashboards = self._settings.dashboards()
        return await self._pages.page(
            request,
            visit,
            "operator.html",
            health=health,
            backlog=backlog,
            has_prometheus=bool(self._settings.prometheus),
            logs=logs,
            links=[(name, url) for name, url, _ in dashboards if url],
            unset=[setting for _, url, setting in dashboards if not url],
        )

    async def rejected(self, request: Request, visit: Visit) -> Response:
        """List what the collector refused, newest first."""
        state, reason = _one_of(request, "state", STATES), _one_of(request, "reason", REASONS)
        found = await self._neighbours.rejections(asker_of(request), state, reason, REJECTIONS_ON_PAGE)
        return await self._pages.page(
            request,
            visit,
            "operator_rejected.html",
            rejections=[_convert(each) for each in found],
            state=state,
            reason=reason,
            states=STATES,
            reasons=REASONS,
            most=REJECTIONS_ON_PAGE,
        )

    async def one(self, request: Request, visit: Visit) -> Response:
        """Show one rejection: why, and what was sent."""
        record = request.query_params.get("record", "")
        if not _RECORD.fullmatch(record):  # it becomes part of a path
            raise NotFoundError("there is no such record", "record")
        found, content = await self._neighbours.rejection(asker_of(request), record)
        text = content.decode("utf-8", "replace")[:_MOST_TEXT] if content is not None else ""
        return await self._pages.page(
            request,
            visit,
            "operator_rejection.html",
            one=_convert(found),
            record=record,
            lines=[(name, _line(value)) for name, value in found.items() if name not in _ON_TOP],
            text=text,
        )

    async def _backlog(self) -> list[Rung]:
        if not self._settings.prometheus:
            return []
        try:
            return await self._neighbours.backlog()
        except UnavailableError:
            return []  # the page says so, and shows the rest


def _convert(told: dict[str, Any]) -> Rejection:
    """Read a rejection. Raises: UnavailableError where it is none: the collector is of another version."""
    try:
        return msgspec.convert(told, Rejection)
    except msgspec.ValidationError as error:
        raise UnavailableError(f"the collector answers otherwise than it should: {error}") from error


def _line(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _one_of(request: Request, name: str, words: tuple[str, ...]) -> str:
    asked = request.query_params.get(name, "")
    if asked and asked not in words:
        raise InvalidRequestError("there is no such one", name)
    return asked
