"""One worker of the watch, on a topic that is full already, beside the rate at which one producer fills such a topic."""

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from bench.processes import cpu_s, rss_mib
from deploy.processes import Daemon, free_port
from deploy.service_processes import ROOT
from deploy.stack import Stack
from services.audit.watch.store import ACTIVITY
from services.runtime import kafka, topics
from tests.watch_scenarios import Look, ending_at, look, records, serial

PARTITIONS = 2
USERS, KEYS = 200, 5_000
_BATCH = 1000


def watch_figures(stack: Stack, folder: Path, looks: int) -> dict[str, Any]:
    """Watch so many looks of 200 users at 5,000 keys, one worker; gives records a second, and what producing them took."""
    name = f"bench-watch-{time.time_ns()}"
    values = watched_values(looks)
    kafka.create_topics(stack.kafka_bootstrap_servers, topics.declared(f"{name}.", PARTITIONS, PARTITIONS, 1))
    produced = produce_rate(stack.kafka_bootstrap_servers, f"{name}.{topics.BROWSE_WATCHED}", values)
    port = free_port()
    worker = Daemon(
        name=name,
        command=[sys.executable, "-m", "services.audit.watch.process"],
        run_dir=folder,
        ports=(port,),
        environment={
            **stack.environment,
            "GOODSTRACE_TOPIC_PREFIX": f"{name}.",
            "GOODSTRACE_DATABASE": name,
            "GOODSTRACE_BROWSE_PARTITIONS": str(PARTITIONS),
            "GOODSTRACE_WATCH_METRICS_PORT": str(port),
            "GOODSTRACE_WATCH_DATA_DIR": str(folder / "watch-data"),
        },
        cwd=ROOT,
    )
    client: MongoClient[dict[str, Any]] = MongoClient(stack.mongodb_uri)
    try:
        worker.start()
        first, began = wait_counted(client[name], 1), time.perf_counter()
        wait_counted(client[name], looks)
        rate = (looks - first) / (time.perf_counter() - began)
        process = worker.process
        assert process is not None
        return {
            "watch_records_per_s": rate,
            "watch_core_us_per_record": cpu_s(process.pid) * 1e6 / looks,
            "watch_rss_mib": rss_mib(process.pid),
            "limit_browse_produce_records_per_s": produced,
            "ratio_watch_to_browse_produce": round(rate / produced, 3),
        }
    finally:
        worker.stop()
        client.close()


def watched_values(looks: int) -> Sequence[bytes]:
    """Make what the watch is told of looks, encoded."""
    return [told.SerializeToString() for told in records(browse_looks(looks))]


def browse_looks(looks: int) -> Sequence[Look]:
    """Make looks of 200 users at 5,000 keys that end now."""
    drawn = random.Random(11)
    made = [
        look(nth * 5, f"user-{drawn.randrange(USERS)}", serial(drawn.randrange(KEYS))) for nth in range(looks)
    ]
    return ending_at(made, time.time_ns() // 1_000_000)


def produce_rate(bootstrap: str, topic: str, values: Sequence[bytes]) -> float:
    """Fill the topic; records a second."""
    producer = kafka.producer(bootstrap)
    began = time.perf_counter()
    for partition in range(PARTITIONS):
        mine = [{"value": value} for value in values[partition::PARTITIONS]]
        for start in range(0, len(mine), _BATCH):
            producer.produce_batch(topic, mine[start : start + _BATCH], partition=partition)
    producer.flush()
    return len(values) / (time.perf_counter() - began)


def wait_counted(database: Any, least: int, deadline_s: float = 600) -> int:
    """Wait until so many looks are in the statistics; gives how many are."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        summed = list(
            database[ACTIVITY].aggregate(
                [{"$match": {"about": "all"}}, {"$group": {"_id": None, "looks": {"$sum": "$looks"}}}]
            )
        )
        if summed and summed[0]["looks"] >= least:
            return int(summed[0]["looks"])
        time.sleep(0.05)
    raise SystemExit(f"the watch did not count {least} records in {deadline_s:g} s")
