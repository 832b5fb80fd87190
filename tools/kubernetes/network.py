"""Who may speak to whom: nothing but the arrows of this table, in both directions."""

from collections.abc import Sequence
from typing import Final

from tools.kubernetes.objects import (
    CLUSTER,
    COMPONENT,
    KAFKA_PORT,
    MONGODB,
    MONGODB_PORT,
    NAMESPACE,
    PART_OF,
    Object,
    chosen,
    made,
)
from tools.kubernetes.processes import EVERYTHING, PROCESSES, Process

API: Final = "networking.k8s.io/v1"
CLIENTS: Final = {"goodstrace.io/clients": "true"}
"""Of namespaces from which clients come: the gateway's."""
MONITORING: Final = {"goodstrace.io/monitoring": "true"}
"""Of the namespace in which Prometheus is."""
TRACING: Final = {"goodstrace.io/tracing": "true"}
"""Of the namespace in which the collector of traces is."""
_PROMETHEUS_PORT: Final = 9090
_TRACES_PORT: Final = 4317
_KAFKA_PODS: Final = {"strimzi.io/cluster": CLUSTER, "strimzi.io/kind": "Kafka"}
_MONGODB_PODS: Final = {
    "app.kubernetes.io/instance": MONGODB,
    "app.kubernetes.io/name": "percona-server-mongodb",
}
ASKS: Final = (
    # The web pages ask as who is signed in, and whether each service is ready.
    ("query", "audit", ("grpc",)),
    ("query", "collector", ("http",)),
    *((asker, process.name, ("metrics",)) for asker in ("query", "operator") for process in PROCESSES),
)
"""Who asks whom of ours, at which ports."""


def _pods(labels: dict[str, str]) -> Object:
    return {"podSelector": {"matchLabels": labels}}


def _namespaces(labels: dict[str, str]) -> Object:
    return {"namespaceSelector": {"matchLabels": labels}}


def _at(*ports: int | str, protocol: str = "TCP") -> list[Object]:
    return [{"protocol": protocol, "port": port} for port in ports]


def denied() -> Object:
    """Deny all that is not allowed below, to every pod of the namespace."""
    return made(
        API,
        "NetworkPolicy",
        "nothing-else",
        {"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}},
    )


def _into(process: Process) -> list[Object]:
    rules: list[Object] = [{"from": [_namespaces(MONITORING)], "ports": _at("metrics")}]
    if process.ports:
        rules.append({"from": [_namespaces(CLIENTS)], "ports": _at(*(name for name, _ in process.ports))})
    for asker, asked, ports in ASKS:
        if asked == process.name:
            rules.append({"from": [_pods(chosen(asker))], "ports": _at(*ports)})
    return rules


def _out_of(process: Process) -> list[Object]:
    dns = {
        "to": [_namespaces({"kubernetes.io/metadata.name": "kube-system"})],
        "ports": [*_at(53, protocol="UDP"), *_at(53)],
    }
    rules: list[Object] = [
        dns,
        {"to": [_pods(_KAFKA_PODS)], "ports": _at(KAFKA_PORT)},
        {"to": [_pods(_MONGODB_PODS)], "ports": _at(MONGODB_PORT)},
    ]
    for asker, asked, ports in ASKS:
        if asker == process.name:
            rules.append({"to": [_pods(chosen(asked))], "ports": _at(*ports)})
    if process.name == "query":
        rules.append({"to": [_namespaces(MONITORING)], "ports": _at(_PROMETHEUS_PORT)})
    return rules


def of_process(process: Process) -> Object:
    """Allow what a process takes and asks."""
    spec: Object = {
        "podSelector": {"matchLabels": chosen(process.name)},
        "policyTypes": ["Ingress", "Egress"],
        "egress": _out_of(process),
    }
    if process in PROCESSES:
        spec["ingress"] = _into(process)
    return made(API, "NetworkPolicy", process.name, {"spec": spec}, labels={COMPONENT: process.name})


def neighbours() -> list[Object]:
    """Allow what Kafka and MongoDB do among themselves, with us, and with their operators; who may come to Kafka's listener Strimzi says."""
    return [
        _neighbour("kafka", {"strimzi.io/cluster": CLUSTER}, ()),
        _neighbour(
            "mongodb",
            _MONGODB_PODS,
            ({"from": [_pods({PART_OF: "goodstrace"})], "ports": _at(MONGODB_PORT)},),
        ),
    ]


def _neighbour(name: str, pods: dict[str, str], more: Sequence[Object]) -> Object:
    """Kafka's entity operator and MongoDB's sidecars watch objects: they are let out to the API server, whose address no selector knows."""
    spec: Object = {
        "podSelector": {"matchLabels": pods},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [_pods(pods)]},
            {"from": [_namespaces({"goodstrace.io/operators": "true"})]},
            *more,
        ],
        "egress": [{}],
    }
    return made(API, "NetworkPolicy", name, {"spec": spec})


def to_public(name: str, components: Sequence[str]) -> Object:
    """Let these ask by HTTPS, on the public network alone."""
    inside = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"]
    everywhere = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": inside}},
        {"ipBlock": {"cidr": "::/0", "except": ["fc00::/7", "fe80::/10"]}},
    ]
    chosen_by = {"key": COMPONENT, "operator": "In", "values": list(components)}
    spec = {
        "podSelector": {"matchExpressions": [chosen_by]},
        "policyTypes": ["Egress"],
        "egress": [{"to": everywhere, "ports": _at(443)}],
    }
    return made(API, "NetworkPolicy", name, {"spec": spec})


def to_traces() -> Object:
    """Let all of ours send spans to the collector of traces."""
    spec = {
        "podSelector": {"matchLabels": {PART_OF: "goodstrace"}},
        "policyTypes": ["Egress"],
        "egress": [{"to": [_namespaces(TRACING)], "ports": _at(_TRACES_PORT)}],
    }
    return made(API, "NetworkPolicy", "tracing", {"spec": spec})


def by_file() -> dict[str, tuple[list[Object], str]]:
    """Give the file of the arrows."""
    objects = [denied(), *(of_process(process) for process in EVERYTHING), *neighbours()]
    why = (
        f"Namespaces are told by labels that you set: goodstrace.io/clients (the gateway's), goodstrace.io/monitoring (Prometheus'),\n"
        f"goodstrace.io/operators (Strimzi's and Percona's). All is denied in {NAMESPACE} that is not here."
    )
    return {"network": (objects, why)}
