"""The audit service's process: `python -m services.audit`. Seals browse records and lists them over gRPC."""

import asyncio

import grpc
import structlog

from goodstrace.audit.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server as add_servicer
from goodstrace.audit.v1.watch_pb2_grpc import add_WatchServiceServicer_to_server as add_watch
from services.audit.browse_index import BrowseIndex
from services.audit.figures.answers import FigureAnswers
from services.audit.figures.following import FigureMetrics, Figuring
from services.audit.figures.goods import GoodsViewers
from services.audit.figures.store import Statistics
from services.audit.indexing import CLIENT as INDEX_CLIENT
from services.audit.indexing import Indexing, IndexMetrics
from services.audit.metrics import SERVICES, AuditMetrics
from services.audit.service import AuditServicer
from services.audit.settings import AuditSettings
from services.audit.watch_names import WatchNames
from services.audit.watch_reader import WatchReader
from services.audit.watch_service import WatchServicer
from services.runtime import clock
from services.runtime.group_source import Source
from services.runtime.lifecycle import run
from services.runtime.logs import configure
from services.runtime.settings import KafkaSettings, LogSettings, MonitoringSettings, load
from services.runtime.topics import BROWSE_WATCHED, GOODS_BROWSED
from services.runtime.tracing import spans
from services.runtime.vault.settings import VaultSettings
from services.sealing.epochs import random_epoch
from services.sealing.front import Front, opened
from services.sealing.kafka import KafkaSource
from services.sealing.key_sources import configured_keys
from services.sealing.metrics import SealMetrics
from services.sealing.mongo import MongoBlockStore
from services.sealing.publishing import Publishing
from services.sealing.service import Sealer
from services.sealing.settings import SealSettings
from services.sealing.witness_settings import publishing
from services.sealing.writer import SealerParts

_PREFIX = "browse"


def main() -> None:
    """Run until SIGTERM. Exits with 1 after a fault that wants an operator, 2 where a setting is wrong."""
    log = configure("audit", load(MonitoringSettings).log_level)
    settings, metrics = load(AuditSettings), AuditMetrics()

    async def service(stop: asyncio.Event) -> None:
        async with opened("audit", settings, metrics, log) as front:
            public = publishing("audit", MongoBlockStore(front.mongo.database), log)
            sealing = asyncio.create_task(_sealer(front, public, log).run(stop), name="recorder")
            indexing = asyncio.create_task(_indexing(front).run(stop), name="index")
            for task in (sealing, indexing):
                task.add_done_callback(lambda _: stop.set())  # one of them that stopped ends the process

            def add(server: grpc.aio.Server) -> None:
                add_servicer(_servicer(front), server)
                add_watch(_watch_servicer(front, stop), server)

            try:
                await front.serve(stop, SERVICES, add, kind=_PREFIX)
            finally:
                stop.set()
                try:
                    for ended in await asyncio.gather(sealing, indexing, return_exceptions=True):
                        if isinstance(ended, BaseException):
                            raise ended
                finally:
                    await public.close()

    with spans.started("audit"):
        run(service, log)


def _servicer(front: Front) -> AuditServicer:
    return AuditServicer(
        front.reader,
        front.recorder,
        BrowseIndex(front.people.vault.database),
        front.people.vault,
        figures=FigureAnswers(front.mongo.database, front.recorder, front.people.vault.page_key),
        secret=front.secret,
        page_key=front.people.vault.page_key,
        page_bytes=front.settings.page_bytes,
        metrics=front.metrics,
        log=front.log,
    )


def _indexing(front: Front) -> Indexing:
    kafka = load(KafkaSettings)
    topic = kafka.topic(BROWSE_WATCHED)
    source = Source(kafka.bootstrap_servers, f"{topic}.index", [topic], lambda *_: None, client=INDEX_CLIENT)
    index = BrowseIndex(front.people.vault.database)
    figures = Figuring(
        Statistics(front.mongo.database),
        GoodsViewers(front.mongo.database, front.people.vault.database),
        kafka.browse_partitions,
        FigureMetrics(),
        front.log,
    )
    return Indexing(source, index, front.people, IndexMetrics(), front.log, figures=figures)


def _watch_servicer(front: Front, stop: asyncio.Event) -> WatchServicer:
    return WatchServicer(
        WatchReader(front.mongo.database),
        WatchNames(front.people, load(VaultSettings).retention_days),
        front.recorder,
        page_key=front.people.vault.page_key,
        stop=stop,
        log=front.log,
    )


def _sealer(front: Front, public: Publishing, log: structlog.stdlib.BoundLogger) -> Sealer:
    kafka, logs = load(KafkaSettings), load(LogSettings)
    topic = kafka.topic(GOODS_BROWSED)
    parts = SealerParts(
        store=MongoBlockStore(front.mongo.database),
        source=KafkaSource(
            kafka.bootstrap_servers, f"{topic}.audit", topic, instance=kafka.instance, client="audit"
        ),
        now_ms=clock.now_ms,
        limits=load(SealSettings).limits(),
        new_epoch=random_epoch,
        metrics=SealMetrics("audit"),
        log=log,
        publishing=public,
    )
    keys = configured_keys()
    return Sealer(parts, keys, prefix=_PREFIX, name=logs.log_name, readiness=front.monitoring.readiness)


main()
