"""A worker of the watch beside the services of a system, as a process of a test's own."""

import sys
from pathlib import Path

from deploy.processes import HOST, Daemon, free_port
from deploy.service_processes import ROOT, not_ready
from tests.deadlines import DEADLINE_S
from tests.system.harness import System

WATCH = "watch"


def watch_of(system: System, folder: Path) -> Daemon:
    """Describe one that shows its metrics on a free port and keeps its tables in `folder`."""
    port = free_port()
    return Daemon(
        name=WATCH,
        command=[sys.executable, "-m", "services.audit.watch"],
        run_dir=system.run_dir,
        ports=(port,),
        environment={
            **system.environment,
            "GOODSTRACE_WATCH_METRICS_PORT": str(port),
            "GOODSTRACE_WATCH_DATA_DIR": str(folder),
        },
        cwd=ROOT,
    )


def start(watch: Daemon) -> None:
    """Start it; it has joined, and counts, when this returns."""
    watch.start()
    watch.wait_ready(lambda: not_ready(f"http://{HOST}:{watch.ports[0]}/readyz"), DEADLINE_S)
