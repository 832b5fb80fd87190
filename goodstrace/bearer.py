"""Showing who calls: the token of a `TokenSource` with each call, by gRPC and by HTTP; one that is refused is renewed, once.

Source: RFC 6750 section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

import grpc
import httpx

from goodstrace.token_sources import NO_TOKEN, TokenSource

_HEADER: Final = "authorization"
_Continuation = Callable[[Any, Any], Any]


def authorized(channel: grpc.Channel, source: TokenSource) -> grpc.Channel:
    """Let every call on a channel show who calls.

    A call that is answered with UNAUTHENTICATED before anything came is made once more where the source has another token; a
    stream of requests is not, since what was sent is gone: who sends it begins again. What the source raises is raised by the call.
    """
    if source is NO_TOKEN:
        return channel
    return grpc.intercept_channel(channel, _Bearer(source))


class BearerAuth(httpx.Auth):
    """The same for the HTTP clients: one request more after a 401."""

    requires_request_body = True

    def __init__(self, source: TokenSource) -> None:
        """Show what `source` gives."""
        self._source = source

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx.Auth."""
        token = self._source.token()
        if not token:
            yield request
            return
        request.headers[_HEADER] = f"Bearer {token}"
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return
        other = self._source.renewed(token)
        if other and other != token:
            request.headers[_HEADER] = f"Bearer {other}"
            yield request


class _Showing(grpc.ClientCallDetails):
    """The details of a call with other metadata: gRPC takes what is not here from those that it knows."""

    def __init__(self, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        self.metadata = metadata


class _Bearer(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamStreamClientInterceptor,  # type: ignore[type-arg]
):
    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def intercept_unary_unary(self, continuation: _Continuation, details: Any, request: Any) -> Any:
        token = self._source.token()
        call = continuation(_showing(details, token), request)
        if not token or call.code() is not grpc.StatusCode.UNAUTHENTICATED:
            return call
        other = self._source.renewed(token)
        return continuation(_showing(details, other), request) if other != token else call

    def intercept_unary_stream(self, continuation: _Continuation, details: Any, request: Any) -> Any:
        return _Answers(lambda token: continuation(_showing(details, token), request), self._source)

    def intercept_stream_stream(self, continuation: _Continuation, details: Any, requests: Any) -> Any:
        return continuation(_showing(details, self._source.token()), requests)


class _Answers:
    """A stream of answers, begun again with another token where it is refused at once; else what gRPC gives."""

    def __init__(self, begin: Callable[[str], Any], source: TokenSource) -> None:
        self._begin = begin
        self._source = source
        self._token = source.token()
        self._call = begin(self._token)
        self._may_renew = bool(self._token)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            answer = next(self._call)
        except grpc.RpcError:
            if not self._may_renew or self._call.code() is not grpc.StatusCode.UNAUTHENTICATED:
                raise
            self._may_renew = False
            other = self._source.renewed(self._token)
            if other == self._token:
                raise
            self._call = self._begin(other)
            answer = next(self._call)
        self._may_renew = False
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


def _showing(details: Any, token: str) -> Any:
    if not token:
        return details
    return _Showing((*(details.metadata or ()), (_HEADER, f"Bearer {token}")))
