"""The gRPC port of the collector: CaptureService with health and reflection."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry

from goodstrace.collector.v1 import capture_pb2, capture_pb2_grpc
from services.collector.capture_messages import MAX_CONTENT_BYTES
from services.collector.capture_service import FAILURES, CaptureServicer
from services.collector.intake import Intake
from services.collector.service import LEAVING, Leaving
from services.runtime.access.guard import Guard
from services.runtime.grpc import CallInterceptor, CallMetrics, Server, full_names
from services.runtime.tls import ServedCertificate

SERVICE: Final = capture_pb2.DESCRIPTOR.services_by_name["CaptureService"]
_MAX_CALLS: Final = 64  # each may have a message of 4 MiB on its way in
_MAX_CALL_S: Final = 30.0
_FRAME_BYTES: Final = 64 * 1024  # tags and lengths of 10,000 signatures, and of the rest


class GrpcEdge:
    """Captures over gRPC."""

    name = "grpc"

    def __init__(
        self,
        intake: Intake,
        host: str,
        port: int,
        log: structlog.stdlib.BoundLogger,
        registry: CollectorRegistry = REGISTRY,
        *,
        guard: Guard,
        certificate: ServedCertificate | None = None,
        mtls_port: int | None = None,
        leaving: Leaving = LEAVING,
        share_port: bool = False,
    ) -> None:
        """Prepare to serve on `host`:`port`, and on `mtls_port` to callers with a client certificate, whom `guard` lets through."""
        self._address = (host, port)
        self._leaving, self._share_port = leaving, share_port
        self._certificate, self._mtls_port = certificate, mtls_port
        self._servicer = CaptureServicer(intake)
        metrics = CallMetrics("collector", [method.name for method in SERVICE.methods], registry)
        self._interceptor = CallInterceptor(
            full_names(SERVICE), metrics, FAILURES, _MAX_CALL_S, log, guard=guard
        )

    async def run(self, stop: asyncio.Event, started: Callable[[int], None]) -> None:
        """Serve until `stop`, then finish what the calls have sent. Raises: SettingsError where the port is taken."""
        server = Server(
            self._interceptor,
            max_concurrent_calls=_MAX_CALLS,
            max_request_bytes=MAX_CONTENT_BYTES + _FRAME_BYTES,
            share_port=self._share_port,
            certificate=self._certificate,
        )
        capture_pb2_grpc.add_CaptureServiceServicer_to_server(self._servicer, server.grpc)
        started(await server.start(*self._address, [SERVICE.full_name], mtls_port=self._mtls_port))
        try:
            await stop.wait()
        finally:
            await server.stop(
                notice_s=self._leaving.notice_s, drain_s=self._leaving.drain_s, closing=self._servicer.stop
            )
