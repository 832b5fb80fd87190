"""`GET /epcis/v2/capture` and `/epcis/v2/capture/{id}`: jobs as their merchant sees them, page by page."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from services.collector import headers
from services.collector.calendar import Position
from services.collector.headers import JSON_TYPES
from services.collector.intake import Intake
from services.collector.jobs import detailed, outline, timestamp
from services.collector.positions import Positions
from services.collector.problems import NO_SUCH, Problem
from services.runtime.call_errors import InvalidRequestError
from services.runtime.epcis_negotiation import ANSWERED
from services.runtime.page_tokens import PageTokens, TokenKey

JOBS_PER_PAGE: Final = 30
MAX_JOBS_PER_PAGE: Final = 100
EVENTS_PER_PAGE: Final = 100
MAX_EVENTS_PER_PAGE: Final = 1_000
TOKEN_LIFETIME_MS: Final = 3_600_000
PER_PAGE: Final = "perPage"
MERCHANT: Final = "merchant"
NEXT: Final = "nextPageToken"
_JSON: Final = JSON_TYPES[1]
_CAPTURE_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


class ListState(msgspec.Struct, frozen=True):
    """Where a list of jobs goes on: after this job. `expires_ms` is Unix milliseconds."""

    expires_ms: int
    created_ms: int
    id: str


class EventState(msgspec.Struct, frozen=True):
    """Where a job's events go on: with this one."""

    expires_ms: int
    first: int


class JobViews:
    """Shows jobs.

    Args:
        intake: knows them.
        positions: knows where their events are sealed.
        page_key: of page tokens.
        now_ms: the time, Unix milliseconds.
    """

    def __init__(
        self, intake: Intake, positions: Positions, page_key: TokenKey, now_ms: Callable[[], int]
    ) -> None:
        self._intake = intake
        self._positions = positions
        self._now_ms = now_ms
        self._lists = PageTokens(page_key, ListState, NEXT)
        self._events = PageTokens(page_key, EventState, NEXT)

    async def listed(self, request: Request, viewer: int | None) -> Response:
        """List a merchant's jobs, newest first; who may see everyone's (None) says whose. Raises: RefusedHeaderError, InvalidRequestError, UnavailableError."""
        headers.negotiate(request.headers, _JSON)
        merchant = _wanted(request.query_params) if viewer is None else viewer
        size = per_page(request.query_params, JOBS_PER_PAGE, MAX_JOBS_PER_PAGE)
        query, before = msgspec.json.encode(("ListJobs", merchant)), None
        token = request.query_params.get(NEXT)
        if token is not None:
            state = await self._lists.open(query, token)
            self._check_age(state.expires_ms)
            before = Position(state.created_ms, state.id)
        made, more = await self._intake.list_jobs(merchant, before, size)
        following = {}
        if more:
            last = made[-1].job
            expires_ms = self._expiry()
            state = ListState(expires_ms, last.created_ms, last.id)
            token = await self._lists.seal(query, state)
            whose = {} if viewer is not None else {MERCHANT: merchant}
            following = _following("/epcis/v2/capture", {**whose, PER_PAGE: size, NEXT: token}, expires_ms)
        return JSONResponse([outline(each) for each in made], headers={**ANSWERED, **following})

    async def one(self, request: Request, capture: str, viewer: int | None) -> Response:
        """Show a job and a page of its events. Raises: as `listed`, and CorruptError."""
        headers.negotiate(request.headers, _JSON)
        size = per_page(request.query_params, EVENTS_PER_PAGE, MAX_EVENTS_PER_PAGE)
        wanted = capture.replace("-", "").lower()
        made = await self._intake.job(wanted, viewer) if _CAPTURE_ID.fullmatch(wanted) else None
        if made is None:
            return Problem(404, NO_SUCH, "there is no such capture").response()
        query, first = msgspec.json.encode(("Job", viewer, wanted)), 0
        token = request.query_params.get(NEXT)
        if token is not None:
            state = await self._events.open(query, token)
            self._check_age(state.expires_ms)
            first = state.first
        page = made.page(first, size)
        # While a job is running its events are hardly sealed, and clients ask again and again.
        places = {} if made.running else await self._positions.of(made, page)
        following = {}
        if first + size < made.job.events:
            expires_ms = self._expiry()
            token = await self._events.seal(query, EventState(expires_ms, first + size))
            following = _following(f"/epcis/v2/capture/{wanted}", {PER_PAGE: size, NEXT: token}, expires_ms)
        told = {**outline(made), "events": detailed(page, places)}
        return JSONResponse(told, headers={**ANSWERED, **following})

    def _expiry(self) -> int:
        return self._now_ms() + TOKEN_LIFETIME_MS

    def _check_age(self, expires_ms: int) -> None:
        if self._now_ms() >= expires_ms:
            raise InvalidRequestError("has expired: begin again with the first page", NEXT)


def per_page(query: Mapping[str, Any], default: int, most: int) -> int:
    """Read how many a page shall have; over `most` it is `most`. Raises: InvalidRequestError."""
    text = query.get(PER_PAGE)
    if text is None:
        return default
    if not _DIGITS.fullmatch(text) or not int(text):
        raise InvalidRequestError("must be a whole number from 1", PER_PAGE)
    return min(int(text), most)


def _wanted(query: Mapping[str, Any]) -> int:
    text = query.get(MERCHANT, "")
    if not _NUMBER.fullmatch(text):
        raise InvalidRequestError("must be the number of the merchant whose jobs are listed", MERCHANT)
    return int(text)


def _following(path: str, query: Mapping[str, Any], expires_ms: int) -> dict[str, str]:
    """Give the headers that lead to the next page. Source: RFC 8288; EPCIS 2.0 section 12.3 (paging)."""
    return {
        "Link": f'<{path}?{urlencode(query)}>; rel="next"',
        "GS1-Next-Page-Token-Expires": timestamp(expires_ms),
    }
