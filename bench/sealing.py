"""How fast a service seals a topic that is full already: the ledger goods, the audit recorder looks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.stack import Stack
from goodstrace import block
from goodstrace.block import BlockHeader
from services.runtime import kafka, topics
from tests.system.harness import System

PARTITIONS = 2
_BATCH = 1000


@dataclass(frozen=True)
class Sealing:
    """Which service seals which topic."""

    service: str
    topic: str
    partitions: str


LEDGER = Sealing("ledger", topics.GOODS_STORED, "GOODSTRACE_PARTITIONS")
RECORDER = Sealing("audit", topics.GOODS_BROWSED, "GOODSTRACE_BROWSE_PARTITIONS")


def full_topic_rate(stack: Stack, folder: Path, what: Sealing, values: Sequence[bytes]) -> float:
    """Let a service alone seal these records, which are on its topic before it starts; records a second."""
    system = System(stack, folder, {what.partitions: str(PARTITIONS)})
    made = system.run_module("services.runtime.provision")
    if made.returncode != 0:
        raise SystemExit(made.stdout + made.stderr)
    producer = kafka.producer(stack.kafka_bootstrap_servers)
    for partition in range(PARTITIONS):
        mine = [{"value": value} for value in values[partition::PARTITIONS]]
        for start in range(0, len(mine), _BATCH):
            producer.produce_batch(
                f"{system.topic_prefix}{what.topic}", mine[start : start + _BATCH], partition=partition
            )
    producer.flush()
    try:
        system.daemons[what.service].start()
        system.wait_ready(what.service)
        while sum(newest_sizes(system.store["checkpoints"])) < len(values):
            time.sleep(0.05)
        return sealing_rate(
            [block.decode(bytes(each["header"])) for each in system.store["blocks"].find({}, {"header": 1})]
        )
    finally:
        system.stop()


def sealing_rate(headers: Sequence[BlockHeader]) -> float:
    """Records a second between the first and the last block, by the times in their headers: start-up does not count."""
    ordered = sorted(headers, key=lambda header: header.time)
    first, last = ordered[0], ordered[-1]
    if last.time == first.time:
        raise SystemExit("everything went into one block: take more events")
    return sum(header.count for header in ordered[1:]) * 1000 / (last.time - first.time)


def newest_sizes(checkpoints: Any) -> list[int]:
    """Read the size of each log's newest checkpoint."""
    return [
        each["size"]
        for each in checkpoints.aggregate([{"$group": {"_id": "$log", "size": {"$max": "$size"}}}])
    ]
