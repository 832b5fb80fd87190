"""The whole system as processes of a test's own: the four services on a Kafka and a store that are there.

Own topics, database, keys and ports, so that any number of systems share one Kafka and one store without meeting.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from pymongo import MongoClient
from pymongo.database import Database

from deploy.credentials import FILE as CREDENTIALS_FILE
from deploy.credentials import TOKEN_FILE, make_credentials
from deploy.processes import HOST, Daemon, free_port, silent
from deploy.service_processes import ROOT, not_ready
from deploy.stack import Stack
from goodstrace import facts as sealed_facts
from goodstrace.accounts import AccountsClient
from goodstrace.capture import CaptureClient, Job
from goodstrace.client import Client
from goodstrace.facts import Facts
from goodstrace.log_keys import LogKeys
from goodstrace.login import LoginClient
from goodstrace.memory import CheckpointMemory
from goodstrace.token_sources import FixedToken
from services.runtime import envelope, topics
from services.runtime.envelope import Record
from services.runtime.vault.opening import load_ring
from services.sealing.mark_records import PART, is_mark
from tests.deadlines import DEADLINE_S
from tests.opened_browses import OpenedVault, opened_record
from tests.packs import opened

SERVICES = ("ledger", "audit", "collector", "query")
SHARED_EPCIS = ROOT.parent / "shared" / "data" / "epcis"
T = TypeVar("T")


def eventually(
    condition: Callable[[], T], *, deadline_s: float = DEADLINE_S, what: str = "", every_s: float = 0.1
) -> T:
    """Return the first true value of `condition()`; raise AssertionError with its last one when time is over."""
    until = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what or condition}; last {value!r}"
        time.sleep(every_s)
    return value


@dataclass(frozen=True)
class Sealed:
    """One sealed record as the store has it, read without the services' own code."""

    log: str
    index: int
    entry: bytes
    parts: Mapping[str, bytes]
    tags: bytes

    @property
    def id(self) -> str:
        """The record ID, hex."""
        return str(json.loads(self.entry)["id"])

    @property
    def facts(self) -> Facts:
        """The facts of an event."""
        return sealed_facts.decode(self.parts["facts"])


class System:
    """The four services of a test. Captures need no key, unless `environment` says so.

    Args:
        stack: Kafka and a store that run.
        run_dir: folder for keys, pid files and logs.
        environment: settings on top of those made here.
    """

    def __init__(self, stack: Stack, run_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        own = f"sys-{uuid.uuid4().hex[:10]}"
        self.stack = stack
        self.run_dir = run_dir
        self.topic_prefix, self.database_name = f"{own}.", own
        self.key_dir = run_dir / "keys"
        self.operator_token_file = self.key_dir / TOKEN_FILE
        self.api_key = ""  # where one is required: of a merchant that speaks for everything
        self.http_port, self.query_port, self.audit_port = free_port(), free_port(), free_port()
        self.log_port, self.capture_port = free_port(), free_port()
        self.metrics_ports = {name: free_port() for name in SERVICES}
        metrics = {
            f"GOODSTRACE_{name.upper()}_METRICS_PORT": str(port) for name, port in self.metrics_ports.items()
        }
        self.environment = {
            **stack.environment,
            **metrics,
            "GOODSTRACE_TOPIC_PREFIX": self.topic_prefix,
            "GOODSTRACE_DATABASE": self.database_name,
            "GOODSTRACE_KEY_DIR": str(self.key_dir),
            "GOODSTRACE_INDEX_SECRET_FILE": str(self.key_dir / "index-secret"),
            "GOODSTRACE_VAULT_KEY_FILE": str(self.key_dir / "vault-keys"),
            "GOODSTRACE_OPERATOR_TOKEN_FILE": str(self.operator_token_file),
            "GOODSTRACE_LOGIN_KEY_DIR": str(self.key_dir / "login"),
            "GOODSTRACE_LOGIN_SECRET_FILE": str(self.key_dir / "login-secret"),
            "GOODSTRACE_ACCOUNTS_JWKS": str(self.key_dir / "login" / "jwks.json"),
            "GOODSTRACE_PARTITIONS": "2",
            "GOODSTRACE_BROWSE_PARTITIONS": "1",
            "GOODSTRACE_ACCOUNTS": "off",
            "GOODSTRACE_COLLECTOR_PORT": str(self.http_port),
            "GOODSTRACE_COLLECTOR_GRPC_PORT": str(self.capture_port),
            "GOODSTRACE_QUERY_GRPC_PORT": str(self.query_port),
            "GOODSTRACE_QUERY_HTTP_PORT": str(self.log_port),
            "GOODSTRACE_AUDIT_GRPC_PORT": str(self.audit_port),
            "GOODSTRACE_QUERY_WEB_AUDIT": self.audit_target,
            "GOODSTRACE_QUERY_WEB_COLLECTOR": self.capture_url,
            "GOODSTRACE_QUERY_WEB_SERVICES": " ".join(f"{name}={self.url(name, '')}" for name in SERVICES),
            **(environment or {}),
        }
        self.daemons = {name: self._daemon(name) for name in SERVICES}
        self._mongo: MongoClient[dict[str, Any]] | None = None

    def _daemon(self, name: str) -> Daemon:
        return Daemon(
            name=name,
            command=[sys.executable, "-m", f"services.{name}"],
            run_dir=self.run_dir,
            ports=(self.metrics_ports[name],),
            environment=self.environment,
            cwd=ROOT,
        )

    # -- processes -----------------------------------------------------------------------------------------------

    def start(self, *, sealing: bool = True) -> Self:
        """Make topics, indexes and keys, start all services at once, and return when each is ready.

        Where accounts are required, the merchant's registration is waited for, unless nothing can be sealed yet (`sealing`): its witnesses are not there.
        """
        made = self.run_module("services.runtime.provision")
        assert made.returncode == 0, f"provision failed:\n{made.stdout}{made.stderr}"
        for daemon in self.daemons.values():
            daemon.start()
        for name in SERVICES:
            self.wait_ready(name)
        if self.environment["GOODSTRACE_ACCOUNTS"] == "required":
            self.api_key = make_credentials(
                self.run_dir,
                self.capture_url,
                self.operator_token_file,
                silent,
                query_target=self.query_target,
            )
            if sealing:
                eventually(lambda: self.sealed_count() > 0, what="the merchant's registration is sealed")
        return self

    def wait_ready(self, name: str, timeout_s: float = DEADLINE_S) -> None:
        """Return when a service says on /readyz that it is ready."""
        self.daemons[name].wait_ready(partial(not_ready, self.url(name, "/readyz")), timeout_s)

    def kill9(self, name: str) -> None:
        """End a service by SIGKILL."""
        assert self.daemons[name].process is not None, f"{name} does not run\n{self.daemons[name].tail()}"
        self.daemons[name].kill()

    def restart(self, name: str) -> None:
        """Start a service again and return when it is ready."""
        self.daemons[name].start()
        self.wait_ready(name)

    def pids(self) -> dict[str, int]:
        """The running services' process IDs."""
        running = {
            name: daemon.process for name, daemon in self.daemons.items()
        }  # asked once: it may end meanwhile
        return {name: process.pid for name, process in running.items() if process is not None}

    def stop(self) -> None:
        """Stop the services (SIGTERM), all at once; the logs stay. One that does not stop is killed, and an error."""
        for pid in self.pids().values():
            os.kill(pid, signal.SIGTERM)
        try:
            eventually(
                lambda: not self.pids(), deadline_s=DEADLINE_S, what=f"all of {self.pids()} have stopped"
            )
        finally:
            for daemon in self.daemons.values():
                daemon.kill()
                daemon.stop()
        if self._mongo is not None:
            self._mongo.close()

    def tails(self) -> str:
        """The ends of all services' logs."""
        return "".join(daemon.tail() for daemon in self.daemons.values())

    def run_module(self, module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `python -m module` in the services' environment."""
        return self.run([sys.executable, "-m", module, *arguments])

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the `goodstrace` command in the environment an operator of this system would have."""
        return self.run([str(Path(sys.executable).parent / "goodstrace"), *arguments])

    def cli_with(self, environment: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the `goodstrace` command with some settings changed."""
        return self.run([str(Path(sys.executable).parent / "goodstrace"), *arguments], environment)

    def run(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command with all the settings of this system, and what `environment` puts on top."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**self.whole_environment, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )

    @property
    def whole_environment(self) -> dict[str, str]:
        """All settings of this system, of services and of the command line, on top of the test's own."""
        return {**os.environ, **self.environment, **self.cli_environment}

    @property
    def cli_environment(self) -> dict[str, str]:
        """Where the command line finds this system."""
        return {
            "GOODSTRACE_CAPTURE_URL": self.capture_url,
            "GOODSTRACE_QUERY_TARGET": self.query_target,
            "GOODSTRACE_AUDIT_TARGET": self.audit_target,
            "GOODSTRACE_CREDENTIALS": str(self.run_dir / CREDENTIALS_FILE),
            "GOODSTRACE_LOG_KEYS": str(self.key_dir),
            "GOODSTRACE_MEMORY": str(self.run_dir / "checkpoints.json"),
        }

    # -- the ways in and out -------------------------------------------------------------------------------------

    @property
    def capture_url(self) -> str:
        """The collector's HTTP address."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def log_url(self) -> str:
        """The HTTP address below which the public logs are: `/logs` lists them."""
        return f"http://{HOST}:{self.log_port}"

    @property
    def query_target(self) -> str:
        """host:port of the query service."""
        return f"{HOST}:{self.query_port}"

    @property
    def audit_target(self) -> str:
        """host:port of the audit service."""
        return f"{HOST}:{self.audit_port}"

    def url(self, name: str, path: str) -> str:
        """Give an address on a service's monitoring port."""
        return f"http://{HOST}:{self.metrics_ports[name]}{path}"

    def client(
        self, *, user: str = "tester", memory: CheckpointMemory | None = None, timeout_s: float = 30
    ) -> Client:
        """A verifying client that trusts this system's log keys."""
        return Client(
            self.query_target,
            LogKeys.load(self.key_dir),
            user=user,
            purpose="a test",
            token=self.api_key,
            memory=memory,
            audit_target=self.audit_target,
            timeout_s=timeout_s,
        )

    def signed_in(self, name: str, password: str, role: str = "shopper", *, merchant: int = 0) -> str:
        """Make an account, sign in, and change the password, as everybody must; gives the token."""
        operator = self.operator_token_file.read_text().strip()
        with AccountsClient(self.query_target, FixedToken(operator)) as accounts:
            _, made = accounts.add(name, [role], merchant=merchant)
        with LoginClient(self.query_target) as login:
            session = login.sign_in(name, made)
        with LoginClient(self.query_target, FixedToken(session.access_token)) as login:
            return login.change_password(made, password).issued.token

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """What calls show as metadata, where accounts are required."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def collector(self, *, timeout_s: float = 60) -> CaptureClient:
        """A capture client, with the API key where one is required."""
        return CaptureClient(self.capture_url, timeout_s=timeout_s, token=self.api_key)

    def capture(self, documents: Iterable[bytes]) -> list[Job]:
        """Capture documents, none of which may be refused, and wait for every event's verdict."""
        with self.collector() as collector:
            jobs = []
            for document in documents:
                taken = collector.send(document)
                assert isinstance(taken, Job), "\n".join(taken.lines())
                jobs.append(taken)
            return [collector.wait(job, deadline_s=DEADLINE_S) for job in jobs]

    def capture_sealed(self, documents: Iterable[bytes]) -> list[Job]:
        """Capture documents and wait until all that passed the stages is under a signed checkpoint."""
        before = self.sealed_count()
        jobs = self.capture(documents)
        self.wait_sealed(before + sum(job.counts["accepted"] for job in jobs))
        return jobs

    def sealed_count(self, prefix: str = "goods/") -> int:
        """Count the entries under the newest checkpoints of the logs whose names begin with `prefix`."""
        with self.client() as client:
            sizes = {log: each.checkpoint.size for log, each in client.checkpoints().items()}
        return sum(size for log, size in sizes.items() if log.startswith(prefix))

    def wait_sealed(self, count: int, prefix: str = "goods/", deadline_s: float = DEADLINE_S) -> None:
        """Return when exactly `count` entries are under the newest checkpoints; more are an error."""
        eventually(
            lambda: self.sealed_count(prefix) >= count,
            deadline_s=deadline_s,
            what=f"{count} entries sealed",
        )
        assert self.sealed_count(prefix) == count

    def wait_looks_sealed(self, count: int = 0) -> None:
        """Return when the looks that are recorded now, and `count` at least, are under checkpoints: each once, whatever marks stand between."""

        def sealed() -> bool:
            looks = sorted(each.id.hex() for each in self.looks())
            found = self.sealed("browse/")
            ids = sorted(each.id for each in found if PART not in each.parts)
            return len(looks) >= count and ids == looks and self.sealed_count("browse/") >= len(found)

        eventually(sealed, what="the looks are sealed")

    # -- what is stored ------------------------------------------------------------------------------------------

    @property
    def store(self) -> Database[dict[str, Any]]:
        """The system's database."""
        if self._mongo is None:
            self._mongo = MongoClient(self.stack.mongodb_uri, serverSelectionTimeoutMS=5000)
        return self._mongo[self.database_name]

    def sealed(self, prefix: str = "goods/") -> list[Sealed]:
        """Read what the blocks of logs whose names begin with `prefix` hold, by log and index, under checkpoints or not."""
        found: list[Sealed] = []
        blocks = (
            self.store["blocks"].find({"log": {"$regex": f"^{prefix}"}}).sort([("log", 1), ("height", 1)])
        )
        for block in blocks:
            packs = {pack["_id"]: pack for pack in self.store["packs"].find({"_id": {"$in": block["packs"]}})}
            index = block["first"]
            for each in block["packs"]:
                for record in opened(packs[each])["records"]:
                    parts = {part["name"]: part["content"] for part in record["parts"]}
                    found.append(Sealed(block["log"], index, record["entry"], parts, record["tags"]))
                    index += 1
            assert index == block["size"], f"{block['_id']} has {index} entries and says {block['size']}"
        return found

    def user_keys(self) -> list[bytes]:
        """The keys of all users in the vault now: what decrypts looks (tests/opened_browses.py)."""
        return self.vault.user_keys()

    @property
    def vault(self) -> OpenedVault:
        """The vault, opened by its key-encryption keys."""
        ring = load_ring(self.key_dir / "vault-keys")
        return OpenedVault(self.stack.mongodb_uri, f"{self.database_name}_vault", ring)

    def topic_records(self, name: str) -> list[tuple[int, Record]]:
        """Read all committed records of a topic, in order within each partition: (partition, record)."""
        return [(partition, envelope.decode(value)) for partition, value in self.topic_values(name)]

    def looks(self) -> list[Record]:
        """All records of looks, refusals and attempts on `goods.browsed` now: marks are left out, and parts are decrypted."""
        keys = self.user_keys()
        found = (record for _, record in self.topic_records(topics.GOODS_BROWSED))
        return [opened_record(record, keys) for record in found if not is_mark(record)]

    def topic_values(self, name: str) -> list[tuple[int, bytes]]:
        """Read the values of a topic's committed records, in order within each partition: (partition, value)."""
        topic = f"{self.topic_prefix}{name}"
        consumer = Consumer(
            {
                "bootstrap.servers": self.stack.kafka_bootstrap_servers,
                "group.id": f"{self.topic_prefix}test",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
        )
        try:
            partitions = list(consumer.list_topics(topic, timeout=DEADLINE_S).topics[topic].partitions)
            consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in partitions])
            return list(_until_all_end(consumer, set(partitions)))
        finally:
            consumer.close()


def _until_all_end(consumer: Consumer, open_partitions: set[int]) -> Iterator[tuple[int, bytes]]:
    until = time.monotonic() + DEADLINE_S
    while open_partitions:
        assert time.monotonic() < until, f"partitions {open_partitions} were not read to their end"
        for message in consumer.consume(1000, timeout=0.05):
            error, partition = message.error(), message.partition()
            assert partition is not None
            if error is None:
                yield partition, message.value() or b""
            elif error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(partition)
            else:
                raise AssertionError(str(error))
