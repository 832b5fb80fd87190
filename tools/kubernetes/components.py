"""What an installation may add: ways out to the public network or to a collector of traces, with the settings and files that go with each."""

from typing import Any, Final

from tools.kubernetes import network
from tools.kubernetes.objects import NAMESPACE, SETTINGS, Object
from tools.kubernetes.processes import PROCESSES

SEALS: Final = ("ledger", "audit")
POLICY: Final = "goodstrace-witness-policy"
_TOLD_OF_WITNESSES: Final = ("ledger", "audit", "query")
"""The first two ask witnesses; query gives the policy to browsers."""
_POLICY_FILE: Final = "/policy/policy"
_POD: Final = "/spec/template/spec"
_RUN: Final = "/spec/jobTemplate/spec/template/spec"
TRACES: Final = "http://otel-collector.observability.svc.cluster.local:4317"
Files = dict[str, tuple[list[Any], str]]


def _added(path: str, value: Object) -> Object:
    return {"op": "add", "path": path, "value": value}


def _policy(pod: str) -> list[Object]:
    """Give the changes (RFC 6902) by which a pod has the policy of the witnesses."""
    volume = {"name": "policy", "configMap": {"name": POLICY, "defaultMode": 0o440}}
    place = {"name": "policy", "mountPath": "/policy", "readOnly": True}
    return [
        _added(f"{pod}/volumes/-", volume),
        _added(f"{pod}/containers/0/volumeMounts/-", place),
        _added(f"{pod}/containers/0/env/-", {"name": "GOODSTRACE_WITNESS_POLICY", "value": _POLICY_FILE}),
    ]


def _webhooks() -> list[Object]:
    return [_added(f"{_POD}/containers/0/env/-", {"name": "GOODSTRACE_QUERY_WEBHOOKS", "value": "https"})]


def _traces() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": SETTINGS, "namespace": NAMESPACE},
        "data": {"OTEL_EXPORTER_OTLP_ENDPOINT": TRACES},
    }


def files() -> Files:
    """Give the files of these components, objects and patches, with why each is as it is."""
    asked = tuple(process.name for process in PROCESSES if process.ports)
    return {
        "witnesses/network": (
            [network.to_public("witnesses", (*SEALS, "operator"))],
            "To witnesses: of who seals, and of the doctor.",
        ),
        "witnesses/policy": (
            [_policy(_POD)],
            f"The ConfigMap {POLICY} is yours to make, with the tlog-policy under the key `policy`: docs/witnesses.md.",
        ),
        "witnesses/runs": ([_policy(_RUN)], "fsck and the doctor check by it, too."),
        "webhooks/network": ([network.to_public("webhooks", ("query",))], "To receivers of webhooks."),
        "webhooks/query": ([_webhooks()], "To public addresses alone: docs/subscriptions.md."),
        "oidc/network": (
            [network.to_public("oidc", asked)],
            "To the identity provider: each service that is called reads its keys. GOODSTRACE_OIDC_... are yours to set: docs/oidc.md.",
        ),
        "tracing/network": ([network.to_traces()], "To the namespace with the label goodstrace.io/tracing."),
        "tracing/settings": ([_traces()], "Name your collector by a patch: docs/observability.md."),
    }


def _of(names: tuple[str, ...], kind: str) -> Object:
    return {"kind": kind, "labelSelector": f"app.kubernetes.io/component in ({','.join(names)})"}


def by_name() -> dict[str, dict[str, Any]]:
    """Say what each component is of."""
    return {
        "witnesses": {
            "resources": ["network.yaml"],
            "patches": [
                {"path": "policy.yaml", "target": _of(_TOLD_OF_WITNESSES, "StatefulSet|Deployment")},
                {"path": "runs.yaml", "target": _of(("operator",), "CronJob")},
            ],
        },
        "webhooks": {
            "resources": ["network.yaml"],
            "patches": [{"path": "query.yaml", "target": {"kind": "Deployment", "name": "query"}}],
        },
        "oidc": {"resources": ["network.yaml"]},
        "tracing": {"resources": ["network.yaml"], "patches": [{"path": "settings.yaml"}]},
    }
