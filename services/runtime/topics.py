"""The Kafka topics, declared once: name, partitions, retention. Nothing is created by being written to."""

from typing import Final

import msgspec

KEEP_EVERYTHING: Final = -1
GOODS_INGRESS: Final = "goods.ingress"
GOODS_COLLECTED: Final = "goods.collected"
GOODS_SUMMARISED: Final = "goods.summarised"
GOODS_RECORDED: Final = "goods.recorded"
GOODS_CLASSIFIED: Final = "goods.classified"
GOODS_STORED: Final = "goods.stored"
GOODS_REJECTED: Final = "goods.rejected"
GOODS_BROWSED: Final = "goods.browsed"
BROWSE_OBSERVED: Final = "browse.observed"
BROWSE_WATCHED: Final = "browse.watched"
BROWSE_COUNTED: Final = "browse.counted"
BROWSE_ALERTS: Final = "browse.alerts"
LOGS_CHECKPOINTS: Final = "logs.checkpoints"
LOGS_INDEX: Final = "logs.index"

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""The largest message of any topic. An event of a MiB grows on its way: by its canonical keys, its lots and its tags."""

GOODS_TOPICS: Final = (
    GOODS_INGRESS,
    GOODS_COLLECTED,
    GOODS_SUMMARISED,
    GOODS_RECORDED,
    GOODS_CLASSIFIED,
    GOODS_STORED,
    GOODS_REJECTED,
)

WATCHED_MS: Final = 2 * 86_400_000
"""What is told of looks beside their records has pseudonyms: it is kept for as long as a watch or an index may be away."""
OBSERVED_MS: Final = WATCHED_MS
"""So has what the watch tells itself."""
ALERTS_MS: Final = WATCHED_MS
"""And so have alerts: what an operator wants for longer is copied."""
COMPACTED_MS: Final = 6 * 3_600_000
"""A value that was replaced, and then the marker of one that was deleted, is in a compacted topic about so long: its keys have pseudonyms."""
_SEGMENTS: Final = 8


class Topic(msgspec.Struct, frozen=True):
    """A topic as it must exist.

    retention_ms: -1 keeps everything. max_message_bytes: bounds one record. compacted: the last record of each key is kept.
    """

    name: str
    partitions: int
    replication: int
    retention_ms: int = KEEP_EVERYTHING
    max_message_bytes: int = MAX_MESSAGE_BYTES
    compacted: bool = False

    def config(self) -> dict[str, str]:
        """Give the topic's broker-side settings. In-sync replicas: all but one, at least one.

        Kafka forgets by whole segments, never the one that it writes to: that is closed after an eighth of the retention, and not after its seven days.
        """
        told = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "retention.bytes": "-1",
            "max.message.bytes": str(self.max_message_bytes),
            "min.insync.replicas": str(max(1, self.replication - 1)),
            "message.timestamp.type": "CreateTime",
        }
        if self.compacted:
            told |= {
                "segment.ms": str(COMPACTED_MS),
                "max.compaction.lag.ms": str(COMPACTED_MS),
                "delete.retention.ms": str(COMPACTED_MS),
            }
        elif self.retention_ms != KEEP_EVERYTHING:
            told["segment.ms"] = str(self.retention_ms // _SEGMENTS)
        return told


def declared(prefix: str, partitions: int, browse_partitions: int, replication: int) -> tuple[Topic, ...]:
    """List all topics. Every goods topic has the same number of partitions: a record keeps its partition, p to p.

    So have the topics of browse records and of the watch, whose state lies where its observations come. The topics of checkpoints and of the index have one for ever: the logs `root` and `index` are one each.
    """
    goods = tuple(Topic(prefix + name, partitions, replication) for name in GOODS_TOPICS)
    return (
        *goods,
        Topic(prefix + GOODS_BROWSED, browse_partitions, replication),
        Topic(prefix + BROWSE_OBSERVED, browse_partitions, replication, OBSERVED_MS),
        Topic(prefix + BROWSE_WATCHED, browse_partitions, replication, WATCHED_MS),
        Topic(prefix + BROWSE_COUNTED, browse_partitions, replication, compacted=True),
        Topic(prefix + BROWSE_ALERTS, browse_partitions, replication, ALERTS_MS),
        Topic(prefix + LOGS_CHECKPOINTS, 1, replication),
        Topic(prefix + LOGS_INDEX, 1, replication),
    )
