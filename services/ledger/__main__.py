"""The ledger's process: `python -m services.ledger`. Seals `goods.stored` into the logs `goods/<partition>`.

Start as many as there are partitions at the most; they share them. Exits with 0 when asked to stop, 1 after a fault that
wants an operator (its category and what to do are in the last log line), 2 where a setting is wrong.
"""

import asyncio

from services.ledger.settings import LedgerSettings
from services.runtime.kafka import KafkaProbe
from services.runtime.lifecycle import run
from services.runtime.logs import configure
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Monitoring
from services.runtime.probes import PROBE_EVERY_S, Probe, watch
from services.runtime.settings import KafkaSettings, LogSettings, MongoSettings, MonitoringSettings, load
from services.runtime.topics import GOODS_STORED
from services.sealing.clock import SystemClock
from services.sealing.epochs import random_epoch
from services.sealing.kafka import KafkaSource
from services.sealing.keys import KeyFolder
from services.sealing.metrics import SealMetrics
from services.sealing.mongo import MongoBlockStore
from services.sealing.service import Sealer
from services.sealing.settings import SealSettings
from services.sealing.writer import SealerParts


def main() -> None:
    """Run until SIGTERM."""
    shared, settings = load(MonitoringSettings), load(LedgerSettings)
    kafka, logs, limits = load(KafkaSettings), load(LogSettings), load(SealSettings).limits()
    log = configure("ledger", shared.log_level)
    topic = kafka.topic(GOODS_STORED)

    async def service(stop: asyncio.Event) -> None:
        mongo = Mongo(load(MongoSettings))
        monitoring = Monitoring("ledger", shared.host, settings.metrics_port)
        parts = SealerParts(
            store=MongoBlockStore(mongo.database),
            source=KafkaSource(kafka.bootstrap_servers, f"{topic}.ledger", topic),
            clock=SystemClock(),
            limits=limits,
            new_epoch=random_epoch,
            metrics=SealMetrics("ledger"),
            log=log,
        )
        keys = KeyFolder(logs.key_dir)
        sealer = Sealer(parts, keys, prefix="goods", name=logs.log_name, readiness=monitoring.readiness)
        monitoring.readiness.set("started")
        probes: dict[str, Probe] = {
            "kafka": KafkaProbe(kafka.bootstrap_servers, topic),
            "mongodb": mongo.ping,
        }
        watching = asyncio.create_task(watch(monitoring.readiness, probes, stop, every_s=PROBE_EVERY_S))
        try:
            await sealer.run(stop)
        finally:
            watching.cancel()
            monitoring.stop()
            mongo.close()

    run(service, log)


if __name__ == "__main__":
    main()
