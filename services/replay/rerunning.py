"""`replay stage`: events taken through the stages of today into topics of a version of their own, and sealed from there.

The collector's own runner does it, exactly once, under names with the version behind them: topics `goods.stored.v2`, consumer
groups `collector.store.v2`. So an interrupted run goes on where it was, and what is sealed already stays as it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from services.collector.flow import StageName
from services.collector.metrics import Metrics
from services.collector.runner import Runner, group_of
from services.collector.settings import CollectorSettings
from services.collector.stages import INPUTS, OUTPUTS, Span
from services.replay.reading import TIMEOUT_S, TopicReader
from services.runtime import kafka, topics
from services.runtime.settings import KafkaSettings
from services.runtime.topics import Topic
from services.sealing.mongo import MongoBlockStore
from services.sealing.publishing import Publishing

LOOK_S: Final = 0.3
FIRST_STAGE: Final = {topic.removeprefix("goods."): stage for stage, topic in INPUTS.items()}
"""What `--from` may name, and the stage that reads it."""


class VersionedKafka(KafkaSettings):
    """Kafka's settings with every name but that of the topic read carrying a version."""

    version: str
    plain: str

    def topic(self, name: str) -> str:
        """Give a topic's or a group's full name."""
        full = super().topic(name)
        return full if name == self.plain else f"{full}.{self.version}"


def versioned(settings: KafkaSettings, version: str, start: str) -> VersionedKafka:
    """Name topics and groups of a version, reading from the topic that `start` names (see FIRST_STAGE)."""
    plain = INPUTS[FIRST_STAGE[start]]
    return VersionedKafka.model_construct(**settings.model_dump(), version=version, plain=plain)


def make_topics(settings: VersionedKafka, span: Span, partitions: int) -> list[str]:
    """Make the topics that the span writes, with as many partitions as the one it reads has; gives those made now.

    Raises: ConflictError, UnavailableError.
    """
    names = [topics.GOODS_REJECTED, *(OUTPUTS[stage] for stage in span.stages)]
    declared = [Topic(settings.topic(name), partitions, settings.replication) for name in names]
    return kafka.create_topics(settings.bootstrap_servers, declared)


def begin(settings: VersionedKafka, stage: StageName, reader: TopicReader, since_ms: int | None) -> int:
    """Set where the first stage begins in each partition, where it has not begun yet; gives in how many it had.

    Raises: UnavailableError.
    """
    consumer: Consumer = kafka.consumer(settings.bootstrap_servers, group_of(settings, stage))
    try:
        places = [TopicPartition(reader.topic, each) for each in sorted(reader.extents)]
        committed = consumer.committed(places, TIMEOUT_S)
        fresh = [place.partition for place in committed if place.offset < 0]
        offsets = [
            TopicPartition(
                reader.topic,
                each,
                reader.extents[each].low if since_ms is None else reader.offset_at(each, since_ms),
            )
            for each in fresh
        ]
        if offsets:
            consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        raise kafka.translate(error) from error
    finally:
        consumer.close()
    return len(places) - len(fresh)


class Rerun:
    """Runs a span over what a topic holds now, then stops."""

    def __init__(
        self,
        settings: VersionedKafka,
        span: Span,
        *,
        collector: CollectorSettings,
        secret: bytes,
        check: Callable[[], Awaitable[None]],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Prepare; nothing is connected before `run`. `check` must return before anything is read."""
        self._settings = settings
        self._group = group_of(settings, span.first)
        self._runner = Runner(
            span,
            kafka=settings,
            settings=collector,
            secret=secret,
            check=check,
            metrics=Metrics(),
            log=log,
            rerun=True,
        )

    async def run(self, topic: str, targets: dict[int, int], told: Callable[[int], None]) -> None:
        """Run until each partition of `topic` was taken up to its target offset.

        `told` gets by how many offsets it went on. Raises: ServiceError.
        """
        stop = asyncio.Event()
        running = asyncio.create_task(self._runner.run(stop))
        watching: Consumer = kafka.consumer(self._settings.bootstrap_servers, self._group)
        places = [TopicPartition(topic, each) for each in sorted(targets)]
        before = await asyncio.to_thread(_positions, watching, places)
        try:
            while not running.done():
                now = await asyncio.to_thread(_positions, watching, places)
                told(sum(now[each] - before[each] for each in targets))
                before = now
                if all(now[each] >= target for each, target in targets.items()):
                    break
                await asyncio.wait((running,), timeout=LOOK_S)
            stop.set()
            await running
        finally:
            running.cancel()
            await asyncio.to_thread(watching.close)


async def published(
    public: Publishing, store: MongoBlockStore, logs: Sequence[str], wait_s: float
) -> list[str]:
    """Wait for the quorum of the logs' newest checkpoints; give the logs that have not got it in time.

    Raises: RolledBackError, CorruptError, UnavailableError.
    """
    if public.at_once:
        return []
    for log in logs:
        public.take_up(log)
    until_s = asyncio.get_running_loop().time() + wait_s
    while True:
        for log in logs:
            public.check(log)
        heads = await store.heads(logs)
        waiting = [
            log
            for log, head in sorted(heads.items())
            if head.published is None or head.published.size < head.checkpoint.size
        ]
        if not waiting or asyncio.get_running_loop().time() > until_s:
            return waiting
        await asyncio.sleep(LOOK_S)


def targets(reader: TopicReader) -> dict[int, int]:
    """Give for each partition the offset after its last record; 0 where it has none. Raises: UnavailableError."""
    last = {each: reader.last_offset(each) for each in reader.extents}
    return {each: offset + 1 if offset is not None else 0 for each, offset in last.items()}


def _positions(consumer: Consumer, places: Sequence[TopicPartition]) -> dict[int, int]:
    try:
        committed: Any = consumer.committed(list(places), TIMEOUT_S)
    except KafkaException as error:
        raise kafka.translate(error) from error
    return {place.partition: max(0, place.offset) for place in committed}
