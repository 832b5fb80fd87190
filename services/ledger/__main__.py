"""The ledger's process: `python -m services.ledger`. Seals `goods.stored` into the logs `goods/<partition>`.

Beside them it seals `logs.checkpoints` into the log `root` and `logs.index` into the log `index`; the process that has one of
these also makes its rounds, which put the checkpoints of all logs there, and what proofs of completeness are made from. Start as many as there are partitions at the most; they share them. Exits with 0 when asked
to stop, 1 after a fault that wants an operator (its category and what to do are in the last log line), 2 where a setting
is wrong.
"""

import asyncio
from typing import Final

import structlog

from goodstrace.completeness.leaf import secret_commitment
from goodstrace.log_keys import INDEX_LOG, ROOT_LOG
from services.ledger.index_rounds import IndexRounds
from services.ledger.metrics import IndexMetrics, RootMetrics
from services.ledger.root_rounds import RootRounds
from services.ledger.root_topic import KafkaRoundTopic
from services.ledger.settings import CompletenessSettings, LedgerSettings, RootSettings
from services.runtime import clock
from services.runtime.kafka import KafkaProbe
from services.runtime.lifecycle import run, together
from services.runtime.logs import configure
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
from services.runtime.tls import served_for_metrics
from services.runtime.topics import GOODS_STORED, LOGS_CHECKPOINTS, LOGS_INDEX
from services.runtime.tracing import spans
from services.sealing.completeness.source import IndexSource
from services.sealing.completeness.store import MongoRuns
from services.sealing.epochs import random_epoch
from services.sealing.kafka import KafkaSource
from services.sealing.key_sources import configured_keys
from services.sealing.metrics import SealMetrics
from services.sealing.mongo import MongoBlockStore
from services.sealing.pins import Pins
from services.sealing.publishing import Publishing
from services.sealing.reader import LogReader
from services.sealing.service import CONDITION, Sealer
from services.sealing.settings import SealSettings
from services.sealing.witness_settings import publishing
from services.sealing.writer import SealerParts

_GOODS: Final = "goods"
_CONDITIONS: Final = {ROOT_LOG: "sealing-root", INDEX_LOG: "sealing-index"}
_PARTS: Final = {ROOT_LOG: "ledger_root", INDEX_LOG: "ledger_index"}


def main() -> None:
    """Run until SIGTERM."""
    shared, settings = load(MonitoringSettings), load(LedgerSettings)
    kafka, root = load(KafkaSettings), load(RootSettings)
    log = configure("ledger", shared.log_level)

    async def service(stop: asyncio.Event) -> None:
        mongo = Mongo(load(MongoSettings))
        certificate = served_for_metrics(log)
        monitoring = Monitoring("ledger", shared.host, settings.metrics_port, certificate=certificate)
        public = publishing("ledger", MongoBlockStore(mongo.database), log)
        goods = _sealer(mongo, monitoring, public, log, topic=GOODS_STORED, prefix=_GOODS)
        above = _sealer(mongo, monitoring, public, log, topic=LOGS_CHECKPOINTS, prefix=ROOT_LOG)
        topic = kafka.topic(LOGS_CHECKPOINTS)
        rounds = RootRounds(
            Pins(mongo.database),
            KafkaRoundTopic(kafka.bootstrap_servers, topic, f"{topic}.rounds"),
            lambda: bool(above.partitions),
            interval_s=root.interval_ms / 1000,
            now_ms=clock.now_ms,
            metrics=RootMetrics(),
            log=log,
        )
        beside = _completeness(mongo, monitoring, public, log)
        monitoring.readiness.set("started")
        probes: dict[str, Probe] = {
            "kafka": KafkaProbe(kafka.bootstrap_servers, kafka.topic(GOODS_STORED)),
            "mongodb": mongo.ping,
        }
        watching = asyncio.create_task(watch(monitoring.readiness, probes, stop, every_s=PROBE_EVERY_S))
        try:
            await together(
                stop,
                goods.run(stop),
                above.run(stop),
                rounds.run(stop),
                *(each.run(stop) for each in beside),
            )
        finally:
            watching.cancel()
            await public.close()
            monitoring.stop()
            if certificate is not None:
                certificate.stop()
            mongo.close()

    with spans.started("ledger"):
        run(service, log)


def _completeness(
    mongo: Mongo, monitoring: Monitoring, public: Publishing, log: structlog.stdlib.BoundLogger
) -> tuple[Sealer, IndexRounds] | tuple[()]:
    """Build what keeps the log `index`; nothing where that is turned off."""
    settings, kafka = load(CompletenessSettings), load(KafkaSettings)
    if not settings.enabled:
        return ()
    sealer = _sealer(mongo, monitoring, public, log, topic=LOGS_INDEX, prefix=INDEX_LOG)
    topic = kafka.topic(LOGS_INDEX)
    rounds = IndexRounds(
        IndexSource(mongo.database, LogReader(mongo.database)),
        MongoRuns(mongo.database),
        KafkaRoundTopic(kafka.bootstrap_servers, topic, f"{topic}.rounds"),
        lambda: bool(sealer.partitions),
        secret=secret_commitment(load_secret(load(LogSettings).index_secret_file)),
        interval_s=settings.interval_ms / 1000,
        keep_s=settings.keep_s,
        now_ms=clock.now_ms,
        metrics=IndexMetrics(),
        log=log,
    )
    return sealer, rounds


def _sealer(
    mongo: Mongo,
    monitoring: Monitoring,
    public: Publishing,
    log: structlog.stdlib.BoundLogger,
    *,
    topic: str,
    prefix: str,
) -> Sealer:
    kafka, logs = load(KafkaSettings), load(LogSettings)
    full_name, part = kafka.topic(topic), _PARTS.get(prefix, "ledger")
    parts = SealerParts(
        store=MongoBlockStore(mongo.database),
        source=KafkaSource(
            kafka.bootstrap_servers,
            f"{full_name}.ledger",
            full_name,
            instance=kafka.instance,
            client=part,
        ),
        now_ms=clock.now_ms,
        limits=load(SealSettings).limits(),
        new_epoch=random_epoch,
        metrics=SealMetrics(part),
        log=log,
        publishing=public,
    )
    return Sealer(
        parts,
        configured_keys(),
        prefix=prefix,
        name=logs.log_name,
        readiness=monitoring.readiness,
        condition=_CONDITIONS.get(prefix, CONDITION),
    )


if __name__ == "__main__":
    main()
