"""Query and audit as processes of a test's own, and goods sealed for them by hand through `services.sealing`."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx
import structlog
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import CollectorRegistry

from deploy.processes import Daemon, free_port, stop_all
from deploy.service_processes import ROOT, not_ready
from deploy.stack import Stack
from goodstrace.asked_user import with_name
from goodstrace.checkpoint import Checkpoint, open_checkpoint
from goodstrace.encrypted_parts import decrypt, is_encrypted
from goodstrace.entry import decode, verify_part
from goodstrace.log.v1 import log_pb2
from goodstrace.merkle import leaf_hash, verify_inclusion
from goodstrace.note import Verifier
from services.audit.browse_index import provision as provision_index
from services.query.accounts.key_ring import KeyFiles
from services.runtime import clock, envelope, kafka, topics
from services.runtime.envelope import Record
from services.runtime.mongo import Mongo, beside, create_indexes
from services.runtime.monitoring import Readiness
from services.runtime.settings import MongoSettings
from services.runtime.vault.opening import load_ring
from services.runtime.vault.people import provision as provision_vault
from services.sealing.core import Limits
from services.sealing.epochs import random_epoch
from services.sealing.indexes import indexes
from services.sealing.kafka import KafkaSource
from services.sealing.keys import KeyFolder
from services.sealing.mark_records import PART, is_mark, outcomes_of
from services.sealing.metrics import SealMetrics
from services.sealing.mongo import MongoBlockStore
from services.sealing.reader import LogReader
from services.sealing.service import Sealer
from services.sealing.writer import SealerParts
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.opened_browses import OpenedVault, opened_record
from tests.unit.collector_builders import SECRET

PARTITIONS, BROWSE_PARTITIONS = 2, 2
T = TypeVar("T")


async def eventually(condition: Callable[[], Awaitable[T]], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Return the first true value of `condition()`; fail when the deadline has passed."""
    until = time.monotonic() + deadline_s
    while not (value := await condition()):
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(0.05)
    return value


class Looking:
    """Topics, keys and a database of a test's own, and the two services on them."""

    def __init__(self, stack: Stack, folder: Path, names: Names) -> None:
        self.stack, self.names = stack, names
        self.secret = SECRET  # that of the stages which make records
        self.key_dir = folder / "keys"
        self.key_dir.mkdir(mode=0o700)
        (self.key_dir / "index-secret").write_text(self.secret.hex())
        (self.key_dir / "login-secret").write_text(secrets.token_hex(32))
        (self.key_dir / "vault-keys").write_text(secrets.token_hex(32))
        KeyFiles(self.key_dir / "login", 300).make_first(time.time_ns() // 1_000_000)
        self.query_port, self.audit_port = free_port(), free_port()
        self.log_port = free_port()
        self.metrics = {"query": free_port(), "audit": free_port()}
        self.environment = {
            **stack.environment,
            "GOODSTRACE_TOPIC_PREFIX": names.topic_prefix,
            "GOODSTRACE_DATABASE": names.database,
            "GOODSTRACE_PARTITIONS": str(PARTITIONS),
            "GOODSTRACE_BROWSE_PARTITIONS": str(BROWSE_PARTITIONS),
            "GOODSTRACE_KEY_DIR": str(self.key_dir),
            "GOODSTRACE_INDEX_SECRET_FILE": str(self.key_dir / "index-secret"),
            "GOODSTRACE_VAULT_KEY_FILE": str(self.key_dir / "vault-keys"),
            "GOODSTRACE_ACCOUNTS": "off",
            "GOODSTRACE_LOGIN_KEY_DIR": str(self.key_dir / "login"),
            "GOODSTRACE_LOGIN_SECRET_FILE": str(self.key_dir / "login-secret"),
            "GOODSTRACE_ACCOUNTS_JWKS": str(self.key_dir / "login" / "jwks.json"),
            "GOODSTRACE_QUERY_GRPC_PORT": str(self.query_port),
            "GOODSTRACE_QUERY_HTTP_PORT": str(self.log_port),
            "GOODSTRACE_QUERY_METRICS_PORT": str(self.metrics["query"]),
            "GOODSTRACE_QUERY_BROWSE_TIMEOUT_S": "2",
            "GOODSTRACE_AUDIT_GRPC_PORT": str(self.audit_port),
            "GOODSTRACE_AUDIT_METRICS_PORT": str(self.metrics["audit"]),
        }
        self.daemons = {name: self._daemon(name, folder) for name in ("query", "audit")}
        self.mongo = Mongo(MongoSettings(uri=stack.mongodb_uri, database=names.database, timeout_ms=10_000))
        self.reader = LogReader(self.mongo.database)
        self.vault = OpenedVault(
            stack.mongodb_uri, f"{names.database}_vault", load_ring(self.key_dir / "vault-keys")
        )

    def _daemon(self, name: str, folder: Path) -> Daemon:
        return Daemon(
            name=name,
            command=[sys.executable, "-m", f"services.{name}"],
            run_dir=folder,
            ports=(self.metrics[name],),
            environment=self.environment,
            cwd=ROOT,
        )

    def another_query(self, folder: Path) -> "Looking":
        """A second query process: the same topics, keys and database, other ports. Who asks for it stops it."""
        other = Looking.__new__(Looking)
        other.__dict__.update(self.__dict__)
        folder.mkdir()
        ports = {name: str(free_port()) for name in ("GRPC", "HTTP", "METRICS")}
        other.environment = self.environment | {
            f"GOODSTRACE_QUERY_{name}_PORT": port for name, port in ports.items()
        }
        other.metrics = {**self.metrics, "query": int(ports["METRICS"])}
        other.daemons = {"query": other._daemon("query", folder)}
        return other

    async def prepare(self) -> None:
        """Make topics and indexes."""
        declared = topics.declared(self.names.topic_prefix, PARTITIONS, BROWSE_PARTITIONS, 1)
        await asyncio.to_thread(kafka.create_topics, self.stack.kafka_bootstrap_servers, declared)
        await create_indexes(self.mongo.database, indexes())
        vault = beside(self.mongo.database, f"{self.names.database}_vault")
        await asyncio.gather(provision_vault(vault), provision_index(vault))

    async def start(self, name: str) -> None:
        """Start a service and return when it is ready."""
        self.daemons[name].start()
        url = f"http://127.0.0.1:{self.metrics[name]}/readyz"
        await asyncio.to_thread(self.daemons[name].wait_ready, partial(not_ready, url), DEADLINE_S)

    @property
    def query_target(self) -> str:
        """Where the query service is called."""
        return f"127.0.0.1:{self.query_port}"

    @property
    def audit_target(self) -> str:
        """Where the audit service is called."""
        return f"127.0.0.1:{self.audit_port}"

    @property
    def log_url(self) -> str:
        """Where the query service is asked by HTTP."""
        return f"http://127.0.0.1:{self.log_port}"

    def query_channel(self) -> grpc.aio.Channel:
        """A channel to the query service, closed as a context manager."""
        return grpc.aio.insecure_channel(self.query_target)

    def audit_channel(self) -> grpc.aio.Channel:
        """A channel to the audit service, closed as a context manager."""
        return grpc.aio.insecure_channel(self.audit_target)

    def http(self) -> httpx.AsyncClient:
        """A client of the query service's HTTP port, closed as a context manager."""
        return httpx.AsyncClient(base_url=self.log_url, timeout=DEADLINE_S)

    def stop(self) -> None:
        """Stop what runs, all at once."""
        stop_all(self.daemons.values())
        self.mongo.close()

    def log_lines(self, name: str) -> list[dict[str, Any]]:
        """What a service has logged."""
        return [
            json.loads(line) for line in self.daemons[name].log.read_text().splitlines() if line[:1] == "{"
        ]

    async def seal(self, by_partition: Mapping[int, Sequence[Record]]) -> None:
        """Put records on `goods.stored` and seal them, as the ledger does; return when they are published."""
        topic = self.names.topic(topics.GOODS_STORED)
        producer = kafka.producer(self.stack.kafka_bootstrap_servers)
        for partition, records in by_partition.items():
            for record in records:
                producer.produce(topic, envelope.encode(record), partition=partition)
        assert await asyncio.to_thread(producer.flush, 30) == 0
        before = {log: stored.size for log, stored in (await self.reader.newest("goods/")).items()}
        wanted = {
            f"goods/{each}": before.get(f"goods/{each}", 0) + len(by_partition[each]) for each in by_partition
        }
        stop = asyncio.Event()
        sealing = asyncio.create_task(self._sealer(topic).run(stop))

        async def published() -> bool:
            if sealing.done():
                sealing.result()
            newest = await self.reader.newest("goods/")
            return all(log in newest and newest[log].size >= size for log, size in wanted.items())

        await eventually(published, "goods are sealed")
        stop.set()
        await sealing

    def _sealer(self, topic: str) -> Sealer:
        parts = SealerParts(
            store=MongoBlockStore(self.mongo.database),
            source=KafkaSource(self.stack.kafka_bootstrap_servers, f"{topic}.test", topic),
            now_ms=clock.now_ms,
            limits=Limits(age_ms=20),
            new_epoch=random_epoch,
            metrics=SealMetrics("ledger", CollectorRegistry()),
            log=structlog.get_logger(),
        )
        return Sealer(parts, KeyFolder(self.key_dir), prefix="goods", name="test", readiness=Readiness())

    async def browsed(self) -> list[Record]:
        """All records of looks, refusals and attempts on `goods.browsed` now, by partition and offset, with the parts decrypted that the vault has keys of."""
        keys = await asyncio.to_thread(self.vault.user_keys)
        found = await asyncio.to_thread(self._browsed)
        return [opened_record(record, keys) for record in found if not is_mark(record)]

    async def looks(self) -> list[dict[str, Any]]:
        """The parts of what `browsed` gives."""
        return [parts_of(record) for record in await self.browsed()]

    async def sealed_looks(self) -> list[str]:
        """The browse IDs of what is published of the browse logs, marks left out."""
        found: list[str] = []
        for log, newest in (await self.reader.newest("browse/")).items():
            for record in await self.reader.records(log, range(newest.size)):
                entry = decode(record.entry)
                found += [entry.id] if [part.name for part in entry.parts] != [PART] else []
        return found

    async def outcomes(self) -> dict[str, str]:
        """What the marks on `goods.browsed` say now, by browse ID."""
        records = [record for record in await asyncio.to_thread(self._browsed) if is_mark(record)]
        return {
            look.hex(): outcome.value for record in records for look, outcome in outcomes_of(record).items()
        }

    def _browsed(self) -> list[Record]:
        topic = self.names.topic(topics.GOODS_BROWSED)
        consumer = Consumer({"bootstrap.servers": self.stack.kafka_bootstrap_servers, "group.id": "unused"})
        found: list[Record] = []
        try:
            for partition in range(BROWSE_PARTITIONS):
                _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=DEADLINE_S)
                consumer.assign([TopicPartition(topic, partition, 0)])
                while end and (message := consumer.poll(30)) is not None:
                    assert message.error() is None
                    found.append(envelope.decode(message.value() or b""))
                    if (message.offset() or 0) + 1 >= end:
                        break
        finally:
            consumer.close()
        return found

    async def opened(self, checkpoints: Iterable[log_pb2.Checkpoint]) -> dict[str, Checkpoint]:
        """Verify checkpoints with the keys on disk."""
        keys = {info.name: Verifier.parse(info.vkey) for info in await self.reader.logs()}
        return {each.log: open_checkpoint(each.note, [keys[each.log]]) for each in checkpoints}


def verified(sealed: log_pb2.SealedEntry, checkpoints: Mapping[str, Checkpoint]) -> dict[str, bytes]:
    """Verify a sealed entry by hand: the proof of its leaf and every part; give the parts, those encrypted by the keys that came with them."""
    under = checkpoints[sealed.log]
    verify_inclusion(
        leaf_hash(sealed.entry), sealed.index, under.size, list(sealed.inclusion_proof), under.root
    )
    entry = decode(sealed.entry)
    for part in sealed.parts:
        verify_part(entry, part.name, part.salt, part.content)
    of, parts = bytes.fromhex(entry.id), {}
    for part in sealed.parts:
        if part.key:
            clear = decrypt(part.key, of, part.name, part.content)
            parts[part.name] = with_name(clear, part.asked_key, of) if part.asked_key else clear
        elif not is_encrypted(part.content):
            parts[part.name] = part.content
    return parts


def parts_of(record: Record) -> dict[str, Any]:
    """The JSON parts of a browse record."""
    return {part.name: json.loads(part.content) for part in record.parts}
