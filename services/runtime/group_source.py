"""Reading topics as a member of a group: records from its committed positions, in batches."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from services.runtime.kafka import consumer, translate, translated

CALL_TIMEOUT_S: Final = 10.0
_CHUNK: Final = 64
_GATHER_S: Final = 0.01


class Source:
    """A group's reader of one or more topics, read_committed, from committed positions. One thread at a time.

    `on_partition(topic, partition, offset)` is called in that thread for each partition before its first record comes,
    and again after `rewind`.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Sequence[str],
        on_partition: Callable[[str, int, int], None],
        on_first: Callable[[str, int], None] | None = None,
        *,
        client: str = "",
    ) -> None:
        """Join the group; `on_first(topic, partition)` is called where the group has no committed offset yet.

        `client` is its name in metrics (see services.runtime.kafka.consumer).
        """
        self._consumer: Consumer = consumer(bootstrap, group, client=client)
        self._on_partition = on_partition
        self._on_first = on_first
        self._pending: list[TopicPartition] = []
        self._assigned: set[tuple[str, int]] = set()
        self._begun: dict[tuple[str, int], int] = {}
        self._changes = 0
        self._unread = False
        self._consumer.subscribe(
            list(topics), on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke
        )

    def metadata(self) -> Any:
        """Give the library's description of this member of the group, for `Move`."""
        return self._consumer.consumer_group_metadata()

    def assigned(self) -> frozenset[tuple[str, int]]:
        """List the partitions this reader has now."""
        return frozenset(self._assigned)

    def poll(self, max_records: int, max_bytes: int, wait_s: float, until_s: float = 0.0) -> list[Message]:
        """Wait for records and give those that are there, within the limits (the last one may go over them).

        Where some came, more are waited for until `until_s`, of the monotonic clock, unless there are enough. After it raised, the next call begins at the committed positions again, which calls `on_partition`.
        Raises: UnavailableError, OffsetGapError, and what `on_partition` and `on_first` raised.
        """
        if self._unread:
            self.rewind()
        self._take_pending()
        self._unread = True  # until the batch is given: an error on the way would drop the records before it
        batch = self._gather(max_records, max_bytes, wait_s, until_s)
        self._unread = False
        return batch

    def _gather(self, max_records: int, max_bytes: int, wait_s: float, until_s: float) -> list[Message]:
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        batch, size = [_sound(first)], len(first)
        changes = self._changes
        deadline = max(until_s, time.monotonic() + _GATHER_S)
        while len(batch) < max_records and size < max_bytes:
            chunk = self._consumer.consume(
                min(_CHUNK, max_records - len(batch)), max(0.0, deadline - time.monotonic())
            )
            if not chunk:
                break
            batch.extend(_sound(message) for message in chunk)
            size += sum(len(message) for message in chunk)
        if self._changes != changes:  # a partition that went and came back would give its records twice
            self.rewind()
            return []
        return batch

    def lag(self) -> int:
        """Give how many offsets are still to be read in this reader's partitions, as far as the library knows by now."""
        behind = 0
        with translated():
            for place in self._consumer.position(
                [TopicPartition(topic, partition) for topic, partition in self._assigned]
            ):
                low, end = self._consumer.get_watermark_offsets(place, cached=True)
                # Before its first record a partition is where it was begun; the first offset there is counts from `low`.
                begun = self._begun[str(place.topic), int(place.partition)]
                reached = place.offset if place.offset >= 0 else begun
                behind += max(0, end - max(low, reached))
        return behind

    def rewind(self) -> None:
        """Go back to the committed positions of all partitions. Raises: UnavailableError, and what `on_first` raised."""
        for place in self._positions(
            [TopicPartition(topic, partition) for topic, partition in self._assigned]
        ):
            with translated():
                self._consumer.seek(place)
        self._unread = False

    def skip_gap(self) -> int:
        """Go on with the oldest records that there are, where those at the committed positions are gone; tells how many offsets are passed over.

        For what can be made anew from elsewhere: who must not skip lets OffsetGapError end it. Raises: UnavailableError.
        """
        places = [TopicPartition(topic, partition) for topic, partition in self._assigned]
        skipped, further = 0, dict[tuple[str, int], int]()
        with translated():
            for place in self._consumer.committed(places, CALL_TIMEOUT_S):
                low, _ = self._consumer.get_watermark_offsets(place, timeout=CALL_TIMEOUT_S, cached=False)
                if 0 <= place.offset < low:
                    skipped += low - place.offset
                    further[str(place.topic), int(place.partition)] = low
            if further:
                self.commit(further)
            self._consumer.incremental_unassign(places)  # where an offset was gone the library seeks no more
        self._assigned.clear()
        self._pending += places
        self._take_pending()
        self._unread = False
        return skipped

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit the next offsets to read, outside of any transaction. Raises: UnavailableError."""
        with translated():
            self._consumer.commit(
                offsets=[
                    TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()
                ],
                asynchronous=False,
            )

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _assign(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """Take note only: finding the positions may fail, and must then be tried again."""
        self._pending += partitions
        self._changes += 1
        client.incremental_assign([])

    def _take_pending(self) -> None:
        placed = self._positions(self._pending)
        if placed:
            self._consumer.incremental_assign(placed)
            self._assigned.update((place.topic, place.partition) for place in placed)
            self._pending = []

    def _revoke(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {(place.topic, place.partition) for place in partitions}
        held = [place for place in partitions if (place.topic, place.partition) in self._assigned]
        self._pending = [place for place in self._pending if (place.topic, place.partition) not in gone]
        self._assigned -= gone
        client.incremental_unassign(held)
        self._changes += 1

    def _positions(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        if not partitions:
            return []
        with translated():
            committed = self._consumer.committed(partitions, CALL_TIMEOUT_S)
        for place in committed:
            if place.error is not None:
                raise translate(place.error)
            if place.offset < 0:
                if self._on_first is not None:
                    self._on_first(place.topic, place.partition)
                place.offset = OFFSET_BEGINNING
            self._begun[place.topic, place.partition] = place.offset
            self._on_partition(place.topic, place.partition, max(0, place.offset))
        return list(committed)


def _sound(message: Message) -> Message:
    error = message.error()
    if error is not None:
        raise translate(error)
    return message
