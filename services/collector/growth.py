"""Growing the number of partitions: what `goodstrace grow` does, with `GOODSTRACE_PARTITIONS` as the new number.

The collectors must be stopped. (1) Check that they are and that the stages have taken everything; (2) read back from
`goods.summarised` what the windows of all partitions remember; (3) grow every topic of goods; (4) write to each partition of
`goods.collected` what it must remember now: the events of before that would come to it today. So a stage still depends on
nothing but the records of its partition, and a replay meets the same memory at the same place (docs/decisions/0019).

May be repeated: what is remembered twice is remembered once. Where it was cut off, repeat it before the collectors start.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.cimpl import NewPartitions

from services.collector.flow import Item, StageName, from_wire
from services.collector.runner import group_of
from services.collector.stages import INPUTS, ORDER
from services.collector.summarise import memories
from services.collector.transactions import Transactions, Write
from services.runtime import envelope, kafka, topics
from services.runtime.envelope import Memory, Remembered
from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.read_back import read_back, settled_end
from services.runtime.settings import KafkaSettings

MEMORY_RECORDS: Final = 8_000
"""Events remembered in one message, which is then under a MiB."""
TIMEOUT_S: Final = 30.0


def spread(
    remembered: Iterable[Remembered], partitions: int, window: int
) -> dict[int, tuple[Remembered, ...]]:
    """Say what each partition must remember when there are `partitions`: the last `window` of its events, the oldest first. Pure.

    Args:
        remembered: of all partitions as they were, in any order; what is in it twice counts once.
        partitions: how many there are to be.
        window: how many records a window holds.
    """
    found: dict[int, list[Remembered]] = {each: [] for each in range(partitions)}
    for each in sorted(set(remembered), key=lambda each: (each.time_ms, each.record_id)):
        found[each.placed % partitions].append(each)
    return {partition: tuple(listed[-window:]) for partition, listed in found.items()}


def cut(remembered: Sequence[Remembered]) -> list[bytes]:
    """Cut what a partition must remember into messages of `goods.collected`. Pure."""
    return [
        envelope.encode_memory(Memory(tuple(remembered[start : start + MEMORY_RECORDS])))
        for start in range(0, len(remembered), MEMORY_RECORDS)
    ]


def grow(settings: KafkaSettings, window: int) -> Iterator[str]:
    """Grow the topics of goods to the partitions that are set; say after each step what was done.

    Raises: ConflictError where collectors run, records wait, or there are more partitions already; UnavailableError.
    """
    before = _counts(settings)
    over = sorted(name for name, count in before.items() if count > settings.partitions)
    if over:
        raise ConflictError(
            f"topic {over[0]} has {before[over[0]]} partitions and {settings.partitions} are set"
        )
    _require_stopped(settings)
    _require_drained(settings, before)
    yield "no collector runs, and the stages have taken everything"
    summarised = settings.topic(topics.GOODS_SUMMARISED)
    remembered = [
        each
        for partition in range(before[summarised])
        for record in read_back(settings.bootstrap_servers, summarised, partition, window, memories)
        for each in record[-window:]
    ]
    yield f"{len(remembered)} events are remembered in {before[summarised]} partitions"
    _grow_topics(settings, before)
    yield f"every topic of goods has {settings.partitions} partitions"
    writer = Transactions(settings.bootstrap_servers, settings.topic("collector.growth"))
    try:
        for partition, listed in spread(remembered, settings.partitions, window).items():
            if listed:
                writer.write([Write(settings.topic(topics.GOODS_COLLECTED), partition, cut(listed))])
            yield f"partition {partition} remembers {len(listed)} events"
    finally:
        writer.close()


def _counts(settings: KafkaSettings) -> dict[str, int]:
    with kafka.translated():
        there = kafka.admin_client(settings.bootstrap_servers).list_topics(timeout=TIMEOUT_S).topics
    names = [settings.topic(name) for name in topics.GOODS_TOPICS]
    absent = [name for name in names if name not in there]
    if absent:
        raise ConflictError(f"there is no topic {', '.join(absent)}: nothing to grow")
    return {name: len(there[name].partitions) for name in names}


def _require_stopped(settings: KafkaSettings) -> None:
    """The capture API is no member of a group: it goes with the stages, or was stopped by whoever grows."""
    groups = [group_of(settings, stage) for stage in ORDER]
    admin = kafka.admin_client(settings.bootstrap_servers)  # kept until the answers are there
    with kafka.translated():
        asked = admin.describe_consumer_groups(groups, request_timeout=TIMEOUT_S)
        described = {group: future.result(TIMEOUT_S) for group, future in asked.items()}
    running = sorted(group for group, found in described.items() if found.members)
    if running:
        raise ConflictError(
            f"collectors run still, in the group {running[0]}: stop them all, and wait 6 s after one was killed"
        )


def _require_drained(settings: KafkaSettings, counts: dict[str, int]) -> None:
    for stage in ORDER:
        topic = settings.topic(INPUTS[stage])
        reader: Consumer = kafka.consumer(
            settings.bootstrap_servers, group_of(settings, stage), partition_eof=True
        )
        try:
            with kafka.translated():
                places = [TopicPartition(topic, each) for each in range(counts[topic])]
                committed = reader.committed(places, TIMEOUT_S)
            for place in committed:
                _require_taken(settings, reader, place, stage)
        finally:
            reader.close()


def _require_taken(
    settings: KafkaSettings, reader: Consumer, place: TopicPartition, stage: StageName
) -> None:
    """Behind what the stage has taken may lie markers of transactions and memories of a growth cut off, but no event."""
    first, end = settled_end(settings.bootstrap_servers, place.topic, place.partition)
    start = max(first, place.offset)
    if start >= end:
        return
    with kafka.translated():
        reader.assign([TopicPartition(place.topic, place.partition, start)])
        waits = any(isinstance(from_wire(value), Item) for value in _rest(reader))
    if waits:
        raise ConflictError(
            f"{place.topic}[{place.partition}] has events that {stage} has not taken: let a collector finish them"
        )


def _rest(reader: Consumer) -> Iterator[bytes]:
    """Give the values up to the end of the one partition that is read. Raises: UnavailableError."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        message = reader.poll(0.5)
        if message is None:
            continue
        error = message.error()
        if error is None:
            yield message.value() or b""
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library names its own codes so
            return
        else:
            raise kafka.translate(error)
    raise UnavailableError("Kafka: the end of a partition did not come in time")


def _grow_topics(settings: KafkaSettings, before: dict[str, int]) -> None:
    wanted = [
        NewPartitions(name, settings.partitions)
        for name, count in before.items()
        if count < settings.partitions
    ]
    admin = kafka.admin_client(settings.bootstrap_servers)
    with kafka.translated():
        for future in admin.create_partitions(wanted, operation_timeout=TIMEOUT_S).values() if wanted else ():
            future.result(TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        while any(count < settings.partitions for count in _counts(settings).values()):
            if time.monotonic() > deadline:
                raise UnavailableError("Kafka: the new partitions do not show in time")
