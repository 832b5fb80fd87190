"""`python -m services.collector`: the ways in, the stages and what follows them in one process, or some of them."""

import asyncio
import os
import time
from functools import partial
from typing import Final

import structlog

from services.collector import rejections_api
from services.collector.api import make_app
from services.collector.errors import BookError
from services.collector.flagged_store import FlaggedStore
from services.collector.grpc_edge import GrpcEdge
from services.collector.idempotency import Idempotency
from services.collector.ingress import Ingress
from services.collector.ingress_store import IngressStore
from services.collector.intake import Intake
from services.collector.job_views import JobViews
from services.collector.keys import KeyStore
from services.collector.metrics import Metrics
from services.collector.mongo import GoodsStore, JobStore
from services.collector.positions import Positions
from services.collector.preparing import Ports, Preparer
from services.collector.producer import GroupCommit
from services.collector.projector import Projector
from services.collector.registry.gate import Gate
from services.collector.registry.known_ranges import KnownRanges
from services.collector.registry.rate_store import MongoRateStore
from services.collector.registry.rates import Rates
from services.collector.registry.registrar import Registrar
from services.collector.registry.sharing import Sharing
from services.collector.registry.store import RegistryStore
from services.collector.rejected_reader import RejectedReader
from services.collector.rejection_desk import RejectionDesk
from services.collector.rejection_store import RejectionStore
from services.collector.renewal_store import RenewalStore
from services.collector.runner import Runner
from services.collector.service import Api, Edge, HttpEdge, Leaving, Part, run_parts
from services.collector.settings import CollectorSettings
from services.collector.state_keeper import StateKeeper
from services.collector.state_store import StateStore
from services.collector.transactions import Transactions
from services.runtime import clock, lifecycle, logs, topics
from services.runtime.access.guard import Guard
from services.runtime.access.networks import networks
from services.runtime.access.opening import open_access
from services.runtime.acknowledged import AcknowledgedProducer
from services.runtime.errors import UnavailableError
from services.runtime.kafka import KafkaProbe
from services.runtime.merchants.directory import Staleness
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Monitoring
from services.runtime.probes import PROBE_EVERY_S, Probe, watch
from services.runtime.settings import (
    KafkaSettings,
    LogSettings,
    MongoSettings,
    load,
    load_secret,
    refuse,
)
from services.runtime.tls import ServedCertificate, served
from services.runtime.tracing import spans
from services.runtime.vault import open_people
from services.runtime.vault.personal import PersonalKeys
from services.sealing.browse import BrowseRecorder
from services.sealing.reader import LogReader
from services.sealing.refusals import RefusalMetrics, Refusals
from services.sealing.secret_check import check_secret

_NAME: Final = "collector"
_RECORD_S: Final = 5.0


def main() -> None:
    """Read the settings and run until asked to stop."""
    settings = load(CollectorSettings)
    try:
        _ = settings.books, settings.personal_fields
    except BookError as error:
        refuse(str(error))
    log = logs.configure("collector", settings.log_level)
    with spans.started("collector"):
        lifecycle.run(lambda stop: collector(stop, settings, log), log)


async def collector(
    stop: asyncio.Event, settings: CollectorSettings, log: structlog.stdlib.BoundLogger
) -> None:
    """Build the parts that the settings name, run them, stop them."""
    certificate = served(log, settings.host)
    parts = _Parts(settings, log, certificate)
    monitoring = Monitoring("collector", settings.host, settings.metrics_port, certificate=certificate)
    api = parts.api() if settings.api else None
    ingress = parts.ingress() if settings.ingress else None
    behind = parts.behind()
    for condition in (
        *(edge.name for edge in (api.edges if api else ())),
        *(("ingress",) if ingress else ()),
        *behind,
    ):
        monitoring.readiness.set(condition, problem="starting")
    kafka, mongo = parts.kafka, parts.mongo
    probes: dict[str, Probe] = {
        "kafka": KafkaProbe(kafka.bootstrap_servers, kafka.topic(topics.GOODS_COLLECTED)),
        "mongodb": mongo.ping,
    }
    watching = asyncio.create_task(watch(monitoring.readiness, probes, stop, every_s=PROBE_EVERY_S))
    answered = asyncio.Event()  # set when nobody is answered any more, or refused
    beside = [asyncio.create_task(parts.sharing.run(answered))]
    if parts.refusals is not None:
        beside.append(asyncio.create_task(parts.refusals.run(answered)))
    try:
        await run_parts(stop, monitoring.readiness, api=api, ingress=ingress, behind=behind)
    finally:
        watching.cancel()
        answered.set()
        await asyncio.wait(beside)
        await parts.producer.stop(_RECORD_S)
        mongo.close()
        monitoring.stop()
        if certificate is not None:
            certificate.stop()


class _Parts:
    """Makes the parts of the process from its settings; nothing is connected here."""

    def __init__(
        self,
        settings: CollectorSettings,
        log: structlog.stdlib.BoundLogger,
        certificate: ServedCertificate | None,
    ) -> None:
        self.kafka, self.mongo = load(KafkaSettings), Mongo(load(MongoSettings))
        self.producer = AcknowledgedProducer(self.kafka.bootstrap_servers)
        self.refusals: Refusals | None = None
        self._certificate = certificate
        self._settings, self._log = settings, log
        self._metrics = Metrics(rules=settings.books.rule_ids)
        self._jobs = JobStore(self.mongo.database)
        self._rejections = RejectionStore(self.mongo.database)
        self._registry = RegistryStore(self.mongo.database)
        self._ports = Ports(now_ms=clock.now_ms, random=os.urandom)
        self._access = open_access(settings.host, self._registry, self.mongo.database, log, goes_on=True)
        rates = Rates(time.monotonic)
        failed = self._metrics.failures.labels("rates", UnavailableError.category).inc
        store = MongoRateStore(self.mongo.database)
        self.sharing = Sharing(rates, store, time.monotonic, clock.now_ms, failed)
        self._people = open_people(self.mongo.database)
        self._keeper = PersonalKeys(self._people.vault)
        self._gate = Gate(
            self._access.directory,
            rates=rates,
            sharing=self.sharing,
            policy=settings.speaks_for,
            defaults=settings.default_limits(),
            open_merchant=settings.merchant,
            personal=settings.personal,
        )
        access = self._access.settings
        self._ranges = KnownRanges(
            self._registry,
            Staleness(access.access_fresh_s, access.access_stale_s),
            time.monotonic,
            self._metrics.failures.labels("ranges", UnavailableError.category).inc,
        )
        self._preparer = Preparer(
            self.kafka, self._gate, settings.limits(), settings.collecting(), self._ports
        )

    def api(self) -> Api:
        settings, kafka = self._settings, self.kafka
        transactions = Transactions(
            kafka.bootstrap_servers,
            kafka.topic(f"collector.capture.{settings.instance}"),
            (kafka.topic(topics.GOODS_COLLECTED), kafka.partitions),
        )
        commits = GroupCommit(
            transactions,
            settings.max_waiting_bytes,
            settings.linger_ms / 1000,
            settings.commit_interval_ms / 1000,
            self._metrics,
        )
        intake = Intake(
            preparer=self._preparer,
            max_held_bytes=settings.max_waiting_bytes,
            commits=commits,
            jobs=self._jobs,
            rejections=self._rejections,
            metrics=self._metrics,
            log=self._log,
            keeper=self._keeper,
            ranges=self._ranges,
        )
        secret = load_secret(load(LogSettings).index_secret_file)
        idempotency = Idempotency(
            intake,
            KeyStore(self.mongo.database),
            instance=settings.instance,
            ports=self._ports,
            lifetime_s=settings.key_lifetime_s,
            replayed=self._metrics.replayed_keys.inc,
            log=self._log,
        )
        positions = Positions(LogReader(self.mongo.database, secret))
        views = JobViews(intake, positions, self._people.vault.page_key, self._ports.now_ms)
        registrar = Registrar(
            kafka=kafka,
            commits=commits,
            store=self._registry,
            directory=self._access.directory,
            ports=self._ports,
        )
        recorder = self._recorder(secret)
        guard = self._guard(recorder)
        app = make_app(intake, self._metrics, idempotency, views, guard=guard, registrar=registrar)
        if settings.rejections:
            reader = RejectedReader(kafka.bootstrap_servers, kafka.topic(topics.GOODS_REJECTED))
            desk = RejectionDesk(self._rejections, reader, intake, recorder, self._ports.now_ms)
            rejections_api.join(app, desk, self._metrics)
        leaving = Leaving(settings.notice_s, settings.drain_s)
        edges: list[Edge] = [
            HttpEdge(
                app,
                settings.host,
                settings.port,
                self._certificate,
                leaving=leaving,
                share_port=settings.share_ports,
            ),
            GrpcEdge(
                intake,
                settings.host,
                settings.grpc_port,
                self._log,
                guard=guard,
                certificate=self._certificate,
                mtls_port=settings.mtls_port,
                leaving=leaving,
                share_port=settings.share_ports,
            ),
        ]
        return Api(edges, commits, self._log)

    def _recorder(self, secret: bytes) -> BrowseRecorder:
        """Make what records refusals, and looks at what was rejected, by a producer of its own."""
        return BrowseRecorder(
            self.producer,
            self._people,
            topic=self.kafka.topic(topics.GOODS_BROWSED),
            watched=self.kafka.topic(topics.BROWSE_WATCHED),
            partitions=self.kafka.browse_partitions,
            secret=secret,
            timeout_s=_RECORD_S,
            observe_seconds=lambda _seconds: None,
        )

    def _guard(self, recorder: BrowseRecorder) -> Guard:
        """Make the guard of both ports."""
        self.refusals = Refusals(recorder, RefusalMetrics(_NAME), self._log)
        access = self._access.settings
        return Guard(
            _NAME,
            self._access.authentication,
            self.refusals.note,
            fresh_s=access.access_fresh_s,
            proxies=networks(access.trusted_proxies),
        )

    def ingress(self) -> Ingress:
        settings = self._settings
        return Ingress(
            kafka=self.kafka,
            instance=settings.instance,
            preparer=self._preparer,
            gate=self._gate,
            merchant=settings.merchant,
            beginnings=IngressStore(self.mongo.database),
            keeper=self._keeper,
            ranges=self._ranges,
            metrics=self._metrics,
            log=self._log,
        )

    def behind(self) -> dict[str, Part]:
        """What works behind the ways in, by the name of its readiness."""
        parts: dict[str, Part] = {}
        span = self._settings.span()
        runner = None
        if span is not None:
            secret = load_secret(load(LogSettings).index_secret_file)
            runner = parts["stages"] = Runner(
                span,
                kafka=self.kafka,
                settings=self._settings,
                secret=secret,
                check=partial(check_secret, self.mongo.database, secret, register=True),
                metrics=self._metrics,
                log=self._log,
            )
        if self._settings.projector:
            parts["projector"] = Projector(
                self.kafka,
                jobs=self._jobs,
                goods=GoodsStore(self.mongo.database),
                rejections=self._rejections,
                registry=self._registry,
                metrics=self._metrics,
                log=self._log,
            )
        if self._settings.states:
            parts["states"] = StateKeeper(
                self.kafka,
                StateStore(self.mongo.database),
                RenewalStore(self.mongo.database, self._log),
                FlaggedStore(self.mongo.database),
                metrics=self._metrics,
                log=self._log,
                is_busy=(lambda: runner.is_busy) if runner is not None else (lambda: False),
            )
        return parts


if __name__ == "__main__":
    main()
