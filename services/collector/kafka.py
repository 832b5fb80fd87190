"""A stage's place in its group, and a partition's last records read back."""

from typing import Any

from services.collector.errors import OffsetsLostError
from services.runtime.kafka import consumer
from services.runtime.read_back import read_back


class Group:
    """A group that nobody reads with here: its offsets are moved on by the one who does its work."""

    def __init__(self, bootstrap: str, group: str) -> None:
        """Make the library's client; it joins nothing."""
        self._consumer = consumer(bootstrap, group)

    def metadata(self) -> Any:
        """Give what `Move` wants."""
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()


def require_nothing_written(bootstrap: str, topic: str, partition: int, group: str) -> None:
    """Check that a stage which has no committed offset has never written, but for what was aborted.

    Raises: OffsetsLostError, UnavailableError.
    """
    if read_back(bootstrap, topic, partition, 1, len):
        raise OffsetsLostError(
            f"group {group} has no committed offset for partition {partition}, but {topic} has records: "
            "set the group's offset to where it had come"
        )
