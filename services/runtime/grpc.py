"""A gRPC server as the services use it: health, reflection, limits, and around each call metrics, deadline, errors, log."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from services.runtime.access.current import principal
from services.runtime.access.guard import Guard
from services.runtime.access.naming import USER_METADATA, recorded_name
from services.runtime.access.networks import grpc_peer
from services.runtime.answering import Answering
from services.runtime.call_errors import CallError
from services.runtime.calls import CODES, Failure, Failures, failure_of, metadata_of, status_of
from services.runtime.errors import OutOfTimeError, SettingsError
from services.runtime.merchants.errors import RefusedError
from services.runtime.mongo import within
from services.runtime.open_calls import OpenCalls
from services.runtime.tls import ServedCertificate, certificate_names
from services.runtime.tracing import grpc as call_spans
from services.runtime.tracing import spans

_NOT_THERE: Final[Any] = None  # gRPC answers UNIMPLEMENTED
_REFUSALS: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
MAX_REQUEST_BYTES: Final = 256 * 1024
_KEEPALIVE_MS: Final = 60_000
CONNECTION_AGE_S: Final = 120.0
"""After about so long a caller connects anew, and so finds processes that were added behind one address since; what it has under way ends as it would."""
MAX_CONNECTION_STREAMS: Final = 100
"""Calls at a time on one connection; those above wait at the client. No fewer are advised, since that costs parallelism. Source: RFC 9113 section 6.5.2."""
_GRACE_S: Final = 60.0  # beyond the longest stream
_STORE_SHARE: Final = 0.8  # of a call's time: what is left is for saying that the store did not answer
_FAIR_S: Final = (
    1.0  # a store that has not answered for so long is away, and the caller's deadline not to blame
)
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024  # a last defence: pages are cut far below it

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Unary: TypeAlias = "Callable[[Any, Context], Awaitable[Any]]"
_Bounded: TypeAlias = "Callable[[_Unary, Any, Context], Awaitable[Any]]"
_HANDLERS: Final[dict[str, Callable[..., Any]]] = {
    "unary_unary": grpc.unary_unary_rpc_method_handler,
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_unary": grpc.stream_unary_rpc_method_handler,
    "stream_stream": grpc.stream_stream_rpc_method_handler,
}
"""The kinds of calls that are guarded; a handler that answers with a stream writes to its context and returns nothing."""


class CallMetrics:
    """Rate, errors and duration of each method of a service; every label pair exists from the start."""

    def __init__(self, part: str, methods: Iterable[str], registry: CollectorRegistry = REGISTRY) -> None:
        """Make the metrics of `part` (`goodstrace_<part>_...`) for the methods' bare names."""
        self._calls = Counter(
            f"goodstrace_{part}_calls_total",
            "Calls ended, by method and gRPC code.",
            ["method", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            f"goodstrace_{part}_call_seconds",
            "Duration of calls.",
            ["method"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_progress = Gauge(
            f"goodstrace_{part}_calls_in_progress", "Calls being answered.", ["method"], registry=registry
        )
        for method in methods:
            self._seconds.labels(method)
            self._in_progress.labels(method)
            for code in CODES:
                self._calls.labels(method, code.name)

    def begin(self, method: str) -> float:
        """Count a call in; gives the time it began, for `end`."""
        self._in_progress.labels(method).inc()
        return time.perf_counter()

    def end(self, method: str, code: grpc.StatusCode, began: float) -> None:
        """Count a call out."""
        self._in_progress.labels(method).dec()
        self._calls.labels(method, code.name).inc()
        self._seconds.labels(method).observe(time.perf_counter() - began, spans.exemplar())


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Puts deadline, metrics, error table, log and guard around each call of the services named.

    Of calls with a stream, those without a deadline may last `max_stream_s` seconds. One that is answered by a stream is cut off once its caller
    does not count any more; who sends a stream is asked for anew by the handler, with each thing that it takes.
    """

    def __init__(
        self,
        methods: Iterable[str],
        metrics: CallMetrics,
        failures: Failures,
        max_call_s: float,
        log: structlog.stdlib.BoundLogger,
        *,
        guard: Guard,
        max_stream_s: float = 3600.0,
        answering: Answering | None = None,
        open_calls: OpenCalls | None = None,
    ) -> None:
        """Take care of `methods` (full names, "/package.Service/Method").

        A call without a deadline gets `max_call_s` seconds; `guard` says who may; `answering` gives receipts of looks, where there are such;
        `open_calls` bounds health and reflection.
        """
        self._methods = {method: method.rpartition("/")[2] for method in methods}
        self._metrics = metrics
        self._failures = failures
        self._max_call_s = max_call_s
        self._max_stream_s = max_stream_s
        self._log = log
        self._guard = guard
        self._answering = answering
        self._open_calls = open_calls or OpenCalls()

    @property
    def longest_s(self) -> float:
        """How long a call may last at the most, seconds."""
        return max(self._max_call_s, self._max_stream_s)

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """Wrap the handler of a method of ours; health and reflection are bounded alone, and what else there might be is not there."""
        handler = await continuation(handler_call_details)
        method = self._methods.get(handler_call_details.method)
        kind = next((each for each in _HANDLERS if getattr(handler, each, None) is not None), None)
        if method is None or kind is None:
            is_open = self._open_calls.covers(handler_call_details.method)
            opened: grpc.RpcMethodHandler[Any, Any] = (
                self._open_calls.bounded(handler) if is_open else _NOT_THERE
            )
            return opened
        within_deadline = self._within_deadline if kind == "unary_unary" else self._within_stream_deadline
        admitted = self._admitted(handler_call_details.method, getattr(handler, kind), kind)
        if self._answering is not None:
            wrap = {"unary_unary": self._answering.unary, "unary_stream": self._answering.stream}.get(kind)
            admitted = wrap(admitted) if wrap else admitted
        guarded: grpc.RpcMethodHandler[Any, Any] = _HANDLERS[kind](
            self._guarded(handler_call_details.method, admitted, within_deadline, kind),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return guarded

    def _guarded(self, operation: str, behaviour: _Unary, within_deadline: "_Bounded", kind: str) -> Any:
        method = self._methods[operation]
        takes_stream = kind.startswith("stream_")

        async def call(request: Any, context: Context) -> Any:
            with call_spans.call(
                operation, context.invocation_metadata(), takes_stream=takes_stream
            ) as opened:
                return await counted(request, context, opened)

        async def counted(request: Any, context: Context, opened: spans.Span) -> Any:
            began = self._metrics.begin(method)
            code = grpc.StatusCode.CANCELLED  # unless it comes to an end of its own
            try:
                answer = await within_deadline(behaviour, request, context)
                code = grpc.StatusCode.OK
            except Exception as error:  # noqa: BLE001 - the top of a call: counted, logged, answered without a traceback
                failure = failure_of(error, self._failures)
                code = failure.code
                self._report(method, error, failure)
                status = status_of(error, failure)
                await context.abort(status.code, status.details or "", metadata_of(status, failure))
            finally:
                self._metrics.end(method, code, began)
                call_spans.ended(opened, code)
            return answer

        return call

    def _admitted(self, operation: str, behaviour: _Unary, kind: str) -> _Unary:
        """Have only those answered who may call, and note who was refused."""

        async def call(request: Any, context: Context) -> Any:
            metadata = [(str(key), value) for key, value in context.invocation_metadata() or ()]
            network = self._guard.network(grpc_peer(context.peer()), metadata)
            known = await self._guard.admit(operation, metadata, network, certificate_names(context))
            try:
                async with self._guard.watching(known, network, is_long=kind == "unary_stream"):
                    return await behaviour(request, context)
            except Exception as error:
                if failure_of(error, self._failures).code in _REFUSALS:
                    self._guard.note(operation, error, known.who, network)
                raise

        return call

    async def _within_deadline(self, behaviour: _Unary, request: Any, context: Context) -> Any:
        left = context.time_remaining()
        left_s = self._max_call_s if left is None else min(left, self._max_call_s)
        for_store_s = left_s * _STORE_SHARE
        try:
            with within(for_store_s):
                async with asyncio.timeout(left_s):
                    return await behaviour(request, context)
        except OutOfTimeError as error:
            if for_store_s < _FAIR_S:
                raise TimeoutError(f"{for_store_s:.3f} s were left for the store: {error}") from error
            raise

    async def _within_stream_deadline(self, behaviour: _Unary, requests: Any, context: Context) -> Any:
        left = context.time_remaining()
        async with asyncio.timeout(self._max_stream_s if left is None else min(left, self._max_stream_s)):
            return await behaviour(requests, context)

    def _report(self, method: str, error: Exception, failure: Failure) -> None:
        log = self._log.bind(method=method, code=failure.code.name, cause=f"{type(error).__name__}: {error}")
        if isinstance(error, CallError | RefusedError):
            log.info("refused a call")
        elif failure.code is grpc.StatusCode.INTERNAL:
            log.error("failed a call", exc_info=error)
        else:
            log.warning("failed a call")


class Server:
    """A gRPC server on one port, with health and reflection for the services added to it."""

    def __init__(
        self,
        interceptor: CallInterceptor,
        *,
        max_concurrent_calls: int,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        share_port: bool = False,
        certificate: ServedCertificate | None = None,
        connection_age_s: float = CONNECTION_AGE_S,
    ) -> None:
        """Make the server; with `share_port` others that say so too may listen on its port, with `certificate` it speaks TLS. Calls over `max_concurrent_calls`, and larger messages, are refused with RESOURCE_EXHAUSTED."""
        self._certificate = certificate
        self.mtls_port: int | None = None  # once it serves, where it has one
        self.grpc = grpc.aio.server(
            interceptors=[interceptor],
            maximum_concurrent_rpcs=max_concurrent_calls,
            options=[
                ("grpc.so_reuseport", int(share_port)),  # else a taken port must fail, not share its calls
                ("grpc.max_receive_message_length", max_request_bytes),
                ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
                # A caller who vanished without a word must not hold a stream for ever.
                ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
                ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS // 3),
                ("grpc.http2.max_pings_without_data", 0),
                ("grpc.max_concurrent_streams", MAX_CONNECTION_STREAMS),
                # Else the server counts down what it lets a connection have, and calls above that fail with UNAVAILABLE where they would wait.
                ("grpc.http.overload_protection", 0),
                # The grace is longer than any call: what has begun is not cut off, the connection waits for it. What never sends its message, and
                # so is in no deadline's care, goes with its connection.
                ("grpc.max_connection_age_ms", int(connection_age_s * 1000)),
                ("grpc.max_connection_age_grace_ms", int((interceptor.longest_s + _GRACE_S) * 1000)),
            ],
        )
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
        self._names: Sequence[str] = ()

    async def start(
        self, host: str, port: int, services: Sequence[str], *, mtls_port: int | None = None
    ) -> int:
        """Serve `services` (full names, already added to `grpc`) and give the bound port (0 asks for any).

        On `mtls_port` the same is served to callers with a certificate alone: `certificate_names` says whose.
        Raises: SettingsError where a port is taken, or a certificate is wanted.
        """
        self._names = (*services, "")
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        reflection.enable_server_reflection(
            (*services, health.SERVICE_NAME, reflection.SERVICE_NAME), self.grpc
        )
        bound = self._bind(f"{host}:{port}")
        if mtls_port is not None:
            self.mtls_port = self._bind(f"{host}:{mtls_port}", demand_client=True)
        await self.grpc.start()
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return bound

    def _bind(self, address: str, *, demand_client: bool = False) -> int:
        if demand_client and self._certificate is None:
            raise SettingsError("an mTLS port wants GOODSTRACE_TLS_CERT_FILE")
        try:
            if self._certificate is None:
                return self.grpc.add_insecure_port(address)
            credentials = self._certificate.grpc_credentials(demand_client=demand_client)
            return self.grpc.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise SettingsError(f"cannot listen on {address}: {error}") from error

    async def stop(
        self, *, notice_s: float, drain_s: float, closing: Callable[[], None] = lambda: None
    ) -> None:
        """Say NOT_SERVING, go on for `notice_s` so that callers see it, then let running calls end within `drain_s`.

        `closing` is called as the port closes: who ended long calls before would have them begun again on the same connection.
        """
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(notice_s)
        closing()
        await self.grpc.stop(drain_s)


def caller(context: Context) -> str:
    """Give the name by which records call who calls; what metadata says of it is percent-encoded, as gRPC's own messages are.

    Raises: InvalidRequestError; see `recorded_name`.
    """
    told = [value for key, value in context.invocation_metadata() or () if key == USER_METADATA]
    names = [unquote(each.decode("utf-8", "replace") if isinstance(each, bytes) else each) for each in told]
    return recorded_name(principal(), names)


def full_names(service: Any) -> list[str]:
    """List the full method names of a service's descriptor: "/package.Service/Method"."""
    return [f"/{service.full_name}/{method.name}" for method in service.methods]
