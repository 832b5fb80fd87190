"""`python -m services.collector`: the capture API, the stages and the projector in one process, or some of them."""

import asyncio
import os
import time
from functools import partial

import structlog

from services.collector.api import make_app
from services.collector.intake import Intake, Ports
from services.collector.metrics import Metrics
from services.collector.mongo import GoodsStore, JobStore
from services.collector.producer import GroupCommit
from services.collector.projector import Projector
from services.collector.registry.directory import Directory
from services.collector.registry.gate import Gate
from services.collector.registry.jwks import Jwks
from services.collector.registry.rates import Rates
from services.collector.registry.registrar import Registrar
from services.collector.registry.store import RegistryStore
from services.collector.registry.tokens import Tokens
from services.collector.runner import Runner
from services.collector.service import Api, run_parts
from services.collector.settings import CollectorSettings
from services.collector.transactions import Transactions
from services.runtime import lifecycle, logs, topics
from services.runtime.kafka import KafkaProbe
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Monitoring
from services.runtime.probes import PROBE_EVERY_S, Probe, watch
from services.runtime.settings import (
    KafkaSettings,
    LogSettings,
    MongoSettings,
    OperatorSettings,
    load,
    load_secret,
)
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
    jobs, registry = JobStore(mongo.database), RegistryStore(mongo.database)
    span = settings.span()
    api = (
        _api(settings, kafka, jobs=jobs, registry=registry, metrics=metrics, log=log)
        if settings.api
        else None
    )
    runner = None
    if span is not None:
        secret = load_secret(load(LogSettings).index_secret_file)
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
        Projector(
            kafka,
            jobs=jobs,
            goods=GoodsStore(mongo.database),
            registry=registry,
            metrics=metrics,
            log=log,
        )
        if settings.projector
        else None
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
    settings: CollectorSettings,
    kafka: KafkaSettings,
    *,
    jobs: JobStore,
    registry: RegistryStore,
    metrics: Metrics,
    log: structlog.stdlib.BoundLogger,
) -> Api:
    transactions = Transactions(
        kafka.bootstrap_servers,
        kafka.topic(f"collector.capture.{settings.instance}"),
        (kafka.topic(topics.GOODS_COLLECTED), kafka.partitions),
    )
    commits = GroupCommit(transactions, settings.max_waiting_bytes, settings.linger_ms / 1000, metrics)
    ports = Ports(now_ms=_now_ms, random=os.urandom)
    directory = None
    if settings.auth == "required":
        directory = Directory(registry, settings.staleness(), time.monotonic, _now_ms)
    else:
        log.warning("captures need no key: whoever reaches the port captures", merchant=settings.merchant)
    intake = Intake(
        kafka=kafka,
        gate=_gate(settings, directory),
        limits=settings.limits(),
        rules=settings.rules(),
        max_held_bytes=settings.max_waiting_bytes,
        ports=ports,
        commits=commits,
        jobs=jobs,
        metrics=metrics,
        log=log,
    )
    registrar = Registrar(kafka=kafka, commits=commits, store=registry, directory=directory, ports=ports)
    return Api(make_app(intake, metrics, registrar=registrar), settings.host, settings.port, commits, log)


def _gate(settings: CollectorSettings, directory: Directory | None) -> Gate:
    rules = settings.token_rules()
    return Gate(
        directory,
        rates=Rates(time.monotonic),
        tokens=Tokens(rules, Jwks(settings.jwt_jwks, time.monotonic), _now_ms) if rules else None,
        policy=settings.speaks_for,
        defaults=settings.default_limits(),
        operator_token=load(OperatorSettings).token(),
        open_merchant=settings.merchant,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
