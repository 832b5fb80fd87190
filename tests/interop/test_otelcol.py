"""The files by which traces are taken and shown, as far as they can be tried here: the collector checks its own, the others fit together."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.service_processes import ROOT
from tests.deadlines import DEADLINE_S
from tests.go_programs import OTELCOL
from tests.otel_collector import needs_collector
from tools.monitoring.dashboards import BOARDS
from tools.monitoring.panels import EXEMPLARS

SOURCES = ROOT / "deploy" / "grafana" / "provisioning" / "datasources"
CONFIG = ROOT / "deploy" / "otel" / "collector.yml"


def validated(config: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(OTELCOL.build()), "validate", "--config", str(config)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


@needs_collector
def test_the_collector_accepts_its_configuration() -> None:
    done = validated(CONFIG)
    assert done.returncode == 0, done.stderr


@needs_collector
def test_the_collector_would_refuse_a_wrong_one(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(CONFIG.read_text().replace("check_interval: 1s", "check_interval: 0s"))
    assert validated(wrong).returncode != 0


def test_services_collector_jaeger_and_grafana_find_one_another() -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    collector = yaml.safe_load(CONFIG.read_text())
    assert collector["exporters"]["otlp"]["endpoint"] == "${env:OTELCOL_TRACES:-jaeger:4317}"
    assert {"otel-collector", "jaeger"} <= set(compose)
    (traces,) = yaml.safe_load((SOURCES / "traces.yml").read_text())["datasources"]
    assert (traces["type"], traces["url"]) == ("jaeger", "http://jaeger:16686")
    (metrics,) = yaml.safe_load((SOURCES / "prometheus.yml").read_text())["datasources"]
    (leads,) = metrics["jsonData"]["exemplarTraceIdDestinations"]
    assert (leads["name"], leads["datasourceUid"]) == ("trace_id", traces["uid"])
    assert "--enable-feature=exemplar-storage" in compose["prometheus"]["command"]


@pytest.mark.parametrize(
    "metric", [each for each in EXEMPLARS if "audit_call" not in each and "audit_seal" not in each]
)
def test_panels_of_latencies_show_exemplars(metric: str) -> None:
    asked = [
        target
        for board in BOARDS
        for panel in json.loads(board.to_json())["panels"]
        for target in panel.get("targets", ())
        if f"({metric}_bucket" in target["expr"]
    ]
    assert asked
    assert all(target["exemplar"] for target in asked)
