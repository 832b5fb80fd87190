"""What operations look at: `/metrics`, `/healthz` and `/readyz` of each service, on a port of their own."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.exposition import make_wsgi_app

from services.runtime.errors import SettingsError
from services.runtime.tls import ServedCertificate

VERSION = "0.1.0"
_HANDSHAKE_S = 10.0
_LOOK_S = 0.05  # how long `stop` waits for the server's thread: with the library's 0.5 each service ended that much later
_StartResponse = Callable[..., Any]


def build_info(service: str, registry: CollectorRegistry = REGISTRY) -> None:
    """Show which version of which service runs."""
    Gauge(
        "goodstrace_build_info",
        "The running version; always 1.",
        ["service", "version"],
        registry=registry,
    ).labels(service, VERSION).set(1)


class Readiness:
    """Whether the service can do its work now: each named condition must hold. Thread-safe."""

    def __init__(self, *conditions: str) -> None:
        """Start with all `conditions` not holding yet."""
        self._lock = threading.Lock()
        self._missing = dict.fromkeys(conditions, "starting")

    def set(self, condition: str, *, problem: str | None = None) -> None:
        """Say that a condition holds, or what the problem is."""
        with self._lock:
            if problem is None:
                self._missing.pop(condition, None)
            else:
                self._missing[condition] = problem

    def problems(self) -> dict[str, str]:
        """List what does not hold, by condition; empty when ready."""
        with self._lock:
            return dict(self._missing)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    certificate: ServedCertificate | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer one connection, by TLS where that is set; the handshake is made in the connection's own thread."""
        if self.certificate is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(_HANDSHAKE_S)
        # A caller that breaks off, or speaks no TLS, is no fault of ours.
        with contextlib.suppress(OSError):
            secured = self.certificate.current().context.wrap_socket(request, server_side=True)
            with secured:
                super().finish_request(secured, client_address)
                secured.shutdown(socket.SHUT_WR)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep scrapes out of the log."""


class Monitoring:
    """The monitoring port of a service, served by a thread of its own until `stop`."""

    def __init__(
        self,
        service: str,
        host: str,
        port: int,
        registry: CollectorRegistry = REGISTRY,
        *,
        certificate: ServedCertificate | None = None,
    ) -> None:
        """Bind the port (0 for any); it speaks TLS where `certificate` has that set. Raises: SettingsError where it is taken."""
        self.readiness = Readiness("started")
        self._metrics = make_wsgi_app(registry)
        build_info(service, registry)
        try:
            self._server = make_server(host, port, self._answer, _Server, _QuietHandler)
        except OSError as error:
            raise SettingsError(f"cannot listen on {host}:{port} for metrics: {error}") from error
        if certificate is not None and certificate.settings.metrics:
            self._server.certificate = certificate
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_S,), name="monitoring", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The bound port."""
        return int(self._server.server_port)

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        if path == "/healthz":
            return _text(start_response, "200 OK", "alive\n")
        if path == "/readyz":
            problems = self.readiness.problems()
            if not problems:
                return _text(start_response, "200 OK", "ready\n")
            lines = "".join(f"{name}: {problem}\n" for name, problem in sorted(problems.items()))
            return _text(start_response, "503 Service Unavailable", lines)
        return _text(start_response, "404 Not Found", "see /metrics, /healthz, /readyz\n")


def _text(start_response: _StartResponse, status: str, body: str) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [body.encode()]
