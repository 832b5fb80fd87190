"""Consumer groups as operations see them: which fold topics into the store, where they are, and how they are set back. Every function blocks."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    OffsetSpec,
)

from services.runtime import kafka
from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.settings import KafkaSettings
from services.runtime.topics import BROWSE_WATCHED, GOODS_STORED

Place = tuple[str, int]
"""A topic and its partition."""
INGRESS: Final = "collector.ingress"
WATCH: Final = "browse.watch"
_FOLDING: Final = {
    "collector.projector": GOODS_STORED,
    "collector.states": GOODS_STORED,
    f"{BROWSE_WATCHED}.index": BROWSE_WATCHED,
}


def folding(settings: KafkaSettings) -> dict[str, str]:
    """Name the groups that keep in the store what they read, each with a topic of theirs: read again, it changes nothing."""
    return {settings.topic(group): settings.topic(topic) for group, topic in _FOLDING.items()}


def consuming(settings: KafkaSettings) -> list[str]:
    """Name all groups that commit what they have read, but those of the collector's stages."""
    return [settings.topic(group) for group in (INGRESS, WATCH, *_FOLDING)]


def committed(admin: AdminClient, group: str, timeout_s: float) -> dict[Place, int]:
    """Give a group's committed offsets; none where there is no such group. Raises: UnavailableError."""
    return committed_each(admin, [group], timeout_s)[group]


def committed_each(
    admin: AdminClient, groups: Sequence[str], timeout_s: float
) -> dict[str, dict[Place, int]]:
    """Give the committed offsets of groups, asked for at the same time: in a request each, since the client takes no two groups in one."""
    asked = {}
    for group in groups:
        with _about(group):
            wanted = [ConsumerGroupTopicPartitions(group)]
            asked[group] = admin.list_consumer_group_offsets(wanted, request_timeout=timeout_s)[group]
    found = {}
    for group, future in asked.items():
        with _about(group):
            told = _sound(future.result(timeout_s))
        found[group] = {(each.topic, each.partition): each.offset for each in told if each.offset >= 0}
    return found


@contextlib.contextmanager
def _about(group: str) -> Iterator[None]:
    try:
        yield
    except (KafkaException, TimeoutError) as error:
        raise UnavailableError(f"Kafka: offsets of the group {group}: {error}") from error


def members(admin: AdminClient, group: str, timeout_s: float) -> int:
    """Count the members that a group has now. Raises: UnavailableError."""
    with kafka.translated():
        asked = admin.describe_consumer_groups([group], request_timeout=timeout_s)
        return len(asked[group].result(timeout_s).members)


def set_back(admin: AdminClient, group: str, places: Mapping[Place, int], timeout_s: float) -> None:
    """Let a group go on from these offsets. Raises: ConflictError where it has members; UnavailableError."""
    if members(admin, group, timeout_s):
        raise ConflictError(f"the group {group} has members: stop the services first")
    told = [TopicPartition(topic, partition, offset) for (topic, partition), offset in places.items()]
    with kafka.translated():
        asked = admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, told)], request_timeout=timeout_s
        )
        for each in asked.values():
            _sound(each.result(timeout_s))


def oldest(admin: AdminClient, places: Iterable[Place], timeout_s: float) -> dict[Place, int]:
    """Give the offset from which on Kafka holds each partition. Raises: UnavailableError."""
    specs: Any = OffsetSpec
    told = {TopicPartition(*place): specs.earliest() for place in places}
    with kafka.translated():
        asked = admin.list_offsets(told, request_timeout=timeout_s) if told else {}
        return {
            (each.topic, each.partition): int(future.result(timeout_s).offset)
            for each, future in asked.items()
        }


def _sound(told: ConsumerGroupTopicPartitions) -> list[TopicPartition]:
    """Give the partitions of an answer about a group: what went wrong with one of them stands there alone. Raises: KafkaException."""
    places = told.topic_partitions or []
    for each in places:
        if each.error is not None:
            raise KafkaException(each.error)
    return places
