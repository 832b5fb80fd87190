"""A process that is told something wrong ends with status 2 within seconds, says what is wrong in its last line, and shows no traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.processes import HOST
from deploy.service_processes import ROOT
from services.runtime.settings import EXIT_BAD_SETTINGS
from tests.deadlines import DEADLINE_S

OURS = ("GOODSTRACE_", "KAFKA_", "MONGODB_", "OTEL_")


def started(service: str, told: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        cwd=ROOT,
        env={**environment, "GOODSTRACE_ACCOUNTS": "off", **told},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


@pytest.mark.parametrize(
    ("service", "told", "named"),
    [
        ("collector", {"GOODSTRACE_COLLECTOR_RULES": "/nowhere/rules.json"}, "/nowhere/rules.json"),
        ("ledger", {"MONGODB_URI": "nonsense://x"}, "MONGODB_URI"),
        ("query", {"GOODSTRACE_INDEX_SECRET_FILE": "/nowhere/secret"}, "/nowhere/secret"),
        ("audit", {"GOODSTRACE_AUDIT_GRPC_PROT": "1"}, "GOODSTRACE_AUDIT_GRPC_PROT"),
        ("audit.watch", {"GOODSTRACE_LOG_LEVEL": "loud"}, "GOODSTRACE_LOG_LEVEL"),
    ],
)
def test_what_is_set_wrong_is_named(service: str, told: dict[str, str], named: str) -> None:
    ended = started(service, told)
    said = ended.stdout + ended.stderr
    assert ended.returncode == EXIT_BAD_SETTINGS, said
    assert "Traceback" not in said
    assert named in said.splitlines()[-1]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "index-secret"
    secret.write_text("00" * 32)
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        told = {"GOODSTRACE_LEDGER_METRICS_PORT": port, "GOODSTRACE_INDEX_SECRET_FILE": str(secret)}
        ended = started("ledger", told)
    said = ended.stdout + ended.stderr
    assert ended.returncode == EXIT_BAD_SETTINGS, said
    assert "Traceback" not in said
    assert f"cannot listen on {HOST}:{port}" in said.splitlines()[-1]
