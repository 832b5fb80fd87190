"""Who asks for a page, and their call of TraceService: the pages look through the same servicer as gRPC does, recorded in the same way."""

from typing import Any, Final, Protocol, cast

import msgspec
from fastapi import Request

from goodstrace.query.v1 import trace_pb2
from services.query.web.languages import chosen
from services.runtime.access.current import network, principal
from services.runtime.access.values import GIVEN_ROLES, Principal
from services.runtime.grpc import Context

LANGUAGE_COOKIE: Final = "goodstrace-language"


class Visit(msgspec.Struct, frozen=True):
    """One request: in which language, from which network, and by whom; the last two as the guard tells them."""

    language: str
    network: str
    who: Principal
    is_tls: bool

    @property
    def is_signed_in(self) -> bool:
        """Whether they showed who they are."""
        return self.who.is_any(*GIVEN_ROLES)

    @property
    def has_account(self) -> bool:
        """Whether they have an account, be it one that may do nothing before its password is changed."""
        return bool(self.who.account)


def visit_of(request: Request) -> Visit:
    """Read who asks out of a request that the guard has let in."""
    language = chosen(
        request.query_params.get("lang", ""),
        request.cookies.get(LANGUAGE_COOKIE, ""),
        request.headers.get("accept-language", ""),
    )
    return Visit(language, network(), principal(), request.scope["scheme"] == "https")


class Tracing(Protocol):
    """TraceService's `Trace`; `services.query.service.TraceServicer` is the real one."""

    async def Trace(  # noqa: N802 - the name in the proto
        self, request: trace_pb2.TraceRequest, context: Context
    ) -> trace_pb2.TraceResponse:
        """Trace goods; the look is recorded before this returns."""
        ...


async def trace(tracing: Tracing, request: trace_pb2.TraceRequest) -> trace_pb2.TraceResponse:
    """Trace as whoever the guard says is calling."""
    return await tracing.Trace(request, cast("Context", _Call()))


class _Call:
    """What TraceService reads of its context: of a page it is told nothing by metadata."""

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        """Give none."""
        return ()
