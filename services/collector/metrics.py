"""Every metric of the collector, made once; all label values come from closed sets and exist from the start."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from services.collector.flow import Reason, StageName

CODES: Final = (
    "200", "201", "202", "204", "400", "401", "403", "404", "405", "406", "408", "409", "410", "413", "415", "422", "429",
    "503", "500",
)  # fmt: skip
METHODS: Final = (
    "capture", "events", "job", "jobs", "discovery", "rejections", "rejection", "rejection_content", "resubmit",
    "registry", "none",
)  # fmt: skip
REFUSALS: Final = ("unauthenticated", "forbidden", "unknown", "taken", "rate-limited")
LOOPS: Final = ("group_commit", "ingress", "stages", "projector", "states", "jobs", "rates", "ranges")
COLLECTED: Final = "collected"
REJECTED: Final = "rejected"
FOLLOWERS: Final = ("projector", "states")
CATEGORIES: Final = (
    "unavailable",
    "conflict",
    "fenced",
    "overloaded",
    "offset-gap",
    "offsets-lost",
    "unregistered",
    "envelope",
    "faulty-release",
    "internal",
)
_LATENCY: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES: Final = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)


class Metrics:
    """The collector's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY, rules: Iterable[str] = ()) -> None:
        """Make them all, each label pair at zero; `rules` are the IDs of those that are tried on events."""
        name = "goodstrace_collector"
        self.stage_in = Counter(f"{name}_stage_in_records", "Records taken in.", ["stage"], registry=registry)
        self.stage_out = Counter(
            f"{name}_stage_out_records", "Records passed on.", ["stage"], registry=registry
        )
        self.stage_busy = Gauge(
            f"{name}_stage_in_progress_records", "Records being worked on.", ["stage"], registry=registry
        )
        self.stage_last = Gauge(
            f"{name}_stage_last_processed_timestamp_seconds", "When the stage last passed records on.", ["stage"],
            registry=registry,
        )  # fmt: skip
        self.rejected = Counter(
            f"{name}_rejected_records",
            "Records sent to goods.rejected.",
            ["stage", "reason"],
            registry=registry,
        )
        self.ingress_in = Counter(
            f"{name}_ingress_in_messages", "Messages taken from goods.ingress.", registry=registry
        )
        self.ingress_out = Counter(
            f"{name}_ingress_out_records",
            "Records made of them, by where they went.",
            ["outcome"],
            registry=registry,
        )
        self.ingress_busy = Gauge(
            f"{name}_ingress_in_progress_messages", "Messages being worked on.", registry=registry
        )
        self.ingress_lag = Gauge(
            f"{name}_ingress_lag_messages",
            "Offsets of goods.ingress behind which this process is, in its partitions.",
            registry=registry,
        )
        self.ingress_last = Gauge(
            f"{name}_ingress_last_processed_timestamp_seconds",
            "When messages of goods.ingress were last handed on.",
            registry=registry,
        )
        self.requests = Counter(
            f"{name}_requests", "Answers of the capture API.", ["method", "code"], registry=registry
        )
        self.refused_callers = Counter(
            f"{name}_refused_callers",
            "Requests refused for who asked, or for how much.",
            ["category"],
            registry=registry,
        )
        self.capture_seconds = Histogram(
            f"{name}_capture_seconds",
            "From request to answer of a capture.",
            buckets=_LATENCY,
            registry=registry,
        )
        self.waiting_bytes = Gauge(
            f"{name}_waiting_bytes", "Bytes of captures being worked on.", registry=registry
        )
        self.waiting_limit = Gauge(
            f"{name}_waiting_limit_bytes",
            "How many may be; captures over it are answered 503.",
            registry=registry,
        )
        self.group_captures = Histogram(
            f"{name}_group_commit_captures", "Captures in one transaction.", buckets=_SIZES, registry=registry
        )
        self.group_records = Histogram(
            f"{name}_group_commit_records", "Records in one transaction.", buckets=_SIZES, registry=registry
        )
        self.group_seconds = Histogram(
            f"{name}_group_commit_seconds",
            "Duration of one transaction of captures.",
            buckets=_LATENCY,
            registry=registry,
        )
        self.span_records = Histogram(
            f"{name}_span_commit_records",
            "Records in one transaction of stages.",
            buckets=_SIZES,
            registry=registry,
        )
        self.span_seconds = Histogram(
            f"{name}_span_commit_seconds",
            "Duration of one transaction of stages.",
            buckets=_LATENCY,
            registry=registry,
        )
        self.goods_seconds = Histogram(
            f"{name}_goods_upsert_seconds", "Duration of one bulk upsert of goods information.", buckets=_LATENCY,
            registry=registry,
        )  # fmt: skip
        self.states_seconds = Histogram(
            f"{name}_states_write_seconds", "Duration of keeping the states of one batch.", buckets=_LATENCY,
            registry=registry,
        )  # fmt: skip
        self.states_written = Counter(f"{name}_states_written", "States of goods written.", registry=registry)
        self.states_to_renew = Gauge(
            f"{name}_states_to_renew",
            "States left to derive anew because a registration changed, estimated, in this process's partitions; 0 once it is done.",
            registry=registry,
        )
        self.behind = Gauge(
            f"{name}_projector_behind_records",
            "Records not kept yet, with markers of transactions; 0 once no more come.",
            ["loop"],
            registry=registry,
        )
        self.kept_last = Gauge(
            f"{name}_projector_last_kept_timestamp_seconds", "When a batch was last kept.", ["loop"],
            registry=registry,
        )  # fmt: skip
        self.jobs_unwritten = Counter(
            f"{name}_jobs_unwritten",
            "Jobs whose description could not be stored at once; should stay 0.",
            registry=registry,
        )
        self.stream_lines = Counter(
            f"{name}_stream_lines", "Lines of streams that were answered.", registry=registry
        )
        self.replayed_keys = Counter(
            f"{name}_replayed_keys",
            "Captures with an Idempotency-Key that were answered with an earlier capture.",
            registry=registry,
        )
        self.verdicts = Counter(
            f"{name}_rule_verdicts", "Verdicts of rules on single events.", ["rule"], registry=registry
        )
        self.unanswered = Counter(
            f"{name}_rule_unanswered_records",
            "Records for which a rule's expression had no answer, so that it gave no verdict; should stay 0.",
            ["rule"],
            registry=registry,
        )
        for rule in sorted(rules):
            self.verdicts.labels(rule)
            self.unanswered.labels(rule)
        self.failures = Counter(
            f"{name}_failures", "Failed attempts, by loop.", ["loop", "category"], registry=registry
        )
        self._make_pairs()

    def _make_pairs(self) -> None:
        """Make every pair of labels, so that each rate begins at 0."""
        for stage in StageName:
            for metric in (self.stage_in, self.stage_out, self.stage_busy, self.stage_last):
                metric.labels(stage.value)
        pairs: tuple[tuple[Counter | Gauge, tuple[Sequence[str], ...]], ...] = (
            (self.rejected, (list(StageName), list(Reason))),
            (self.ingress_out, ((COLLECTED, REJECTED),)),
            (self.requests, (METHODS, CODES)),
            (self.behind, (FOLLOWERS,)),
            (self.kept_last, (FOLLOWERS,)),
            (self.refused_callers, (REFUSALS,)),
            (self.failures, (LOOPS, CATEGORIES)),
        )
        for metric, labels in pairs:
            for each in product(*labels):
                metric.labels(*each)
