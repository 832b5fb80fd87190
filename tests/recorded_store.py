"""What a release has stored, recorded: all that its store holds after a small run, what lies on its topics, and the public keys of its logs.

    python -m tests.recorded_store tests/vectors/stores/NAME.bson.gz

writes one with the code of this tree; tests/system/test_compatibility.py reads those of earlier ones. Each is written once and never again.
"""

import gzip
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from pymongo import MongoClient

from deploy.stack import Stack
from goodstrace.simulate import Simulation, SimulationOptions
from tests.deadlines import DEADLINE_S
from tests.system.harness import System

OPTIONS = SimulationOptions(seed=5, events=60, events_per_document=20)
TOPICS = ("goods.collected", "goods.classified", "goods.stored", "goods.browsed")
USER = "tester"


@dataclass(frozen=True)
class Recorded:
    """One release's data.

    Attributes:
        item: goods that were traced.
        identities: of the events that the release showed of them, in its order.
        collections: documents by the name of their collection.
        topics: by topic each record's partition and value, in order.
        files: public keys of logs and the index secret, by name.
    """

    item: str
    identities: list[str]
    collections: Mapping[str, list[dict[str, Any]]]
    topics: Mapping[str, list[dict[str, Any]]]
    files: Mapping[str, bytes]


def read(path: Path) -> Recorded:
    """Read a file."""
    return Recorded(**bson.decode(gzip.decompress(path.read_bytes())))


def record(stack: Stack, folder: Path) -> Recorded:
    """Run a system, capture and look, stop it, and take what it stored."""
    system = System(stack, folder).start()
    try:
        simulation = Simulation(OPTIONS)
        system.capture_sealed([each.to_bytes() for each in simulation.documents()])
        item = simulation.interesting().item
        assert item is not None
        with system.client(user=USER) as client:
            shown = [each.event.identity for each in client.trace(item).events]
            client.goods(item)
            client.browses(user=USER)
        found = {name: _values(stack, system.topic_prefix + name) for name in TOPICS}
        system.wait_sealed(len(found["goods.browsed"]), "browse/")
    finally:
        system.stop()
    database: Any = MongoClient(stack.mongodb_uri)[system.database_name]
    collections = {name: list(database[name].find()) for name in sorted(database.list_collection_names())}
    files = {path.name: path.read_bytes() for path in sorted(system.key_dir.glob("*.vkey"))}
    files["index-secret"] = (system.key_dir / "index-secret").read_bytes()
    return Recorded(item, shown, collections, found, files)


def _values(stack: Stack, topic: str) -> list[dict[str, Any]]:
    consumer = Consumer(
        {
            "bootstrap.servers": stack.kafka_bootstrap_servers,
            "group.id": "recording",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    found: list[dict[str, Any]] = []
    try:
        left = set(consumer.list_topics(topic, timeout=DEADLINE_S).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in left])
        while left:
            for message in consumer.consume(1000, timeout=0.05):
                error = message.error()
                if error is None:
                    found.append({"partition": message.partition(), "value": message.value()})
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
    finally:
        consumer.close()
    return found


def main(path: Path) -> None:
    """Record into a file that is not there yet."""
    assert not path.exists(), f"{path} is there: a recorded store is written once"
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack.on_free_ports(Path(folder) / "run")
        stack.start()
        try:
            made = record(stack, Path(folder) / "system")
        finally:
            stack.stop()
    path.write_bytes(gzip.compress(bson.encode(vars(made)), 9, mtime=0))
    sizes = {name: len(each) for name, each in made.collections.items() if each}
    sys.stdout.write(f"{path}: {path.stat().st_size} bytes, {sizes}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
