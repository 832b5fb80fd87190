"""Metrics of a service that seals, made once per process; `part` is the service's name."""

import contextlib
import time
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from services.runtime.tally import Tally

CATEGORIES: Final = (
    "corrupt",
    "envelope",
    "fenced",
    "internal",
    "key-command",
    "log-key",
    "lost-race",
    "offset-gap",
    "rolled-back",
    "topic-changed",
    "unavailable",
    "unprovable-record",
)
_LATENCY_BUCKETS_S: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2.5, 5, 10, 30)
_AGE_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 900, 3600)


class SealMetrics:
    """What a sealer counts; all label values exist from the start."""

    def __init__(self, part: str, registry: CollectorRegistry = REGISTRY) -> None:
        """Make the metrics of one service."""
        name = f"goodstrace_{part}"
        self.read = Counter(f"{name}_records_read", "Records read from Kafka.", registry=registry)
        self.sealed = Counter(
            f"{name}_records_sealed", "Records sealed by committed blocks.", registry=registry
        )
        self.waiting = Gauge(f"{name}_records_waiting", "Records read and not yet sealed.", registry=registry)
        self.blocks = Counter(f"{name}_blocks", "Blocks committed.", registry=registry)
        self.sealed_bytes = Counter(f"{name}_sealed_bytes", "Bytes of the records sealed.", registry=registry)
        self.latency = Histogram(
            f"{name}_seal_latency_seconds",
            "From the arrival of a block's first record to its signed checkpoint.",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.ages = Tally(
            f"{name}_capture_to_checkpoint_seconds",
            "From a record's capture to the signed checkpoint over it, by the clocks of two machines.",
            _AGE_BUCKETS_S,
            registry,
        )
        self.sealed_entries = Gauge(
            f"{name}_sealed_entries", "Entries in a log's committed blocks.", ["log"], registry=registry
        )
        self._oldest_ms: dict[str, int] = {}
        oldest = Gauge(
            f"{name}_oldest_waiting_seconds",
            "Age of the oldest record that was read and is not under a signed checkpoint yet, from its capture; 0 where none is.",
            registry=registry,
        )
        oldest.set_function(self._oldest_s)
        self.last_sealed = Gauge(
            f"{name}_last_sealed_timestamp_seconds",
            "Unix time of the last committed block.",
            registry=registry,
        )
        self.logs = Gauge(f"{name}_logs_assigned", "Logs that this process seals now.", registry=registry)
        self.conflicts = Counter(
            f"{name}_append_conflicts",
            "Blocks that another writer had sealed first. Must stay 0: two processes wrote one log.",
            registry=registry,
        )
        self.unprovable = Counter(
            f"{name}_unprovable_records",
            "Records whose entry does not commit to them; sealing stops there. Must stay 0.",
            registry=registry,
        )
        self.orphans = Counter(
            f"{name}_orphan_packs_removed", "Packs of commits that were cut off, removed.", registry=registry
        )
        self.faults = Counter(
            f"{name}_faults", "Faults by category; the retried ones too.", ["category"], registry=registry
        )
        for category in CATEGORIES:
            self.faults.labels(category)

    def waits(self, log: str, since_ms: int | None) -> None:
        """Note when the oldest record of a log that is not sealed yet was captured, in Unix milliseconds; None for none."""
        if since_ms is None:
            self._oldest_ms.pop(log, None)
        else:
            self._oldest_ms[log] = since_ms

    def forget(self, log: str) -> None:
        """Drop the values of a log that this process does not seal any more."""
        self._oldest_ms.pop(log, None)
        with contextlib.suppress(KeyError):
            self.sealed_entries.remove(log)

    def _oldest_s(self) -> float:
        """Give the age at the time of a scrape, so that it grows while the loop hangs."""
        return max((time.time() - each / 1000 for each in list(self._oldest_ms.values())), default=0.0)
