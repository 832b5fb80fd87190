"""The witness over HTTP. Source: c2sp.org/tlog-witness (add-checkpoint, monitor retrieval)."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from goodstrace.witnessing import MAX_REQUEST_BYTES
from services.runtime.errors import ServiceError
from services.runtime.tracing.fastapi import NO_TELEMETRY
from services.witness.metrics import WitnessMetrics
from services.witness.service import Answer, Witness

BODY_TIMEOUT_S: Final = 10.0
_RETRY_AFTER_S: Final = 2
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WHERE: Final = "see POST add-checkpoint and GET <SHA-256 of the origin in hex>/checkpoint\n"


def make_app(
    witness: Witness,
    metrics: WitnessMetrics,
    log: structlog.stdlib.BoundLogger,
    *,
    prefix: str = "",
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> FastAPI:
    """Make the ASGI application; its paths are a specification's, so it has no pages about itself.

    `prefix` is that of all paths, such as "/witness", without a slash at the end. A request's body must have come within
    `body_timeout_s` seconds.
    """
    app = FastAPI(
        title="Goodstrace witness",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )

    @app.post(f"{prefix}/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        started = time.perf_counter()
        response = await _answered(log, lambda: _added(request, witness, body_timeout_s))
        metrics.requests.labels(str(response.status_code)).inc()
        metrics.seconds.observe(time.perf_counter() - started)
        return response

    @app.get(f"{prefix}/{{hash_}}/checkpoint")
    async def checkpoint(hash_: str) -> Response:
        return await _answered(log, lambda: _latest(hash_, witness))

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> Response:
        return _response(Answer(error.status_code, _WHERE), dict(error.headers or {}))

    return app


async def _answered(log: structlog.stdlib.BoundLogger, answer: Callable[[], Awaitable[Response]]) -> Response:
    """Answer, turning what keeps the witness from its work into a 503: nothing is signed then."""
    try:
        return await answer()
    except ServiceError as error:
        log.error("not answered", category=error.category, error=str(error))  # noqa: TRY400 - the text has the cause
        answer_ = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "cannot remember a checkpoint now: try again\n")
        return _response(answer_, {"Retry-After": str(_RETRY_AFTER_S)})


async def _added(request: Request, witness: Witness, body_timeout_s: float) -> Response:
    body = bytearray()
    try:
        async with asyncio.timeout(body_timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_REQUEST_BYTES:
                    text = f"the request is over {MAX_REQUEST_BYTES} bytes\n"
                    return _response(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text))
    except TimeoutError:
        return _response(Answer(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time\n"))
    except ClientDisconnect:
        return _response(Answer(HTTPStatus.BAD_REQUEST, ""))
    return _response(await witness.add_checkpoint(bytes(body)))


async def _latest(hash_: str, witness: Witness) -> Response:
    note = await witness.checkpoint(hash_) if _HASH.fullmatch(hash_) else None
    if note is None:
        return _response(Answer(HTTPStatus.NOT_FOUND, "no checkpoint of such a log was cosigned here\n"))
    return _response(Answer(HTTPStatus.OK, note), {"Cache-Control": "no-cache"})


def _response(answer: Answer, headers: dict[str, str] | None = None) -> Response:
    # The content type goes as a header: the framework would add a charset to the specification's own type.
    return Response(
        answer.body.encode(), answer.status, {"Content-Type": answer.content_type, **(headers or {})}
    )
