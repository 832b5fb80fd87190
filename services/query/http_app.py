"""The query service's HTTP application: the public logs, and the EPCIS query interface."""

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from services.query.epcis_api import ROOT, EpcisApi, add_routes, no_such_path
from services.query.index_endpoints import IndexEndpoints
from services.query.log_endpoints import LogEndpoints, nothing_there, refusal
from services.query.log_paths import Kind
from services.query.web.pages import WebPages
from services.query.web.routes import add_routes as add_pages
from services.query.webhooks.api import WebhookApi, allowed_methods
from services.query.webhooks.api import add_routes as add_webhook_routes
from services.runtime.monitoring import VERSION

READ_ONLY = ["GET", "HEAD"]


def make_app(
    logs: LogEndpoints,
    epcis: EpcisApi | None = None,
    index: IndexEndpoints | None = None,
    webhooks: WebhookApi | None = None,
    pages: WebPages | None = None,
) -> FastAPI:
    """Make the ASGI application: of the logs, whose paths are those of a specification, and where given of EPCIS queries and webhooks.

    The latter are described by an OpenAPI document, shown on /docs. `index` answers what index witnesses ask. With `pages` people get
    those at / and below; else / lists the logs.
    """
    app = FastAPI(
        title="Goodstrace queries",
        version=VERSION,
        description="EPCIS 2.0 queries for sealed events. See docs/epcis-queries.md.",
        openapi_url="/openapi.json" if epcis else None,
        docs_url="/docs" if epcis else None,
        redoc_url=None,
        redirect_slashes=False,
    )
    if epcis:
        add_routes(app, epcis)
    if webhooks:
        add_webhook_routes(app, webhooks)
    if index:
        app.add_route("/index/{rest:path}", index.answer, methods=["GET"])
    for path in ("/logs", "/logs/{rest:path}", *(() if pages else ("/",))):
        app.add_route(path, logs.answer, methods=READ_ONLY)
    if pages:
        add_pages(app, pages)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if request.scope["path"].startswith(f"{ROOT}/"):
            return no_such_path(error.status_code, allowed_methods(request.scope["path"]))
        if error.status_code == 405:
            response = refusal(405, "only GET and HEAD", {"Allow": ", ".join(READ_ONLY)})
        else:
            response = nothing_there()
        return logs.counted(request, Kind.OTHER, response)

    return app
