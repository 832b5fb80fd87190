"""Where the workers' group has come to, asked of Kafka itself: what Faust knows of it is not there yet when it hands on the first records."""

from collections.abc import Iterable
from threading import Lock
from typing import Any, Final

from confluent_kafka import TopicPartition

from services.runtime import kafka

_TIMEOUT_S: Final = 10.0


class Progress:
    """Asks for committed offsets; a member of no group, it moves nothing."""

    def __init__(self, bootstrap: str, group: str) -> None:
        """Make the client; it connects when it is asked."""
        self._consumer: Any = kafka.consumer(bootstrap, group)
        self._lock = Lock()

    def committed(self, topic: str, partition: int) -> int:
        """Tell from which offset the group would read on: the oldest where it has committed nothing. Blocks.

        Raises: UnavailableError.
        """
        place = TopicPartition(topic, partition)
        with self._lock, kafka.translated():
            (found,) = self._consumer.committed([place], timeout=_TIMEOUT_S)
            if found.offset >= 0:
                return int(found.offset)
            oldest, _ = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S, cached=False)
            return int(oldest)

    def behind(self, topic: str, partitions: Iterable[int]) -> int:
        """Count the records between what the group has committed and the ends of these partitions. Blocks. Raises: UnavailableError."""
        places = [TopicPartition(topic, partition) for partition in partitions]
        return sum(self._behind(place) for place in places)

    def _behind(self, place: TopicPartition) -> int:
        with (
            self._lock,
            kafka.translated(),
        ):  # for each by itself: who wants to know where to begin waits for one of them alone
            (found,) = self._consumer.committed([place], timeout=_TIMEOUT_S)
            oldest, end = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S, cached=False)
            return max(0, int(end) - max(int(oldest), int(found.offset)))

    def close(self) -> None:
        """Close the client."""
        with self._lock:
            self._consumer.close()
