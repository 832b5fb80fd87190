"""A stage's place in its group, and a partition's last records read back."""

from typing import Any

from services.collector.errors import OffsetsLostError
from services.runtime.kafka import consumer
from services.runtime.read_back import read_back


def outside_of(bootstrap: str, group: str) -> Any:
    """Describe a group for `Move` by who is no member of it: nobody reads with it here, its offsets are moved on by the one who does its work.

    The library's description is of nothing that changes, so the client that gives it, with its threads and connections, is not kept.
    """
    client = consumer(bootstrap, group)
    try:
        return client.consumer_group_metadata()
    finally:
        client.close()


def require_nothing_written(bootstrap: str, topic: str, partition: int, group: str) -> None:
    """Check that a stage which has no committed offset has never written, but for what was aborted.

    Raises: OffsetsLostError, UnavailableError.
    """
    if read_back(bootstrap, topic, partition, 1, len):
        raise OffsetsLostError(
            f"group {group} has no committed offset for partition {partition}, but {topic} has records: "
            "set the group's offset to where it had come"
        )
