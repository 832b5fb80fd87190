"""The capture API over HTTP: EPCIS 2.0 REST, the capture side: its paths. What stands behind each is in modules of its own.

Source: EPCIS 2.0 section 12 and its OpenAPI.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from services.collector import headers, openapi
from services.collector.capturing import Edge, capture
from services.collector.documents import Limits
from services.collector.headers import JSON_TYPES
from services.collector.idempotency import Idempotency
from services.collector.intake import Intake
from services.collector.job_views import JobViews
from services.collector.metrics import CODES, Metrics
from services.collector.problems import VALIDATION, Problem, of_error, of_status
from services.collector.registry.registrar import Registrar
from services.collector.registry.routes import Routes
from services.runtime.access.current import principal
from services.runtime.access.guard import Guard
from services.runtime.access.http import GuardedRoutes
from services.runtime.access.openapi import described
from services.runtime.epcis_negotiation import ANSWERED
from services.runtime.merchants.errors import RefusedError
from services.runtime.monitoring import VERSION
from services.runtime.tracing import spans
from services.runtime.tracing.fastapi import NO_TELEMETRY

BODY_TIMEOUT_S: Final = 60.0
ROOT: Final = "/epcis/v2"
CAPTURES: Final = f"{ROOT}/capture"
ONE_CAPTURE: Final = f"{CAPTURES}/{{capture_id}}"
EVENTS: Final = f"{ROOT}/events"
_TOP_LEVEL: Final = {
    "@context": "https://ref.gs1.org/standards/epcis/epcis-context.jsonld",
    "type": "Collection",
    "member": ["capture", "events"],
}
_PATHS: Final = ((ROOT, False), (CAPTURES, True), (ONE_CAPTURE, False), (EVENTS, True))
_TIMED: Final = ("capture", "events")


def make_app(
    intake: Intake,
    metrics: Metrics,
    idempotency: Idempotency,
    views: JobViews,
    body_timeout_s: float = BODY_TIMEOUT_S,
    *,
    guard: Guard,
    registrar: Registrar | None = None,
) -> FastAPI:
    """Make the ASGI application; a body must have come within `body_timeout_s` seconds. `guard` says who may; `registrar`: serve `/registry` too."""
    app = FastAPI(
        title="Goodstrace capture",
        version=VERSION,
        description="Capture of EPCIS 2.0 and 1.2 events, JSON or XML. See docs/capture.md.",
        openapi_url="/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    edge = Edge(intake, idempotency, metrics, body_timeout_s)
    _add_captures(app, edge)
    _add_jobs(app, edge, views)
    _add_discovery(app, edge)
    if registrar is not None:
        Routes(registrar, intake.gate, lambda answer: _measured("registry", edge, answer)).join(app)
    _add_refusals(app, metrics)
    app.add_middleware(GuardedRoutes, guard=guard, answer=_refusing(metrics))
    described(app, guard.service, is_open=intake.gate.is_open)
    return app


def _add_captures(app: FastAPI, edge: Edge) -> None:
    @app.post(
        CAPTURES,
        status_code=202,
        response_class=Response,
        responses=openapi.CAPTURE_ANSWERS,
        openapi_extra=openapi.CAPTURE,
        summary="Capture a document, or a stream of lines",
    )
    async def post_capture(request: Request) -> Response:
        """Capture an EPCISDocument, the events of an EPCISQueryDocument, one bare event, or a stream of any of them."""
        return await _measured("capture", edge, lambda: capture(request, edge, bare=False))

    @app.post(
        EVENTS,
        status_code=202,
        response_class=Response,
        responses=openapi.EVENTS_ANSWERS,
        openapi_extra=openapi.EVENTS,
        summary="Capture one event",
    )
    async def post_event(request: Request) -> Response:
        """Capture one bare event."""
        return await _measured("events", edge, lambda: capture(request, edge, bare=True))


def _add_jobs(app: FastAPI, edge: Edge, views: JobViews) -> None:
    @app.get(CAPTURES, responses=openapi.LIST_ANSWERS, openapi_extra=openapi.LIST, summary="The capture jobs")
    async def get_jobs(request: Request) -> Response:
        """List the merchant's capture jobs, newest first."""
        return await _measured("jobs", edge, lambda: _jobs(request, edge, views))

    @app.get(ONE_CAPTURE, responses=openapi.JOB_ANSWERS, openapi_extra=openapi.JOB, summary="A capture job")
    async def get_job(request: Request) -> Response:
        """Show a capture job: the standard's fields, and the verdict on each event with the place where it is sealed."""
        wanted = str(request.path_params["capture_id"])
        return await _measured("job", edge, lambda: _job(request, wanted, edge, views))


async def _jobs(request: Request, edge: Edge, views: JobViews) -> Response:
    return await views.listed(request, _viewer(edge))


async def _job(request: Request, capture_id: str, edge: Edge, views: JobViews) -> Response:
    return await views.one(request, capture_id, _viewer(edge))


def _viewer(edge: Edge) -> int | None:
    """Say whose jobs the caller may see; None: everyone's."""
    return edge.intake.gate.viewer(principal())


def _add_discovery(app: FastAPI, edge: Edge) -> None:
    @app.get(
        ROOT,
        responses=openapi.ROOT_ANSWERS,
        openapi_extra={"parameters": openapi.VERSIONS},
        summary="The resources that there are",
    )
    async def get_root(request: Request) -> Response:
        """List the top-level resources."""
        return await _measured("discovery", edge, lambda: _root(request))

    for path, captures in _PATHS:
        limits = edge.intake.limits if captures else None
        named = [openapi.CAPTURE_ID] if "{" in path else []
        app.add_api_route(
            path,
            _discovering(app, edge, limits),
            methods=["OPTIONS"],
            status_code=204,
            responses=openapi.DISCOVERY_ANSWERS,
            openapi_extra={"parameters": [*named, *openapi.VERSIONS]},
            summary="What is spoken here",
        )


def _discovering(app: FastAPI, edge: Edge, limits: Limits | None) -> Callable[[Request], Awaitable[Response]]:
    async def options(request: Request) -> Response:
        """Tell methods, versions, formats and limits."""
        return await _measured("discovery", edge, lambda: _discover(app, request, limits))

    return options


async def _root(request: Request) -> Response:
    headers.negotiate(request.headers, JSON_TYPES[1])
    return JSONResponse(_TOP_LEVEL, headers=dict(ANSWERED))


async def _discover(app: FastAPI, request: Request, limits: Limits | None) -> Response:
    headers.negotiate(request.headers, "")
    return Response(status_code=204, headers=headers.discovery(_allowed(app, request), limits))


def _allowed(app: FastAPI, request: Request) -> str:
    """List the methods of a path, of all its routes."""
    methods: set[str] = set()
    for route in app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(methods))


def _add_refusals(app: FastAPI, metrics: Metrics) -> None:
    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        allow = {"Allow": _allowed(app, request)} if error.status_code == 405 else {}
        metrics.requests.labels("none", _code(error.status_code)).inc()
        told = of_status(error.status_code, f"{request.method} is not there for this path: see /docs", allow)
        return told.response()

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        return Problem(400, VALIDATION, told, parameter=str(first["loc"][-1])).response()

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> Response:
        """Tell nothing of a defect but that there is one; the log has it."""
        return Problem(500, "ImplementationException", "an error of ours: it is in our log").response()


def _refusing(metrics: Metrics) -> Callable[[Scope, Exception], Response | None]:
    """Answer whom the guard refuses as everything that is refused here, and count."""

    def answer(_scope: Scope, error: Exception) -> Response | None:
        problem = of_error(error)
        if problem is None:
            return None
        metrics.requests.labels("none", _code(problem.status)).inc()
        if isinstance(error, RefusedError):
            metrics.refused_callers.labels(error.category).inc()
        return problem.response()

    return answer


async def _measured(method: str, edge: Edge, answer: Callable[[], Awaitable[Response]]) -> Response:
    """Answer, turning refusals into problems, and count."""
    started = time.perf_counter()
    code = "500"
    try:
        response = await answered(edge.intake.limits, edge.metrics, answer)
        code = _code(response.status_code)
    finally:
        edge.metrics.requests.labels(method, code).inc()
    if method in _TIMED:
        edge.metrics.capture_seconds.observe(time.perf_counter() - started, spans.exemplar())
    return response


async def answered(limits: Limits, metrics: Metrics, answer: Callable[[], Awaitable[Response]]) -> Response:
    """Answer, turning refusals into problems."""
    try:
        return await answer()
    except ClientDisconnect:
        return Response(status_code=400)  # to nobody
    except Exception as error:
        problem = of_error(error)
        if problem is None:
            raise
        if isinstance(error, RefusedError):
            metrics.refused_callers.labels(error.category).inc()
        return problem.response(headers.limit_headers(limits) if problem.status == 413 else None)


def _code(status: int) -> str:
    return str(status) if str(status) in CODES else "500"
