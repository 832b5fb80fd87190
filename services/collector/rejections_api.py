"""Rejections over HTTP: list, show, send again.

Whoever reaches this sees what any merchant sent and was refused: it is for operators, and served where the API is open to this
machine alone, unless a setting says otherwise. A rejected record is not sealed, so no browse record is made; what a sealed
record holds too is not shown here (`rejections.is_shown`).
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from services.collector import bodies
from services.collector.errors import HinderedError
from services.collector.flow import Reason
from services.collector.metrics import CODES, Metrics
from services.collector.problems import NO_SUCH, VALIDATION, Problem, of_error
from services.collector.rejection_desk import RejectionDesk
from services.collector.rejection_store import Wanted
from services.collector.rejections import State, described
from services.runtime.call_errors import NotFoundError
from services.runtime.kafka import OffsetGapError

PATH: Final = "/rejections/v1"
MAX_PAGE: Final = 1000
BODY_TIMEOUT_S: Final = 60.0
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TOKEN: Final = r"^([0-9]{15}-[0-9a-f]{32})?$"  # noqa: S105 - a place in a list, no secret
_CAPTURE: Final = r"^([0-9a-f]{32})?$"
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "content": {"application/ld+json": {"schema": {"type": "object"}}},
        "description": "What to capture instead: the corrected event, or a document. Without it, what was refused as it was.",
    }
}
_REFUSALS: Final[dict[type[Exception], tuple[int, str, str]]] = {
    NotFoundError: (404, NO_SUCH, ""),
    HinderedError: (409, "NotResubmittable", ""),
    OffsetGapError: (410, "Gone", "Kafka no longer has the record: its retention was shortened"),
}
"""Error -> status, kind and detail; the error's own text where that is empty."""


def join(app: FastAPI, desk: RejectionDesk, metrics: Metrics) -> None:
    """Add the routes under /rejections/v1 to the application."""
    router = APIRouter(prefix=PATH, tags=["rejections"])

    @router.get("", summary="List what was refused")
    async def rejections(
        state: State | None = None,
        reason: Reason | None = None,
        capture: Annotated[str, Query(pattern=_CAPTURE)] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        page_token: Annotated[str, Query(alias="pageToken", pattern=_TOKEN)] = "",
    ) -> Response:
        """List rejections, newest first: those that are open, unless asked otherwise. Duplicates only if asked for by reason."""
        wanted = _wanted(state, reason, capture)
        return await _measured("rejections", metrics, lambda: _list(desk, wanted, page_token, limit))

    @router.get("/{record_id}", summary="One rejection")
    async def rejection(record_id: str) -> Response:
        """Show why a record was refused, where it lies, and what was done about it."""
        return await _measured("rejection", metrics, lambda: _show(desk, record_id))

    @router.get("/{record_id}/content", summary="What was refused, in its exact bytes")
    async def content(record_id: str) -> Response:
        """Give the exact bytes, where no sealed record holds the same."""
        return await _measured("rejection_content", metrics, lambda: _content(desk, record_id))

    @router.post(
        "/{record_id}/resubmit", status_code=202, openapi_extra=_BODY, summary="Capture it once more"
    )
    async def resubmit(record_id: str, request: Request) -> Response:
        """Capture what was refused once more, corrected or as it was, for the same merchant."""
        return await _measured("resubmit", metrics, lambda: _resubmit(desk, record_id, request))

    app.include_router(router)

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return Problem(
            400, VALIDATION, f"{place}: {first['msg']}", parameter=str(first["loc"][-1])
        ).response()


def _wanted(state: State | None, reason: Reason | None, capture: str) -> Wanted:
    usual = State.SETTLED if reason is Reason.DUPLICATE else State.OPEN
    return Wanted(state or usual, reason.value if reason else "", capture)


async def _list(desk: RejectionDesk, wanted: Wanted, before: str, limit: int) -> Response:
    page = await desk.page(wanted, before, limit)
    told: dict[str, Any] = {"rejections": [described(each) for each in page.rejections]}
    if page.following:
        told["nextPageToken"] = page.following
    return JSONResponse(told)


async def _show(desk: RejectionDesk, record_id: str) -> Response:
    return JSONResponse(described(await desk.find(_checked(record_id))))


async def _content(desk: RejectionDesk, record_id: str) -> Response:
    name = _checked(record_id)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(await desk.content(name), 200, headers, "application/octet-stream")


async def _resubmit(desk: RejectionDesk, record_id: str, request: Request) -> Response:
    name = _checked(record_id)
    async with bodies.whole(request, desk.limits, desk.hold, BODY_TIMEOUT_S) as body:
        _, again = await desk.resubmit(name, body or None)
    location = f"/epcis/v2/capture/{again.capture}"
    told = {"rejectionID": name, "captureID": again.capture, "recordIDs": list(again.records)}
    return JSONResponse(told, 202, {"Location": location})


def _checked(record_id: str) -> str:
    if not _ID.fullmatch(record_id):
        raise NotFoundError("there is no such rejection")
    return record_id


async def _measured(method: str, metrics: Metrics, answer: Callable[[], Awaitable[Response]]) -> Response:
    started = time.perf_counter()
    try:
        response = await answer()
    except ClientDisconnect:
        response = Response(status_code=400)  # to nobody
    except Exception as error:
        problem = _problem(error)
        if problem is None:
            raise
        response = problem.response()
    code = str(response.status_code)
    metrics.requests.labels(method, code if code in CODES else "500").inc()
    if method == "resubmit":
        metrics.capture_seconds.observe(time.perf_counter() - started)
    return response


def _problem(error: Exception) -> Problem | None:
    """Say how an error is answered; None for a defect."""
    for kind_of_error, (status, kind, detail) in _REFUSALS.items():
        if isinstance(error, kind_of_error):
            return Problem(status, kind, detail or str(error))
    return of_error(error)
