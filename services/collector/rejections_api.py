"""Rejections over HTTP: list, show, send again.

A merchant sees its own, an operator everyone's; where accounts are off, which is on this machine alone, so does whoever reaches it. A rejected record is not sealed, so no browse record is made; what a sealed
record holds too is not shown here (`rejections.is_shown`).
"""

import re
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse

from services.collector import bodies
from services.collector.api import answered
from services.collector.flow import Reason
from services.collector.metrics import CODES, Metrics
from services.collector.openapi import TEXT, good, refusals
from services.collector.rejection_desk import RejectionDesk
from services.collector.rejection_store import Wanted
from services.collector.rejections import State, described
from services.runtime.access.current import principal
from services.runtime.call_errors import NotFoundError

PATH: Final = "/rejections/v1"
MAX_PAGE: Final = 1000
BODY_TIMEOUT_S: Final = 60.0
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TOKEN: Final = r"^([0-9]{15}-[0-9a-f]{32})?$"  # noqa: S105 - a place in a list, no secret
_CAPTURE: Final = r"^([0-9a-f]{32})?$"
_ONE: Final = f"{PATH}/{{record_id}}"
_TAGS: Final[list[str | Enum]] = ["rejections"]
_REFUSED: Final = (400, 401, 403, 404, 410, 503)
_SHOWN: Final = {
    200: good("As it stands.", {"application/json": {"type": "object"}}, ()),
    **refusals(*_REFUSED),
}
_CONTENT: Final = {
    200: good("The exact bytes.", {"application/octet-stream": TEXT}, ("Content-Disposition",)),
    **refusals(*_REFUSED),
}
_TAKEN: Final = {
    202: good("Every event is durable.", {"application/json": {"type": "object"}}, ("Location",)),
    **refusals(*_REFUSED, 408, 409, 413, 415, 429),
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "content": {"application/ld+json": {"schema": {"type": "object"}}},
        "description": "What to capture instead: the corrected event, or a document. Without it, what was refused as it was.",
    },
}


def join(app: FastAPI, desk: RejectionDesk, metrics: Metrics) -> None:
    """Add the routes under /rejections/v1 to the application."""

    def measured(method: str, answer: Callable[[], Awaitable[Response]]) -> Awaitable[Response]:
        return _measured(method, desk, metrics, answer)

    @app.get(PATH, responses=_SHOWN, tags=_TAGS, summary="List what was refused")
    async def rejections(
        *,
        state: State | None = None,
        reason: Reason | None = None,
        capture: Annotated[str, Query(pattern=_CAPTURE)] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        page_token: Annotated[str, Query(alias="pageToken", pattern=_TOKEN)] = "",
    ) -> Response:
        """List rejections, newest first: those that are open, unless asked otherwise. Duplicates only if asked for by reason."""
        wanted = _wanted(state, reason, capture)
        return await measured("rejections", lambda: _list(desk, wanted, page_token, limit))

    @app.get(_ONE, responses=_SHOWN, tags=_TAGS, summary="One rejection")
    async def rejection(record_id: str) -> Response:
        """Show why a record was refused, where it lies, and what was done about it."""
        return await measured("rejection", lambda: _show(desk, record_id))

    @app.get(
        f"{_ONE}/content",
        responses=_CONTENT,
        tags=_TAGS,
        summary="What was refused, in its exact bytes",
    )
    async def content(record_id: str) -> Response:
        """Give the exact bytes, where no sealed record holds the same."""
        return await measured("rejection_content", lambda: _content(desk, record_id))

    @app.post(
        f"{_ONE}/resubmit",
        tags=_TAGS,
        status_code=202,
        responses=_TAKEN,
        openapi_extra=_BODY,
        summary="Capture it once more",
    )
    async def resubmit(record_id: str, request: Request) -> Response:
        """Capture what was refused once more, corrected or as it was, for the same merchant."""
        return await measured("resubmit", lambda: _resubmit(desk, record_id, request))


def _wanted(state: State | None, reason: Reason | None, capture: str) -> Wanted:
    usual = State.SETTLED if reason is Reason.DUPLICATE else State.OPEN
    return Wanted(state or usual, reason.value if reason else "", capture)


async def _list(desk: RejectionDesk, wanted: Wanted, before: str, limit: int) -> Response:
    wanted = msgspec.structs.replace(wanted, merchant=_viewer(desk))
    page = await desk.page(wanted, before, limit)
    told: dict[str, Any] = {"rejections": [described(each) for each in page.rejections]}
    if page.following:
        told["nextPageToken"] = page.following
    return JSONResponse(told)


async def _show(desk: RejectionDesk, record_id: str) -> Response:
    viewer = _viewer(desk)
    return JSONResponse(described(await desk.find(_checked(record_id), viewer)))


async def _content(desk: RejectionDesk, record_id: str) -> Response:
    viewer = _viewer(desk)
    name = _checked(record_id)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(await desk.content(name, viewer), 200, headers, "application/octet-stream")


async def _resubmit(desk: RejectionDesk, record_id: str, request: Request) -> Response:
    viewer = _viewer(desk)
    name = _checked(record_id)
    async with bodies.whole(request, desk.limits, desk.hold, BODY_TIMEOUT_S) as body:
        _, again = await desk.resubmit(name, body or None, viewer)
    location = f"/epcis/v2/capture/{again.capture}"
    told = {"rejectionID": name, "captureID": again.capture, "recordIDs": list(again.records)}
    return JSONResponse(told, 202, {"Location": location})


def _checked(record_id: str) -> str:
    if not _ID.fullmatch(record_id):
        raise NotFoundError("there is no such rejection")
    return record_id


async def _measured(
    method: str, desk: RejectionDesk, metrics: Metrics, answer: Callable[[], Awaitable[Response]]
) -> Response:
    started = time.perf_counter()
    response = await answered(desk.limits, metrics, answer)
    code = str(response.status_code)
    metrics.requests.labels(method, code if code in CODES else "500").inc()
    if method == "resubmit":
        metrics.capture_seconds.observe(time.perf_counter() - started)
    return response


def _viewer(desk: RejectionDesk) -> int | None:
    """Say whose rejections the caller may see; None: everyone's, as where nobody has to say who calls."""
    gate = desk.gate
    return None if gate.is_open else gate.viewer(principal())
