"""Kafka as the services use it: configured clients, and the library's errors turned into ours.

confluent-kafka's calls block; services call them from a thread (`asyncio.to_thread`) or a loop of their own.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from services.runtime.errors import ConflictError, ServiceError, UnavailableError
from services.runtime.kafka_statistics import reporting
from services.runtime.settings import KafkaSettings, load
from services.runtime.topics import MAX_MESSAGE_BYTES, Topic

TRANSACTION_TIMEOUT_MS: Final = 10_000
SESSION_TIMEOUT_MS: Final = (
    6_000  # how long the partitions of a killed process wait; the least that brokers allow
)
_END_WAIT_MS: Final = 20  # how long a broker waits for more records before it says that these were the last
_QUIET_MS: Final = 1_000  # how long it keeps a fetch where there are none: so long may a partition that was just given wait for its first
METADATA_REFRESH_MS: Final = 10_000  # how soon a partition that was added to a topic is noticed
_LOGGER: Final = logging.getLogger("librdkafka")
PROBE_TIMEOUT_S: Final = 3.0
_FENCED: Final = (
    KafkaError._FENCED,  # noqa: SLF001
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.FENCED_INSTANCE_ID,
)
_NOT_LET_IN: Final = (KafkaError._AUTHENTICATION, KafkaError._SSL)  # noqa: SLF001
SILENT: Final = 0  # syslog level: who asks tells of an outage by the error
_WARNINGS: Final = 4  # syslog level: librdkafka tells of every purged event else


class FencedError(ServiceError):
    """Another process took over this producer's transactional ID or this consumer's partitions: stop."""

    category = "fenced"


class OffsetGapError(ServiceError):
    """Kafka no longer holds the next offset, or the topic was made anew: never skip."""

    category = "offset-gap"


def connection(bootstrap: str) -> dict[str, Any]:
    """Give the settings by which every client of ours reaches the brokers: address, TLS and credentials.

    Read anew for each client, so that a password that was changed counts for the next one. Raises: SettingsError.
    """
    return {"bootstrap.servers": bootstrap, **load(KafkaSettings).connection()}


def producer(
    bootstrap: str, *, transactional_id: str | None = None, linger_ms: int = 5, client: str = ""
) -> Producer:
    """Make an idempotent producer with acks=all; transactional where an ID is given (unique per running instance).

    With `client` it reports to the metrics under that name (see kafka_statistics): for one that is polled all the time.
    """
    config: dict[str, Any] = {
        **connection(bootstrap),
        "logger": _LOGGER,
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": linger_ms,
        "compression.type": "lz4",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "message.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 256 * 1024,
        **reporting(client),
    }
    if transactional_id is not None:
        config["transactional.id"] = transactional_id
        config["transaction.timeout.ms"] = TRANSACTION_TIMEOUT_MS
    return Producer(config)


def consumer(
    bootstrap: str,
    group: str,
    *,
    partition_eof: bool = False,
    instance: str = "",
    ahead_kbytes: int = 64 * 1024,
    client: str = "",
) -> Consumer:
    """Make a consumer that sees committed records only, commits nothing by itself and never jumps over a gap.

    Where the offset it is at is gone it raises `_AUTO_OFFSET_RESET`; where a group is new it begins with the first record
    that its owner seeks to. With `partition_eof` a message of that error says where a partition ends now: for who reads up to there and no further.
    `ahead_kbytes` bounds what is fetched before it is asked for. With `instance` it is a static member (KIP-345): one of the same name takes its place at once.
    With `client` it reports to the metrics under that name (see kafka_statistics): for one that is polled all the time.
    """
    return Consumer(
        {
            **connection(bootstrap),
            "logger": _LOGGER,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": partition_eof,
            "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": SESSION_TIMEOUT_MS // 5,
            "partition.assignment.strategy": "cooperative-sticky",
            "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            "queued.max.messages.kbytes": ahead_kbytes,
            "fetch.wait.max.ms": _END_WAIT_MS if partition_eof else _QUIET_MS,
            **({"group.instance.id": instance} if instance else {}),
            **reporting(client),
        }
    )


class _Admin(AdminClient):
    """Says why brokers cannot be reached where that is a password or a certificate: the library says so to a callback alone."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._heard: deque[KafkaError] = deque(maxlen=1)
        told: dict[str, Any] = {**config, "error_cb": _hearing(self._heard)}
        super().__init__(told)

    def list_topics(self, *arguments: Any, **named: Any) -> Any:
        self._heard.clear()
        try:
            return super().list_topics(*arguments, **named)
        except KafkaException as error:
            self.poll(0)
            if not self._heard:
                raise
            raise KafkaException(self._heard[-1]) from error


def _hearing(heard: deque[KafkaError]) -> Callable[[KafkaError], None]:
    """Make a callback that does not hold its client: that ends with its last name then, its threads and connections with it."""

    def hear(error: KafkaError) -> None:
        if error.code() in _NOT_LET_IN:
            heard.append(error)

    return hear


def admin_client(bootstrap: str, *, log_level: int = _WARNINGS) -> AdminClient:
    """Make a client for what is asked of the cluster; `log_level` is syslog's. Nobody polls it: it writes its own lines."""
    return _Admin({**connection(bootstrap), "log_level": log_level})


def translate(error: KafkaException | KafkaError) -> ServiceError:
    """Turn the library's error into one of ours."""
    fault = error.args[0] if isinstance(error, KafkaException) else error
    code = fault.code()
    if code in _FENCED:
        return FencedError(f"Kafka: {fault.str()}")
    if code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
        return OffsetGapError(f"Kafka no longer holds the next offset: {fault.str()}")
    return UnavailableError(f"Kafka: {fault.str()}")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors into ours."""
    try:
        yield
    except KafkaException as error:
        raise translate(error) from error
    except (TimeoutError, BufferError) as error:
        raise UnavailableError(f"Kafka: {error}") from error


def create_topics(bootstrap: str, topics: Iterable[Topic], timeout_s: float = 30) -> list[str]:
    """Create the topics that are not there and check the others' partitions; gives the names created.

    Raises: ConflictError where a topic exists with another number of partitions; UnavailableError.
    """
    wanted = {topic.name: topic for topic in topics}
    admin = admin_client(bootstrap)
    try:
        there = admin.list_topics(timeout=timeout_s).topics
        for name, topic in wanted.items():
            if name in there and len(there[name].partitions) != topic.partitions:
                raise ConflictError(
                    f"topic {name} has {len(there[name].partitions)} partitions and {topic.partitions} are set: "
                    "growing is an operation of its own: goodstrace grow (docs/logs.md)"
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


class KafkaProbe:
    """Asks Kafka for a topic: a probe for `services.runtime.probes.watch`."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Make the client; it connects at the first call."""
        self._admin = admin_client(bootstrap, log_level=SILENT)
        self._topic = topic

    async def __call__(self) -> None:
        """Return when Kafka answered that the topic is there. Raises: UnavailableError."""
        try:
            found = await asyncio.to_thread(self._admin.list_topics, self._topic, PROBE_TIMEOUT_S)
        except KafkaException as error:
            raise translate(error) from error
        fault = found.topics[self._topic].error
        if fault is not None:
            raise translate(fault)


def cluster_and_topic_id(
    bootstrap: str, topic: str, timeout_s: float = 30, *, admin: AdminClient | None = None
) -> tuple[str, str]:
    """Ask for the cluster's ID and the ID that Kafka gave the topic when it was made; `admin` saves connecting.

    Raises: UnavailableError where Kafka does not answer or has no such topic.
    """
    if admin is None:  # a client is false while nothing waits in it: it has a length
        admin = admin_client(bootstrap)
    try:
        asked = admin.describe_cluster(request_timeout=timeout_s)
        futures = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
        cluster, description = asked.result(timeout_s), futures[topic].result(timeout_s)
    except KafkaException as error:
        raise translate(error) from error
    return str(cluster.cluster_id), str(description.topic_id)
