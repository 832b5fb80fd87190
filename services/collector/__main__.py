"""`python -m services.collector`: the capture API, the stages and the projector in one process, or some of them."""

import asyncio
import os
import time
from functools import partial

import structlog

from services.collector.api import make_app
from services.collector.idempotency import Idempotency
from services.collector.intake import Intake, Ports
from services.collector.job_views import JobViews
from services.collector.keys import KeyStore
from services.collector.metrics import Metrics
from services.collector.mongo import GoodsStore, JobStore
from services.collector.positions import Positions
from services.collector.producer import GroupCommit
from services.collector.projector import Projector
from services.collector.runner import Runner
from services.collector.service import Api, run_parts
from services.collector.settings import CollectorSettings
from services.collector.transactions import Transactions
from services.runtime import lifecycle, logs, topics
from services.runtime.kafka import KafkaProbe
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Monitoring
from services.runtime.probes import PROBE_EVERY_S, Probe, watch
from services.runtime.settings import KafkaSettings, LogSettings, MongoSettings, load, load_secret
from services.sealing.reader import LogReader
from services.sealing.secret_check import check_secret


def main() -> None:
    """Read the settings and run until asked to stop."""
    settings = load(CollectorSettings)
    log = logs.configure("collector", settings.log_level)
    lifecycle.run(lambda stop: collector(stop, settings, log), log)


async def collector(
    stop: asyncio.Event, settings: CollectorSettings, log: structlog.stdlib.BoundLogger
) -> None:
    """Build the parts that the settings name, run them, stop them."""
    kafka, mongo = load(KafkaSettings), Mongo(load(MongoSettings))
    metrics = Metrics()
    monitoring = Monitoring("collector", settings.host, settings.metrics_port)
    jobs = JobStore(mongo.database)
    span = settings.span()
    wants_secret = settings.api or span is not None
    secret = load_secret(load(LogSettings).index_secret_file) if wants_secret else b""
    api = None
    if settings.api:
        api = _api(
            settings=settings, kafka=kafka, mongo=mongo, jobs=jobs, secret=secret, metrics=metrics, log=log
        )
    runner = None
    if span is not None:
        runner = Runner(
            span,
            kafka=kafka,
            settings=settings,
            secret=secret,
            check=partial(check_secret, mongo.database, secret, register=True),
            metrics=metrics,
            log=log,
        )
    projector = (
        Projector(kafka, jobs, GoodsStore(mongo.database), metrics, log) if settings.projector else None
    )
    for condition, wanted in (("api", api), ("stages", runner)):
        if wanted is not None:
            monitoring.readiness.set(condition, problem="starting")
    probes: dict[str, Probe] = {
        "kafka": KafkaProbe(kafka.bootstrap_servers, kafka.topic(topics.GOODS_COLLECTED)),
        "mongodb": mongo.ping,
    }
    watching = asyncio.create_task(watch(monitoring.readiness, probes, stop, every_s=PROBE_EVERY_S))
    try:
        await run_parts(stop, monitoring.readiness, api, runner, projector)
    finally:
        watching.cancel()
        mongo.close()
        monitoring.stop()


def _api(
    *,
    settings: CollectorSettings,
    kafka: KafkaSettings,
    mongo: Mongo,
    jobs: JobStore,
    secret: bytes,
    metrics: Metrics,
    log: structlog.stdlib.BoundLogger,
) -> Api:
    transactions = Transactions(
        kafka.bootstrap_servers,
        kafka.topic(f"collector.capture.{settings.instance}"),
        (kafka.topic(topics.GOODS_COLLECTED), kafka.partitions),
    )
    commits = GroupCommit(transactions, settings.max_waiting_bytes, settings.linger_ms / 1000, metrics)
    ports = Ports(now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom)
    intake = Intake(
        kafka=kafka,
        merchant=settings.merchant,
        limits=settings.limits(),
        rules=settings.rules(),
        max_held_bytes=settings.max_waiting_bytes,
        ports=ports,
        commits=commits,
        jobs=jobs,
        metrics=metrics,
        log=log,
    )
    idempotency = Idempotency(
        intake,
        KeyStore(mongo.database),
        instance=settings.instance,
        ports=ports,
        lifetime_s=settings.key_lifetime_s,
        replayed=metrics.replayed_keys.inc,
        log=log,
    )
    positions = Positions(LogReader(mongo.database, secret))
    app = make_app(intake, metrics, idempotency, JobViews(intake, positions, secret, ports.now_ms))
    return Api(app, settings.host, settings.port, commits, log)


if __name__ == "__main__":
    main()
