"""Kafka as the services use it: configured clients, and the library's errors turned into ours.

confluent-kafka's calls block; services call them from a thread (`asyncio.to_thread`) or a loop of their own.
"""

from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from services.runtime.errors import ConflictError, ServiceError, UnavailableError
from services.runtime.topics import Topic

TRANSACTION_TIMEOUT_MS: Final = 10_000
MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
_WARNINGS: Final = 4  # syslog level: librdkafka tells of every purged event else


class FencedError(ServiceError):
    """Another process took over this producer's transactional ID or this consumer's partitions: stop."""

    category = "fenced"


class OffsetGapError(ServiceError):
    """Kafka no longer holds the next offset, or the topic was made anew: never skip."""

    category = "offset-gap"


def producer(bootstrap: str, *, transactional_id: str | None = None, linger_ms: int = 5) -> Producer:
    """Make an idempotent producer with acks=all; transactional where an ID is given (unique per running instance)."""
    config: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": linger_ms,
        "compression.type": "lz4",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "message.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 256 * 1024,
    }
    if transactional_id is not None:
        config["transactional.id"] = transactional_id
        config["transaction.timeout.ms"] = TRANSACTION_TIMEOUT_MS
    return Producer(config)


def consumer(bootstrap: str, group: str, *, session_timeout_ms: int = 10_000) -> Consumer:
    """Make a consumer that sees committed records only, commits nothing by itself and never jumps over a gap.

    Where the offset it is at is gone it raises `_AUTO_OFFSET_RESET`; where a group is new it begins with the first record
    that its owner seeks to.
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "session.timeout.ms": session_timeout_ms,
            "heartbeat.interval.ms": max(200, session_timeout_ms // 5),
            "partition.assignment.strategy": "cooperative-sticky",
            "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            "queued.max.messages.kbytes": 64 * 1024,
            "fetch.wait.max.ms": 50,
        }
    )


def translate(error: KafkaException | KafkaError) -> ServiceError:
    """Turn the library's error into one of ours."""
    fault = error.args[0] if isinstance(error, KafkaException) else error
    code = fault.code()
    if code in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH):  # noqa: SLF001
        return FencedError(f"Kafka: {fault.str()}")
    if code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
        return OffsetGapError(f"Kafka no longer holds the next offset: {fault.str()}")
    return UnavailableError(f"Kafka: {fault.str()}")


def create_topics(bootstrap: str, topics: Iterable[Topic], timeout_s: float = 30) -> list[str]:
    """Create the topics that are not there and check the others' partitions; gives the names created.

    Raises: ConflictError where a topic exists with another number of partitions; UnavailableError.
    """
    wanted = {topic.name: topic for topic in topics}
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": _WARNINGS})
    try:
        there = admin.list_topics(timeout=timeout_s).topics
        for name, topic in wanted.items():
            if name in there and len(there[name].partitions) != topic.partitions:
                raise ConflictError(
                    f"topic {name} has {len(there[name].partitions)} partitions and {topic.partitions} are set: "
                    "growing is an operation of its own (drain, grow all, rebuild the windows)"
                )
        missing = [
            NewTopic(topic.name, topic.partitions, topic.replication, config=topic.config())
            for name, topic in wanted.items()
            if name not in there
        ]
        for future in admin.create_topics(missing, operation_timeout=timeout_s).values() if missing else ():
            future.result(timeout_s)
    except KafkaException as error:
        raise translate(error) from error
    return [each.topic for each in missing]


def cluster_and_topic_id(
    bootstrap: str, topic: str, timeout_s: float = 30, *, admin: AdminClient | None = None
) -> tuple[str, str]:
    """Ask for the cluster's ID and the ID that Kafka gave the topic when it was made; `admin` saves connecting.

    Raises: UnavailableError where Kafka does not answer or has no such topic.
    """
    admin = admin or AdminClient({"bootstrap.servers": bootstrap})
    try:
        cluster = admin.describe_cluster(request_timeout=timeout_s).result(timeout_s)
        futures = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
        description = futures[topic].result(timeout_s)
    except KafkaException as error:
        raise translate(error) from error
    return str(cluster.cluster_id), str(description.topic_id)
