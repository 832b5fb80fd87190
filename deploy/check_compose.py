"""`python -m deploy.check_compose`: bring docker-compose.yml up on this machine, witnesses too, use it, and say what passed. Wants Docker; nothing else of ours runs it.

Used means: a merchant and a first operator are made, events captured, sealed, traced and verified by the commands in the containers, and `goodstrace doctor` is asked.

What it starts is a project of its own (`goodstrace-check`) on the ports of docker-compose.yml, and is removed with its data at the end, unless `--keep` is given.
"""

import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECT: Final = "goodstrace-check"
UP_S: Final = 900
SERVICES: Final = ("collector", "ledger", "query", "audit", "watch")
WITNESSES: Final = tuple(f"witness-{number}" for number in range(3))
DASHBOARDS: Final = ROOT / "deploy" / "grafana" / "dashboards"
POLICY: Final = "/policy/witnesses"
SAMPLES: Final = "/tmp/check"  # noqa: S108 - in a container, on a file system of its own
Run = Callable[[Sequence[str], float], "subprocess.CompletedProcess[str]"]


class CheckFailed(Exception):
    """A check did not pass; the message says what came instead."""


def docker(arguments: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[str]":
    """Run `docker compose` with these arguments for this project."""
    return subprocess.run(
        ["docker", "compose", "--project-name", PROJECT, "--profile", "witnesses", *arguments],
        cwd=ROOT,
        env={**os.environ, "GOODSTRACE_WITNESS_POLICY": POLICY},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def _called(run: Run, arguments: Sequence[str], timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
    try:
        return run(arguments, timeout_s)
    except FileNotFoundError:
        raise CheckFailed("there is no `docker` here") from None
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"docker compose {arguments[0]}: not within {timeout_s:g} s") from None


def _done(run: Run, arguments: Sequence[str], timeout_s: float = 120) -> str:
    done = _called(run, arguments, timeout_s)
    if done.returncode != 0:
        raise CheckFailed(
            f"docker compose {' '.join(arguments)}: {(done.stderr or done.stdout).strip()[-2000:]}"
        )
    return done.stdout


def _inside(service: str, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Name a command in the container of a service, with these variables besides its own."""
    told = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
    return ["exec", "-T", *told, service, *command]


def _asked(run: Run, service: str, *command: str, **environment: str) -> str:
    """Run such a command; gives what it prints."""
    return _done(run, _inside(service, command, environment))


def _told(text: str) -> dict[str, Any]:
    """Read the JSON document that a command of ours prints."""
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        raise CheckFailed(f"no JSON document: {text.strip()[:500]}") from None
    return found


def _fetched(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - always http on 127.0.0.1
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise CheckFailed(f"{url}: {error}") from error


def configured(run: Run) -> str:
    """The file is one that Compose reads without a warning."""
    told = _called(run, ["config", "--quiet"])
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
        if _asked(run, name, "id", "-u").strip() == "0":
            raise CheckFailed(f"{name} runs as root")
        told = _asked(run, name, "sh", "-c", "test -w /opt/goodstrace && echo writable || echo fixed")
        if told.strip() != "fixed":
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
    found = _fetched("http://127.0.0.1:9090/api/v1/query?query=up")
    up = {each["metric"]["job"] for each in found["data"]["result"] if each["value"][1] == "1"}
    if missing := set(SERVICES) - up:
        raise CheckFailed(f"Prometheus does not see {', '.join(sorted(missing))}")
    return "Prometheus sees every service"


def drawn(_: Run) -> str:
    """Grafana is well and has every dashboard."""
    grafana = "http://127.0.0.1:3000"
    if (database := _fetched(f"{grafana}/api/health").get("database")) != "ok":
        raise CheckFailed(f"Grafana says of its database: {database}")
    there = {each["uid"] for each in _fetched(f"{grafana}/api/search?type=dash-db")}
    wanted = {json.loads(path.read_text(encoding="utf-8"))["uid"] for path in DASHBOARDS.glob("*.json")}
    if missing := wanted - there:
        raise CheckFailed(f"Grafana lacks the dashboards {', '.join(sorted(missing))}")
    return f"Grafana has all {len(wanted)} dashboards"


def used(run: Run, within_s: float = 120) -> str:
    """Events go in by a merchant's key and come out traced, proved and cosigned.

    1. Register a merchant, make it a key. 2. Make a first operator. 3. Capture a small supply chain. 4. Trace what was sold in it, as soon as that is
    sealed. 5. Prove one entry of it, and verify that offline by the logs' keys and the quorum of witnesses.
    """
    merchant = _told(
        _asked(run, "collector", "goodstrace", "merchants", "add", "Check", "--everything", "--json")
    )
    number = str(merchant["merchant"])
    key = str(
        _told(_asked(run, "collector", "goodstrace", "merchants", "key", "new", number, "--json"))["apiKey"]
    )
    _asked(run, "query", "goodstrace", "accounts", "bootstrap", f"check-{secrets.token_hex(4)}", "--json")
    simulate = ["goodstrace", "simulate", "--seed", "1", "--events", "60", "--out", SAMPLES, "--json"]
    item = str(_told(_asked(run, "collector", *simulate))["item"])
    _asked(run, "collector", "sh", "-c", f"goodstrace capture {SAMPLES}/*.jsonld", GOODSTRACE_API_KEY=key)
    # In the ledger's container, which has the logs' public keys.
    known = {
        "GOODSTRACE_API_KEY": key,
        "GOODSTRACE_LOG_KEYS": "/keys",
        "GOODSTRACE_MEMORY": f"{SAMPLES}.json",
    }
    events = _traced(run, item, known, within_s)
    log, index = events[0]["proof"]["log"], str(events[0]["proof"]["index"])
    proof = f"{SAMPLES}.tlog-proof"
    _asked(run, "ledger", "goodstrace", "prove", log, index, "--out", proof, **known)
    _asked(run, "ledger", "goodstrace", "verify", proof, "--vkeys", "/keys", "--policy", POLICY)
    return f"60 events captured; {item} traced through {len(events)} sealed events; entry {index} of {log} verified offline"


def _traced(run: Run, item: str, known: Mapping[str, str], within_s: float) -> list[dict[str, Any]]:
    """Trace a key until something sealed names it; gives the events. Raises: CheckFailed after `within_s`, with what came last."""
    command = _inside("ledger", ["goodstrace", "trace", item, "--json"], known)
    until_s = time.monotonic() + within_s
    while True:
        done = run(command, 60)
        if done.returncode == 0 and (found := _told(done.stdout)["events"]):
            return list(found)
        if time.monotonic() > until_s:
            said = done.stderr.strip()[-500:] if done.returncode else "nothing sealed names it"
            raise CheckFailed(f"{item} cannot be traced within {within_s:g} s: {said}")
        time.sleep(1)


def witnessed(run: Run, within_s: float = 60) -> str:
    """Each witness has cosigned a log: the policy is the one by which the ledger publishes."""
    until = time.monotonic() + within_s
    for name in WITNESSES:
        while not _told(_asked(run, name, "goodstrace", "witness", "--status", "--json"))["cosigned"]:
            if time.monotonic() > until:
                raise CheckFailed(f"{name} has cosigned nothing within {within_s:g} s")
            time.sleep(1)
    return f"{', '.join(WITNESSES)} have cosigned"


def examined(run: Run) -> str:
    """`goodstrace doctor` in the container for operators finds nothing that has failed."""
    done = run(["run", "--rm", "-T", "operator", "doctor", "--json"], 180)
    if not done.stdout.strip():
        raise CheckFailed(f"goodstrace doctor says nothing: {done.stderr.strip()[-2000:]}")
    found = [
        f"{each['check']}: {finding['seen']}"
        for each in _told(done.stdout)["checks"]
        for finding in each["findings"]
        if finding["level"] == "failed"
    ]
    if found or done.returncode != 0:
        raise CheckFailed("; ".join(found) or done.stderr.strip()[-2000:])
    return "goodstrace doctor finds nothing that has failed"


CHECKS: Final[Sequence[Callable[[Run], str]]] = (
    configured,
    brought_up,
    healthy,
    unprivileged,
    served,
    watched,
    drawn,
    used,
    witnessed,
    examined,
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
                _done(docker, ["down", "--volumes"], 300)
            except CheckFailed as fault:
                print(
                    f"not removed: {fault}; by hand: docker compose --project-name {PROJECT} down --volumes"
                )
    sys.exit(passed < len(CHECKS))


if __name__ == "__main__":
    main()
