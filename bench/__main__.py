"""`make bench`: the figures of the whole system, on a Kafka and a store of its own, as a table and as JSON.

Every rate stands beside a limit measured in the same run, since machines are shared and noisy: what counts is the ratio.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bson
import grpc
from rich.console import Console
from rich.table import Table

from bench.audit import audit_figures
from bench.limits import kafka_copy_rate, store_insert_rate
from bench.sealing import LEDGER, full_topic_rate
from deploy.stack import Stack
from goodstrace.capture import Job
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from goodstrace.simulate import Simulation, SimulationOptions
from services.runtime import envelope
from tests.system.harness import System

GOODS_HOPS = 4
LOG_COLLECTIONS = ("blocks", "packs", "pages", "runs", "tiles", "checkpoints", "heads", "logs")
console = Console(stderr=True)


def main() -> int:
    """Run all benches; the table goes to standard error, the JSON to standard output and, with --out, to a file."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="events of the throughput runs (20,000)")
    parser.add_argument("--traces", type=int, default=300, help="traces of the look-up runs (300)")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="goodstrace-bench-") as folder:
        stack = Stack.on_free_ports(Path(folder) / "stack")
        stack.start()
        try:
            figures = measure(stack, Path(folder), arguments.events, arguments.traces)
        finally:
            stack.stop()
    show(figures)
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    return 0


def measure(stack: Stack, folder: Path, events: int, traces: int) -> dict[str, Any]:
    """Measure everything on a running stack; gives figures by name."""
    options = SimulationOptions(seed=11, events=events, events_per_document=100)
    simulation = Simulation(options)
    documents = [document.to_bytes() for document in simulation.documents()]
    item = simulation.interesting().item
    if item is None:
        raise SystemExit(f"{events} events are too few for a chain: take at least 200")
    figures: dict[str, Any] = {"events": events, "traces": traces}
    system = System(stack, folder / "whole", {"GOODSTRACE_ACCOUNTS": "required"}).start()
    try:
        console.print("capture to sealed ...")
        figures["captured_to_sealed_events_per_s"] = whole_rate(system, documents, events)
        figures["bytes_captured_per_event"] = sum(map(len, documents)) / events
        figures["bytes_stored_per_event"] = (
            sum(document_bytes(system, name) for name in LOG_COLLECTIONS) / events
        )
        figures["bytes_on_disk_per_event_with_journal"] = disk_bytes(stack) / events
        console.print("capture to traceable ...")
        figures["capture_to_traceable_ms"] = percentiles(traceable_latencies(system, count=100))
        console.print("traces ...")
        figures |= trace_figures(system, item, traces)
        records = [record for _, record in system.topic_records("goods.stored")]
    except BaseException:
        console.print(system.tails(), markup=False)
        raise
    finally:
        system.stop()
    values = [envelope.encode(record) for record in records]
    console.print("ledger alone ...")
    figures["ledger_events_per_s"] = full_topic_rate(stack, folder / "ledger", LEDGER, values)
    figures |= audit_figures(stack, folder, events)
    console.print("the limits beside them ...")
    figures["limit_kafka_copy_events_per_s"] = kafka_copy_rate(
        stack.kafka_bootstrap_servers, values, GOODS_HOPS
    )
    figures["limit_store_insert_events_per_s"] = store_insert_rate(
        stack.mongodb_uri, list(joined(values)), len(values)
    )
    figures["ratio_whole_to_kafka_copy"] = ratio(
        figures, "captured_to_sealed_events_per_s", "limit_kafka_copy_events_per_s"
    )
    figures["ratio_ledger_to_store_insert"] = ratio(
        figures, "ledger_events_per_s", "limit_store_insert_events_per_s"
    )
    return figures


def whole_rate(system: System, documents: Sequence[bytes], events: int) -> float:
    """Capture documents by two clients at once; events a second from the first request until all are sealed."""
    before = system.sealed_count()
    begun = time.perf_counter()
    threads = [threading.Thread(target=send, args=(system, documents[half::2])) for half in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    system.wait_sealed(before + events, deadline_s=600)
    return events / (time.perf_counter() - begun)


def send(system: System, documents: Sequence[bytes]) -> None:
    """Capture documents without waiting for their verdicts."""
    with system.collector() as collector:
        for document in documents:
            taken = collector.send(document)
            if not isinstance(taken, Job):
                raise SystemExit("\n".join(taken.lines()))


def traceable_latencies(system: System, count: int) -> list[float]:
    """Capture single new events and ask for each until it is answered with its proof; seconds each."""
    channel = grpc.insecure_channel(system.query_target)
    query = trace_pb2_grpc.TraceServiceStub(channel)
    taken = []
    with system.collector() as collector:
        for number in range(count):
            event_id = f"urn:bench:{system.database_name}:{number}"
            begun = time.perf_counter()
            job = collector.send(single_event(event_id))
            if not isinstance(job, Job):
                raise SystemExit("\n".join(job.lines()))
            asked = trace_pb2.GetEventRequest(event_id=event_id, purpose="bench")
            while not query.GetEvent(asked, timeout=30, metadata=system.shown).events:
                pass
            taken.append(time.perf_counter() - begun)
    channel.close()
    return taken


def single_event(event_id: str) -> bytes:
    """Make a bare event of its own."""
    return json.dumps(
        {
            "@context": ["https://ref.gs1.org/standards/epcis/epcis-context.jsonld"],
            "type": "ObjectEvent",
            "eventID": event_id,
            "eventTime": "2026-01-01T00:00:00.000Z",
            "eventTimeZoneOffset": "+00:00",
            "epcList": [f"{event_id}:item"],
            "action": "OBSERVE",
            "bizStep": "inspecting",
        }
    ).encode()


def trace_figures(system: System, item: str, traces: int) -> dict[str, Any]:
    """Trace one sold item again and again: verified by the client, and bare over one and over eight connections."""
    with system.client() as client:
        answer = client.trace(item, complete=False)
        verified = timed(lambda: client.trace(item, complete=False), traces // 3)
    bare = timed(bare_trace(system, item), traces)
    together = concurrent_rate(system, item, traces, connections=8)
    return {
        "trace_answer": {"events": len(answer.events), "nodes": len(answer.nodes)},
        "traces_per_s": len(bare) / sum(bare),
        "trace_ms": percentiles(bare),
        "traces_verified_by_client_per_s": len(verified) / sum(verified),
        "trace_verified_by_client_ms": percentiles(verified),
        "traces_per_s_8_connections": together,
    }


def bare_trace(system: System, item: str) -> Callable[[], object]:
    """Prepare a trace over one connection that is not verified."""
    query = trace_pb2_grpc.TraceServiceStub(grpc.insecure_channel(system.query_target))
    request = trace_pb2.TraceRequest(key=item, purpose="bench")
    return lambda: query.Trace(request, timeout=30, metadata=system.shown)


def concurrent_rate(system: System, item: str, traces: int, connections: int) -> float:
    """Trace over several connections at once; traces a second."""
    calls = [bare_trace(system, item) for _ in range(connections)]
    threads = [threading.Thread(target=timed, args=(call, traces // connections)) for call in calls]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return traces // connections * connections / (time.perf_counter() - begun)


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Do something several times; seconds each."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return taken


def document_bytes(system: System, collection: str) -> int:
    """Count the bytes of a collection's documents, as BSON."""
    return sum(len(bson.encode(each)) for each in system.store[collection].find())


def disk_bytes(stack: Stack) -> int:
    """Count the bytes of the store's data folder, its indexes, journal and oplog with them; 0 where it is not ours."""
    if stack.store is None:
        return 0
    return sum(
        file.stat().st_size
        for file in stack.run_dir.rglob("*")
        if file.is_file() and "kafka" not in file.parts
    )


def joined(values: Sequence[bytes], size: int = 1000) -> Sequence[bytes]:
    """Join values into runs of `size`, each under 4 MiB for events of usual size."""
    return [b"".join(values[start : start + size]) for start in range(0, len(values), size)]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Give the median and the 99th percentile in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(cuts[49] * 1000, 2), "p99": round(cuts[98] * 1000, 2)}


def ratio(figures: dict[str, Any], figure: str, limit: str) -> float:
    """Divide a figure by its limit."""
    return round(float(figures[figure]) / float(figures[limit]), 3)


def show(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table(title="goodstrace bench", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        if isinstance(value, dict):
            for part, number in value.items():
                table.add_row(f"{name} {part}", f"{number:,}")
        else:
            table.add_row(name, f"{value:,.3f}" if name.startswith("ratio") else f"{value:,.0f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
