"""The processes of the platform on Kubernetes: what each runs, is told, may read, and how many of it there may be.

Images, commands and settings are those of docker-compose.yml. The collector is three processes here, which one may scale by themselves: the ways in
(`collector`), the stages (`stages`) and what follows them (`keeper`).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mount:
    """A folder that is mounted read-only: from a Secret, or a ConfigMap where `public`. It is made by whoever installs, never by a file here."""

    source: str
    path: str
    public: bool = False


@dataclass(frozen=True)
class Run:
    """A command that runs to its end, by a CronJob. schedule: in UTC, as cron has it; empty: only when somebody asks. claim: a disk to be written to, at path."""

    name: str
    command: tuple[str, ...]
    schedule: str = ""
    claim: str = ""
    path: str = ""


@dataclass(frozen=True)
class Process:
    """One kind of pod.

    name: of the workload, and of its users in Kafka and MongoDB. job: the service whose metrics these are. stable: whether each pod keeps a name, by
    which Kafka knows it again (a StatefulSet). scale: what may be scaled, in words that stand in the file. limit: the ConfigMap's key that
    says how many pods can have work; empty: any number. scratch: folders that may be lost, with their size.
    """

    name: str
    module: str
    job: str
    metrics_port: int
    replicas: int
    scale: str
    stable: bool = False
    limit: str = ""
    ports: tuple[tuple[str, int], ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    instance: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    scratch: tuple[tuple[str, str], ...] = ()
    cpu: str = "500m"
    memory: str = "512Mi"
    most_memory: str = "1Gi"
    notice_s: int = 0
    """How long it goes on taking calls after it was asked to stop, until balancers know."""

    @property
    def port_setting(self) -> str:
        """The setting that names the port of metrics and health."""
        return f"GOODSTRACE_{self.job.upper()}_METRICS_PORT"


PARTITIONS: Final = "GOODSTRACE_PARTITIONS"
BROWSE_PARTITIONS: Final = "GOODSTRACE_BROWSE_PARTITIONS"
DATABASE: Final = "GOODSTRACE_DATABASE"
VAULT_DATABASE: Final = "GOODSTRACE_VAULT_DATABASE"

_INDEX_SECRET: Final = Mount("goodstrace-index-secret", "/secret")
_VAULT: Final = Mount("goodstrace-vault-keys", "/vault")
_OPERATOR: Final = Mount("goodstrace-operator-token", "/operator")
_JWKS: Final = Mount("goodstrace-jwks", "/jwks", public=True)
_CA: Final = Mount("goodstrace-ca", "/ca", public=True)
_LOGIN: Final = (
    Mount("goodstrace-login-keys", "/login/keys"),
    Mount("goodstrace-login-secret", "/login-secret"),
)
_TLS: Final = (
    ("GOODSTRACE_TLS_CERT_FILE", "/tls/tls.crt"),
    ("GOODSTRACE_TLS_KEY_FILE", "/tls/tls.key"),
    ("GOODSTRACE_CA_FILE", "/ca/ca.crt"),
)
_NO_STAGES: Final = (("GOODSTRACE_COLLECTOR_FIRST_STAGE", ""), ("GOODSTRACE_COLLECTOR_LAST_STAGE", ""))
_COLLECTOR_MOUNTS: Final = (_INDEX_SECRET, _VAULT, _OPERATOR, _JWKS)
_COLLECTOR_INSTANCE: Final = ("GOODSTRACE_INSTANCE", "GOODSTRACE_COLLECTOR_INSTANCE")


def _parts(**on: str) -> tuple[tuple[str, str], ...]:
    names = ("api", "ingress", "projector", "states")
    return tuple((f"GOODSTRACE_COLLECTOR_{name.upper()}", on.get(name, "false")) for name in names)


PROVISION: Final = Process(
    "provision",
    "services.runtime.provision",
    "provision",
    0,
    1,
    "Runs to its end, once. A finished job is removed after an hour; before it is applied again, with another image, delete it: docs/kubernetes.md.",
    mounts=(*_COLLECTOR_MOUNTS, *_LOGIN),
    settings=(("GOODSTRACE_LOGIN_SECRET_FILE", "/login-secret/secret"),),
    cpu="100m",
    memory="256Mi",
    most_memory="512Mi",
)

PROCESSES: Final = (
    Process(
        "collector",
        "services.collector",
        "collector",
        9101,
        2,
        "Any number: captures are taken by whoever is asked, and rates are shared through the store. More members of the ingress than\n"
        "partitions have none of it. Stable names, since the transactional IDs have them: two pods of one name fence each other.",
        stable=True,
        ports=(("http", 8080), ("grpc", 50053)),
        settings=(
            *_parts(api="true", ingress="true"),
            *_NO_STAGES,
            *_TLS,
            ("GOODSTRACE_COLLECTOR_NOTICE_S", "5"),
        ),
        instance=_COLLECTOR_INSTANCE,
        mounts=(*_COLLECTOR_MOUNTS, _CA, Mount("goodstrace-collector-tls", "/tls")),
        cpu="1",
        memory="1Gi",
        most_memory="2Gi",
        notice_s=5,
    ),
    Process(
        "stages",
        "services.collector",
        "collector",
        9101,
        2,
        "Up to the partitions of the goods topics: a partition is one pod's at a time, and what is over waits without work.",
        stable=True,
        limit=PARTITIONS,
        settings=_parts(),
        instance=_COLLECTOR_INSTANCE,
        mounts=_COLLECTOR_MOUNTS,
        cpu="1",
        memory="1Gi",
        most_memory="2Gi",
    ),
    Process(
        "keeper",
        "services.collector",
        "collector",
        9101,
        1,
        "Up to the partitions of the goods topics. What it writes commutes and may be repeated, so that two at a time do no harm.",
        limit=PARTITIONS,
        settings=(*_parts(projector="true", states="true"), *_NO_STAGES),
        instance=_COLLECTOR_INSTANCE,
        mounts=_COLLECTOR_MOUNTS,
    ),
    Process(
        "ledger",
        "services.ledger",
        "ledger",
        9102,
        2,
        "Up to the partitions of the goods topics, by hand and never by lag: a log has one writer, and each move of a partition stops its log until\n"
        "the next one has read its head. Its position is in its last block, not in a group, so no scaler could see its lag in Kafka either.\n"
        "Two writers of one log do no harm: the unique (log, height) lets one win, and the other stops.",
        stable=True,
        limit=PARTITIONS,
        instance=("GOODSTRACE_INSTANCE",),
        mounts=(_INDEX_SECRET, Mount("goodstrace-ledger-keys", "/keys")),
        cpu="1",
        memory="1Gi",
        most_memory="2Gi",
    ),
    Process(
        "query",
        "services.query",
        "query",
        9103,
        2,
        "Any number: it keeps nothing but what it has read. A stream or subscription stays with its pod.",
        ports=(("grpc", 50051), ("http", 8081)),
        settings=(
            *_TLS,
            ("GOODSTRACE_LOGIN_SECRET_FILE", "/login-secret/secret"),
            ("GOODSTRACE_QUERY_NOTICE_S", "5"),
            ("GOODSTRACE_QUERY_WEB_AUDIT", "https://audit:50052"),
            ("GOODSTRACE_QUERY_WEB_COLLECTOR", "https://collector:8080"),
            ("GOODSTRACE_QUERY_WEB_COMPLETE", "auditors"),
        ),
        instance=("GOODSTRACE_INSTANCE",),
        mounts=(_INDEX_SECRET, _VAULT, _JWKS, *_LOGIN, _CA, Mount("goodstrace-query-tls", "/tls")),
        cpu="1",
        memory="1Gi",
        most_memory="2Gi",
        notice_s=5,
    ),
    Process(
        "audit",
        "services.audit",
        "audit",
        9104,
        2,
        "Up to the partitions of the browse topics, by hand: it seals the logs browse/<partition>, as the ledger does those of goods. Two, since it answers\n"
        "calls too: one restarts while the other answers.",
        stable=True,
        limit=BROWSE_PARTITIONS,
        ports=(("grpc", 50052),),
        settings=(*_TLS, ("GOODSTRACE_AUDIT_NOTICE_S", "5")),
        instance=("GOODSTRACE_INSTANCE",),
        mounts=(
            _INDEX_SECRET,
            _VAULT,
            _JWKS,
            Mount("goodstrace-audit-keys", "/keys"),
            _CA,
            Mount("goodstrace-audit-tls", "/tls"),
        ),
        notice_s=5,
    ),
    Process(
        "watch",
        "services.audit.watch",
        "watch",
        9105,
        1,
        "Up to the partitions of the browse topics. What it has counted is a cache here: a pod that moves makes it again from browse.counted.",
        stable=True,
        limit=BROWSE_PARTITIONS,
        settings=(("GOODSTRACE_WATCH_DATA_DIR", "/watch"),),
        instance=("GOODSTRACE_INSTANCE",),
        scratch=(("/watch", "4Gi"),),
    ),
)
OPERATOR: Final = Process(
    "operator",
    "goodstrace",
    "operator",
    0,
    1,
    "Operators' commands that read: one pod at a time of each. A key of a log, of the vault or of sign-ins is in none of them.",
    cpu="1",
    memory="1Gi",
    most_memory="4Gi",
)
"""Restoring, repairing, erasing and growing write: they are an administrator's."""
_AT: Final = "$(POD_NAME)"
RUNS: Final = (
    Run(
        "doctor",
        (
            "doctor",
            *(f"--service={each.name}=http://{each.name}:{each.metrics_port}" for each in PROCESSES),
            # What of these is right is told by Secrets that this pod must not have.
            "--skip=secrets",
            "--skip=keys",
        ),
    ),
    Run("fsck", ("fsck", "--kafka", "--jobs=2"), "17 2 * * 0"),
    Run("backup", ("backup", "create", f"--out=/backup/{_AT}"), "17 4 * * *", "goodstrace-backup", "/backup"),
    Run(
        "vault-backup",
        ("backup", "vault", f"--out=/backup/{_AT}"),
        "47 3 * * *",
        "goodstrace-vault-backup",
        "/backup",
    ),
)
"""What the operator runs. A copy has the name of its pod, which no other has."""
EVERYTHING: Final = (PROVISION, OPERATOR, *PROCESSES)
