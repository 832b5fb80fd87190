"""`make bench-query`: how fast traces are proved, recorded and answered, asked by ghz, beside immudb's verified reads.

At each number of sealed events a system of its own (ledger, query, audit, Kafka, store) answers `Trace`, each look recorded before it is
answered, for a key with one event and for a lot whose answer has 20 events over 5 levels, each request for another one of its kind.
ghz asks over 1 and 16 connections, one request after the other on each; then at half the rate that was answered so, each request when its
time has come, whatever became of those before it. The ghz that asks, and whatever else the machine does, share its cores with what is measured.

Beside it stands the limit of its parts (`bench.bare_look`): a server of the same gRPC library that makes one find and waits for one acknowledgement of Kafka, and
does nothing else.

immudb has as many values, about as large, its access log on, and is asked by VerifiedGet with as many clients: its clients verify
each answer, which ghz does not; what our client's verification costs is in `make bench`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from rich.console import Console
from rich.table import Table

from bench import query_load
from bench.bare_look import ORDERS, bare_server
from bench.ledger import PARTITIONS, appended, own_stack
from bench.ledger_peers import IMMUDB, IMMUDB_SERVER, immudb_server
from bench.query_load import ONE, TWENTY
from deploy.stack import Stack
from goodstrace.query.v1 import trace_pb2, trace_pb2_grpc
from services.runtime import kafka
from tests.go_programs import ROOT, GoError, GoProgram
from tests.system.harness import System

GHZ: Final = GoProgram("ghz", "bench/peers/ghz", "github.com/bojand/ghz/cmd/ghz")
CALL: Final = "goodstrace.query.v1.TraceService.Trace"
PROTO: Final = "goodstrace/query/v1/trace.proto"
BATCH: Final = 1000
OUT: Final = ROOT / "run" / "bench-query.json"
console = Console(stderr=True)

Figures = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is measured: `kinds` of keys, numbers of `connections`, `seconds` for each, after `warming` seconds over as many connections; beside `peers`, and the limit of the parts (`bare`)."""

    kinds: Sequence[str]
    connections: Sequence[int]
    seconds: int
    warming: int
    peers: bool
    bare: bool


def main() -> int:
    """Measure; what comes out is printed as it comes, the JSON goes to standard output and to a file."""
    plan, sizes, out = arguments()
    try:
        GHZ.build()
        if plan.peers:
            IMMUDB.build()
            IMMUDB_SERVER.build()
    except GoError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 2
    figures: list[Figures] = []
    for size in sizes:
        figures += measure(size, plan)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    show(figures)
    print(json.dumps(figures, indent=2))
    return 0


def arguments() -> tuple[Plan, Sequence[int], Path]:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.query",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--events",
        type=int,
        nargs="+",
        default=[10_000, 100_000],
        help=f"numbers of sealed events, multiples of {query_load.LEAST_EVENTS} (10000 100000); 1000000 takes half an hour",
    )
    parser.add_argument("--only", action="append", choices=(ONE, TWENTY), help="only keys of this kind")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16], help="(1 16)")
    parser.add_argument("--seconds", type=int, default=10, help="how long each is asked (10)")
    parser.add_argument(
        "--warming",
        type=int,
        help="how long each is asked before, so that the service has in memory what it keeps there: of a million events some 300 (a fifth of --seconds)",
    )
    parser.add_argument("--no-immudb", action="store_true", help="leave immudb out")
    parser.add_argument("--no-bare", action="store_true", help="leave out what the parts alone can do")
    parser.add_argument(
        "--out", type=Path, default=OUT, help=f"where the JSON goes ({OUT.relative_to(ROOT)})"
    )
    given = parser.parse_args()
    if any(each <= 0 or each % query_load.LEAST_EVENTS for each in given.events):
        parser.error(f"--events: multiples of {query_load.LEAST_EVENTS}")
    warming = max(1, given.seconds // 5 if given.warming is None else given.warming)
    plan = Plan(
        given.only or (ONE, TWENTY),
        given.connections,
        given.seconds,
        warming,
        peers=not given.no_immudb,
        bare=not given.no_bare,
    )
    return plan, given.events, given.out


def measure(events: int, plan: Plan) -> list[Figures]:
    """Measure a system with so many events, and immudb with as many values."""
    with tempfile.TemporaryDirectory(prefix="goodstrace-bench-") as folder:
        stack = own_stack(Path(folder) / "stack")
        stack.start()
        try:
            figures, value_bytes, answer = ours(stack, Path(folder), events, plan)
            if plan.bare:
                figures += bare(stack, Path(folder), events, answer, plan)
        finally:
            stack.stop()
        if plan.peers:
            state = Path(folder) / "immudb"
            state.mkdir()
            figures += immudb(state, events, value_bytes, plan)
    return figures


def ours(stack: Stack, folder: Path, events: int, plan: Plan) -> tuple[list[Figures], int, bytes]:
    """Fill a system, and ask it; gives also how many bytes a record has, and an answer of one event."""
    system = System(stack, folder / "system", {"GOODSTRACE_PARTITIONS": str(PARTITIONS)})
    told(f"{events:,} events: making and sealing them ...")
    try:
        value_bytes = fill(system, events)
        for name in ("audit", "query"):
            system.daemons[name].start()
            system.wait_ready(name)
        figures = [
            figure(events, "goodstrace", *each)
            for kind in plan.kinds
            for each in answered(system, events, kind, plan)
        ]
        answer = answer_of(system, query_load.item(7))
    except BaseException:
        console.print(system.tails(), markup=False)
        raise
    finally:
        system.stop()
    return figures, value_bytes, answer


def answer_of(system: System, key: str) -> bytes:
    """Give the bytes of an answer."""
    with grpc.insecure_channel(system.query_target) as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        return bytes(stub.Trace(trace_pb2.TraceRequest(key=key, purpose="bench")).SerializeToString())


def bare(stack: Stack, folder: Path, events: int, answer: bytes, plan: Plan) -> list[Figures]:
    """Ask servers that do nothing but wait for the store and Kafka."""
    asked, figures = query_load.requests(ONE, events, 0), list[Figures]()
    for order in ORDERS:
        with bare_server(stack, folder, answer, order) as target:
            for connections in plan.connections:
                ask(target, asked, connections, plan.warming)
                figures.append(
                    figure(
                        events,
                        "the parts alone",
                        order,
                        connections,
                        ask(target, asked, connections, plan.seconds),
                    )
                )
    return figures


def answered(system: System, events: int, kind: str, plan: Plan) -> Iterator[tuple[str, int, Figures]]:
    """Ask for keys of one kind over each number of connections."""
    if kind == ONE:
        check(system, query_load.item(7), 1, 1)
    else:
        check(system, query_load.lot(0), query_load.EVENTS_A_CHAIN, query_load.LEVELS)
    for connections in plan.connections:
        warming, asked = (query_load.requests(kind, events, seed) for seed in (0, connections))
        target = system.query_target
        ask(target, warming, connections, plan.warming)
        full = ask(target, asked, connections, plan.seconds)
        half = ask(target, asked, connections, plan.seconds, per_s=max(1, int(full["per_s"] / 2)))
        yield kind, connections, {**full, **{f"half_{name}": half[name] for name in ("p50_ms", "p99_ms")}}


def fill(system: System, events: int) -> int:
    """Put records on `goods.stored` and let the ledger seal them; gives how many bytes a record has on the average."""
    system.key_dir.mkdir(parents=True, mode=0o700)
    secret = system.key_dir / "index-secret"
    secret.touch(mode=0o600)
    secret.write_text(query_load.SECRET.hex())
    made = system.run_module("services.runtime.provision")
    if made.returncode != 0:
        raise SystemExit(made.stdout + made.stderr)
    producer = kafka.producer(system.stack.kafka_bootstrap_servers)
    topic, total, batch = f"{system.topic_prefix}goods.stored", 0, list[bytes]()
    for number, value in enumerate(query_load.records(events)):
        total += len(value)
        batch.append(value)
        if len(batch) == BATCH or number == events - 1:
            for partition in range(PARTITIONS):
                values = [{"value": each} for each in batch[partition::PARTITIONS]]
                producer.produce_batch(topic, values, partition=partition)
            producer.flush()
            batch.clear()
    appended(system, events)
    return total // events


def check(system: System, key: str, events: int, levels: int) -> None:
    """See with the verifying client that an answer is what is to be measured."""
    with system.client() as client:
        trace = client.trace(key)
    found = len(trace.events), len({node.level for node in trace.nodes})
    if found != (events, levels) or not trace.tree_verified:
        raise SystemExit(
            f"{key}: {found[0]} events over {found[1]} levels, where {events} over {levels} should be"
        )


def ask(
    target: str, requests: Sequence[Mapping[str, str]], connections: int, seconds: int, *, per_s: int = 0
) -> Figures:
    """Let ghz ask `target` for some time; gives its report. Any call that fails ends the bench.

    per_s: how many requests a second, not waiting for answers; 0: as many as are answered, one after the other on each connection.
    """
    pace = ("--rps", str(per_s), "--async") if per_s else ()
    with tempfile.TemporaryDirectory(prefix="goodstrace-bench-") as folder:
        data, report = Path(folder) / "data.json", Path(folder) / "report.json"
        data.write_text(json.dumps(requests), encoding="utf-8")
        command = [
            *(
                str(GHZ.build()),
                "--insecure",
                "-i",
                str(ROOT / "proto"),
                "--proto",
                str(ROOT / "proto" / PROTO),
            ),
            *("--call", CALL, "-D", str(data), "-m", '{"goodstrace-user":"ghz"}'),
            *("-c", str(connections), "--connections", str(connections)),
            *pace,
            *("-z", f"{seconds}s", "--duration-stop", "wait", "-t", "30s"),
            *("-O", "json", "-o", str(report), target),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + 2 * seconds)
        if done.returncode != 0:
            raise SystemExit(f"ghz failed:\n{done.stdout}{done.stderr}")
        told_by_ghz: Figures = json.loads(report.read_text(encoding="utf-8"))
    if set(told_by_ghz["statusCodeDistribution"]) != {"OK"}:
        raise SystemExit(
            f"calls failed: {told_by_ghz['statusCodeDistribution']} {told_by_ghz.get('errorDistribution')}"
        )
    latencies = {each["percentage"]: each["latency"] / 1e6 for each in told_by_ghz["latencyDistribution"]}
    return {
        "per_s": told_by_ghz["rps"],
        "p50_ms": latencies[50],
        "p99_ms": latencies[99],
        "count": told_by_ghz["count"],
    }


def immudb(folder: Path, events: int, value_bytes: int, plan: Plan) -> list[Figures]:
    """Fill immudb's server, and ask it."""
    told(f"{events:,} values in immudb ...")
    with immudb_server(folder, "--log-access") as port:
        clients = ",".join(map(str, plan.connections))
        command = [
            *(str(IMMUDB.build()), f"-dir={folder / 'driver'}", f"-port={port}", f"-entries={events}"),
            *(
                f"-size={value_bytes}",
                "-singles=0",
                "-reads=0",
                f"-clients={clients}",
                f"-seconds={plan.seconds}",
            ),
        ]
        (folder / "driver").mkdir()
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode != 0:
        raise SystemExit(f"immudb's driver failed:\n{done.stdout}{done.stderr}")
    reads: list[Figures] = json.loads(done.stdout)["reads_by_clients"]
    return [figure(events, "immudb", "VerifiedGet", each.pop("clients"), each) for each in reads]


def figure(events: int, system: str, kind: str, connections: int, measured: Figures) -> Figures:
    """Put a figure together, and print it."""
    load = round(os.getloadavg()[0], 1)
    whole = {
        "events": events,
        "system": system,
        "kind": kind,
        "connections": connections,
        **measured,
        "load": load,
    }
    told(
        f"  {system} {kind}, {connections} connections: {measured['per_s']:,.0f}/s, "
        f"p50 {measured['p50_ms']:.1f} ms, p99 {measured['p99_ms']:.1f} ms{at_half(measured, ', at half of it {}, {} ms')} (load {load})"
    )
    return whole


def show(figures: Sequence[Figures]) -> None:
    """Print all as a table."""
    table = Table(title="proved and recorded look-ups", title_justify="left")
    columns = (
        "events",
        "system",
        "kind",
        "connections",
        "a second",
        "p50 ms",
        "p99 ms",
        "at half of it: p50, p99 ms",
    )
    for column in columns:
        table.add_column(column, justify="left" if column in ("system", "kind") else "right")
    for each in figures:
        latencies = (f"{each['p50_ms']:.1f}", f"{each['p99_ms']:.1f}")
        names = (f"{each['events']:,}", each["system"], each["kind"], str(each["connections"]))
        table.add_row(*names, f"{each['per_s']:,.0f}", *latencies, at_half(each, "{}, {}"))
    console.print(table)


def at_half(measured: Figures, form: str) -> str:
    """Write the latencies at half the load, where they were measured."""
    found = [measured[name] for name in ("half_p50_ms", "half_p99_ms") if name in measured]
    return form.format(*(f"{each:.1f}" for each in found)) if found else ""


def told(what: str) -> None:
    """Say how it goes."""
    console.print(what, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
