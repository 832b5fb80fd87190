"""What Prometheus and Grafana need: which pods to ask, the rules of deploy/prometheus, the dashboards of deploy/grafana."""

from typing import Any, Final

import yaml

from tools.kubernetes.objects import COMPONENT, JOB, PART_OF, Object, made
from tools.kubernetes.processes import PROCESSES, Process
from tools.monitoring import prometheus_files

API: Final = "monitoring.coreos.com/v1"
EVERY: Final = "15s"


def pod_monitor(process: Process) -> Object:
    """Have the pods of a process asked; `job` is the service that it is part of, as rules and dashboards have it."""
    spec = {
        "jobLabel": JOB,
        "selector": {"matchLabels": {PART_OF: "goodstrace", COMPONENT: process.name}},
        "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": EVERY}],
    }
    return made(API, "PodMonitor", process.name, {"spec": spec}, labels={COMPONENT: process.name})


def rules() -> Object:
    """Give the rules that `tools.monitoring` makes, all in one object."""
    groups: list[dict[str, Any]] = []
    for path, text in sorted(prometheus_files.files().items()):
        if path.parent.name == "rules":
            groups += yaml.safe_load(text)["groups"]
    return made(API, "PrometheusRule", "goodstrace", {"spec": {"groups": groups}})


def by_file() -> dict[str, tuple[list[Object], str]]:
    """Give the files of monitoring; dashboards are put into ConfigMaps by Kustomize from where they lie."""
    return {
        "pods": ([pod_monitor(process) for process in PROCESSES], "Wants the Prometheus operator."),
        "rules": ([rules()], "The rules of deploy/prometheus/rules, by `tools.monitoring`."),
    }
