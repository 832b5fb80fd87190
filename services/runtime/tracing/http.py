"""Spans of requests: an ASGI middleware that stands before everything else, put there where traces are on."""

import contextlib
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.access.http import operation_of
from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
_OTHER: Final = "_OTHER"  # what the conventions call a method that is none of these
_FAILED: Final = 500


def traced(app: ASGIApp) -> ASGIApp:
    """Put it before an application, where traces are on."""
    return TracedRequests(app) if spans.is_on() else app


class TracedRequests:
    """A span around each request, by the route that takes it: what is asked for is in no span."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        attributes = {Attribute.HTTP_METHOD: method}
        with spans.of_caller(method, spans.Kind.SERVER, attributes, _traceparent(scope)) as opened:
            try:
                await self._app(scope, receive, _Noting(opened, send).send)
            except Exception as error:
                opened.fail(type(error).__name__)
                raise
            finally:
                self._name(opened, scope, method)

    def _name(self, opened: spans.Span, scope: Scope, method: str) -> None:
        """Name it by its route, which is known once the application has looked at it; the path of none is told."""
        if opened.context is None or "app" not in scope:
            return
        with contextlib.suppress(KeyError):
            operation = operation_of(scope)
            if operation is not None:
                route = operation.partition(" ")[2]
                opened.rename(f"{method} {route}")
                opened.say(Attribute.HTTP_ROUTE, route)


class _Noting:
    """Notes with what it is answered."""

    def __init__(self, opened: spans.Span, send: Send) -> None:
        self._opened, self._send = opened, send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._opened.say(Attribute.HTTP_STATUS, int(message["status"]))
            if message["status"] >= _FAILED:
                self._opened.fail(str(message["status"]))
        await self._send(message)


def _traceparent(scope: Scope) -> str:
    """Give the request's, empty where there is none, or several: nobody could say which one counts."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return str(found[0].decode("latin-1")) if len(found) == 1 else ""
