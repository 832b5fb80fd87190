"""Are the topics there, and as they were declared? Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from services.doctor.values import Finding, failed, listed, ok, warning
from services.runtime.topics import KEEP_EVERYTHING, Topic

_MAKE: Final = "make it: python -m services.runtime.provision"
_NOTHING_LOST: Final = ("retention.ms", "retention.bytes", "cleanup.policy")


class TopicSeen(msgspec.Struct, frozen=True):
    """A topic as Kafka has it: the least replicas and in-sync replicas of any partition, partitions without leader, settings."""

    name: str
    partitions: int
    replicas: int = 1
    in_sync: int = 1
    leaderless: int = 0
    config: Mapping[str, str] = {}


def check_topics(wanted: Sequence[Topic], there: Mapping[str, TopicSeen]) -> list[Finding]:
    """Compare the topics that are declared with those that are there."""
    missing = [topic.name for topic in wanted if topic.name not in there]
    found = [
        finding for topic in wanted if topic.name in there for finding in _compare(topic, there[topic.name])
    ]
    if missing:
        many = "all are missing: is it the right Kafka, and GOODSTRACE_TOPIC_PREFIX the right one? Else "
        do = (many if len(missing) == len(wanted) else "") + _MAKE
        found.insert(
            0,
            failed(f"{len(missing)} topics are missing: {listed(missing)}", do, "pipeline.md#pipelinebehind"),
        )
    return found or [
        ok(f"{len(wanted)} topics as declared, in {sum(each.partitions for each in wanted)} partitions")
    ]


def _compare(topic: Topic, seen: TopicSeen) -> list[Finding]:
    found = []
    if seen.partitions != topic.partitions:
        found.append(_partitions(topic, seen))
    if seen.leaderless:
        found.append(
            failed(
                f"{topic.name}: {seen.leaderless} partitions without a leader",
                "start the brokers that are down; nothing is lost while their disks are",
                "neighbours.md#kafkafailing",
            )
        )
    elif seen.in_sync < seen.replicas:
        found.append(
            warning(
                f"{topic.name}: a partition has {seen.in_sync} of {seen.replicas} replicas in sync",
                "see which broker is down or behind; below min.insync.replicas nothing is taken any more",
                "neighbours.md#kafkafailing",
            )
        )
    if seen.replicas < topic.replication:
        found.append(
            warning(
                f"{topic.name}: {seen.replicas} replicas, GOODSTRACE_REPLICATION says {topic.replication}",
                "give it more with kafka-reassign-partitions.sh",
                "changes.md#add-partitions",
            )
        )
    return [*found, *_settings(topic, seen)]


def _partitions(topic: Topic, seen: TopicSeen) -> Finding:
    do = (
        "growing is an operation of its own: goodstrace grow"
        if seen.partitions < topic.partitions
        else f"set GOODSTRACE_PARTITIONS or GOODSTRACE_BROWSE_PARTITIONS to {seen.partitions} for every service: partitions never become fewer"
    )
    seen_text = f"{topic.name}: {seen.partitions} partitions, {topic.partitions} are set"
    return failed(seen_text, do, "changes.md#add-partitions")


def _settings(topic: Topic, seen: TopicSeen) -> list[Finding]:
    """Compare broker-side settings; one by which records are lost that must be kept is worse than the others."""
    found = []
    for name, value in topic.config().items():
        now = seen.config.get(name)
        if now is None or now == value:
            continue
        text = f"{topic.name}: {name} is {now}, not {value}"
        do = f"kafka-configs.sh --alter --entity-type topics --entity-name {topic.name} --add-config {name}={value}"
        loses = name in _NOTHING_LOST and topic.retention_ms == KEEP_EVERYTHING
        found.append((failed if loses else warning)(text, do, "neighbours.md#kafkafailing"))
    return found
