"""`make bench-collector`: how fast capture and the five stages are, beside a bare copy through Kafka in the same run.

stages      `goods.collected` is full; one collector process takes all of it through summarise, record, classify and store.
            Its limit: the same records copied through as many topics by one process that does nothing else.
alone       each stage as the pure function that it is, microseconds of a core an event, without Kafka.
workers     1, 2 and 4 collector processes over four partitions.
whole way   documents by HTTP from several clients, with validation and event hashes, until sealed under a signed checkpoint;
            collector, ledger, query and audit run; beside it the bare copy. With it what each process computed for an event. Then ten
            times as many a second (of those with few keys) onto `goods.ingress` for a while: how long until all of them are sealed,
            and what the collector grew by.

Events are of 1 kB and name 1 or 3 keys; with 100 and 10,000 keys they are as large as that makes them.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from bench.events import EVENTS_A_DOCUMENT, PARTITIONS, Values, bodies_of, collected, events_of
from bench.limits import kafka_copy_rate
from bench.processes import cpu_s, rss_mib
from deploy.processes import Daemon, free_port
from deploy.service_processes import ROOT
from deploy.stack import Stack
from goodstrace.capture import Job
from services.collector.flow import StageName
from services.collector.stages import ORDER, OUTPUTS, Span, State
from services.collector.summarise import Window
from services.runtime import kafka, topics
from tests.system.harness import System

KEYS: Final = (1, 3, 100, 10_000)
FEW_KEYS: Final = 3
COPIED: Final = 20_000
"""So many records at the most are copied beside the whole way, to say what the limit is."""
KEYS_IN_ALL: Final = 1_000_000  # of a run with many keys an event: fewer events then
WORKERS: Final = (1, 2, 4)
CLIENTS: Final = 4
SECRET: Final = bytes(range(32))
DEADLINE_S: Final = 1800
BURST: Final = 10
console = Console(stderr=True)

WITHOUT_KEEPER: Final = {
    "GOODSTRACE_COLLECTOR_PROJECTOR": "false",
    "GOODSTRACE_COLLECTOR_STATES": "false",
}
KEEPER: Final = {
    **dict.fromkeys(WITHOUT_KEEPER, "true"),
    "GOODSTRACE_COLLECTOR_API": "false",
    "GOODSTRACE_COLLECTOR_INGRESS": "false",
    "GOODSTRACE_COLLECTOR_FIRST_STAGE": "",
    "GOODSTRACE_COLLECTOR_LAST_STAGE": "",
}
Figures = dict[str, float]
Measured = Iterator[tuple[str, Figures]]
"""What was measured, as soon as it is: what it is about, and its figures."""


def main() -> int:
    """Measure; the table goes to standard error, the JSON to standard output."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.collector",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=60_000, help="events of a run with few keys (60,000)")
    parser.add_argument("--only", choices=tuple(PARTS), action="append", help="only this")
    parser.add_argument(
        "--keys",
        type=int,
        action="append",
        help="for the stages and the whole way: only events of so many keys",
    )
    parser.add_argument(
        "--keeper-apart",
        action="store_true",
        help="for the whole way: the goods and their states in a process of their own, as on Kubernetes",
    )
    parser.add_argument("--burst-s", type=float, default=5, help="how long the burst lasts, seconds (5)")
    parser.add_argument("--out", type=Path, help="write the JSON here, anew after each part")
    arguments = parser.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="goodstrace-bench-") as folder:
        stack = Stack.on_free_ports(Path(folder) / "stack")
        stack.start()
        try:
            for part in arguments.only or PARTS:
                for name, found in PARTS[part](stack, Path(folder), arguments):
                    show(name, found)
                    figures |= found
                    if arguments.out:
                        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        finally:
            stack.stop()
    print(json.dumps(figures, indent=2))
    return 0


def stages(stack: Stack, folder: Path, asked: argparse.Namespace) -> Measured:
    """Measure the stages for each number of keys an event."""
    for keys in asked.keys or KEYS:
        count = events_of(asked.events, keys, KEYS_IN_ALL, 200)
        told(f"{count:,} events of {keys:,} keys")
        values, collect_us = collected(count, keys)
        found = {"collect_us": collect_us, **alone(values)}
        found |= stage_run(stack, folder / f"stages-{keys}", values, workers=1)
        flat = [value for of_partition in values for value in of_partition]
        limit = kafka_copy_rate(stack.kafka_bootstrap_servers, flat, len(ORDER))
        found["bare_copy_events_per_s"] = limit
        found["ratio_to_bare_copy"] = found["stages_events_per_s"] / limit
        yield f"{keys:,} keys an event", {f"keys_{keys}_{name}": value for name, value in found.items()}


def workers(stack: Stack, folder: Path, asked: argparse.Namespace) -> Measured:
    """Measure several collector processes over the same partitions."""
    values, _ = collected(asked.events, 3)
    for count in WORKERS:
        told(f"{count} workers")
        ran = stage_run(stack, folder / f"workers-{count}", values, workers=count)
        yield f"{count} workers", {f"workers_{count}_{name}": value for name, value in ran.items()}


def whole(stack: Stack, folder: Path, asked: argparse.Namespace) -> Measured:
    """Measure the whole way by HTTP, sustained, with all services on the same cores; then a burst of ten times that."""
    told("the whole way")
    settings = {"GOODSTRACE_PARTITIONS": str(PARTITIONS), "GOODSTRACE_ACCOUNTS": "required"}
    system = System(stack, folder / "whole", settings | (WITHOUT_KEEPER if asked.keeper_apart else {}))
    if asked.keeper_apart:
        system.daemons["keeper"] = collector_process(system, "keeper", KEEPER)
    system.start()
    try:
        first = CLIENTS * EVENTS_A_DOCUMENT
        _sealed(
            system, list(bodies_of(first, FEW_KEYS)), first
        )  # until then everything is done for the first time
        slowest = float("inf")
        for keys in asked.keys or KEYS:
            count = events_of(asked.events, keys, KEYS_IN_ALL // 4, 25)
            told(f"the whole way, {count:,} events of {keys:,} keys")
            found = _sustained(stack, system, count, keys, first)
            first += count
            slowest = min(slowest, found["sealed_events_per_s"]) if keys <= FEW_KEYS else slowest
            yield (
                f"the whole way, {keys:,} keys an event",
                {f"whole_{keys}_{name}": value for name, value in found.items()},
            )
        if slowest < float("inf"):
            told(f"a burst of {BURST} times that for {asked.burst_s} s")
            yield "a burst", _burst(stack, system, first, int(slowest) * BURST, asked.burst_s)
    finally:
        system.stop()


def _sustained(stack: Stack, system: System, count: int, keys: int, first: int) -> Figures:
    bodies = list(bodies_of(count, keys, first))
    costs = {name: cpu_s(pid) for name, pid in processes(stack, system).items()}
    taken, captured_s, sealed_s = _sealed(system, bodies, count)
    spent = {
        f"cpu_us_{name}": (cpu_s(pid) - costs[name]) * 1e6 / count
        for name, pid in processes(stack, system).items()
    }
    values, _ = collected(min(count, COPIED), keys)
    flat = [value for of_partition in values for value in of_partition]
    limit = kafka_copy_rate(stack.kafka_bootstrap_servers, flat, len(ORDER))
    return {
        "captured_events_per_s": count / captured_s,
        "sealed_events_per_s": count / sealed_s,
        "capture_p50_ms": statistics.median(taken) * 1000,
        "ratio_to_bare_copy": count / sealed_s / limit,
        **spent,
    }


def _sealed(system: System, bodies: Sequence[bytes], count: int) -> tuple[list[float], float, float]:
    """Send documents and wait until their events are sealed; gives the time of each capture, and of all captured and sealed, seconds."""
    before, begun = system.sealed_count(), time.perf_counter()
    taken = send_all(system, bodies)
    captured_s = time.perf_counter() - begun
    wait_for(lambda: system.sealed_count() >= before + count, system)
    return taken, captured_s, time.perf_counter() - begun


def _burst(stack: Stack, system: System, first: int, rate: int, seconds: float) -> Figures:
    """Write documents onto `goods.ingress` at a pace, and wait until the last of their events is sealed."""
    count = int(rate * seconds) // EVENTS_A_DOCUMENT * EVENTS_A_DOCUMENT
    collector = system.pids()["collector"]
    memory, before = rss_mib(collector), system.sealed_count()
    topic = f"{system.topic_prefix}{topics.GOODS_INGRESS}"
    writer = kafka.producer(stack.kafka_bootstrap_servers)
    begun = time.perf_counter()
    for number, body in enumerate(bodies_of(count, FEW_KEYS, first)):
        time.sleep(max(0.0, begun + number * EVENTS_A_DOCUMENT / rate - time.perf_counter()))
        writer.produce(topic, body, partition=number % PARTITIONS)
        writer.poll(0)
    if writer.flush(60):
        raise SystemExit("Kafka did not take the burst")
    offered_s = time.perf_counter() - begun
    most = memory
    while (sealed := system.sealed_count() - before) < count:
        most = max(most, rss_mib(collector))
        if time.perf_counter() - begun > DEADLINE_S:
            raise SystemExit(f"{sealed} of {count} events are sealed\n{system.tails()}")
        time.sleep(0.5)
    sealed_s = time.perf_counter() - begun
    return {
        "burst_events": count,
        "burst_offered_events_per_s": count / offered_s,
        "burst_sealed_events": sealed,
        "burst_sealed_events_per_s": count / sealed_s,
        "burst_collector_growth_mib": most - memory,
    }


PARTS: Final[dict[str, Callable[[Stack, Path, argparse.Namespace], Measured]]] = {
    "stages": stages,
    "workers": workers,
    "whole": whole,
}


def alone(values: Values) -> Figures:
    """Run each stage alone over one partition's records; microseconds of a core an event, decoding and encoding with it."""
    figures: Figures = {}
    inputs = values[0]
    for stage in ORDER:
        begun = time.process_time()
        output = Span(stage, stage).run(State(Window(), SECRET), inputs)
        figures[f"{stage}_us"] = (time.process_time() - begun) * 1e6 / len(inputs)
        inputs = output.passed[stage]
    begun = time.process_time()
    Span(ORDER[0], ORDER[-1]).run(State(Window(), SECRET), values[0])
    figures["span_us"] = (time.process_time() - begun) * 1e6 / len(values[0])
    return figures


# -- processes ---------------------------------------------------------------------------------------------------


def stage_run(stack: Stack, run_dir: Path, values: Values, workers: int) -> Figures:
    """Let collector processes take a full topic through the stages.

    The clock runs between the first and the last record of `goods.stored`: start-up does not count.
    """
    settings = {"GOODSTRACE_PARTITIONS": str(PARTITIONS), "GOODSTRACE_COLLECTOR_API": "false"}
    system = System(stack, run_dir, {**settings, "GOODSTRACE_COLLECTOR_PROJECTOR": "false"})
    made = system.run_module("services.runtime.provision")
    if made.returncode != 0:
        raise SystemExit(made.stdout + made.stderr)
    fill(stack, f"{system.topic_prefix}{topics.GOODS_COLLECTED}", values)
    daemons = [collector_process(system, str(number), {}) for number in range(workers)]
    count = sum(map(len, values))
    try:
        for daemon in daemons:
            daemon.start()
        stored = f"{system.topic_prefix}{OUTPUTS[StageName.STORE]}"
        seconds, counted = stored_in(stack, stored, count)
        pids = [daemon.process.pid for daemon in daemons if daemon.process]
        spent_s = sum(map(cpu_s, pids))
    finally:
        for daemon in daemons:
            daemon.stop()
    return {"stages_events_per_s": counted / seconds, "stages_cpu_us": spent_s * 1e6 / count}


def collector_process(system: System, instance: str, settings: dict[str, str]) -> Daemon:
    """Prepare a further collector process, with settings of its own beside the system's."""
    port = free_port()
    return Daemon(
        name=f"collector-{instance}",
        command=[sys.executable, "-m", "services.collector"],
        run_dir=system.run_dir,
        ports=(port,),
        environment={
            **system.environment,
            **settings,
            "GOODSTRACE_COLLECTOR_INSTANCE": instance,
            "GOODSTRACE_COLLECTOR_METRICS_PORT": str(port),
        },
        cwd=ROOT,
    )


def fill(stack: Stack, topic: str, values: Values) -> None:
    """Put records onto a topic."""
    producer = kafka.producer(stack.kafka_bootstrap_servers)
    for partition, of_partition in enumerate(values):
        for start in range(0, len(of_partition), 200):
            batch = [{"value": value} for value in of_partition[start : start + 200]]
            producer.produce_batch(topic, batch, partition=partition)
            producer.flush()


def stored_in(stack: Stack, topic: str, count: int) -> tuple[float, int]:
    """Read a topic until it has so many records: seconds from the first to the last by Kafka's times, and how many came between."""
    consumer: Consumer = kafka.consumer(stack.kafka_bootstrap_servers, f"{topic}.bench")
    consumer.assign([TopicPartition(topic, each, 0) for each in range(PARTITIONS)])
    times: list[int] = []
    until = time.monotonic() + DEADLINE_S
    while len(times) < count:
        if time.monotonic() > until:
            raise SystemExit(f"only {len(times)} of {count} events came through the stages")
        times += [each.timestamp()[1] for each in consumer.consume(10_000, 0.2) if each.error() is None]
    consumer.close()
    first, last = min(times), max(times)
    later = sum(each > first for each in times)
    return max(1, last - first) / 1000, later


def send_all(system: System, bodies: Sequence[bytes]) -> list[float]:
    """Capture documents by several clients at once, none waiting for verdicts; seconds that each answer took."""
    taken: list[float] = []

    def send(mine: Sequence[bytes]) -> None:
        with system.collector() as collector:
            for body in mine:
                begun = time.perf_counter()
                job = collector.send(body)
                if not isinstance(job, Job):
                    raise SystemExit("\n".join(job.lines()))
                taken.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=send, args=(bodies[each::CLIENTS],)) for each in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def processes(stack: Stack, system: System) -> dict[str, int]:
    """List the processes of a running system with its Kafka and store."""
    servers = {"kafka": stack.kafka, "store": stack.store}
    own = {
        name: server.daemon.process.pid
        for name, server in servers.items()
        if server and server.daemon.process
    }
    return {**own, **system.pids()}


def wait_for(condition: Callable[[], bool], system: System) -> None:
    """Wait until something holds. Raises: SystemExit with the services' logs where it does not."""
    until = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"not within {DEADLINE_S} s\n{system.tails()}")
        time.sleep(0.05)


def told(what: str) -> None:
    """Say what goes on."""
    console.print(f"{what} ...", highlight=False)


def show(title: str, figures: Figures) -> None:
    """Print figures as a table."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
