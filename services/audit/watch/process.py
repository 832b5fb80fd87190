"""A worker of the watch, without who starts it again: `python -m services.audit.watch.process [RESTARTS]`.

`python -m services.audit.watch` starts this and tells it how many times it has been started again.
"""

import asyncio
import signal
import sys

from services.audit.watch import rules
from services.audit.watch.faust_app import WatchApp
from services.audit.watch.metrics import WatchMetrics
from services.audit.watch.settings import WatchSettings
from services.audit.watch.store import WatchStore
from services.audit.watch.worker import Worker, run_app
from services.runtime.errors import UnavailableError
from services.runtime.kafka import KafkaProbe
from services.runtime.lifecycle import run, together
from services.runtime.logs import configure
from services.runtime.mongo import Mongo
from services.runtime.monitoring import Monitoring
from services.runtime.probes import PROBE_EVERY_S, Probe, watch
from services.runtime.settings import KafkaSettings, MongoSettings, MonitoringSettings, load
from services.runtime.topics import BROWSE_OBSERVED


def main() -> None:
    """Run until SIGTERM. Exits with 1 after a fault, 2 where a setting is wrong, 70 where a record could not be counted."""
    log = configure("watch", load(MonitoringSettings).log_level)
    settings, kafka = load(WatchSettings), load(KafkaSettings)
    restarts = int(sys.argv[1]) if len(sys.argv) > 1 else 0

    async def service(stop: asyncio.Event) -> None:
        book = rules.load(settings.rules)
        metrics = WatchMetrics([rule.id for rule in book.rules])
        metrics.restarts.inc(restarts)
        monitoring = Monitoring("watch", load(MonitoringSettings).host, settings.metrics_port)
        mongo = Mongo(load(MongoSettings))
        made = WatchApp(kafka, settings)
        store = WatchStore(mongo.database, keep_days=book.keep_days, user_days=settings.retention_days)
        Worker(made, book, store, settings, partitions=kafka.browse_partitions, metrics=metrics, log=log)

        async def counting() -> None:
            metrics.partitions.set(len(made.assigned(made.observed)))
            if not made.is_counting():
                raise UnavailableError("joining, or making its tables again from the changelog")

        probes: dict[str, Probe] = {
            "kafka": KafkaProbe(kafka.bootstrap_servers, kafka.topic(BROWSE_OBSERVED)),
            "mongodb": mongo.ping,
            "counting": counting,
        }
        for condition in probes:
            monitoring.readiness.set(condition, problem="not asked yet")
        monitoring.readiness.set("started")
        log.info("watching", rules=book.version, metrics_port=monitoring.port, session_s=settings.session_s)
        try:
            await together(
                stop,
                run_app(made.app, stop),
                watch(monitoring.readiness, probes, stop, every_s=PROBE_EVERY_S / 4),
            )
        finally:
            made.progress.close()
            mongo.close()
            monitoring.stop()

    run(service, log, (signal.SIGTERM,))  # Ctrl-C is for who supervises it: it would come twice


if __name__ == "__main__":
    main()
