"""What traces cost: `python -m bench.tracing`. CPU time of the services with traces off, of one capture in a hundred, and of all, in turns.

CPU time, since other work shares the machine: events for each second that collector and ledger compute, and what one look-up costs the query
service. Systems on one Kafka and store are asked in turns; each figure is the median over the rounds. With `--before` the services of another
source tree (its protos generated), such as the one before there were traces, take their turn too: what "off" is compared with.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.processes import cpu_s
from deploy.processes import Daemon
from deploy.stack import Stack
from goodstrace.simulate import SimulationOptions, write
from tests.otel_collector import OtelCollector
from tests.system.harness import System, eventually

EVENTS: Final = 3_000
A_DOCUMENT: Final = 30
LOOKS: Final = 60
BEFORE: Final = "before"
OFF: Final = "off"
SHARES: Final = {"1 in 100": "0.01", "all": "1"}
console = Console(stderr=True)
Figures = dict[str, dict[str, list[float]]]


class _Elsewhere(System):
    """A system whose services are those of another source tree."""

    tree = Path()

    def _daemon(self, name: str) -> Daemon:
        return Daemon(
            name=name,
            command=[sys.executable, "-m", f"services.{name}"],
            run_dir=self.run_dir,
            ports=(self.metrics_ports[name],),
            environment=self.environment,
            cwd=self.tree,
        )


def systems(stack: Stack, folder: Path, collector: OtelCollector, before: Path | None) -> dict[str, System]:
    """Start one system of each way."""
    made: dict[str, System] = {}
    if before is not None:
        _Elsewhere.tree = before
        made[BEFORE] = _Elsewhere(stack, folder / BEFORE)
    made[OFF] = System(stack, folder / OFF)
    for way, share in SHARES.items():
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": share,
        }
        made[way] = System(stack, folder / way, environment)
    for system in made.values():
        system.start()
    return made


def a_round(system: System, folder: Path, seed: int) -> dict[str, float]:
    """Capture, wait until all is sealed, look up; gives what it cost."""
    options = SimulationOptions(seed=seed, events=EVENTS, depth=3, events_per_document=A_DOCUMENT)
    found = write(options, folder)
    documents = [path.read_bytes() for path in sorted(folder.glob("*.jsonld"))]
    pids, sealed = system.pids(), system.sealed_count()
    began = {name: cpu_s(pid) for name, pid in pids.items()}
    with system.collector(timeout_s=120) as capture:
        for document in documents:
            capture.send(document)
    eventually(lambda: system.sealed_count() >= sealed + EVENTS, what="all is sealed", deadline_s=240)
    spent_s = sum(cpu_s(pids[name]) - began[name] for name in ("collector", "ledger"))
    before_s = cpu_s(pids["query"])
    with system.client(timeout_s=120) as client:
        for _ in range(LOOKS):
            client.trace(found.item or "", complete=False)
    looked_s = cpu_s(pids["query"]) - before_s
    return {
        "events a CPU second of collector and ledger": EVENTS / spent_s,
        "look-ups a CPU second of query": LOOKS / looked_s,
    }


def measure(before: Path | None, rounds: int) -> Figures:
    """Ask all systems in turns; the first round warms up."""
    figures: Figures = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        stack = Stack.on_free_ports(folder / "stores")
        try:
            stack.start()
            with OtelCollector(folder / "otelcol") as collector:
                ways = systems(stack, folder, collector, before)
                for number in range(rounds + 1):
                    for way, system in ways.items():
                        measured = a_round(system, folder / f"{way}-{number}", number + 1)
                        console.print(
                            f"{way}: {', '.join(f'{each:.1f} {what}' for what, each in measured.items())}"
                        )
                        for what, each in measured.items() if number else ():
                            figures[what][way].append(each)
                for system in ways.values():
                    system.stop()
        finally:
            stack.kill()
    return figures


def show(medians: Mapping[str, Mapping[str, float]]) -> None:
    """Print the table."""
    ways = list(next(iter(medians.values())))
    table = Table("median", *ways, *(f"{way} / {ways[0]}" for way in ways[1:]), title="What traces cost")
    for what, each in medians.items():
        ratios = (f"{each[way] / each[ways[0]]:.3f}" for way in ways[1:])
        table.add_row(what, *(f"{each[way]:.1f}" for way in ways), *ratios)
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another source tree, to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    figures = measure(asked.before, asked.rounds)
    medians = {
        what: {way: statistics.median(each) for way, each in ways.items()} for what, ways in figures.items()
    }
    show(medians)
    print(json.dumps(medians, indent=2))


if __name__ == "__main__":
    main()
