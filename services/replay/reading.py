"""Topics read from given offsets to where they end now: no consumer group is joined, nothing is committed."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from services.runtime import kafka
from services.runtime.errors import UnavailableError
from services.runtime.kafka import OffsetGapError
from services.sealing.core import Fetched, TopicIdentity

GROUP: Final = "goodstrace.replay"  # only a name: partitions are assigned by hand
TIMEOUT_S: Final = 30.0
_LOOK_BACK: Final = 64

Batches = list[tuple[int, list[Fetched]]]


class Extent(msgspec.Struct, frozen=True):
    """What Kafka holds of a partition: offsets from `low` up to, not including, `end`; markers of transactions with them."""

    low: int
    end: int


class TopicReader:
    """Reads the partitions of one topic up to the end that each had when it was made. One thread at a time."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Connect and find out how far the topic goes. Raises: UnavailableError, also where there is no such topic."""
        self.topic = topic
        self._bootstrap = bootstrap
        self._admin = kafka.admin_client(bootstrap, log_level=kafka.SILENT)  # what is wrong is raised, once
        self._consumer: Consumer = kafka.consumer(bootstrap, GROUP, partition_eof=True)
        self._reading: set[int] = set()
        self._paused: set[int] = set()
        with _translated():
            found = self._admin.list_topics(topic, TIMEOUT_S).topics[topic]
            if found.error is not None:
                raise UnavailableError(f"Kafka: topic {topic}: {found.error.str()}")
            self.extents = self._extents(sorted(found.partitions))

    @property
    def finished(self) -> bool:
        """Whether every partition that `start` named was read to its end."""
        return not self._reading

    def identity(self) -> TopicIdentity:
        """Ask which topic this is. Raises: UnavailableError."""
        cluster, topic_id = kafka.cluster_and_topic_id(self._bootstrap, self.topic, admin=self._admin)
        return TopicIdentity(cluster, self.topic, topic_id)

    def start(self, positions: Mapping[int, int]) -> None:
        """Read these partitions, each from its offset on.

        Raises: OffsetGapError where Kafka no longer holds that offset.
        """
        for partition, offset in positions.items():
            low = self.extents[partition].low
            if offset < low:
                raise OffsetGapError(
                    f"{self.topic}[{partition}]: Kafka holds offsets from {low} on, and {offset} is needed"
                )
        self._reading = {each for each, offset in positions.items() if offset < self.extents[each].end}
        with _translated():
            self._consumer.assign(
                [TopicPartition(self.topic, each, positions[each]) for each in sorted(self._reading)]
            )
        self._paused = set()

    def hold(self, partitions: Collection[int]) -> None:
        """Read only from the other partitions until the next call."""
        wanted = set(partitions) & self._reading
        with _translated():
            self._consumer.pause([TopicPartition(self.topic, each) for each in wanted - self._paused])
            self._consumer.resume(
                [TopicPartition(self.topic, each) for each in (self._paused & self._reading) - wanted]
            )
        self._paused = wanted

    def read(self, max_records: int, timeout_s: float) -> Batches:
        """Give the next committed records by partition, in offset order, at most `max_records`; none where none came in time.

        Raises: OffsetGapError, UnavailableError.
        """
        batches: dict[int, list[Fetched]] = {}
        with _translated():
            messages = self._at_hand(max_records, timeout_s) if self._reading else []
        for message in messages:
            partition, offset, error = int(message.partition() or 0), message.offset(), message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's own name
                raise kafka.translate(error)
            if error is not None or offset is None or offset >= self.extents[partition].end:
                self._done(partition)
            elif partition in self._reading:
                batches.setdefault(partition, []).append(Fetched(offset, message.value() or b""))
                if offset == self.extents[partition].end - 1:
                    self._done(partition)
        return list(batches.items())

    def _at_hand(self, max_records: int, timeout_s: float) -> list[Message]:
        """Wait for one message, and take those that are there with it: `consume` alone would wait for all of `max_records`."""
        first = self._consumer.poll(timeout_s)
        return [] if first is None else [first, *self._consumer.consume(max_records - 1, 0)]

    def last_offset(self, partition: int) -> int | None:
        """Give the offset of the partition's last record, None where it has none; `start` anew after it."""
        extent, reach = self.extents[partition], _LOOK_BACK
        while True:
            first = max(extent.low, extent.end - reach)
            self.start({partition: first})
            last = None
            while not self.finished:
                for _, records in self.read(1000, 0.5):
                    last = records[-1].offset
            if last is not None or first == extent.low:
                return last
            reach *= 8

    def offset_at(self, partition: int, time_ms: int) -> int:
        """Give the offset of the first record written at or after a time (Unix ms), the end where there is none."""
        with _translated():
            [found] = self._consumer.offsets_for_times(
                [TopicPartition(self.topic, partition, time_ms)], timeout=TIMEOUT_S
            )
        return int(found.offset) if found.offset >= 0 else self.extents[partition].end

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()

    def _done(self, partition: int) -> None:
        if partition in self._reading:
            self._reading.discard(partition)
            self._paused.discard(partition)
            self._consumer.incremental_unassign([TopicPartition(self.topic, partition)])

    def _extents(self, partitions: list[int]) -> dict[int, Extent]:
        specs: Any = OffsetSpec
        low = self._offsets(partitions, specs.earliest(), IsolationLevel.READ_UNCOMMITTED)
        end = self._offsets(partitions, specs.latest(), IsolationLevel.READ_COMMITTED)
        return {each: Extent(low[each], end[each]) for each in partitions}

    def _offsets(self, partitions: list[int], spec: Any, isolation: IsolationLevel) -> dict[int, int]:
        asked = {TopicPartition(self.topic, each): spec for each in partitions}
        futures = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=TIMEOUT_S)
        return {place.partition: int(future.result(TIMEOUT_S).offset) for place, future in futures.items()}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise kafka.translate(error) from error
    except TimeoutError as error:
        raise UnavailableError(f"Kafka: {error}") from error
