"""What TLS costs: `python -m bench.tls`. CPU time of the services and of Kafka, in clear text and by TLS, in turns.

CPU time, since other work shares the machine. Two systems on one Kafka and store, and two Kafkas, are asked in turns; each
figure is the median over the rounds.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from confluent_kafka import TopicPartition
from rich.console import Console
from rich.table import Table

from bench.processes import cpu_s
from bench.tls_ports import grpc_ms, http_ms
from deploy.stack import Stack
from goodstrace.capture import CaptureClient, Job
from goodstrace.client import Client
from goodstrace.connections import Tls
from goodstrace.log_keys import LogKeys
from goodstrace.simulate import SimulationOptions, write
from services.runtime import kafka
from services.runtime.topics import Topic
from tests.certificates import World
from tests.system.harness import System, eventually

RECORDS: Final = 50_000
RECORD_BYTES: Final = 400
A_TRANSACTION: Final = 5_000
EVENTS: Final = 800
LOOKS: Final = 40
WAYS: Final = ("clear text", "TLS")
console = Console(stderr=True)
Figures = dict[str, dict[str, list[float]]]


class Side:
    """One system, in clear text or by TLS."""

    def __init__(self, stack: Stack, folder: Path, *, secure: bool) -> None:
        world = World(folder / "certs")
        environment = {
            "GOODSTRACE_TLS_CERT_FILE": str(world.server.cert),
            "GOODSTRACE_TLS_KEY_FILE": str(world.server.key),
        }
        self.tls = Tls(world.ca) if secure else Tls()
        self.system = System(stack, folder, environment if secure else None).start()
        scheme = "https" if secure else "http"
        self.capture_url = f"{scheme}://127.0.0.1:{self.system.http_port}"
        self._query = f"{scheme}://127.0.0.1:{self.system.query_port}"
        self._keys = LogKeys.load(self.system.key_dir)

    def client(self) -> Client:
        return Client(self._query, self._keys, tls=self.tls, timeout_s=120)

    def sealed(self) -> int:
        with self.client() as client:
            found = client.checkpoints()
        return sum(each.checkpoint.size for log, each in found.items() if log.startswith("goods/"))

    def spent_s(self, service: str, work: Callable[[], None]) -> float:
        pid = self.system.pids()[service]
        before = cpu_s(pid)
        work()
        return cpu_s(pid) - before

    def capture(self, documents: list[bytes]) -> None:
        """Send documents on one connection."""
        with CaptureClient(self.capture_url, tls=self.tls, timeout_s=120) as client:
            for document in documents:
                job = client.send(document)
                assert isinstance(job, Job), job

    def look(self, key: str) -> None:
        """Trace a key again and again, on one connection."""
        with self.client() as client:
            for _ in range(LOOKS):
                client.trace(key)

    def connect(self) -> None:
        """Ask for checkpoints again and again, on a connection each."""
        for _ in range(LOOKS):
            with self.client() as client:
                client.checkpoints()


def a_round(side: Side, folder: Path, seed: int) -> dict[str, float]:
    """CPU ms of the services, each for one document, trace or connection."""
    found = write(SimulationOptions(seed=seed, events=EVENTS, depth=3, events_per_document=40), folder)
    documents = [path.read_bytes() for path in sorted(folder.glob("*.jsonld"))]
    before = side.sealed()
    captured = side.spent_s("collector", partial(side.capture, documents))
    eventually(lambda: side.sealed() >= before + EVENTS, what="all is sealed", deadline_s=120)
    traced = side.spent_s("query", partial(side.look, found.item or ""))
    connected = side.spent_s("query", side.connect)
    return {
        "capture of 40 events": captured / len(documents) * 1000,
        "trace": traced / LOOKS * 1000,
        "checkpoints, a connection each": connected / LOOKS * 1000,
    }


def kafka_ms(stack: Stack, topic: str) -> float:
    """CPU ms of us and the broker for 1,000 records out in transactions and in again."""
    assert stack.kafka is not None
    process = stack.kafka.daemon.process
    assert process is not None
    bootstrap = stack.kafka_bootstrap_servers
    with settings(stack.environment):
        kafka.create_topics(bootstrap, [Topic(topic, 1, 1)])
        producer, consumer = (
            kafka.producer(bootstrap, transactional_id=topic),
            kafka.consumer(bootstrap, topic),
        )
    before = cpu_s(process.pid) + time.process_time()
    producer.init_transactions(60)
    for _ in range(RECORDS // A_TRANSACTION):
        producer.begin_transaction()
        for _ in range(A_TRANSACTION):
            producer.produce(topic, os.urandom(RECORD_BYTES), partition=0)
        producer.commit_transaction(60)
    consumer.assign([TopicPartition(topic, 0, 0)])
    taken = 0
    while taken < RECORDS:
        taken += sum(not message.error() for message in consumer.consume(A_TRANSACTION, 5))
    consumer.close()
    return (cpu_s(process.pid) + time.process_time() - before) / RECORDS * 1_000_000


@contextmanager
def settings(environment: Mapping[str, str]) -> Iterator[None]:
    """Be told how this Kafka is reached, and no other."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("KAFKA_")}
    for name in kept:
        del os.environ[name]
    told = {name: value for name, value in environment.items() if name.startswith("KAFKA_")}
    os.environ.update(told)
    try:
        yield
    finally:
        for name in told:
            del os.environ[name]
        os.environ.update(kept)


def of_services(folder: Path, rounds: int, figures: Figures) -> None:
    """Measure captures, traces and connections; the first round warms up."""
    stack = Stack.on_free_ports(folder / "stores")
    try:
        stack.start()
        sides = {way: Side(stack, folder / way, secure=way == "TLS") for way in WAYS}
        for number in range(rounds + 1):
            for way, side in sides.items():
                measured = a_round(side, folder / f"{way}-{number}", number + 1)
                console.print(f"{way}: {', '.join(f'{what} {ms:.2f} ms' for what, ms in measured.items())}")
                for what, ms in measured.items() if number else ():
                    figures[what][way].append(ms)
        for side in sides.values():
            side.system.stop()
    finally:
        stack.kill()


def of_ports(folder: Path, rounds: int, figures: Figures) -> None:
    """Measure requests and connections at the ports alone; the first round warms up."""
    world = World(folder / "ports")
    for number in range(rounds + 1):
        for way in WAYS:
            for measure in (http_ms, grpc_ms):
                measured = asyncio.run(measure(world, secure=way == "TLS"))
                for what, ms in measured.items() if number else ():
                    figures[what][way].append(ms)


def of_kafka(folder: Path, rounds: int, figures: Figures) -> None:
    """Measure records through Kafka; the first round warms up."""
    stacks = {way: Stack.on_free_ports(folder / f"kafka-{way}", secured=way == "TLS") for way in WAYS}
    brokers = [stack.kafka for stack in stacks.values() if stack.kafka is not None]
    try:
        for broker in brokers:
            broker.start()
        for broker in brokers:
            broker.wait_ready()
        for number in range(rounds + 1):
            for way, stack in stacks.items():
                ms = kafka_ms(stack, f"bench-{number}")
                console.print(f"Kafka, {way}: {ms:.1f} ms for 1,000 records")
                if number:
                    figures["Kafka, 1,000 records out and in"][way].append(ms)
    finally:
        for broker in brokers:
            broker.kill()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    figures: Figures = defaultdict(lambda: {way: [] for way in WAYS})
    with tempfile.TemporaryDirectory() as folder:
        of_ports(Path(folder), rounds, figures)
        of_kafka(Path(folder), rounds, figures)
        of_services(Path(folder), rounds, figures)
    table = Table("CPU ms", *WAYS, "ratio", title="What TLS costs")
    medians = {
        what: {way: statistics.median(each) for way, each in ways.items()} for what, ways in figures.items()
    }
    for what, ways in medians.items():
        plain, tls = (ways[way] for way in WAYS)
        table.add_row(what, f"{plain:.2f}", f"{tls:.2f}", f"{tls / plain:.2f}")
    console.print(table)
    print(json.dumps(medians, indent=2))


if __name__ == "__main__":
    main()
