"""Answers of the web pages, as bytes on the wire."""

import asyncio
import gzip
from typing import Any, Final

import grpc
import msgspec
from fastapi import Request, Response

from goodstrace.proof_bundle import SUFFIX
from services.query.http_headers import accepts_gzip

STATUS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 503,
}
"""The HTTP status of a page for a failure; 500 for any other."""
_PUBLIC: Final = {"Access-Control-Allow-Origin": "*"}


async def bundled(request: Request, body: bytes) -> Response:
    """Answer with a proof bundle, as a file."""
    headers = {
        "Content-Disposition": f'attachment; filename="proof{SUFFIX}"',
        "Cache-Control": "no-store",
        "Vary": "Accept-Encoding",
    }
    return await sent(request, body, "application/json", 200, headers)


async def sent(request: Request, body: bytes, kind: str, status: int, headers: dict[str, str]) -> Response:
    """Answer, by gzip to whom takes that; compressed beside the event loop."""
    if accepts_gzip(request.headers.get("accept-encoding", "")):
        body = await asyncio.to_thread(gzip.compress, body, 6, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(body, status, headers, kind)


def as_json(value: Any, kind: str) -> Response:
    """Answer programs, on pages of any origin."""
    return Response(msgspec.json.encode(value), 200, {"Cache-Control": "no-cache", **_PUBLIC}, kind)
