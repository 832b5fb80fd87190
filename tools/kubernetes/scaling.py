"""What is scaled by itself: the ways in and queries by processor, the stages and followers by their lag in Kafka. What seals never is."""

from typing import Final

from services.runtime import topics as t
from tools.kubernetes.acls import rights_of
from tools.kubernetes.kafka import SIZES
from tools.kubernetes.objects import CLUSTER, COMPONENT, KAFKA_PORT, NAMESPACE, Object, made
from tools.kubernetes.processes import BROWSE_PARTITIONS, PARTITIONS, PROCESSES, Process

_AUTHENTICATION: Final = "goodstrace-kafka"
_MOST: Final = 12
LAGS: Final = {
    # A pod is added for each so many records that wait: some ten seconds of a worker's work (docs/capacity.md).
    "stages": (("collector.summarise", t.GOODS_COLLECTED, 20_000),),
    "keeper": (("collector.projector", t.GOODS_STORED, 20_000), ("collector.states", t.GOODS_STORED, 20_000)),
    "watch": (("browse.watch", t.BROWSE_WATCHED, 3_000),),
}
BY_PROCESSOR: Final = ("collector", "query")


def _process(name: str) -> Process:
    return {each.name: each for each in PROCESSES}[name]


def _target(process: Process) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet" if process.stable else "Deployment",
        "name": process.name,
    }


def by_processor(name: str) -> Object:
    """Scale by processor: up at once, down slowly, since each pod that goes ends streams."""
    process = _process(name)
    spec = {
        "scaleTargetRef": _target(process),
        "minReplicas": process.replicas,
        "maxReplicas": _MOST,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ],
        "behavior": {
            "scaleDown": {
                "stabilizationWindowSeconds": 600,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
            }
        },
    }
    return made("autoscaling/v2", "HorizontalPodAutoscaler", name, {"spec": spec}, labels={COMPONENT: name})


def by_lag(name: str) -> Object:
    """Scale by what waits in Kafka, up to the partitions: components/from-settings says how many there are."""
    process = _process(name)
    triggers = [
        {
            "type": "kafka",
            "metadata": {
                "bootstrapServers": f"{CLUSTER}-kafka-bootstrap.{NAMESPACE}.svc.cluster.local:{KAFKA_PORT}",
                "consumerGroup": group,
                "topic": topic,
                "lagThreshold": str(lag),
                "allowIdleConsumers": "false",
            },
            "authenticationRef": {"name": _AUTHENTICATION},
        }
        for group, topic, lag in LAGS[name]
    ]
    partitioned = {PARTITIONS: "goods", BROWSE_PARTITIONS: "browse"}[process.limit]
    spec = {
        "scaleTargetRef": _target(process),
        "minReplicaCount": process.replicas,
        "maxReplicaCount": SIZES[partitioned],
        "cooldownPeriod": 600,
        "pollingInterval": 15,
        "triggers": triggers,
    }
    labels = {COMPONENT: name, "goodstrace.io/limit": partitioned}
    return made("keda.sh/v1alpha1", "ScaledObject", name, {"spec": spec}, labels=labels)


def authentication() -> list[Object]:
    """Let KEDA ask Kafka as a user that may see offsets of these groups, and no record."""
    user = f"goodstrace-{rights_of('scaler').user}"
    plain = {"username": user, "sasl": "scram_sha512", "tls": "enable"}
    references = [
        {"parameter": "username", "name": _AUTHENTICATION, "key": "username"},
        {"parameter": "sasl", "name": _AUTHENTICATION, "key": "sasl"},
        {"parameter": "tls", "name": _AUTHENTICATION, "key": "tls"},
    ]
    told = made("v1", "ConfigMap", _AUTHENTICATION, {"data": plain})
    spec = {
        "configMapTargetRef": references,
        "secretTargetRef": [
            {"parameter": "password", "name": user, "key": "password"},
            {"parameter": "ca", "name": f"{CLUSTER}-cluster-ca-cert", "key": "ca.crt"},
        ],
    }
    return [told, made("keda.sh/v1alpha1", "TriggerAuthentication", _AUTHENTICATION, {"spec": spec})]


def by_file() -> dict[str, tuple[list[Object], str]]:
    """Give the files of both scalers."""
    return {
        "processor": ([by_processor(name) for name in BY_PROCESSOR], "Wants metrics-server."),
        "lag": ([*authentication(), *(by_lag(name) for name in LAGS)], "Wants KEDA."),
    }
