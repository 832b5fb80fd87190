"""HTTP Strict Transport Security for every answer by TLS, whoever gives it. Source: RFC 6797, section 7.1."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = "max-age=63072000; includeSubDomains"


class StrictTransport:
    """Tells browsers to come by TLS only. Pass it to `add_middleware` last, so that refusals are told it too."""

    def __init__(self, app: ASGIApp, *, is_https: bool = False) -> None:
        """Stand before `app`; `is_https`: browsers come by TLS, which a proxy ends."""
        self._app, self._is_https = app, is_https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; where it did not come by TLS the header is not sent (section 7.2)."""
        if scope["type"] != "http" or not (self._is_https or scope["scheme"] == "https"):
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Strict-Transport-Security"] = POLICY
            await send(message)

        await self._app(scope, receive, told)
