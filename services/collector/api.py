"""The capture API over HTTP: EPCIS 2.0 REST, the capture side. Source: EPCIS 2.0 section 12; RFC 7807 (problems)."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from services.collector import media
from services.collector.errors import DocumentError, Fault
from services.collector.intake import BEHAVIOURS, PROCEED, ROLLBACK, Intake
from services.collector.intake import Request as CaptureRequest
from services.collector.metrics import CODES, Metrics
from services.runtime.errors import ServiceError
from services.runtime.monitoring import VERSION

PROBLEM_TYPE: Final = "application/problem+json"
MAX_FAULTS: Final = 100
BODY_TIMEOUT_S: Final = 60.0
_RETRY_AFTER_S: Final = 2
_BEHAVIOUR_HEADER: Final = "GS1-Capture-Error-Behaviour"
_EPCIS_HEADERS: Final = {"GS1-EPCIS-Version": "2.0.0", "GS1-CBV-Version": "2.0.0"}
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_CAPTURE_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {name: {"schema": {"type": "object"}} for name in media.TAKEN},
    },
    "parameters": [
        {
            "name": _BEHAVIOUR_HEADER,
            "in": "header",
            "schema": {"type": "string", "enum": list(BEHAVIOURS), "default": ROLLBACK},
            "description": "rollback: a bad event refuses the whole document. proceed: the good ones are captured.",
        }
    ],
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"description": "Every event is durable; `Location` is the capture job."},
    400: {
        "description": "No document of valid events; `errors` has the place of each fault. Nothing was kept."
    },
    408: {"description": "The body did not come within a minute. Nothing was kept."},
    413: {"description": "Over a limit of size. Nothing was kept."},
    415: {"description": "Neither JSON nor XML in UTF-8."},
    503: {
        "description": "Cannot capture now: try again after Retry-After. What was kept is recognised as a duplicate."
    },
}


class _TooLargeError(Exception):
    """The body is over the limit: reading was given up."""


class _TooSlowError(Exception):
    """The body did not come in time."""


def make_app(intake: Intake, metrics: Metrics, body_timeout_s: float = BODY_TIMEOUT_S) -> FastAPI:
    """Make the ASGI application; a body must have come within `body_timeout_s` seconds."""
    app = FastAPI(
        title="Goodstrace capture",
        version=VERSION,
        description="Capture of EPCIS 2.0 and 1.2 events, JSON or XML. See docs/capture.md.",
        openapi_url="/openapi.json",
        docs_url="/docs",
        redoc_url=None,
    )

    @app.post(
        "/epcis/v2/capture",
        status_code=202,
        responses=_RESPONSES,
        openapi_extra=_BODY,
        summary="Capture a document",
    )
    async def capture(request: Request) -> Response:
        """Capture an EPCISDocument, the events of an EPCISQueryDocument, or one bare event."""
        return await _measured(
            "capture", metrics, lambda: _capture(request, intake, body_timeout_s, bare=False)
        )

    @app.post(
        "/epcis/v2/events",
        status_code=202,
        responses=_RESPONSES,
        openapi_extra=_BODY,
        summary="Capture one event",
    )
    async def events(request: Request) -> Response:
        """Capture one bare event."""
        return await _measured(
            "events", metrics, lambda: _capture(request, intake, body_timeout_s, bare=True)
        )

    @app.get("/epcis/v2/capture/{capture_id}", summary="A capture job")
    async def job(capture_id: str) -> Response:
        """Show a capture job: the standard's fields, and the verdict on each event."""
        return await _measured("job", metrics, lambda: _job(capture_id, intake))

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> Response:
        kind = HTTPStatus(error.status_code).phrase.replace(" ", "")
        return _problem(error.status_code, kind, "see /docs", headers=dict(error.headers or {}))

    return app


async def _measured(method: str, metrics: Metrics, answer: Callable[[], Awaitable[Response]]) -> Response:
    """Answer, turning errors into problems (the only table of them), and count."""
    started = time.perf_counter()
    try:
        response = await answer()
    except DocumentError as error:
        response = _document_problem(error)
    except _TooLargeError:
        response = _problem(413, "CaptureLimitExceededException", "the body is over the limit")
    except ServiceError as error:
        headers = {"Retry-After": str(_RETRY_AFTER_S)}
        response = _problem(
            503,
            "ImplementationException",
            f"cannot do that now ({error.category}): try again",
            headers=headers,
        )
    except _TooSlowError:
        response = _problem(408, "RequestTimeout", "the body did not come in time")
    except ClientDisconnect:
        response = Response(status_code=400)
    code = str(response.status_code)
    metrics.requests.labels(method, code if code in CODES else "500").inc()
    if method != "job":
        metrics.capture_seconds.observe(time.perf_counter() - started)
    return response


async def _capture(request: Request, intake: Intake, body_timeout_s: float, *, bare: bool) -> Response:
    taken = media.is_taken(request.headers.get("content-type", ""))
    if not taken or request.headers.get("content-encoding", "identity") != "identity":
        detail = f"send JSON or XML in UTF-8 as {', '.join(media.TAKEN)}, not compressed"
        return _problem(
            415, "UnsupportedMediaTypeException", detail, headers={"Accept-Post": ", ".join(media.TAKEN)}
        )
    behaviour = request.headers.get(_BEHAVIOUR_HEADER, ROLLBACK).strip().lower()
    if behaviour not in BEHAVIOURS:
        return _problem(400, "ValidationException", f"{_BEHAVIOUR_HEADER} must be {ROLLBACK} or {PROCEED}")
    _refuse_announced(request, intake)
    held: list[int] = []
    try:
        try:
            body = await _read(request, intake, held, body_timeout_s)
        except TimeoutError as error:
            raise _TooSlowError from error
        trace = request.headers.get("traceparent", "")
        trace = trace if _TRACEPARENT.fullmatch(trace) else ""
        job = await intake.capture(CaptureRequest(body, behaviour, trace, bare))
    finally:
        intake.hold(-sum(held))
    return Response(status_code=202, headers={**_EPCIS_HEADERS, "Location": f"/epcis/v2/capture/{job.id}"})


async def _job(capture_id: str, intake: Intake) -> Response:
    wanted = capture_id.replace("-", "").lower()
    told = await intake.job(wanted) if _CAPTURE_ID.fullmatch(wanted) else None
    if told is None:
        return _problem(404, "NoSuchResourceException", "there is no such capture")
    return JSONResponse(told, headers=_EPCIS_HEADERS)


def _refuse_announced(request: Request, intake: Intake) -> None:
    text = request.headers.get("content-length", "")
    if text.isascii() and text.isdigit() and int(text[:16]) > intake.limits.body:
        raise _TooLargeError


async def _read(request: Request, intake: Intake, held: list[int], timeout_s: float) -> bytes:
    """Read the body, and note in `held` what room it takes: as it comes, so that senders who halt take none from others."""
    chunks, size = [], 0
    async with asyncio.timeout(timeout_s):
        async for chunk in request.stream():
            size += len(chunk)
            if size > intake.limits.body:
                raise _TooLargeError
            intake.hold(len(chunk))
            held.append(len(chunk))
            chunks.append(chunk)
    return b"".join(chunks)


def _document_problem(error: DocumentError) -> Response:
    status, kind = (413, "CaptureLimitExceededException") if error.too_large else (400, "ValidationException")
    first = error.faults[0]
    more = f" (and {len(error.faults) - 1} more)" if len(error.faults) > 1 else ""
    detail = f"{first.pointer or 'the document'}: {first.detail}{more}"
    return _problem(status, kind, detail, faults=error.faults[:MAX_FAULTS])


def _problem(
    status: int, kind: str, detail: str, faults: tuple[Fault, ...] = (), headers: dict[str, str] | None = None
) -> Response:
    content: dict[str, Any] = {
        "type": f"epcisException:{kind}",
        "title": kind,
        "status": status,
        "detail": detail,
    }
    if faults:
        content["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    return JSONResponse(content, status, {**_EPCIS_HEADERS, **(headers or {})}, PROBLEM_TYPE)
