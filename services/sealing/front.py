"""Everything around the calls of a service that shows sealed records: clients, recorder, gRPC port, readiness, stopping.

The query and the audit service differ in their calls only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import grpc
import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.runtime.access.guard import Guard
from services.runtime.access.networks import networks
from services.runtime.access.opening import open_access
from services.runtime.acknowledged import AcknowledgedProducer
from services.runtime.answering import Answering
from services.runtime.blocking import Blocks, RememberedBlocks
from services.runtime.errors import UnavailableError
from services.runtime.grpc import CallInterceptor, CallMetrics, Server, full_names
from services.runtime.http import HttpServer
from services.runtime.lifecycle import together
from services.runtime.merchants.store import MerchantStore
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Monitoring
from services.runtime.probes import PROBE_EVERY_S, Probe, watch
from services.runtime.settings import (
    KafkaSettings,
    LogSettings,
    MongoSettings,
    MonitoringSettings,
    load,
    load_secret,
)
from services.runtime.tls import ServedCertificate, served
from services.runtime.topics import BROWSE_WATCHED, GOODS_BROWSED
from services.runtime.tracing import spans
from services.runtime.tracing.http import traced
from services.runtime.vault import open_people
from services.runtime.vault.lately import of_today_and_yesterday
from services.sealing.browse import BrowseRecorder
from services.sealing.failures import FAILURES
from services.sealing.marks import MarkMetrics, Marks
from services.sealing.reader import LogReader
from services.sealing.refusals import RefusalMetrics, Refusals
from services.sealing.secret_check import check_secret

_PROBE_TIMEOUT_S: Final = 2.0
_ACK_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class FrontSettings(BaseSettings):
    """How such a service serves.

    browse_timeout_s bounds the wait for Kafka's acknowledgement of a browse record; max_call_s a call whose caller gave no
    deadline, and every other one; page_bytes an answer; notice_s is how long health says NOT_SERVING before the port
    closes, drain_s how long running calls may take then. remember_mib of tiles, and remember_packs_mib of packs of records (compressed: by
    default those of about a million events), are kept in memory once they were read; 0: each answer reads all again. share_ports: several such processes may listen on the same ports (SO_REUSEPORT), and
    the kernel gives each new connection to one of them; the ports for metrics must differ. mtls_port: a second gRPC port, for callers
    with a client certificate alone; unset: none.
    """

    model_config = SettingsConfigDict(frozen=True)

    grpc_port: int = Field(0, ge=0, le=65535)
    mtls_port: int | None = Field(None, ge=0, le=65535)
    metrics_port: int = Field(0, ge=0, le=65535)
    max_concurrent_calls: int = Field(256, ge=1, le=65536)
    max_call_s: float = Field(30, gt=0, le=600)
    browse_timeout_s: float = Field(5, gt=0, le=60)
    page_bytes: int = Field(3 * 1024 * 1024, ge=64 * 1024, le=32 * 1024 * 1024)
    notice_s: float = Field(0.5, ge=0, le=60)
    drain_s: float = Field(10, ge=0, le=300)
    remember_mib: int = Field(64, ge=0, le=65536)
    remember_packs_mib: int = Field(320, ge=0, le=65536)
    share_ports: bool = False


class FrontMetrics:
    """The metrics of showing: calls, acknowledgements of browse records, records shown."""

    def __init__(self, part: str, methods: list[str], registry: CollectorRegistry = REGISTRY) -> None:
        """Make them as `goodstrace_<part>_...`."""
        self.calls = CallMetrics(part, methods, registry)
        self.acknowledged = Histogram(
            f"goodstrace_{part}_browse_acknowledged_seconds",
            "From sending a browse record to Kafka's acknowledgement.",
            buckets=_ACK_SECONDS,
            registry=registry,
        )
        self.shown = Counter(
            f"goodstrace_{part}_records_shown_total", "Records shown to callers.", registry=registry
        )


class Front:
    """The neighbours of a service that shows records, open; made by `opened`."""

    def __init__(
        self,
        name: str,
        settings: FrontSettings,
        metrics: FrontMetrics,
        *,
        mongo: Mongo,
        producer: AcknowledgedProducer,
        monitoring: Monitoring,
        secret: bytes,
        log: structlog.stdlib.BoundLogger,
        certificate: ServedCertificate | None = None,
    ) -> None:
        """Take what was opened."""
        self.certificate = certificate
        kafka = load(KafkaSettings)
        self.settings, self.metrics, self.log = settings, metrics, log
        self.mongo, self.monitoring = mongo, monitoring
        self.secret = secret
        self.reader = LogReader(
            mongo.database,
            remember_bytes=settings.remember_mib * 2**20,
            remember_packs_bytes=settings.remember_packs_mib * 2**20,
        )
        host = load(MonitoringSettings).host
        self.access = open_access(host, MerchantStore(mongo.database), mongo.database, log)
        self.people = open_people(mongo.database)
        self.blocks = RememberedBlocks(
            Blocks(mongo.database), pseudonyms=partial(of_today_and_yesterday, self.people)
        )
        self.recorder = BrowseRecorder(
            producer,
            self.people,
            topic=kafka.topic(GOODS_BROWSED),
            watched=kafka.topic(BROWSE_WATCHED),
            partitions=kafka.browse_partitions,
            secret=secret,
            timeout_s=settings.browse_timeout_s,
            observe_seconds=lambda seconds: metrics.acknowledged.observe(seconds, spans.exemplar()),
            blocking=self.blocks,
        )
        self.refusals = Refusals(self.recorder, RefusalMetrics(name), log)
        self.marks = Marks(
            producer,
            topic=kafka.topic(GOODS_BROWSED),
            watched=kafka.topic(BROWSE_WATCHED),
            partitions=kafka.browse_partitions,
            secret=self.secret,
            timeout_s=settings.browse_timeout_s,
            metrics=MarkMetrics(name),
            log=log,
        )
        self.answering = Answering(self.marks.note)
        self.recording: list[asyncio.Task[None]] = []
        access_settings = self.access.settings
        self.guard = Guard(
            name,
            self.access.authentication,
            self.refusals.note,
            fresh_s=access_settings.access_fresh_s,
            proxies=networks(access_settings.trusted_proxies),
        )

    async def serve(
        self,
        stop: asyncio.Event,
        services: Sequence[Any],
        add: Callable[[grpc.aio.Server], None],
        *,
        kind: str,
    ) -> None:
        """Serve gRPC services until `stop`, then stop gracefully.

        Args:
            stop: set when it shall end.
            services: the services' descriptors.
            add: adds the servicers to the server.
            kind: of the logs that it cannot do without, "goods" or "browse".
        """
        settings = self.settings
        interceptor = CallInterceptor(
            [name for service in services for name in full_names(service)],
            self.metrics.calls,
            FAILURES,
            settings.max_call_s,
            self.log,
            guard=self.guard,
            answering=self.answering,
        )
        server = Server(
            interceptor,
            max_concurrent_calls=settings.max_concurrent_calls,
            share_port=settings.share_ports,
            certificate=self.certificate,
        )
        add(server.grpc)
        port = await server.start(
            load(MonitoringSettings).host,
            settings.grpc_port,
            [service.full_name for service in services],
            mtls_port=settings.mtls_port,
        )
        self.log.info(
            "serving",
            port=port,
            mtls_port=server.mtls_port,
            metrics_port=self.monitoring.port,
            tls=self.certificate is not None,
        )
        self.monitoring.readiness.set("started")
        probes: dict[str, Probe] = {
            "recorder": partial(self.recorder.ping, _PROBE_TIMEOUT_S),
            "mongodb": self.mongo.ping,
            "logs": partial(self._know_logs, kind),
            "secret": partial(check_secret, self.mongo.database, self.secret),
        }
        try:
            await together(
                stop,
                watch(self.monitoring.readiness, probes, stop, every_s=PROBE_EVERY_S),
                self._recording_lasts(stop),
            )
        finally:
            await server.stop(notice_s=settings.notice_s, drain_s=settings.drain_s)

    async def _recording_lasts(self, stop: asyncio.Event) -> None:
        """Return at `stop`; raise what ended the recording of refusals or outcomes before: a service that cannot record must not go on."""
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *self.recording], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in done - {stopped}:
            task.result()

    async def serve_http(self, stop: asyncio.Event, app: Any, port: int, *, max_connections: int) -> None:
        """Serve an ASGI application beside the gRPC service until `stop`; ready only once it answers."""
        self.monitoring.readiness.set("http", problem="starting")

        def started(bound: int) -> None:
            self.log.info("serving HTTP", port=bound)
            self.monitoring.readiness.set("http")

        server = HttpServer(
            traced(app),
            load(MonitoringSettings).host,
            port,
            max_connections=max_connections,
            drain_s=self.settings.drain_s,
            notice_s=self.settings.notice_s,
            share_port=self.settings.share_ports,
            certificate=self.certificate,
        )
        await server.run(stop, started)

    async def _know_logs(self, kind: str) -> None:
        if not any(info.name.startswith(f"{kind}/") for info in await self.reader.logs()):
            raise UnavailableError(f"no log of {kind} is registered yet: has its sealer run?")


@asynccontextmanager
async def opened(
    name: str, settings: FrontSettings, metrics: FrontMetrics, log: structlog.stdlib.BoundLogger
) -> AsyncIterator[Front]:
    """Open the neighbours of the service `name`, and close them in the reverse order."""
    host = load(MonitoringSettings).host
    secret = load_secret(load(LogSettings).index_secret_file)
    certificate = served(log, host)
    monitoring = Monitoring(name, host, settings.metrics_port, certificate=certificate)
    mongo = Mongo(load(MongoSettings))
    producer = AcknowledgedProducer(load(KafkaSettings).bootstrap_servers, client="browses")
    ended = asyncio.Event()
    recording: list[asyncio.Task[None]] = []
    for condition in ("recorder", "mongodb", "logs", "secret"):
        monitoring.readiness.set(condition, problem="not asked yet")
    try:
        front = Front(
            name,
            settings,
            metrics,
            mongo=mongo,
            producer=producer,
            monitoring=monitoring,
            secret=secret,
            log=log,
            certificate=certificate,
        )
        recording = [asyncio.create_task(each.run(ended)) for each in (front.refusals, front.marks)]
        front.recording = recording
        yield front
    finally:
        ended.set()
        if recording:
            await asyncio.wait(recording)
        await producer.stop(settings.browse_timeout_s)
        mongo.close()
        monitoring.stop()
        if certificate is not None:
            certificate.stop()
