"""Every metric of the query service, made once."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from services.runtime.grpc import CallMetrics

_ACK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ROUNDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
_METHODS = ("Trace", "GetEvent", "GetCheckpoint", "GetInclusionProof", "GetConsistencyProof")


class QueryMetrics:
    """The metrics of looking: calls, acknowledgements of browse records, rounds of look-ups, events shown."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them in `registry`."""
        self.calls = CallMetrics("query", _METHODS, registry)
        self.acknowledged = Histogram(
            "goodstrace_query_browse_acknowledged_seconds",
            "From sending a browse record to Kafka's acknowledgement.",
            buckets=_ACK_SECONDS,
            registry=registry,
        )
        self.rounds = Histogram(
            "goodstrace_query_trace_rounds",
            "Rounds of look-ups that one trace took.",
            buckets=_ROUNDS,
            registry=registry,
        )
        self.shown = Counter("goodstrace_query_events_shown_total", "Events shown.", registry=registry)
