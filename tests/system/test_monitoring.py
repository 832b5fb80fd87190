"""Every query of every dashboard and every rule, asked of a real Prometheus that watches the real services under load."""

import itertools
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from typing import Any

import httpx
import pytest

from deploy.processes import HOST
from deploy.service_processes import ROOT
from deploy.stack import Stack
from goodstrace.simulate import Simulation, SimulationOptions
from tests.deadlines import DEADLINE_S
from tests.own_witness import Witness
from tests.prometheus import MISSING, NodeExporter, Prometheus
from tests.promql import answered, selectors
from tests.system.harness import SERVICES, System, eventually
from tests.system.simulated import seal_simulation
from tests.watch_worker import WATCH, start, watch_of
from tools.monitoring.alerts import ALERTS, burns
from tools.monitoring.dashboards import BOARDS
from tools.monitoring.rules import GAP, OBJECTIVES, RECORDS, RUNGS, ladder

EVENTS = 120

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("prometheus-node-exporter") is None, reason=MISSING
)


def load(system: System, item: str, until: threading.Event) -> None:
    """Go on with a little of everything."""
    documents = [
        each.to_bytes()
        for each in Simulation(SimulationOptions(seed=9, events=4000, events_per_document=20)).documents()
    ]
    with system.client() as client, system.collector() as collector, httpx.Client() as web:
        for document in itertools.cycle(documents):
            if until.is_set():
                return
            collector.send(document)
            client.trace(item, complete=False)
            client.browses(user="merchant:1")
            web.get(f"{system.log_url}/logs")
            until.wait(0.5)


@pytest.fixture(scope="module")
def watched(
    stack: Stack, systems: Callable[..., System], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Prometheus, that has seen a system with a witness under load for a while, and goes on."""
    witness = Witness(tmp_path_factory.mktemp("witness"))
    policy = witness.policy(tmp_path_factory.mktemp("policy") / "policy")
    system = systems(
        stack,
        GOODSTRACE_ACCOUNTS="required",
        GOODSTRACE_WITNESS_POLICY=str(policy),
        GOODSTRACE_WITNESS_INTERVAL_MS="100",
    )
    with ExitStack() as ends:
        system.start(sealing=False)
        ends.callback(witness.follow(f"{system.log_url}/logs").kill)
        eventually(lambda: system.sealed_count() > 0, what="the merchant's registration is sealed")
        exporter = ends.enter_context(NodeExporter(tmp_path_factory.mktemp("node")))
        watch = watch_of(system, tmp_path_factory.mktemp("watch"))
        ends.callback(watch.kill)
        start(watch)
        ports = {**system.metrics_ports, WATCH: watch.ports[0], "witness": witness.metrics_port}
        targets = {name: f"{HOST}:{port}" for name, port in ports.items()}
        prometheus = ends.enter_context(
            Prometheus(tmp_path_factory.mktemp("prometheus"), {**targets, "node": f"{HOST}:{exporter.port}"})
        )
        item = seal_simulation(system, seed=5, events=EVENTS, events_per_document=20)
        until = threading.Event()
        thread = threading.Thread(target=load, args=(system, item, until), daemon=True)
        ends.callback(thread.join)
        ends.callback(until.set)
        thread.start()
        eventually(
            lambda: prometheus.query("rate(goodstrace_audit_calls_total[15s]) > 0"),
            what="the last of the load is seen",
        )
        # Rules are evaluated one after the other: whatever they need was scraped before.
        seen_s = time.time()
        eventually(
            lambda: prometheus.query(f"min(timestamp({RECORDS})) > {seen_s + 2}"), what="rules were evaluated"
        )
        yield prometheus


def dashboard_queries() -> list[tuple[str, str, str]]:
    """All queries of the committed dashboards: dashboard, panel, expression."""
    found = []
    for path in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            found += [(path.stem, panel["title"], each["expr"]) for each in panel.get("targets", ())]
    return found


# What is there only while something is wrong, or while something happens that no test makes happen.
MAY_BE_EMPTY = ("ALERTS", "> 0")
# What has no series here, and why: promtool alone tries the alerts that ask for it.
NOT_HERE = {
    "goodstrace_tls_": "only where TLS is on; tests/integration/test_tls_ports.py looks at it",
    "kubelet_volume_": "only on Kubernetes, from the kubelets",
}

# Whether the machine's own disk is full, and how fast the machine is just now, is not for us to judge.
THE_MACHINES = {"DiskFilling", "LookupLatencyBurn", "CaptureToTraceableBurn"}


@cache
def is_there(prometheus: Prometheus, selector: str) -> bool:
    """Whether a series was seen; a busy machine may miss a scrape, and then it is away for a second."""
    return bool(prometheus.query(f"present_over_time({selector}[5m])"))


def queried(prometheus: Prometheus, expr: str) -> list[Any]:
    """The first answer that is not empty, of some seconds."""
    with suppress(AssertionError):
        return eventually(lambda: prometheus.query(expr), deadline_s=DEADLINE_S, every_s=1)
    return []


def empty(prometheus: Prometheus, expr: str) -> str | None:
    """Say why an expression has no answer: it has none, or a series that it names is not there. None where it has."""
    for selector in selectors(expr):
        if not selector.startswith("ALERTS") and not is_there(prometheus, selector):
            return f"there is no series {selector}"
    if any(each in expr for each in MAY_BE_EMPTY):
        return None  # all that it names is there
    return None if queried(prometheus, expr) else "the answer is empty"


def test_every_query_of_every_dashboard_has_an_answer(
    watched: Prometheus, tell: Callable[[str], None]
) -> None:
    queries = dashboard_queries()
    assert len({board for board, _, _ in queries}) == len(BOARDS) == 7
    wrong = [
        f"{board}, {panel}: {why}: {expr}"
        for board, panel, expr in queries
        if (why := empty(watched, expr.replace("$__rate_interval", "20s")))
    ]
    assert not wrong, "\n".join(wrong)
    tell(f"monitoring: {len(queries)} queries of {len(BOARDS)} dashboards were answered by a real Prometheus")


def test_every_rule_has_an_answer(watched: Prometheus, tell: Callable[[str], None]) -> None:
    recordings = [*ladder(), *(rule for each in OBJECTIVES for rule in each.recordings())]
    alerts = [*ALERTS, *burns()]
    wrong = [f"{each.record}: {why}" for each in recordings if (why := empty(watched, each.expr))]
    elsewhere = {each.name: why for each in alerts for name, why in NOT_HERE.items() if name in each.expr}
    assert elsewhere.keys() == {"CertificateEnds", "VolumeFilling"}
    here = [each for each in alerts if each.name not in elsewhere]
    for alert in here:
        asked = answered(alert.expr)
        why = empty(watched, asked) or (None if queried(watched, asked) else "the answer is empty")
        wrong += [f"{alert.name}: {why}: {asked}"] if why else []
    assert not wrong, "\n".join(wrong)
    tell(
        f"monitoring: {len(recordings)} recording rules and {len(here)} alerts were evaluated by a real Prometheus"
    )
    for name, why in elsewhere.items():
        tell(f"monitoring: {name} was NOT asked, its series are not here ({why})")


def test_prometheus_itself_finds_no_fault_with_any_rule(watched: Prometheus) -> None:
    rules = [rule for group in watched.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}, [rule for rule in rules if rule["health"] != "ok"]
    assert len(rules) == len(ladder()) + sum(len(each.recordings()) for each in OBJECTIVES) + len(
        ALERTS
    ) + len(burns())


def test_no_alert_fires_under_a_small_load(watched: Prometheus) -> None:
    def active() -> set[str]:
        return {alert["labels"]["alertname"] for alert in watched.ask("alerts")["alerts"]} - THE_MACHINES

    # A busy machine may miss a scrape, and then one pends for a moment.
    eventually(lambda: not active(), deadline_s=DEADLINE_S, every_s=1, what=f"none pends: {active()}")


def test_the_rungs_of_the_ladder_descend(watched: Prometheus) -> None:
    def sizes() -> list[float]:
        found = {each["metric"]["rung"]: float(each["value"][1]) for each in watched.query(RECORDS)}
        return [found[rung] for rung in RUNGS]

    taken = sizes()
    assert taken == sorted(taken, reverse=True)
    assert taken[-1] >= EVENTS
    assert {each["metric"]["rung"] for each in watched.query(GAP)} == set(RUNGS[1:])


def test_each_service_and_the_machine_are_watched(watched: Prometheus) -> None:
    def up() -> dict[str, str]:
        return {each["metric"]["job"]: each["value"][1] for each in watched.query("up")}

    all_up = dict.fromkeys((*SERVICES, WATCH, "witness", "node", "prometheus"), "1")
    eventually(
        lambda: up() == all_up, deadline_s=DEADLINE_S, every_s=1, what="a scrape of each succeeds at once"
    )
