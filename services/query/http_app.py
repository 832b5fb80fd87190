"""The query service's HTTP application: the public logs."""

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from services.query.log_endpoints import LogEndpoints, nothing_there, refusal
from services.query.log_paths import Kind

READ_ONLY = ["GET", "HEAD"]


def make_app(logs: LogEndpoints) -> FastAPI:
    """Make the ASGI application; it has no OpenAPI pages, since its paths are those of a specification."""
    app = FastAPI(
        title="Goodstrace logs", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    for path in ("/", "/logs", "/logs/{rest:path}"):
        app.add_route(path, logs.answer, methods=READ_ONLY)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            response = refusal(405, "only GET and HEAD", {"Allow": ", ".join(READ_ONLY)})
        else:
            response = nothing_there()
        return logs.counted(request, Kind.OTHER, response)

    return app
