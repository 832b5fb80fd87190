"""The query service's HTTP application: the public logs, and the EPCIS query interface."""

from collections.abc import Sequence

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from services.query.accounts.serving import JWKS_PATH, Login
from services.query.epcis_api import MORE, ROOT, EpcisApi, add_routes, no_such_path, problem_response
from services.query.epcis_problems import problem_of
from services.query.index_endpoints import IndexEndpoints
from services.query.log_endpoints import LogEndpoints, nothing_there, refusal
from services.query.log_paths import Kind
from services.query.strict_transport import StrictTransport
from services.query.web.account_pages import AccountPages
from services.query.web.pages import WebPages
from services.query.web.routes import MorePages
from services.query.web.routes import add_routes as add_pages
from services.query.web.session_cookies import SessionCookies
from services.query.webhooks.api import WebhookApi, allowed_methods
from services.query.webhooks.api import add_routes as add_webhook_routes
from services.runtime.access.guard import Guard
from services.runtime.access.http import GuardedRoutes
from services.runtime.access.openapi import described
from services.runtime.answering import Answering
from services.runtime.calls import UNFORESEEN, failure_of
from services.runtime.monitoring import VERSION
from services.runtime.tracing.fastapi import NO_TELEMETRY
from services.sealing.failures import FAILURES

READ_ONLY = ["GET", "HEAD"]


def make_app(
    logs: LogEndpoints,
    guard: Guard,
    epcis: EpcisApi | None = None,
    index: IndexEndpoints | None = None,
    webhooks: WebhookApi | None = None,
    *,
    pages: WebPages | None = None,
    more_pages: Sequence[MorePages] = (),
    login: Login | None = None,
    answering: Answering | None = None,
    is_open: bool = False,
) -> FastAPI:
    """Make the ASGI application: of the logs, whose paths are those of a specification, and where given of EPCIS queries and webhooks.

    `guard` says who may, `is_open` whether nobody needs to say who they are, `answering` gives receipts of looks.

    The latter are described by an OpenAPI document, shown on /docs. `index` answers what index witnesses ask, `login` which keys verify access tokens.
    With `pages` people get those at / and below, and `more_pages`; else / lists the logs.
    """
    app = FastAPI(
        title="Goodstrace queries",
        version=VERSION,
        description="EPCIS 2.0 queries for sealed events. See docs/epcis-queries.md.",
        openapi_url="/openapi.json" if epcis else None,
        docs_url="/docs" if epcis else None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    if epcis:
        add_routes(app, epcis)
    if webhooks:
        add_webhook_routes(app, webhooks)
    _add_for_programs(app, index, login)
    for path in ("/logs", "/logs/{rest:path}", *(() if pages else ("/",))):
        app.add_route(path, logs.answer, methods=READ_ONLY)
    if pages:
        add_pages(app, pages, (AccountPages(pages), *more_pages))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if request.scope["path"].startswith(f"{ROOT}/"):
            return no_such_path(error.status_code, allowed_methods(request.scope["path"]))
        if error.status_code == 405:
            response = refusal(405, "only GET and HEAD", {"Allow": ", ".join(READ_ONLY)})
        else:
            response = nothing_there()
        return logs.counted(request, Kind.OTHER, response)

    app.add_middleware(GuardedRoutes, guard=guard, answer=_refused)
    if pages and pages.sign_in:
        app.add_middleware(SessionCookies, renew=pages.sign_in.renew, is_https=pages.sign_in.is_https)
    if answering:
        app.add_middleware(answering.middleware)
    is_https = bool(pages and pages.sign_in and pages.sign_in.is_https)
    app.add_middleware(StrictTransport, is_https=is_https)
    described(app, guard.service, is_open=is_open)
    return app


def _add_for_programs(app: FastAPI, index: IndexEndpoints | None, login: Login | None) -> None:
    if index:
        app.add_route("/index/{rest:path}", index.answer, methods=["GET"])
    if login:
        app.add_route(JWKS_PATH, login.jwks, methods=READ_ONLY)


def _refused(scope: Scope, error: Exception) -> Response | None:
    """Answer whom the guard refuses, or who cannot be told: with a problem where all refusals are such."""
    failure = failure_of(error, FAILURES)
    if failure is UNFORESEEN:
        return None
    told = problem_of(error, failure)
    if scope["path"].startswith(f"{ROOT}/"):
        return problem_response(told)
    return refusal(told.status, told.detail, MORE.get(told.status, {}))
