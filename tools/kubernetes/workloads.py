"""Pods and what stands around them: StatefulSets, Deployments, services, disruption budgets, accounts, and the job that provisions."""

from collections.abc import Iterable
from typing import Any, Final

from tools.kubernetes.kafka import SIZES
from tools.kubernetes.objects import (
    CLUSTER,
    COMPONENT,
    IMAGE,
    JOB,
    KAFKA_PORT,
    MONGODB,
    MONGODB_NODES,
    MONGODB_PORT,
    NAMESPACE,
    PART_OF,
    REPLICA_SET,
    SETTINGS,
    TAG,
    USER,
    Object,
    chosen,
    made,
)
from tools.kubernetes.processes import (
    BROWSE_PARTITIONS,
    DATABASE,
    OPERATOR,
    PARTITIONS,
    PROCESSES,
    PROVISION,
    RUNS,
    VAULT_DATABASE,
    Mount,
    Process,
    Run,
)

_READABLE: Final = 0o440
"""By the pod's group alone: keys that others may read are refused."""
_STOP_S: Final = 75
"""Longer than a service needs to end in order: its notice, 15 s for running calls, its last transaction, and a store that stalls meanwhile."""
_NEVER: Final = "0 0 1 1 *"
"""Of what is suspended: a CronJob must name a time."""
_KAFKA_CA: Final = Mount(f"{CLUSTER}-cluster-ca-cert", "/kafka-ca")
_MONGODB_CA: Final = Mount(f"{MONGODB}-ssl", "/mongodb-ca")


def mongodb_uri(hosts: Iterable[str], options: str = "") -> str:
    """Give the address of MongoDB by the names of its hosts."""
    return f"mongodb://{','.join(f'{host}:{MONGODB_PORT}' for host in hosts)}/?{options}authSource=admin"


def replica_hosts() -> list[str]:
    """Name the hosts of the replica set, as the operator has them."""
    service = f"{MONGODB}-{REPLICA_SET}"
    return [f"{service}-{number}.{service}.{NAMESPACE}.svc.cluster.local" for number in range(MONGODB_NODES)]


def settings() -> Object:
    """Make the settings that all processes share. Topics, scalers and roles get numbers and names from here (components/from-settings)."""
    bootstrap = f"{CLUSTER}-kafka-bootstrap.{NAMESPACE}.svc.cluster.local:{KAFKA_PORT}"
    data = {
        PARTITIONS: str(SIZES["goods"]),
        BROWSE_PARTITIONS: str(SIZES["browse"]),
        "GOODSTRACE_REPLICATION": "3",
        "GOODSTRACE_LOG_NAME": "goodstrace.example",
        "GOODSTRACE_ACCOUNTS_ISSUER": "goodstrace.example",
        DATABASE: "goodstrace",
        VAULT_DATABASE: "goodstrace_vault",
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_PASSWORD_FILE": "/kafka/password",
        "KAFKA_SSL_CA_FILE": f"{_KAFKA_CA.path}/ca.crt",
        "MONGODB_URI": mongodb_uri(replica_hosts(), f"replicaSet={REPLICA_SET}&"),
        "MONGODB_PASSWORD_FILE": "/mongodb/password",
        "MONGODB_CA_FILE": f"{_MONGODB_CA.path}/ca.crt",
    }
    return made("v1", "ConfigMap", SETTINGS, {"data": data})


def _environment(process: Process) -> list[Object]:
    plain = (
        ("KAFKA_SASL_USERNAME", f"goodstrace-{process.name}"),
        ("MONGODB_USERNAME", f"goodstrace-{process.name}"),
        *(((process.port_setting, str(process.metrics_port)),) if process.metrics_port else ()),
        *process.settings,
    )
    named = {"fieldRef": {"fieldPath": "metadata.name"}}
    return [
        *({"name": name, "value": value} for name, value in plain),
        *({"name": name, "valueFrom": named} for name in process.instance),
    ]


def _volumes(process: Process) -> tuple[list[Object], list[Object]]:
    """Give the volumes of a pod, and where its container has them."""
    mounts = (
        *process.mounts,
        Mount(f"goodstrace-{process.name}", "/kafka"),
        Mount(f"goodstrace-mongodb-{process.name}", "/mongodb"),
        _KAFKA_CA,
        _MONGODB_CA,
    )
    volumes: list[Object] = []
    places: list[Object] = []
    for mount in mounts:
        name = mount.path.strip("/").replace("/", "-")
        source: Object = {"defaultMode": _READABLE}
        if mount in (_KAFKA_CA, _MONGODB_CA):  # the keys beside it are nobody's here
            source["items"] = [{"key": "ca.crt", "path": "ca.crt"}]
        kind = (
            {"configMap": {"name": mount.source, **source}}
            if mount.public
            else {"secret": {"secretName": mount.source, **source}}
        )
        volumes.append({"name": name, **kind})
        places.append({"name": name, "mountPath": mount.path, "readOnly": True})
    for path, size in (("/tmp", "256Mi"), *process.scratch):  # noqa: S108 - the folder of its own container
        name = path.strip("/")
        volumes.append({"name": name, "emptyDir": {"sizeLimit": size}})
        places.append({"name": name, "mountPath": path})
    return volumes, places


def _probe(path: str, *, every_s: int, failures: int, wait_s: int = 3) -> Object:
    return {
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": every_s,
        "timeoutSeconds": wait_s,
        "failureThreshold": failures,
    }


def _container(process: Process, places: list[Object]) -> Object:
    ports = [*process.ports, *((("metrics", process.metrics_port),) if process.metrics_port else ())]
    container: Object = {
        "name": process.name,
        "image": f"{IMAGE}:{TAG}",
        "args": [process.module],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "env": _environment(process),
        "resources": {
            "requests": {"cpu": process.cpu, "memory": process.memory, "ephemeral-storage": "256Mi"},
            "limits": {"memory": process.most_memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": places,
    }
    if ports:
        container["ports"] = [{"name": name, "containerPort": port} for name, port in ports]
    if process.metrics_port:
        container |= {
            # Alive says nothing of Kafka or MongoDB: an outage of theirs must not restart all of us.
            "startupProbe": _probe("/healthz", every_s=2, failures=60),
            "livenessProbe": _probe("/healthz", every_s=10, failures=6, wait_s=5),
            "readinessProbe": _probe("/readyz", every_s=5, failures=2),
        }
    if process.notice_s:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": process.notice_s}}}
    return container


def _pod(process: Process, *, restart: str = "Always") -> Object:
    volumes, places = _volumes(process)
    spec: Object = {
        "serviceAccountName": f"goodstrace-{process.name}",
        "automountServiceAccountToken": False,
        # Else Kubernetes would set GOODSTRACE_..._PORT for services of such names, which are settings of ours.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": _STOP_S,
        "restartPolicy": restart,
        "containers": [_container(process, places)],
        "volumes": volumes,
    }
    if process in PROCESSES:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": chosen(process.name)},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
    labels = {**chosen(process.name), JOB: process.job}
    return {"metadata": {"labels": labels}, "spec": spec}


def run(each: Run) -> Object:
    """Make a CronJob of a command of operators. One that has no time is suspended: `kubectl create job --from` runs it."""
    pod = _pod(OPERATOR, restart="Never")
    (container,) = pod["spec"]["containers"]
    container |= {"name": each.name, "command": [OPERATOR.module], "args": list(each.command)}
    container["env"].append({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    if each.claim:
        pod["spec"]["volumes"].append(
            {"name": each.claim, "persistentVolumeClaim": {"claimName": each.claim}}
        )
        container["volumeMounts"].append({"name": each.claim, "mountPath": each.path})
    # What is found wrong is found wrong again: only a copy that broke off is worth another try.
    job = {"backoffLimit": int(bool(each.claim)), "ttlSecondsAfterFinished": 8 * 86_400, "template": pod}
    spec: Object = {
        "schedule": each.schedule or _NEVER,
        "suspend": not each.schedule,
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 6 * 3600,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 1,
        "jobTemplate": {"spec": job},
    }
    return made("batch/v1", "CronJob", each.name, {"spec": spec}, labels={COMPONENT: OPERATOR.name})


def claim(each: Run) -> Object:
    """Make the disk of a command that writes to one. Its size is yours to set by a patch: it holds as many copies as you leave there."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Ti"}}}
    return made("v1", "PersistentVolumeClaim", each.claim, {"spec": spec}, labels={COMPONENT: OPERATOR.name})


def account(process: Process) -> Object:
    """Make the account of a process: it has no rights in Kubernetes, and no token."""
    return made(
        "v1",
        "ServiceAccount",
        f"goodstrace-{process.name}",
        {"automountServiceAccountToken": False},
        labels={COMPONENT: process.name},
    )


def workload(process: Process) -> Object:
    """Make the StatefulSet or Deployment of a process."""
    body: Object = {
        "replicas": process.replicas,
        "selector": {"matchLabels": chosen(process.name)},
        "template": _pod(process),
    }
    if process.stable:
        # Parallel: each pod works by itself, and waits for no other to be ready.
        body |= {"serviceName": f"{process.name}-pods", "podManagementPolicy": "Parallel"}
    else:
        body["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    kind = "StatefulSet" if process.stable else "Deployment"
    return made("apps/v1", kind, process.name, {"spec": body}, labels={COMPONENT: process.name})


def services(process: Process) -> list[Object]:
    """Make the service by which clients reach a process, that of its metrics, and the one that names the pods of a StatefulSet."""
    ports = [{"name": name, "port": port, "targetPort": name} for name, port in process.ports]
    metrics = [{"name": "metrics", "port": process.metrics_port, "targetPort": "metrics"}]
    labels, selector = {COMPONENT: process.name}, chosen(process.name)
    result = [
        made(
            "v1",
            "Service",
            process.name,
            {"spec": {"selector": selector, "ports": ports + metrics}},
            labels=labels,
        )
    ]
    if process.stable:
        headless: dict[str, Any] = {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector,
            "ports": metrics,
        }
        result.append(made("v1", "Service", f"{process.name}-pods", {"spec": headless}, labels=labels))
    return result


def budget(process: Process) -> Object:
    """Let one pod of a process be away by plan at a time."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": chosen(process.name)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return made(
        "policy/v1", "PodDisruptionBudget", process.name, {"spec": spec}, labels={COMPONENT: process.name}
    )


def provision() -> Object:
    """Make the job that provisions: indexes and the installation's ID. Topics and secrets are there already, and it says so."""
    spec = {
        "backoffLimit": 6,
        "ttlSecondsAfterFinished": 3600,
        "template": _pod(PROVISION, restart="OnFailure"),
    }
    return made(
        "batch/v1",
        "Job",
        f"provision-{TAG.replace('.', '-')}",
        {"spec": spec},
        labels={COMPONENT: PROVISION.name},
    )


def namespace() -> Object:
    """Make the namespace: pods in it must run with as little as ours do."""
    mode = "pod-security.kubernetes.io"
    labels = {PART_OF: "goodstrace", f"{mode}/enforce": "baseline", f"{mode}/warn": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def of_process(process: Process) -> list[Object]:
    """Make all that belongs to one process."""
    return [account(process), workload(process), *services(process), budget(process)]


def by_file() -> dict[str, tuple[list[Object], str]]:
    """Give the files of the services with why each is as it is."""
    files: dict[str, tuple[list[Object], str]] = {
        "namespace": ([namespace()], ""),
        "settings": (
            [settings()],
            "What all processes are told. Change it by a patch: names of hosts, numbers of partitions, names of logs and databases.",
        ),
        "provision": ([account(PROVISION), provision()], PROVISION.scale),
        "operator": (
            [account(OPERATOR), *map(run, RUNS), *(claim(each) for each in RUNS if each.claim)],
            OPERATOR.scale,
        ),
    }
    for process in PROCESSES:
        files[process.name] = (of_process(process), f"How many: {process.scale}")
    return files
