"""Is Kafka the one that the copied logs were sealed from? One made anew knows of no erasure, and has nothing of what came after the copy."""

from collections.abc import Sequence
from typing import Final

from services.backup.errors import BackupError
from services.backup.values import LogCopy
from services.replay.reading import TIMEOUT_S, TopicReader
from services.replay.sources import version_of
from services.runtime import kafka, topics
from services.runtime.settings import KafkaSettings
from services.sealing.core import TopicIdentity

_READ: Final = (topics.GOODS_BROWSED, topics.LOGS_CHECKPOINTS, topics.GOODS_COLLECTED)
"""What is read when the copy has been put back."""
_ADVICE: Final = "set KAFKA_BOOTSTRAP_SERVERS to the Kafka that the backup's logs were sealed from; where it is lost, see docs/backup.md"


def check_topics(settings: KafkaSettings, logs: Sequence[LogCopy]) -> None:
    """Make sure that each log's topic is the one its blocks name, and goes at least as far. Blocks.

    Logs of stages that were run again are left out: nothing is read from their topics.
    Raises: BackupError that says what to do, also where there is no such topic; UnavailableError.
    """
    wanted: dict[str, list[LogCopy]] = {settings.topic(name): [] for name in _READ}
    for copy in logs:
        if version_of(copy.log) is None:
            wanted.setdefault(copy.kafka.topic, []).append(copy)
    with kafka.translated():
        there = kafka.admin_client(settings.bootstrap_servers).list_topics(timeout=TIMEOUT_S).topics
    if missing := sorted(wanted.keys() - there.keys()):
        raise BackupError(f"Kafka has no topic {', '.join(missing)}: {_ADVICE}")
    for topic, copies in wanted.items():
        reader = TopicReader(settings.bootstrap_servers, topic)
        try:
            identity = reader.identity()
            ends = {partition: extent.end for partition, extent in reader.extents.items()}
        finally:
            reader.close()
        for copy in copies:
            check_topic(copy, identity, ends.get(copy.kafka.partition, 0))


def check_topic(copy: LogCopy, identity: TopicIdentity, end: int) -> None:
    """Compare what a log's last block says of its topic with the topic, whose partition goes up to `end`. Pure. Raises: BackupError."""
    said = copy.kafka
    if identity != TopicIdentity(said.cluster, said.topic, said.topic_id):
        raise BackupError(f"{copy.log} was sealed from another {said.topic} than Kafka has now: {_ADVICE}")
    if end < said.next:
        raise BackupError(
            f"{copy.log} was sealed up to offset {said.next} of {said.topic}[{said.partition}], and Kafka holds it up to {end} only: {_ADVICE}"
        )
