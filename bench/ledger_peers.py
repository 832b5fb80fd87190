"""`make bench-ledger`: our ledger beside Tessera and immudb, in one run on one machine.

Each appends the same number of entries of the same size until they are durable, then reads random ones with proofs,
each checked, one after the other: Tessera by index and immudb by key, since it knows no other way; so ours is read both
ways (`verified_reads_per_s`, `verified_reads_by_key_per_s`), and a ratio is of the same way. They take turns, each on new data, `--repeats` times; what is shown is the median, and ours divided by theirs.

goodstrace     Kafka topic -> durable blocks with indexed keys, checkpoints signed (bench/ledger.py)
tessera        POSIX log, in process, a published checkpoint covers every entry; nothing is indexed
tessera-dedup  the same with its persistent antispam, which indexes each entry's hash
immudb         the server as a process of its own, batches of 256, each synced; also one entry a request

bench/peers/ has their drivers; the modules are those that its go.sum files name.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.ledger import measure
from deploy.processes import HOST, Daemon, free_port, is_listening
from tests.go_programs import GoError, GoProgram

TESSERA = GoProgram("tessera-bench", "bench/peers/tessera")
IMMUDB = GoProgram("immudb-bench", "bench/peers/immudb")
IMMUDB_SERVER = GoProgram("immudb", "bench/peers/immudb", "github.com/codenotary/immudb/cmd/immudb")
OURS = "goodstrace"
RUN_TIMEOUT_S = 900
READY_TIMEOUT_S = 60.0
console = Console(stderr=True)

Figures = dict[str, float]


@dataclass(frozen=True)
class Load:
    """What each is given to do."""

    entries: int
    entry_bytes: int
    reads: int

    def flags(self) -> list[str]:
        """The same as flags of the drivers."""
        return [f"-entries={self.entries}", f"-size={self.entry_bytes}", f"-reads={self.reads}"]


def goodstrace(load: Load, _: Path) -> Figures:
    """Measure our ledger on a stack of its own."""
    return measure(load.entries, load.entry_bytes)


def tessera(load: Load, folder: Path) -> Figures:
    """Measure Tessera bare."""
    return drive(TESSERA, load, folder)


def tessera_dedup(load: Load, folder: Path) -> Figures:
    """Measure Tessera with its persistent antispam."""
    return drive(TESSERA, load, folder, "-dedup")


def immudb(load: Load, folder: Path) -> Figures:
    """Start immudb's server and measure it."""
    with immudb_server(folder) as port:
        return drive(IMMUDB, load, folder, f"-port={port}", f"-singles={max(1, load.entries // 10)}")


@contextmanager
def immudb_server(folder: Path, *flags: str) -> Iterator[int]:
    """Run immudb's server with its data in `folder` and these flags more; gives its port."""
    port = free_port()
    off = [f"--{part}=false" for part in ("metrics-server", "web-server", "pgsql-server")]
    server = Daemon(
        name="immudb",
        command=[
            str(IMMUDB_SERVER.build()),
            *("--dir", str(folder / "data"), "--logdir", str(folder), "--address", HOST, "--port", str(port)),
            *off,
            *flags,
        ],
        run_dir=folder,
        ports=(port,),
        cwd=folder,
    )
    try:
        server.start()
        server.wait_ready(lambda: "" if is_listening(port) else "it does not listen yet", READY_TIMEOUT_S)
        yield port
    finally:
        server.stop()


Subjects = Mapping[str, Callable[[Load, Path], Figures]]
SUBJECTS: Subjects = {
    OURS: goodstrace,
    "tessera": tessera,
    "tessera-dedup": tessera_dedup,
    "immudb": immudb,
}


def drive(program: GoProgram, load: Load, folder: Path, *more: str) -> Figures:
    """Run a driver; it prints its figures as JSON. Raises SystemExit with what it said when it fails."""
    state = folder / "driver"
    state.mkdir()
    command = [str(program.build()), f"-dir={state}", *load.flags(), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S)
    if done.returncode != 0:
        raise SystemExit(f"{program.name} failed:\n{done.stdout}{done.stderr}")
    figures: Figures = json.loads(done.stdout)
    return figures


def run(load: Load, subjects: Subjects, repeats: int) -> dict[str, list[Figures]]:
    """Let them take turns; every other round goes the other way round. Gives the figures of each run by name.

    Among them `load_before`, the machine's load average of the last minute: what else it had to do.
    """
    runs: dict[str, list[Figures]] = {name: [] for name in subjects}
    for repeat in range(repeats):
        for name in subjects if repeat % 2 == 0 else reversed(list(subjects)):
            load_before = os.getloadavg()[0]
            console.print(f"{repeat + 1}/{repeats} {name} ...", highlight=False, soft_wrap=True)
            with tempfile.TemporaryDirectory(prefix="ledger-peers-") as folder:
                figures = subjects[name](load, Path(folder)) | {"load_before": load_before}
            console.print(
                "    " + ", ".join(f"{each} {shown(value)}" for each, value in figures.items()),
                highlight=False,
                soft_wrap=True,
            )
            runs[name].append(figures)
    return runs


def medians(runs: Mapping[str, list[Figures]]) -> dict[str, Figures]:
    """Give each figure's median over the runs."""
    return {
        name: {each: statistics.median(figures[each] for figures in done) for each in done[0]}
        for name, done in runs.items()
    }


def ratios(figures: Mapping[str, Figures]) -> dict[str, Figures]:
    """Divide our figures by each peer's figure of the same name."""
    ours = figures.get(OURS, {})
    return {
        name: {
            each: round(ours[each] / value, 3)
            for each, value in theirs.items()
            if each in ours and rate(each)
        }
        for name, theirs in figures.items()
        if name != OURS and ours
    }


def rate(figure: str) -> bool:
    """Tell whether a figure is one of which more is better."""
    return figure.endswith("_per_s")


def shown(value: float) -> str:
    """Write a figure for people."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def show(load: Load, figures: Mapping[str, Figures], against: Mapping[str, Figures]) -> None:
    """Print the medians and ratios as a table."""
    table = Table(
        title=f"{load.entries:,} entries of {load.entry_bytes} bytes, {load.reads:,} verified reads: medians",
        title_justify="left",
    )
    for column in ("ledger", "figure", "value", "ours / theirs"):
        table.add_column(column, justify="left" if column in ("ledger", "figure") else "right")
    for name, values in figures.items():
        for each, value in values.items():
            compared = against.get(name, {}).get(each)
            table.add_row(
                name,
                each,
                shown(value),
                "" if compared is None else f"{compared:.2f}",
            )
    console.print(table)


def main() -> int:
    """Run all; the table goes to standard error, the JSON to standard output and, with --out, to a file."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.ledger_peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--entries",
        type=positive,
        default=200_000,
        help="entries that each appends (200,000); under 100,000 our first blocks, which do not count, are most of it",
    )
    parser.add_argument("--entry-bytes", type=positive, default=500, help="bytes of an entry (500)")
    parser.add_argument("--reads", type=positive, default=2000, help="verified reads of the peers (2,000)")
    parser.add_argument("--repeats", type=positive, default=3, help="how often each runs (3)")
    parser.add_argument("--only", action="append", choices=SUBJECTS, help="run this one; may be given again")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    arguments = parser.parse_args()
    load = Load(arguments.entries, arguments.entry_bytes, arguments.reads)
    names = arguments.only or list(SUBJECTS)
    try:
        if set(names) != {OURS}:
            console.print("building the peers (some minutes the first time) ...")
            for program in (TESSERA, IMMUDB, IMMUDB_SERVER):
                program.build()
        runs = run(load, {name: SUBJECTS[name] for name in names}, arguments.repeats)
    except GoError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 2
    figures = medians(runs)
    against = ratios(figures)
    show(load, figures, against)
    text = json.dumps(
        {
            "entries": load.entries,
            "entry_bytes": load.entry_bytes,
            "reads": load.reads,
            "repeats": arguments.repeats,
            "medians": figures,
            "ours_divided_by_theirs": against,
            "runs": runs,
        },
        indent=2,
    )
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    return 0


def positive(text: str) -> int:
    """Read a number of at least 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
