"""How fast a service seals a topic that is full already: the ledger goods, the audit recorder looks."""

import time
from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class Beside:
    """What the service does beside sealing: of what, and when it is done with it."""

    topic: str
    values: Sequence[bytes]
    is_done: Callable[[System], bool]


LEDGER = Sealing("ledger", topics.GOODS_STORED, "GOODSTRACE_PARTITIONS")
RECORDER = Sealing("audit", topics.GOODS_BROWSED, "GOODSTRACE_BROWSE_PARTITIONS")


def full_topic_rate(
    stack: Stack,
    folder: Path,
    what: Sealing,
    values: Sequence[bytes],
    beside: Beside | None = None,
) -> float:
    """Let a service alone seal these records, which are on its topic before it starts; records a second, until it is done with what is `beside` them too."""
    system = System(stack, folder, {what.partitions: str(PARTITIONS)})
    made = system.run_module("services.runtime.provision")
    if made.returncode != 0:
        raise SystemExit(made.stdout + made.stderr)
    _fill(system, what.topic, values)
    if beside is not None:
        _fill(system, beside.topic, beside.values)
    try:
        system.daemons[what.service].start()
        system.wait_ready(what.service)
        while sum(newest_sizes(system.store["checkpoints"])) < len(values):
            time.sleep(0.05)
        until_ms = 0
        if beside is not None:
            while not beside.is_done(system):
                time.sleep(0.05)
            until_ms = time.time_ns() // 1_000_000
        headers = [
            block.decode(bytes(each["header"])) for each in system.store["blocks"].find({}, {"header": 1})
        ]
        return sealing_rate(headers, until_ms)
    finally:
        system.stop()


def _fill(system: System, topic: str, values: Sequence[bytes]) -> None:
    producer = kafka.producer(system.stack.kafka_bootstrap_servers)
    for partition in range(PARTITIONS):
        mine = [{"value": value} for value in values[partition::PARTITIONS]]
        for start in range(0, len(mine), _BATCH):
            producer.produce_batch(
                f"{system.topic_prefix}{topic}", mine[start : start + _BATCH], partition=partition
            )
    producer.flush()


def sealing_rate(headers: Sequence[BlockHeader], until_ms: int = 0) -> float:
    """Records a second between the first and the last block, by the times in their headers, or until a later time: start-up does not count."""
    ordered = sorted(headers, key=lambda header: header.time)
    first, last = ordered[0], ordered[-1]
    if last.time == first.time:
        raise SystemExit("everything went into one block: take more events")
    return sum(header.count for header in ordered[1:]) * 1000 / (max(last.time, until_ms) - first.time)


def newest_sizes(checkpoints: Any) -> list[int]:
    """Read the size of each log's newest checkpoint."""
    return [
        each["size"]
        for each in checkpoints.aggregate([{"$group": {"_id": "$log", "size": {"$max": "$size"}}}])
    ]
