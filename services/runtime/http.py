"""Serving an ASGI application: uvicorn started, bounded and stopped the same way in every service.

Bounds: connections at a time, the bytes of a request's header and how long it may take to come, how long an idle connection
is kept. What the application reads of a body it bounds itself.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.runtime.errors import ServiceError, SettingsError
from services.runtime.tls import ServedCertificate
from services.runtime.tls_listener import TlsListener

KEEP_ALIVE_S: Final = 30
HEADER_TIMEOUT_S: Final = 10.0
MAX_HEADER_BYTES: Final = 64 * 1024
_LOOK_S: Final = 0.02


class HttpServer:
    """One listening port and its application."""

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        *,
        max_connections: int,
        drain_s: float,
        notice_s: float = 0.0,
        share_port: bool = False,
        certificate: ServedCertificate | None = None,
    ) -> None:
        """Prepare to serve; nothing is bound yet.

        Args:
            app: an ASGI application without lifespan.
            host: an address or name of this machine.
            port: 0 for any.
            max_connections: those over it are answered 503.
            drain_s: how long requests that have begun may take once the port is closed.
            notice_s: how long it goes on after it was asked to stop, so that balancers and clients see it: each answer then closes its connection.
            share_port: whether others that say so too may listen on the port.
            certificate: for TLS; without, the port is in clear text.
        """
        self._address = (host, port)
        self._share_port = share_port
        self._notice_s, self._is_leaving = notice_s, False
        self._server = _Server(
            uvicorn.Config(
                self._leaving(app),
                http=_BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=max_connections,
                timeout_graceful_shutdown=max(1, round(drain_s)),
                timeout_keep_alive=KEEP_ALIVE_S,
            ),
            certificate,
        )

    async def run(self, stop: asyncio.Event, started: Callable[[int], None]) -> None:
        """Serve until `stop`, then finish the requests that have begun.

        Args:
            stop: set when it shall end.
            started: told the bound port once requests are answered.
        Raises: SettingsError where it cannot listen there; ServiceError where it ended by itself.
        """
        listening = self._listen()
        serving = asyncio.create_task(self._server.serve([listening]))
        telling = asyncio.create_task(self._tell(started, listening.getsockname()[1]))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._is_leaving = True
            await asyncio.wait({serving}, timeout=self._notice_s)
        finally:
            self._server.should_exit = True
            telling.cancel()
            stopping.cancel()
            await serving
            listening.close()
        if not stop.is_set():
            raise ServiceError("the HTTP server ended by itself")

    def _leaving(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application: once it shall stop, each answer says that its connection is closed, and uvicorn closes it.

        Else a request could come on a connection that is just being closed, and its sender could not know what became of it.
        """

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def sent(message: Message) -> None:
                if self._is_leaving and message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
                await send(message)

            await app(scope, receive, sent)

        return answer

    def _listen(self) -> socket.socket:
        """Bind; uvicorn listens. asyncio sends without delay only on sockets that say they are TCP: 40 ms an answer."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._share_port:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(self._address)
        except OSError as error:
            bound.close()
            host, port = self._address
            raise SettingsError(f"cannot listen on {host}:{port}: {error}") from error
        return bound

    async def _tell(self, started: Callable[[int], None], port: int) -> None:
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has a flag only
            await asyncio.sleep(_LOOK_S)
        started(port)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own. With a certificate it accepts by ours."""

    def __init__(self, config: uvicorn.Config, certificate: ServedCertificate | None) -> None:
        """Take the configuration."""
        super().__init__(config)
        self._certificate = certificate

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets given; with TLS uvicorn itself listens on none."""
        if self._certificate is None:
            await super().startup(sockets)
            return
        await super().startup([])
        for each in sockets or ():
            accepting: Any = TlsListener(
                each, self._certificate, self._protocol, max_handshakes=self.config.limit_concurrency or 1
            )
            self.servers.append(accepting)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        made: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 connection, with the bounds it lacks: on a header's size, and on the time it may take to come."""

    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first header."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a header or a body."""
        if not self._in_body:
            self._start_timer()
            self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._give_up()

    def on_headers_complete(self) -> None:
        """A request has begun: what follows is its body."""
        self._stop_timer()
        self._header_bytes, self._in_body = 0, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here whole: what follows is another one's header."""
        self._stop_timer()
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answered request's body is read a little longer, so that its sender sees the answer."""
        if self._in_body:
            self._start_timer()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_TIMEOUT_S, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.send_400_response("The request's header is too long, or did not come in time.")
