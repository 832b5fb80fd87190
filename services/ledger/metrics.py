"""The metrics of the root log's rounds, made once per process; those of sealing are `SealMetrics`."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


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
            "How long the head that waited longest had waited when the last round read it; 0 where none waited.",
            registry=registry,
        )
