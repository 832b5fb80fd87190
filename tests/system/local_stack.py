"""The local stack as `make up` starts it, with TLS and accounts, on ports of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.credentials import TOKEN_FILE
from deploy.processes import free_port
from deploy.service_processes import ROOT
from deploy.stack import Stack
from tests.deadlines import DEADLINE_S

PORTS = (
    "COLLECTOR_PORT",
    "COLLECTOR_GRPC_PORT",
    "COLLECTOR_METRICS_PORT",
    "QUERY_GRPC_PORT",
    "QUERY_HTTP_PORT",
    "QUERY_METRICS_PORT",
    "QUERY_MTLS_PORT",
    "AUDIT_GRPC_PORT",
    "AUDIT_METRICS_PORT",
    "LEDGER_METRICS_PORT",
    "WATCH_METRICS_PORT",
)


@dataclass(frozen=True)
class Local:
    """The local stack, on ports of its own."""

    run_dir: Path
    environment: Mapping[str, str]

    def port(self, name: str) -> str:
        return self.environment[f"GOODSTRACE_{name}"]

    def run(self, *command: str, cwd: Path = ROOT, **more: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, **self.environment, **more}
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )

    def module(self, *command: str) -> str:
        done = self.run(sys.executable, "-m", *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def cli(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return self.run(str(Path(sys.executable).parent / "goodstrace"), *arguments, **more)


@contextmanager
def local_stack(folder: Path) -> Iterator[Local]:
    """Run a local stack in `folder`/run, with Kafka and a store that ask who calls; ended at the end."""
    stores = Stack.on_free_ports(folder / "stores", report=print, secured=True)
    environment = {
        **stores.environment,
        "GOODSTRACE_RUN_DIR": str(folder / "run"),
        "GOODSTRACE_KEY_DIR": str(folder / "run" / "keys"),
        "GOODSTRACE_OPERATOR_TOKEN_FILE": str(folder / "run" / "keys" / TOKEN_FILE),
        "GOODSTRACE_CREDENTIALS": str(folder / "run" / "credentials.json"),
        "GOODSTRACE_SESSIONS": str(folder / "sessions"),
        "GOODSTRACE_TLS": "on",
        "GOODSTRACE_PARTITIONS": "2",
        **{f"GOODSTRACE_{name}": str(free_port()) for name in PORTS},
    }
    made = Local(folder / "run", environment)
    try:
        stores.start()
        made.module("deploy.stack", "up")
        yield made
    finally:
        made.run(sys.executable, "-m", "deploy.stack", "down")
        stores.kill()
