"""Who asks for a page, and their call of TraceService: the pages look through the same servicer as gRPC does, recorded in the same way."""

from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

import msgspec
from fastapi import Request

from goodstrace.query.v1 import trace_pb2
from services.query.web.languages import chosen
from services.query.web.rates import network_of
from services.runtime.access.current import principal
from services.runtime.access.values import GIVEN_ROLES, Principal
from services.runtime.grpc import Context

LANGUAGE_COOKIE: Final = "goodstrace-language"
_CREDENTIALS: Final = ("authorization", "x-api-key")


class Visit(msgspec.Struct, frozen=True):
    """One request: in which language, from which network, and by whom."""

    language: str
    network: str
    who: Principal
    is_tls: bool

    @property
    def is_signed_in(self) -> bool:
        """Whether they showed who they are."""
        return self.who.is_any(*GIVEN_ROLES)


def visit_of(request: Request) -> Visit:
    """Read who asks out of a request that the guard has let in."""
    language = chosen(
        request.query_params.get("lang", ""),
        request.cookies.get(LANGUAGE_COOKIE, ""),
        request.headers.get("accept-language", ""),
    )
    host = request.client.host if request.client else ""
    return Visit(language, network_of(host), principal(), request.scope["scheme"] == "https")


class Tracing(Protocol):
    """TraceService's `Trace`; `services.query.service.TraceServicer` is the real one."""

    async def Trace(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.TraceRequest, context: Context
    ) -> trace_pb2.TraceResponse:
        """Trace goods; the look is recorded before this returns."""
        ...


async def trace(
    tracing: Tracing, request: trace_pb2.TraceRequest, headers: Mapping[str, str]
) -> trace_pb2.TraceResponse:
    """Trace as the caller of a page: with the credential that the request's headers hold, where they hold one."""
    return await tracing.Trace(request, cast("Context", _Call(headers)))


class _Call:
    """What TraceService reads of its context."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._metadata = tuple((name, headers[name]) for name in _CREDENTIALS if name in headers)

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        """Give the caller's credential."""
        return self._metadata
