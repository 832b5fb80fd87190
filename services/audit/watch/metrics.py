"""The watch's metrics."""

from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from services.runtime.topics import BROWSE_ALERTS, BROWSE_OBSERVED, BROWSE_WATCHED

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
TOPICS = (BROWSE_WATCHED, BROWSE_OBSERVED, BROWSE_ALERTS)
"""What a worker reads, without the prefix."""
_OUTCOMES = ("counted", "skipped", "late")


class WatchMetrics:
    """What a worker did; every label exists from the start."""

    def __init__(self, rules: Iterable[str], registry: CollectorRegistry = REGISTRY) -> None:
        """Make them; `rules` are the rules' IDs."""
        self.records = Counter(
            "goodstrace_watch_records_total", "Records of browse.watched observed.", registry=registry
        )
        self.restarts = Counter(
            "goodstrace_watch_restarts_total",
            "Times that this worker was started again, after status 70 or a crash: should stay 0.",
            registry=registry,
        )
        self.unreadable = Counter(
            "goodstrace_watch_records_unreadable_total",
            "Records of browse.watched that cannot be read: nothing is counted by them. Should stay 0.",
            registry=registry,
        )
        self.observations = Counter(
            "goodstrace_watch_observations_total",
            "Observations by what became of them: counted, skipped (counted before), late (their window is gone: should stay 0).",
            ["outcome"],
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "goodstrace_watch_batch_seconds",
            "Counting one batch, with its statistics stored.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.alerts = Counter(
            "goodstrace_watch_alerts_total", "Alerts sent, by rule.", ["rule"], registry=registry
        )
        self.first_seen = Counter(
            "goodstrace_watch_users_first_seen_total",
            "Users who came for the first time.",
            registry=registry,
        )
        self.not_waited_for = Counter(
            "goodstrace_watch_windows_not_judged_total",
            "Windows that a comparing rule did not judge because too many waited: should stay 0.",
            registry=registry,
        )
        self.forgotten = Counter(
            "goodstrace_watch_states_forgotten_total",
            "Subjects whose counts were dropped as old.",
            registry=registry,
        )
        self.clock = Gauge(
            "goodstrace_watch_clock_timestamp_seconds",
            "Event time that all partitions have come to, in the partition of a batch counted last (Unix seconds).",
            registry=registry,
        )
        self.partitions = Gauge(
            "goodstrace_watch_partitions",
            "Partitions of browse.observed that this worker has.",
            registry=registry,
        )
        self.lag = Gauge(
            "goodstrace_watch_lag_records",
            "Records of a topic between what is committed and its end, in the partitions that this worker has, as Kafka told last.",
            ["topic"],
            registry=registry,
        )
        for topic in TOPICS:
            self.lag.labels(topic)
        for rule in rules:
            self.alerts.labels(rule)
        for outcome in _OUTCOMES:
            self.observations.labels(outcome)
