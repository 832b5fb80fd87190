"""Monitoring as code: the committed files are what the code makes, and rules, runbooks, dashboards and metrics fit together."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric

from tests.prometheus import MISSING
from tests.promql import answered, selectors
from tools.made_files import ROOT, stale
from tools.monitoring import metrics_page
from tools.monitoring.__main__ import made
from tools.monitoring.alerts import ALERTS, PAGE, TICKET, Alert, burns
from tools.monitoring.cases import CASES

RUNBOOKS = ROOT / "docs" / "runbooks"
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
OPERATIONS: frozenset[str] = frozenset(("docs/runbooks/audit.md#a-user-asks-to-be-forgotten",))
"""Sections of runbooks that belong to no alert: what is done by plan."""
ALL_ALERTS: tuple[Alert, ...] = (*ALERTS, *burns())
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason=MISSING)


def boards() -> dict[str, dict[str, Any]]:
    return {
        path.name: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))
    }


def expressions() -> list[str]:
    asked = [
        target["expr"]
        for board in boards().values()
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]
    rules = [
        rule["expr"]
        for path in (PROMETHEUS / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    return asked + rules


def test_the_committed_files_are_what_the_code_makes() -> None:
    assert not stale(made), "run `python -m tools.monitoring`"
    kept = {path for folder in ("rules", "tests") for path in (PROMETHEUS / folder).iterdir()}
    kept |= set((GRAFANA / "dashboards").iterdir())
    assert {path.relative_to(ROOT) for path in kept} <= set(made()), "files that nothing makes"


def families() -> list[Metric]:
    return [family for registry in metrics_page.registries() for family in registry.collect()]


def test_every_metric_answers_a_named_question() -> None:
    registry = CollectorRegistry()
    Counter("goodstrace_nobody_knows", "What for.", registry=registry)
    with pytest.raises(KeyError, match="which question"):
        metrics_page.page([registry])
    for _, beginnings in metrics_page.QUESTIONS:
        for beginning in beginnings:
            assert beginning in (ROOT / metrics_page.PAGE).read_text(), f"no metric begins with {beginning}"


def test_rules_and_dashboards_ask_for_metrics_that_there_are() -> None:
    page = (ROOT / metrics_page.PAGE).read_text()
    recorded = {each["record"] for each in _recordings()}
    for expr in expressions():
        for selector in selectors(expr):
            name = re.sub(r"\{.*", "", selector)
            if name.startswith("goodstrace_"):
                bare = re.sub(r"_(bucket|sum|count)$", "", name)
                assert f"`{name}`" in page or f"`{bare}`" in page, f"{name} in {expr}"
            elif name.startswith("goodstrace:"):
                assert name in recorded, f"{name} in {expr}"


def _recordings() -> list[dict[str, Any]]:
    return [
        rule
        for path in (PROMETHEUS / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    ]


def test_labels_are_asked_for_values_that_they_can_have() -> None:
    """A misspelt value would be an alert that never fires."""
    values: dict[tuple[str, str], set[str]] = {}
    for family in families():
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault((sample.name, label), set()).add(value)
    checked = 0
    for expr in expressions():
        for selector in selectors(expr):
            name, _, labels = selector.partition("{")
            for label, operator, wanted in re.findall(r'(\w+)(=~|=|!=|!~)"([^"]*)"', labels):
                known = values.get((name, label))
                if known is None:
                    continue
                pattern = wanted if "~" in operator else re.escape(wanted)
                assert any(re.fullmatch(pattern, each) for each in known), f"{selector}: {sorted(known)}"
                for each in wanted.split("|") if operator == "=~" and "." not in wanted else ():
                    assert each in known, f"{selector}: {each} is none of {sorted(known)}"
                checked += 1
    assert checked > 30


FAULT = re.compile(
    r"_(failures|faults|errors|conflicts|missed|lost|late|wrong|mismatches|suspicions|restarts|un[a-z]+|not_[a-z]+)(_[a-z]+)?_total$"
)
"""How the names of counters end that count what goes wrong."""
TOLD_OTHERWISE = {
    "goodstrace_collector_failures_total": "attempts that are made again: what waits meanwhile is PipelineBehind, ProjectorBehind, CaptureAvailabilityBurn",
    "goodstrace_ledger_faults_total": "the retried ones wait, which is LogStuck; the others end the process, which is ServiceDown",
    "goodstrace_audit_faults_total": "likewise: BrowseRecordsBehind, ServiceDown",
    "goodstrace_ledger_root_faults_total": "likewise: RootBehind, ServiceDown",
    "goodstrace_ledger_index_faults_total": "likewise: IndexBehind, ServiceDown",
    "goodstrace_ledger_root_round_failures_total": "rounds that are made again; where none is made, that is RootBehind",
    "goodstrace_ledger_index_round_failures_total": "rounds that are made again; where none is made, that is IndexBehind",
}
"""Counters of faults that no alert asks for, and which one comes of them."""


def test_what_must_stay_0_and_what_counts_faults_is_in_an_alert() -> None:
    asked = {re.sub(r"\{.*", "", each) for alert in ALL_ALERTS for each in selectors(alert.expr)}
    named = {alert.name for alert in ALL_ALERTS}
    counters = {
        metrics_page.full_name(each): each.documentation for each in families() if each.type == "counter"
    }
    must = {
        name for name, text in counters.items() if re.search(r"(must|should) stay 0", text, re.IGNORECASE)
    }
    faults = {name for name in counters if FAULT.search(name)}
    assert len(must) > 15
    assert must <= asked, must - asked
    assert faults - must <= asked | TOLD_OTHERWISE.keys(), faults - must - asked
    assert TOLD_OTHERWISE.keys() <= faults - asked, "an exception that is none any more"
    for name, why in TOLD_OTHERWISE.items():
        assert set(re.findall(r"[A-Z]\w+", why)) <= named, name


WITHOUT_ALERT = ("changes.md", "recovery.md")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    return {f"docs/runbooks/{page.name}#{heading.lower().replace(' ', '-')}" for heading in headings}


def test_each_alert_has_its_section_in_a_runbook_and_each_section_its_alert() -> None:
    sections = {
        anchor
        for page in RUNBOOKS.glob("*.md")
        if page.name not in ("README.md", *WITHOUT_ALERT)
        for anchor in anchors(page)
    }
    assert {alert.runbook for alert in ALL_ALERTS} == sections - OPERATIONS
    listed = (RUNBOOKS / "README.md").read_text()
    for alert in ALL_ALERTS:
        assert alert.name in listed, "the list of runbooks names it"


def test_each_section_says_what_to_do() -> None:
    for page in RUNBOOKS.glob("*.md"):
        for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
            if page.name in WITHOUT_ALERT:
                for part in ("**When.**", "**What you see.**", "**Steps.**", "**It worked**", "**Back.**"):
                    assert part in section, f"{page.name}: {section.splitlines()[0]}: {part}"
                continue
            for part in ("**Means.**", "**Look first.**", "**Do.**", "**Escalate**"):
                assert part in section, f"{page.name}: {section.splitlines()[0]}: {part}"
            assert "`" in section.partition("**Look first.**")[2], "the very query"


def test_the_queries_of_runbooks_ask_for_metrics_that_there_are() -> None:
    page = (ROOT / metrics_page.PAGE).read_text()
    for runbook in RUNBOOKS.glob("*.md"):
        for name in re.findall(r"\bgoodstrace_[a-z_]+", runbook.read_text()):
            bare = re.sub(r"_(bucket|sum|count)$", "", name)
            assert f"`{name}`" in page or f"`{bare}`" in page, f"{runbook.name}: {name}"


def test_an_alert_says_what_is_wrong_and_how_grave_it_is() -> None:
    for alert in ALL_ALERTS:
        assert alert.severity in (PAGE, TICKET)
        assert alert.summary.endswith(".")
        assert alert.description.endswith(".")
    names = [(alert.name, alert.severity) for alert in ALL_ALERTS]
    assert len(set(names)) == len(names)


def test_each_alert_is_tried_both_ways() -> None:
    assert {(case.alert, case.severity) for case in CASES} == {
        (each.name, each.severity) for each in ALL_ALERTS
    }


@needs_promtool
def test_promtool_accepts_configuration_and_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", str(PROMETHEUS / "prometheus.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


@needs_promtool
def test_each_alert_fires_and_does_not(tell: Callable[[str], None]) -> None:
    files = sorted(map(str, (PROMETHEUS / "tests").glob("*.yml")))
    done = subprocess.run(
        ["promtool", "test", "rules", *files], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tell(f"monitoring: promtool tried {2 * len(CASES)} courses of things on {len(ALL_ALERTS)} alerts")


@needs_promtool
def test_promtool_sees_an_alert_that_does_not_fire(tmp_path: Path) -> None:
    """The tests of rules can fail: one whose alert asks for what never comes does."""
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    rules = tmp_path / "prometheus" / "rules" / "alerts.yml"
    rules.write_text(
        rules.read_text().replace("max(goodstrace_ledger_root_lag_seconds) > 120", "vector(0) > 120")
    )
    tests = tmp_path / "prometheus" / "tests" / "alerts.yml"
    document = yaml.safe_load(tests.read_text())
    document["tests"] = [each for each in document["tests"] if each["name"].startswith("RootBehind")]
    tests.write_text(yaml.safe_dump(document))
    done = subprocess.run(
        ["promtool", "test", "rules", str(tests)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "RootBehind" in done.stdout + done.stderr


def test_dashboards_have_their_own_uid_and_title() -> None:
    found = boards()
    assert len({each["uid"] for each in found.values()}) == len(found) == 7
    assert len({each["title"] for each in found.values()}) == len(found)
    for name, board in found.items():
        assert board["uid"] == f"goodstrace-{name.removesuffix('.json')}"
        assert board["description"].endswith("?"), "the question that it answers"


def test_panels_lie_beside_one_another_on_the_grid() -> None:
    for name, board in boards().items():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert all(x < 24 for x, _ in cells), (name, panel["title"])
            assert not cells & taken, (name, panel["title"])
            taken |= cells
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)


def test_every_panel_asks_the_provisioned_source_and_says_what_it_shows() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    [source] = provisioned["datasources"]
    for name, board in boards().items():
        for panel in board["panels"]:
            if panel["type"] == "row":
                continue
            assert panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], (name, panel["title"])
            assert panel["targets"], (name, panel["title"])
            for asked in (panel, *panel["targets"]):
                assert asked["datasource"] == {"type": source["type"], "uid": source["uid"]}, (
                    name,
                    panel["title"],
                )
            letters = [target["refId"] for target in panel["targets"]]
            assert len(set(letters)) == len(letters)


def test_what_is_provisioned_is_where_compose_mounts_it() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/goodstrace.yml").read_text())["providers"]
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (GRAFANA / "dashboards" / Path(home).name).exists()


def test_prometheus_looks_for_the_containers_where_they_listen() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    targets = yaml.safe_load((PROMETHEUS / "targets.yml").read_text())
    found = {target["labels"]["job"]: target["targets"] for target in targets}
    for job in ("collector", "ledger", "query", "audit"):
        port = compose[job]["environment"]["READY_PORT"]
        assert found[job] == [f"{job}:{port}"]
    assert found["node"] == ["node-exporter:9100"]
    assert "node-exporter" in compose


@pytest.mark.parametrize(
    ("expr", "asked"),
    [
        ('up{job=~"a|b"} == 0', 'up{job=~"a|b"} == bool 0'),
        (
            'sum(rate(goodstrace_a_total{b!="c"}[5m])) > 0.1',
            'sum(rate(goodstrace_a_total{b!="c"}[5m])) > bool 0.1',
        ),
        ("time() - max(up) >= bool 3", "time() - max(up) >= bool 3"),
    ],
)
def test_comparisons_answer_nought_or_one(expr: str, asked: str) -> None:
    assert answered(expr) == asked
