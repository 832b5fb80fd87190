"""Kafka by Strimzi: brokers, topics of the table in services/runtime/topics.py, and a user for each process with the rights of acls.py."""

from typing import Final

from services.runtime.settings import KafkaSettings
from services.runtime.topics import MAX_MESSAGE_BYTES, Topic, declared
from tools.kubernetes.acls import PREFIX, RIGHTS, Rights
from tools.kubernetes.objects import CLUSTER, KAFKA_PORT, PART_OF, Object, made

API: Final = "kafka.strimzi.io/v1"
BROKERS: Final = 3
VERSION: Final = "4.3.1"
PARTITIONED: Final = "goodstrace.io/partitions"
"""Which setting says how many partitions a topic has: goods, browse, or one for ever."""
_OF_CLUSTER: Final = {"strimzi.io/cluster": CLUSTER}
_TEN_YEARS_MIN: Final = 5_256_000
SIZES: Final = {"goods": 12, "browse": 4, "one": 1}


def topics(goods: int = SIZES["goods"], browse: int = SIZES["browse"]) -> tuple[Topic, ...]:
    """List the topics as they are declared, three times replicated."""
    return declared("", goods, browse, BROKERS)


def _kind(topic: Topic) -> str:
    """Tell which number a topic's partitions are, by declaring all of them with numbers that nothing else has."""
    told = {each.name: each.partitions for each in declared("", 101, 103, BROKERS)}
    return {101: "goods", 103: "browse", 1: "one"}[told[topic.name]]


def topic_object(topic: Topic) -> Object:
    """Make a topic. Kept when the object is deleted: what Kafka keeps is what every log can be made again from."""
    spec = {
        "topicName": topic.name,
        "partitions": topic.partitions,
        "replicas": topic.replication,
        "config": topic.config(),
    }
    return made(
        API,
        "KafkaTopic",
        topic.name.replace("_", "-"),
        {"spec": spec},
        labels={**_OF_CLUSTER, PARTITIONED: _kind(topic)},
        annotations={"strimzi.io/managed": "true"},
    )


def _acl(resource: str, name: str, operations: tuple[str, ...], pattern: str) -> Object:
    return {
        "resource": {"type": resource, "name": name, "patternType": pattern},
        "operations": list(operations),
        "host": "*",
    }


def user_object(rights: Rights) -> Object:
    """Make a user. Strimzi makes its password, in a Secret of the user's name."""
    acls = [
        _acl(rule.resource, rule.name, rule.operations, "prefix" if rule.pattern == PREFIX else rule.pattern)
        for rule in rights.rules()
    ]
    spec = {
        "authentication": {"type": "scram-sha-512"},
        "authorization": {"type": "simple", "acls": acls},
    }
    return made(API, "KafkaUser", f"goodstrace-{rights.user}", {"spec": spec}, labels=_OF_CLUSTER)


def pools() -> list[Object]:
    """Make three controllers and three brokers, each on a machine of its own."""
    return [
        _pool("controller", "controller", 3, "20Gi", "1Gi"),
        _pool("broker", "broker", BROKERS, "500Gi", "8Gi"),
    ]


def _pool(name: str, role: str, replicas: int, disk: str, memory: str) -> Object:
    volume = {
        "id": 0,
        "type": "persistent-claim",
        "size": disk,
        "kraftMetadata": "shared",
        "deleteClaim": False,
    }
    alone = {
        "labelSelector": {"matchLabels": {**_OF_CLUSTER, "strimzi.io/pool-name": name}},
        "topologyKey": "kubernetes.io/hostname",
    }
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [alone]}}
    spec = {
        "replicas": replicas,
        "roles": [role],
        "storage": {"type": "jbod", "volumes": [volume]},
        "resources": {"requests": {"cpu": "1", "memory": memory}, "limits": {"memory": memory}},
        "template": {"pod": {"affinity": affinity}},
    }
    return made(API, "KafkaNodePool", name, {"spec": spec}, labels=_OF_CLUSTER)


def cluster() -> Object:
    """Make the cluster: SCRAM by TLS alone, nothing allowed that no user is given, topics made by nobody but Strimzi."""
    peer = {"podSelector": {"matchLabels": {PART_OF: "goodstrace"}}}
    scaler = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}},
        "podSelector": {"matchLabels": {"app": "keda-operator"}},
    }
    config = {
        "auto.create.topics.enable": "false",
        "default.replication.factor": BROKERS,
        "min.insync.replicas": BROKERS - 1,
        "offsets.topic.replication.factor": BROKERS,
        "transaction.state.log.replication.factor": BROKERS,
        "transaction.state.log.min.isr": BROKERS - 1,
        "share.coordinator.state.topic.replication.factor": BROKERS,
        "share.coordinator.state.topic.min.isr": BROKERS - 1,
        # Ten years: a stage whose group slept for a week must find where it was.
        "offsets.retention.minutes": _TEN_YEARS_MIN,
        "log.retention.ms": -1,
        "log.retention.bytes": -1,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
        # One who is out of date must never lead: acknowledged events would be gone.
        "unclean.leader.election.enable": "false",
    }
    listener = {
        "name": "tls",
        "port": KAFKA_PORT,
        "type": "internal",
        "tls": True,
        "authentication": {"type": "scram-sha-512"},
        "networkPolicyPeers": [peer, scaler],
    }
    kafka = {
        "version": VERSION,
        "metadataVersion": "4.3-IV0",
        "listeners": [listener],
        "authorization": {"type": "simple"},
        "config": config,
    }
    operator: Object = {"topicOperator": {}, "userOperator": {}}
    return made(API, "Kafka", CLUSTER, {"spec": {"kafka": kafka, "entityOperator": operator}})


def by_file() -> dict[str, tuple[list[Object], str]]:
    """Give the files of Kafka with why each is as it is."""
    assert KafkaSettings.model_fields["topic_prefix"].default == ""
    return {
        "cluster": (
            [*pools(), cluster()],
            "Two of three brokers have each acknowledged record. Disks: docs/capacity.md; nothing is ever deleted from the goods topics.",
        ),
        "topics": (
            [topic_object(topic) for topic in topics()],
            "Partitions are those of the ConfigMap goodstrace-settings (components/from-settings). More of them are an operation: docs/logs.md.",
        ),
        "users": (
            [user_object(rights) for rights in RIGHTS],
            "What is not named here is refused.",
        ),
    }
