"""`python -m deploy.check_compose`: bring docker-compose.yml up on this machine, witnesses too, use it, and say what passed. Wants Docker; nothing else of ours runs it.

What it starts is a project of its own (`goodstrace-check`) on the ports of docker-compose.yml, and is removed with its data at the end, unless `--keep` is given.
"""

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECT: Final = "goodstrace-check"
UP_S: Final = 900
SERVICES: Final = ("collector", "ledger", "query", "audit", "watch")
WITNESSES: Final = tuple(f"witness-{number}" for number in range(3))
Run = Callable[[Sequence[str], float], "subprocess.CompletedProcess[str]"]


class CheckFailed(Exception):
    """A check did not pass; the message says what came instead."""


def docker(arguments: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[str]":
    """Run `docker compose` with these arguments for this project."""
    return subprocess.run(
        ["docker", "compose", "--project-name", PROJECT, "--profile", "witnesses", *arguments],
        cwd=ROOT,
        env={**os.environ, "GOODSTRACE_WITNESS_POLICY": "/policy/witnesses"},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def _done(run: Run, arguments: Sequence[str], timeout_s: float = 120) -> str:
    try:
        done = run(arguments, timeout_s)
    except FileNotFoundError:
        raise CheckFailed("there is no `docker` here") from None
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"docker compose {arguments[0]}: not within {timeout_s:g} s") from None
    if done.returncode != 0:
        raise CheckFailed(
            f"docker compose {' '.join(arguments)}: {(done.stderr or done.stdout).strip()[-2000:]}"
        )
    return done.stdout


def configured(run: Run) -> str:
    """The file is one that Compose reads without a warning."""
    try:
        told = run(["config", "--quiet"], 60)
    except FileNotFoundError:
        raise CheckFailed("there is no `docker` here") from None
    if told.returncode != 0 or told.stderr.strip():
        raise CheckFailed(told.stderr.strip() or "docker compose config fails")
    return "docker-compose.yml is read without a warning"


def brought_up(run: Run) -> str:
    """Images are built, and every container becomes healthy."""
    _done(run, ["up", "--build", "--detach", "--wait", "--wait-timeout", str(UP_S)], UP_S + 600)
    return "images are built, all containers healthy"


def listed(text: str) -> list[dict[str, str]]:
    """Read what `docker compose ps --format json` prints: an object a line, or one list, as versions have it."""
    text = text.strip()
    found = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return [{str(key): str(value) for key, value in each.items()} for each in found]


def healthy(run: Run) -> str:
    """Each service says by itself that it is ready."""
    states = {
        each["Service"]: each.get("Health", "") for each in listed(_done(run, ["ps", "--format", "json"]))
    }
    wanted = (*SERVICES, *WITNESSES)
    wrong = [f"{name}: {states.get(name, 'not there')}" for name in wanted if states.get(name) != "healthy"]
    if wrong:
        raise CheckFailed(", ".join(wrong))
    return f"{', '.join(wanted)} are ready"


def unprivileged(run: Run) -> str:
    """No process of ours is root, and none can write to its image."""
    for name in (*SERVICES, *WITNESSES):
        user = _done(run, ["exec", "-T", name, "id", "-u"]).strip()
        if user == "0":
            raise CheckFailed(f"{name} runs as root")
        if run(["exec", "-T", name, "touch", "/opt/goodstrace/written"], 60).returncode == 0:
            raise CheckFailed(f"{name} can write to its image")
    return "no service is root or can write to its image"


def served(run: Run) -> str:
    """The logs are served by TLS, by a certificate of the CA that is told."""
    with tempfile.TemporaryDirectory() as folder:
        ca = Path(folder) / "ca.pem"
        _done(run, ["cp", "query:/certificates/ca.pem", str(ca)])
        context = ssl.create_default_context(cafile=ca)
        try:
            with urllib.request.urlopen("https://localhost:8081/logs", timeout=10, context=context) as answer:
                logs = json.load(answer)
        except (OSError, ValueError) as error:
            raise CheckFailed(f"https://localhost:8081/logs: {error}") from error
    return f"https://localhost:8081/logs answers by TLS ({len(json.dumps(logs))} bytes)"


def watched(_: Run) -> str:
    """Prometheus sees every service."""
    url = "http://127.0.0.1:9090/api/v1/query?query=up"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckFailed(f"{url}: {error}") from error
    up = {each["metric"]["job"] for each in found if each["value"][1] == "1"}
    if missing := set(SERVICES) - up:
        raise CheckFailed(f"Prometheus does not see {', '.join(sorted(missing))}")
    return "Prometheus sees every service"


def witnessed(run: Run, within_s: float = 60) -> str:
    """Each witness has cosigned a log: the policy is the one by which the ledger publishes."""
    until = time.monotonic() + within_s
    for name in WITNESSES:
        command = ["exec", "-T", name, "goodstrace", "witness", "--status", "--json"]
        while not json.loads(_done(run, command))["cosigned"]:
            if time.monotonic() > until:
                raise CheckFailed(f"{name} has cosigned nothing within {within_s:g} s")
            time.sleep(1)
    return f"{', '.join(WITNESSES)} have cosigned"


CHECKS: Final[Sequence[Callable[[Run], str]]] = (
    configured,
    brought_up,
    healthy,
    unprivileged,
    served,
    watched,
    witnessed,
)


def check(run: Run, checks: Sequence[Callable[[Run], str]] = CHECKS) -> int:
    """Run the checks in order, and stop at the first that fails, since each needs those before it; gives how many passed."""
    for number, each in enumerate(checks):
        try:
            print(f"passed: {each(run)}")
        except CheckFailed as fault:
            print(f"FAILED: {each.__name__}: {fault}")
            print(f"{number} of {len(checks)} passed; {len(checks) - number - 1} were not tried")
            return number
    print(f"{len(checks)} of {len(checks)} passed")
    return len(checks)


def main() -> None:
    """Check; exit with 1 where something did not pass."""
    try:
        passed = check(docker)
    finally:
        if "--keep" not in sys.argv[1:]:
            try:
                docker(["down", "--volumes"], 120)
            except FileNotFoundError:
                print("nothing to remove: no docker")
    sys.exit(passed < len(CHECKS))


if __name__ == "__main__":
    main()
