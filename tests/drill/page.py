"""What the drill says: a table as it goes, and docs/drill.md."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.drill.alerts import Told
from tests.drill.pictures import BOARDS
from tests.drill.scaling import SCALE

HEAD = (
    "| killed | alert | pending after | fires after | ready again after | cleared after | calls that failed | seen beside |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass
class Row:
    """What became of one part's death."""

    part: str
    told: list[Told]
    back_s: float
    failed: str
    others: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether each alert came, fired and cleared."""
        return all(each.is_well for each in self.told)


def line(row: Row) -> str:
    """Write the lines of the table for one part."""
    lines = []
    for number, each in enumerate(row.told):
        times = (
            _s(each.pending_s),
            _s(each.firing_s),
            f"{row.back_s:.1f} s" if not number else "",
            _s(each.cleared_s),
        )
        beside = (row.failed, ", ".join(row.others)) if not number else ("", "")
        lines.append(
            f"| {' | '.join((row.part if not number else '', str(each.expected), *times, *beside))} |"
        )
    return "\n".join(lines)


def page(rows: Sequence[Row], kept: str, *, minutes: float) -> str:
    """Write docs/drill.md."""
    well = sum(row.is_well for row in rows)
    lines = "\n".join(line(row) for row in rows)
    return f"""# The drill

`make drill` starts a system of its own on free ports (Kafka, store, collector, ledger, query, audit, watch, a witness, and Debian's Prometheus with the project's rules), captures and looks up
without a pause, and kills each part in turn with SIGKILL. The alert that its [runbook](runbooks/README.md) is about must go pending, fire, and clear after the part is back; else the
exit status is 1. `.venv/bin/python -m tests.drill --only Kafka` kills one part. This page is what the last whole drill wrote.

The rules are those of `deploy/prometheus/rules`, on a clock that runs {SCALE} times faster: each window, each `for:` and each age is {SCALE} times shorter (`tests/drill/scaling.py`), and Prometheus
scrapes and evaluates every second instead of every 15. Ratios, rates and numbers of records are as they are. So the columns say in which order alerts come and that they do, not how soon they
would with the real rules: there an alert pends for the `for:` of its rule, 2 to 10 minutes. Times count from the kill; "cleared after" from when the part was ready again.

{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {_prometheus()}, {minutes:.0f} minutes. {well} of {len(rows)} parts: each alert came and cleared.

{HEAD}
{lines}

{kept}

{_pictures()}

"Seen beside" are other alerts that were pending or firing meanwhile: on this clock some look at less than they would. Captures and look-ups that failed did so after what the clients try
again by themselves ([operations](operations.md#restarts)): one process of each kind runs here, and a killed one drains nothing.
"""


def _pictures() -> str:
    boards = sorted(path.stem for path in BOARDS.glob("*.json"))
    links = ", ".join(f"[{name}](pictures/dashboards/{name}.svg)" for name in boards)
    return (
        f"The dashboards over the time of this drill: {links}. They are drawn from the committed JSON with this Prometheus' answers to its queries (`tests/drill/pictures.py`). Grafana itself was not at hand\n"
        "and is run by no test: how it lays a legend, formats a unit, follows a link or shows an exemplar is not to be seen here."
    )


def _s(seconds: float | None) -> str:
    return "**never**" if seconds is None else f"{seconds:.1f} s"


def _prometheus() -> str:
    program = shutil.which("prometheus") or "prometheus"
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return "Prometheus " + told.split()[2].rstrip(",")
