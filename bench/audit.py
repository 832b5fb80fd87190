"""`make bench-audit`: whether what records and watches looks keeps up with what answers them, in one run.

The query service answers as many traces as it can, of keys with one event each, while the audit service seals and indexes the records of these looks and a worker of the watch counts
them: how many they have not come to when the load ends, and how long until they have. Then the recorder alone seals a topic that is full of such records and keeps its index of
them, and one worker of the watch counts a topic that is full of what it is told: what they could do, beside what they have to.

`ratio_recorder_to_looks_answered` says whether the recorder keeps up: records that it seals and indexes a second alone, to look-ups answered a second at full load, of one
run. Above 1 it does. `ratio_watch_to_looks_answered` is the same of one worker of the watch.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
from confluent_kafka import TopicPartition
from pymongo import MongoClient
from rich.console import Console

from bench import query_load
from bench.ledger import PARTITIONS, own_stack
from bench.processes import children, cpu_s
from bench.query import fill
from bench.sealing import RECORDER, Beside, full_topic_rate
from bench.watch import browse_looks, wait_counted, watch_figures, watched_values
from deploy.stack import Stack
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from services.audit.browse_index import COLLECTION
from services.runtime import envelope, kafka, topics
from services.sealing.browse import Browse, browse_record
from tests.browse_campaign import watch_of
from tests.opened_browses import MemoryPeople
from tests.system.harness import System

EVENTS: Final = 1_000
CLIENTS: Final = 16
SECONDS: Final = 10.0
_WARM_S: Final = 2.0
_SERVICES: Final = ("audit", "watch", "query")
_DEADLINE_S: Final = 300.0
_SALT: Final = bytes(32)
console = Console(stderr=True)

Figures = dict[str, Any]


def main() -> int:
    """Measure on a Kafka and a store of its own; the JSON goes to standard output."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument(
        "--looks", type=int, default=20_000, help="records of recorder and watch alone (20,000)"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="how long the query service is asked (10)"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="goodstrace-bench-") as folder:
        stack = own_stack(Path(folder) / "stack")
        stack.start()
        try:
            figures = audit_figures(stack, Path(folder), given.looks, given.seconds)
        finally:
            stack.stop()
    print(json.dumps(figures, indent=2))
    return 0


def audit_figures(stack: Stack, folder: Path, looks: int, seconds: float = SECONDS) -> Figures:
    """Measure all three; gives figures by name."""
    console.print("looks answered and sealed at once ...")
    figures = full_load(stack, folder / "looks", seconds)
    console.print("the recorder alone ...")
    figures["recorder_records_per_s"] = full_topic_rate(
        stack,
        folder / "recorder",
        RECORDER,
        browse_values(looks),
        Beside(topics.BROWSE_WATCHED, watched_values(looks), partial(_is_indexed, looks)),
    )
    console.print("the watch alone ...")
    figures |= watch_figures(stack, folder / "watch", looks)
    for name in ("recorder", "watch"):
        share = figures[f"{name}_records_per_s"] / figures["looks_answered_per_s"]
        figures[f"ratio_{name}_to_looks_answered"] = round(share, 2)
    return figures


def full_load(stack: Stack, folder: Path, seconds: float) -> Figures:
    """Ask over 16 connections at once for so long, and see how far behind recorder and watch are then."""
    system = System(stack, folder, {"GOODSTRACE_PARTITIONS": str(PARTITIONS)})
    try:
        fill(system, EVENTS)
        system.daemons["watch"] = watch_of(system)
        system.metrics_ports["watch"] = system.daemons["watch"].ports[0]
        for name in _SERVICES:
            system.daemons[name].start()
        for name in _SERVICES:
            system.wait_ready(name)
        warm, _ = asked(system, _WARM_S)
        wait_sealed(system)
        wait_counted(system.store, warm)
        before = {name: _cpu_s(system, name) for name in _SERVICES}
        answered, took_s = asked(system, seconds)
        behind, ended = recorded(system) - sealed(system), time.perf_counter()
        not_counted = warm + answered - wait_counted(system.store, 1)
        wait_sealed(system)
        behind_s = time.perf_counter() - ended
        wait_counted(system.store, warm + answered)
        counted_s = time.perf_counter() - ended
        return {
            "looks_answered_per_s": answered / took_s,
            "looks_not_sealed_at_the_end": behind,
            "looks_all_sealed_after_s": round(behind_s, 2),
            "looks_not_counted_at_the_end": not_counted,
            "looks_all_counted_after_s": round(counted_s, 2),
            "query_core_us_per_look": (_cpu_s(system, "query") - before["query"]) * 1e6 / answered,
            "recorder_core_us_per_look": (_cpu_s(system, "audit") - before["audit"]) * 1e6 / answered,
            "watch_core_us_per_look": (_cpu_s(system, "watch") - before["watch"]) * 1e6 / answered,
        }
    except BaseException:
        console.print(system.tails(), markup=False)
        raise
    finally:
        system.stop()


def asked(system: System, seconds: float) -> tuple[int, float]:
    """Trace one key after the other over each connection; gives how many were answered, and in which time. A call that fails ends the bench."""
    counts, until = [0] * CLIENTS, time.perf_counter() + seconds
    faults: list[BaseException] = []

    def ask(client: int) -> None:
        items = query_load.items_among(EVENTS)
        try:
            with grpc.insecure_channel(system.query_target) as channel:
                query = trace_pb2_grpc.TraceServiceStub(channel)
                while time.perf_counter() < until:
                    key = query_load.item((counts[client] * CLIENTS + client) % items)
                    query.Trace(
                        trace_pb2.TraceRequest(key=key),
                        timeout=30,
                        metadata=(("goodstrace-user", f"user-{client}"),),
                    )
                    counts[client] += 1
        except grpc.RpcError as error:
            faults.append(error)

    threads = [threading.Thread(target=partial(ask, client)) for client in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise SystemExit(f"calls failed: {faults[0]}")
    return sum(counts), time.perf_counter() - began


def recorded(system: System) -> int:
    """Count the records on `goods.browsed`: looks, and marks of what became of their answers."""
    topic = f"{system.topic_prefix}{topics.GOODS_BROWSED}"
    consumer = kafka.consumer(system.stack.kafka_bootstrap_servers, f"{topic}.bench")
    try:
        partitions = consumer.list_topics(topic).topics[topic].partitions
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, each), cached=False)[1]
            for each in partitions
        )
    finally:
        consumer.close()


def sealed(system: System) -> int:
    """Count the entries under the newest checkpoints of the browse logs."""
    found = system.store["checkpoints"].find({"log": {"$regex": "^browse/"}}, {"log": 1, "size": 1})
    sizes: dict[str, int] = {}
    for each in found:
        sizes[each["log"]] = max(each["size"], sizes.get(each["log"], 0))
    return sum(sizes.values())


def wait_sealed(system: System) -> None:
    """Wait until all that is recorded is sealed."""
    until = time.monotonic() + _DEADLINE_S
    while time.monotonic() < until:
        if sealed(system) >= recorded(system):
            return
        time.sleep(0.02)
    raise SystemExit(f"the recorder did not seal all in {_DEADLINE_S:g} s")


def browse_values(looks: int) -> Sequence[bytes]:
    """Make browse records as they are recorded, encrypted, of the users and keys that the watch is told of."""
    people, made = MemoryPeople(), []
    for number, each in enumerate(browse_looks(looks)):
        browse = each.browse
        assert isinstance(browse, Browse)
        record = browse_record(
            browse,
            secret=bytes(32),
            user_key=people.key(browse.user),
            record_id=number.to_bytes(16),
            time_ms=each.time_ms,
            salts=(_SALT, _SALT, _SALT, _SALT),
        )
        made.append(envelope.encode(record))
    return made


def _cpu_s(system: System, name: str) -> float:
    process = system.daemons[name].process
    assert process is not None
    return cpu_s(process.pid) + sum(map(cpu_s, children(process.pid)))


def _is_indexed(looks: int, system: System) -> bool:
    with MongoClient[dict[str, Any]](system.stack.mongodb_uri) as client:
        return client[f"{system.database_name}_vault"][COLLECTION].count_documents({}) >= looks


if __name__ == "__main__":
    sys.exit(main())
