"""The capture API over HTTP: EPCIS 2.0 REST, the capture side. Source: EPCIS 2.0 section 12; RFC 7807 (problems)."""

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from goodstrace.signatures import HEADER as SIGNATURE_HEADER
from goodstrace.signatures import MAX_CHARACTERS
from services.collector.errors import DocumentError, Fault
from services.collector.intake import BEHAVIOURS, PROCEED, ROLLBACK, Intake
from services.collector.intake import Request as CaptureRequest
from services.collector.metrics import CODES, Metrics
from services.collector.registry.credentials import credential_of
from services.collector.registry.errors import (
    ForbiddenError,
    RateLimitedError,
    RefusedError,
    TakenError,
    UnauthenticatedError,
    UnknownError,
)
from services.collector.registry.gate import Caller
from services.collector.registry.rates import rate_headers
from services.collector.registry.registrar import Registrar
from services.collector.registry.routes import Routes
from services.runtime.errors import ServiceError
from services.runtime.monitoring import VERSION

PROBLEM_TYPE: Final = "application/problem+json"
MAX_FAULTS: Final = 100
BODY_TIMEOUT_S: Final = 60.0
_RETRY_AFTER_S: Final = 2
_BEHAVIOUR_HEADER: Final = "GS1-Capture-Error-Behaviour"
_EPCIS_HEADERS: Final = {"GS1-EPCIS-Version": "2.0.0", "GS1-CBV-Version": "2.0.0"}
_JSON_TYPES: Final = ("", "application/json", "application/ld+json")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_CAPTURE_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            name: {"schema": {"type": "object"}} for name in ("application/ld+json", "application/json")
        },
    },
    "parameters": [
        {
            "name": _BEHAVIOUR_HEADER,
            "in": "header",
            "schema": {"type": "string", "enum": list(BEHAVIOURS), "default": ROLLBACK},
            "description": "rollback: a bad event refuses the whole document. proceed: the good ones are captured.",
        },
        {
            "name": SIGNATURE_HEADER,
            "in": "header",
            "schema": {"type": "string", "maxLength": MAX_CHARACTERS},
            "description": "Over a bare event: a detached JWS of the merchant's. See docs/signatures.md.",
        },
    ],
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"description": "Every event is durable; `Location` is the capture job."},
    400: {
        "description": "No document of valid events; `errors` has the place of each fault. Nothing was kept."
    },
    401: {
        "description": "No good API key or token; `WWW-Authenticate` says what is wanted. Nothing was kept."
    },
    403: {
        "description": "The merchant is suspended, or may not speak for goods at the places in `errors`. Nothing was kept."
    },
    408: {"description": "The body did not come within a minute. Nothing was kept."},
    413: {"description": "Over a limit of size. Nothing was kept."},
    415: {"description": "Not JSON."},
    429: {"description": "Over the merchant's rate; `Retry-After` is in seconds. Nothing was kept."},
    503: {
        "description": "Cannot capture now: try again after Retry-After. What was kept is recognised as a duplicate."
    },
}


_REFUSALS: Final[dict[type[RefusedError], tuple[int, str]]] = {
    UnauthenticatedError: (401, "SecurityException"),
    ForbiddenError: (403, "SecurityException"),
    UnknownError: (404, "NoSuchResourceException"),
    TakenError: (409, "ResourceAlreadyExistsException"),
    RateLimitedError: (429, "TooManyRequests"),
}


class _TooLargeError(Exception):
    """The body is over the limit: reading was given up."""


class _TooSlowError(Exception):
    """The body did not come in time."""


def make_app(
    intake: Intake,
    metrics: Metrics,
    body_timeout_s: float = BODY_TIMEOUT_S,
    registrar: Registrar | None = None,
) -> FastAPI:
    """Make the ASGI application; a body must have come within `body_timeout_s` seconds. `registrar`: serve `/registry` too."""
    app = FastAPI(
        title="Goodstrace capture",
        version=VERSION,
        description="Capture of EPCIS 2.0 events. See docs/capture.md.",
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

    if registrar is not None:
        Routes(registrar, intake.gate, lambda answer: _measured("registry", metrics, answer)).join(app)

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> Response:
        kind = HTTPStatus(error.status_code).phrase.replace(" ", "")
        return _problem(error.status_code, kind, "see /docs", headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> Response:
        place, detail = error.errors()[0]["loc"], error.errors()[0]["msg"]
        return _problem(400, "ValidationException", f"{'.'.join(map(str, place))}: {detail}")

    return app


async def _measured(method: str, metrics: Metrics, answer: Callable[[], Awaitable[Response]]) -> Response:
    """Answer, turning errors into problems (the only table of them), and count."""
    started = time.perf_counter()
    try:
        response = await answer()
    except DocumentError as error:
        response = _document_problem(error)
    except RefusedError as error:
        response = _refusal(error)
        metrics.refused_callers.labels(error.category).inc()
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
    if method in ("capture", "events"):
        metrics.capture_seconds.observe(time.perf_counter() - started)
    return response


async def _capture(request: Request, intake: Intake, body_timeout_s: float, *, bare: bool) -> Response:
    caller = await intake.gate.admit(credential_of(request.headers.items()))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES or request.headers.get("content-encoding", "identity") != "identity":
        detail = "send JSON as application/ld+json or application/json, not compressed"
        return _problem(
            415, "UnsupportedMediaTypeException", detail, headers={"Accept-Post": ", ".join(_JSON_TYPES[1:])}
        )
    behaviour = request.headers.get(_BEHAVIOUR_HEADER, ROLLBACK).strip().lower()
    if behaviour not in BEHAVIOURS:
        return _problem(400, "ValidationException", f"{_BEHAVIOUR_HEADER} must be {ROLLBACK} or {PROCEED}")
    largest = min(intake.limits.body, caller.body_bytes)
    _refuse_announced(request, largest)
    held: list[int] = []
    try:
        try:
            body = await _read(request, intake, held, body_timeout_s, largest)
        except TimeoutError as error:
            raise _TooSlowError from error
        trace = request.headers.get("traceparent", "")
        trace = trace if _TRACEPARENT.fullmatch(trace) else ""
        job = await intake.capture(
            CaptureRequest(caller, body, behaviour, trace, bare, request.headers.get(SIGNATURE_HEADER, ""))
        )
    finally:
        intake.hold(-sum(held))
    headers = {**_EPCIS_HEADERS, **_standing(intake, caller), "Location": f"/epcis/v2/capture/{job.id}"}
    return Response(status_code=202, headers=headers)


def _standing(intake: Intake, caller: Caller) -> dict[str, str]:
    left = intake.gate.left(caller)
    return rate_headers(left) if left else {}


async def _job(capture_id: str, intake: Intake) -> Response:
    wanted = capture_id.replace("-", "").lower()
    told = await intake.job(wanted) if _CAPTURE_ID.fullmatch(wanted) else None
    if told is None:
        return _problem(404, "NoSuchResourceException", "there is no such capture")
    return JSONResponse(told, headers=_EPCIS_HEADERS)


def _refuse_announced(request: Request, largest: int) -> None:
    text = request.headers.get("content-length", "")
    if text.isascii() and text.isdigit() and int(text[:16]) > largest:
        raise _TooLargeError


async def _read(request: Request, intake: Intake, held: list[int], timeout_s: float, largest: int) -> bytes:
    """Read the body, and note in `held` what room it takes: as it comes, so that senders who halt take none from others."""
    chunks, size = [], 0
    async with asyncio.timeout(timeout_s):
        async for chunk in request.stream():
            size += len(chunk)
            if size > largest:
                raise _TooLargeError
            intake.hold(len(chunk))
            held.append(len(chunk))
            chunks.append(chunk)
    return b"".join(chunks)


def _refusal(error: RefusedError) -> Response:
    """Say why a caller is refused. Source: RFC 6750 section 3 (WWW-Authenticate), RFC 6585 section 4 (429)."""
    status, kind = _REFUSALS[type(error)]
    headers = {}
    if isinstance(error, UnauthenticatedError):
        fault = ', error="invalid_token"' if error.invalid else ""
        headers["WWW-Authenticate"] = f'Bearer realm="goodstrace"{fault}'
    if isinstance(error, RateLimitedError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return _problem(status, kind, str(error), headers=headers)


def _document_problem(error: DocumentError) -> Response:
    status, kind = (413, "CaptureLimitExceededException") if error.too_large else (400, "ValidationException")
    if error.forbidden:
        status, kind = _REFUSALS[ForbiddenError]
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
