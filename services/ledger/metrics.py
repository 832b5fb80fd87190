"""The metrics of the rounds of the logs `root` and `index`, made once per process; those of sealing are `SealMetrics`."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_MERGE_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class RootMetrics:
    """What the rounds count; all exist from the start, in processes too that make none."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them in `registry`."""
        self.rounds = Counter(
            "goodstrace_ledger_root_rounds",
            "Rounds made, those too that found nothing new.",
            registry=registry,
        )
        self.pinned = Counter(
            "goodstrace_ledger_root_checkpoints_pinned",
            "Checkpoints put on the topic of the root log.",
            registry=registry,
        )
        self.failures = Counter(
            "goodstrace_ledger_root_round_failures",
            "Rounds that could not be made and are made again with the next.",
            registry=registry,
        )
        self.lag = Gauge(
            "goodstrace_ledger_root_lag_seconds",
            "How long the head that waited longest had waited when the last round read it; 0 where none waited, and who makes no rounds.",
            registry=registry,
        )


class IndexMetrics:
    """What the rounds of the log `index` count; all exist from the start where that log is kept, in processes too that make none."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them in `registry`."""
        name = "goodstrace_ledger_index"
        self.leaves = Counter(
            f"{name}_leaves", "Leaves put on the topic of the log `index`.", registry=registry
        )
        self.rounds = Counter(
            f"{name}_rounds", "Rounds made, those too that found nothing new.", registry=registry
        )
        self.rows = Counter(f"{name}_rows", "Rows written of what was newly sealed.", registry=registry)
        self.failures = Counter(
            f"{name}_round_failures",
            "Rounds that could not be made and are made again with the next.",
            registry=registry,
        )
        self.removed = Counter(
            f"{name}_runs_removed", "Runs removed a while after they were merged.", registry=registry
        )
        self.lag = Gauge(
            f"{name}_lag_entries",
            "Entries of the root log that the last round had not looked at; 0 for who makes no rounds.",
            registry=registry,
        )
        self.runs = Gauge(f"{name}_runs", "Live runs of the last leaf.", registry=registry)
        self.live_rows = Gauge(f"{name}_live_rows", "Rows in the live runs.", registry=registry)
        self.merge_seconds = Histogram(
            f"{name}_merge_seconds", "How long merging took.", buckets=_MERGE_SECONDS, registry=registry
        )
