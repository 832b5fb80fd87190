"""Witnesses of our own on this machine, to see how it works: `GOODSTRACE_LOCAL_WITNESSES=3 make demo`.

They follow the logs that the query service lists.
"""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from deploy.processes import HOST, Daemon, Report, StackError, port_from
from deploy.service_processes import READY_TIMEOUT_S, ROOT, not_ready
from services.runtime.errors import ServiceError
from services.witness.own import MOST, make_own, policy_text

FIRST_PORT: Final = 8090
FIRST_METRICS_PORT: Final = 9110
_VARIABLE: Final = "GOODSTRACE_LOCAL_WITNESSES"


def wanted(environment: Mapping[str, str]) -> int:
    """Tell how many the environment asks for. Raises: StackError."""
    text = environment.get(_VARIABLE) or "0"
    if not text.isdecimal() or int(text) > MOST:
        raise StackError(f"{_VARIABLE}: {text!r} is no number from 0 to {MOST}")
    return int(text)


def start_witnesses(run_dir: Path, environment: Mapping[str, str], report: Report) -> dict[str, str]:
    """Start those asked for; give what the services are told of them, nothing where there are none.

    Raises: StackError.
    """
    count = wanted(environment)
    if not count:
        return {}
    query_port = port_from(environment, "GOODSTRACE_QUERY_HTTP_PORT", 8081)
    scheme = "https" if environment.get("GOODSTRACE_TLS_CERT_FILE") else "http"
    try:
        vkeys = make_own(run_dir / "witnesses", count)
    except ServiceError as error:
        raise StackError(f"the witnesses could not be made: {error}") from error
    daemons = [
        _daemon(run_dir, number, f"{scheme}://{HOST}:{query_port}/logs", report, environment)
        for number in range(count)
    ]
    for daemon in daemons:
        daemon.start()
    for number, daemon in enumerate(daemons):
        ready = partial(not_ready, f"http://{HOST}:{FIRST_METRICS_PORT + number}/readyz")
        daemon.wait_ready(ready, READY_TIMEOUT_S)
    policy = run_dir / "witnesses.policy"
    policy.write_text(
        policy_text(vkeys, [f"{scheme}://{HOST}:{FIRST_PORT + number}" for number in range(count)])
    )
    report(f"{count} witnesses of our own; clients may demand them with --policy {policy}")
    return {"GOODSTRACE_WITNESS_POLICY": str(policy)}


def stop_witnesses(run_dir: Path, report: Report) -> None:
    """Stop all that run."""
    for number in range(MOST):
        daemon = _daemon(run_dir, number, "", report)
        if daemon.process is not None:
            daemon.stop()


def _daemon(
    run_dir: Path, number: int, logs_url: str, report: Report, environment: Mapping[str, str] | None = None
) -> Daemon:
    ports = (FIRST_PORT + number, FIRST_METRICS_PORT + number)
    options = ["--port", str(ports[0]), "--metrics-port", str(ports[1])]
    follow = ["--logs-url", logs_url, "--lists-every", "1"]
    return Daemon(
        name=f"witness-{number}",
        command=[*_command(_folder(run_dir, number)), *options, *follow],
        run_dir=run_dir,
        ports=ports,
        environment=environment or {},
        cwd=ROOT,
        report=report,
    )


def _command(folder: Path) -> list[str]:
    return [str(Path(sys.executable).parent / "goodstrace"), "witness", "--folder", str(folder)]


def _folder(run_dir: Path, number: int) -> Path:
    return run_dir / "witnesses" / str(number)
