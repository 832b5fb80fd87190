"""Workers of the watch as processes of a test's own, on topics of its own."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import TopicPartition

from deploy.processes import Daemon, free_port, stop_all
from deploy.service_processes import ROOT, not_ready
from deploy.stack import Stack
from goodstrace.record.v1.record_pb2 import WatchedBrowse
from services.audit.watch.store import ACTIVITY, ALERTS, provision
from services.runtime import kafka, topics
from services.runtime.mongo import Mongo, beside
from services.runtime.settings import MongoSettings
from services.runtime.vault import People, Vault
from services.runtime.vault.opening import load_ring
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.unit.watch_world import source_of

PARTITIONS = 2


class Watching:
    """Topics, a database and workers."""

    def __init__(self, stack: Stack, folder: Path, names: Names) -> None:
        self.stack, self.folder, self.names = stack, folder, names
        self.environment = {
            **stack.environment,
            "GOODSTRACE_TOPIC_PREFIX": names.topic_prefix,
            "GOODSTRACE_DATABASE": names.database,
            "GOODSTRACE_BROWSE_PARTITIONS": str(PARTITIONS),
            "GOODSTRACE_WATCH_SESSION_S": "6",
            "GOODSTRACE_WATCH_BATCH_RECORDS": "100",
            "GOODSTRACE_WATCH_BATCH_S": "0.05",
        }
        self.vault_keys = folder / "vault-keys"
        self.vault_keys.write_text(secrets.token_hex(32))
        self.environment["GOODSTRACE_VAULT_KEY_FILE"] = str(self.vault_keys)
        self.mongo = Mongo(MongoSettings(uri=stack.mongodb_uri, database=names.database, timeout_ms=10_000))
        self.workers: dict[str, tuple[Daemon, int]] = {}

    async def prepare(self) -> None:
        declared = topics.declared(self.names.topic_prefix, PARTITIONS, PARTITIONS, 1)
        await asyncio.to_thread(kafka.create_topics, self.stack.kafka_bootstrap_servers, declared)
        await provision(self.mongo.database)

    def worker(self, name: str, *, instance: str = "") -> Daemon:
        """Describe a worker; with `instance` it is the same one at each start."""
        port = free_port()
        daemon = Daemon(
            name=name,
            command=[sys.executable, "-m", "services.audit.watch"],
            run_dir=self.folder,
            ports=(port,),
            environment={
                **self.environment,
                **({"GOODSTRACE_INSTANCE": instance} if instance else {}),
                "GOODSTRACE_WATCH_METRICS_PORT": str(port),
                "GOODSTRACE_WATCH_DATA_DIR": str(self.folder / f"data-{name}"),
            },
            cwd=ROOT,
        )
        self.workers[name] = (daemon, port)
        return daemon

    async def ready(self, name: str) -> None:
        daemon, port = self.workers[name]
        url = f"http://127.0.0.1:{port}/readyz"
        await asyncio.to_thread(daemon.wait_ready, partial(not_ready, url), DEADLINE_S)

    def metrics(self, name: str) -> dict[str, float]:
        """Read a worker's metrics that have no labels."""
        port = self.workers[name][1]
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        lines = (line.split(" ") for line in text.splitlines() if line[0] != "#" and "{" not in line)
        return {each: float(value) for each, value, *_ in lines}

    def lag(self, name: str, topic: str) -> float:
        """Read what a worker shows of how much waits."""
        text = httpx.get(f"http://127.0.0.1:{self.workers[name][1]}/metrics").text
        shown = f'goodstrace_watch_lag_records{{topic="{topic}"}} '
        [line] = [line for line in text.splitlines() if line.startswith(shown)]
        return float(line.removeprefix(shown))

    async def browse(self, records: Sequence[WatchedBrowse]) -> None:
        """Tell the watch of looks where the services tell it."""
        await asyncio.to_thread(self._browse, records)

    def _browse(self, records: Sequence[WatchedBrowse]) -> None:
        producer = kafka.producer(self.stack.kafka_bootstrap_servers)
        topic = self.names.topic(topics.BROWSE_WATCHED)
        for record in records:
            producer.produce(topic, record.SerializeToString(), partition=source_of(record) % PARTITIONS)
            producer.poll(0)
        assert producer.flush(30) == 0

    async def counted(self, about: str, figure: str = "looks") -> int:
        """Sum a figure of the statistics by one kind."""
        return sum([row[figure] async for row in self.mongo.database[ACTIVITY].find({"about": about})])

    async def by_subject(self, about: str) -> dict[str, int]:
        """Sum looks by subject."""
        found: dict[str, int] = {}
        async for row in self.mongo.database[ACTIVITY].find({"about": about}):
            found[row["subject"]] = found.get(row["subject"], 0) + row["looks"]
        return found

    def people(self) -> People:
        """The vault of the commands."""
        database = beside(self.mongo.database, f"{self.names.database}_vault")
        return People(Vault(database, load_ring(self.vault_keys)))

    async def values(self, topic: str) -> list[bytes]:
        """All keys and values of a topic."""
        return await asyncio.to_thread(self._values, self.names.topic(topic))

    def _values(self, topic: str) -> list[bytes]:
        bootstrap, found = self.stack.kafka_bootstrap_servers, list[bytes]()
        consumer = kafka.consumer(bootstrap, f"{topic}.read")
        try:
            for partition in range(PARTITIONS):
                place = TopicPartition(topic, partition, 0)
                _, end = consumer.get_watermark_offsets(place)
                consumer.assign([place])
                at = 0
                while at < end:
                    for message in consumer.consume(1000, 0.05):
                        assert message.error() is None
                        found += [each for each in (message.key(), message.value()) if each]
                        at = (message.offset() or 0) + 1
        finally:
            consumer.close()
        return found

    async def alerts(self) -> list[dict[str, Any]]:
        """All alerts that are kept."""
        return [each async for each in self.mongo.database[ALERTS].find({})]

    def stop(self) -> None:
        stop_all(daemon for daemon, _ in self.workers.values())
        self.mongo.close()


@pytest.fixture
async def watching(stack: Stack, tmp_path: Path, names: Names) -> AsyncIterator[Watching]:
    """Topics and a database of the test's own; its workers are stopped after it."""
    made = Watching(stack, tmp_path, names)
    await made.prepare()
    yield made
    made.stop()
