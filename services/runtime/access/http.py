"""The guard of an HTTP port: a middleware that stands before all routes of a Starlette or FastAPI application."""

from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.access.current import acting
from services.runtime.access.guard import Guard
from services.runtime.access.values import Principal
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError
from services.runtime.mongo import within

ADMIT_S: Final = 5.0
Answer = Callable[[Scope, Exception], Response | None]
"""Makes the answer to a caller who is refused, or who cannot be told; None for an error that is a defect."""


class GuardedRoutes:
    """Lets through who may. Pass it to `add_middleware`.

    A path or method that there is not, and OPTIONS, pass: they are answered as ever, and show nothing. HEAD goes by GET. A request that goes on for long
    asks `current.still` itself before each thing that it does: an answer that has begun cannot be taken back.
    """

    def __init__(self, app: ASGIApp, guard: Guard, answer: Answer) -> None:
        """Stand before `app`."""
        self._app, self._guard, self._answer = app, guard, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        operation = operation_of(scope) if scope["type"] == "http" else None
        if operation is None:
            await self._app(scope, receive, send)
            return
        headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        network = self._guard.network((scope.get("client") or ("",))[0], headers)
        try:
            with within(ADMIT_S):
                known = await self._guard.admit(operation, headers, network)
        except Exception as error:
            response = self._answer(scope, error)
            if response is None:
                raise
            await response(scope, receive, send)
            return
        with acting(known.who, known.again, network):
            noting = _Noting(self._guard, operation, known.who, network, send)
            await self._app(scope, receive, noting.send)


class _Noting:
    """Notes it where the application refuses by itself."""

    def __init__(self, guard: Guard, operation: str, who: Principal, network: str, send: Send) -> None:
        self._guard, self._operation, self._who, self._network = guard, operation, who, network
        self._send = send

    async def send(self, message: Message) -> None:
        refusals = {401: UnauthenticatedError(""), 403: ForbiddenError("")}
        if message["type"] == "http.response.start" and message["status"] in refusals:
            self._guard.note(self._operation, refusals[message["status"]], self._who, self._network)
        await self._send(message)


def operation_of(scope: Scope) -> str | None:
    """Say what a request is of, as the table names it; None where no route takes it, and for OPTIONS."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    if method == "OPTIONS":
        return None
    for route in scope["app"].routes:
        if route.matches(scope)[0] is Match.FULL:
            return f"{method} {getattr(route, 'path', '')}"
    return None
