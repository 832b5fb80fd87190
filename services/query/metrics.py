"""Every metric of the query service, made once."""

from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from services.sealing.front import FrontMetrics

_METHODS = ["Trace", "GetEvent", "GetCheckpoint", "GetInclusionProof", "GetConsistencyProof"]
_ROUNDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)


class QueryMetrics(FrontMetrics):
    """The metrics of a service that shows records, and how many rounds of look-ups a trace took."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them in `registry`."""
        super().__init__("query", _METHODS, registry)
        self.rounds = Histogram(
            "goodstrace_query_trace_rounds",
            "Rounds of look-ups that one trace took.",
            buckets=_ROUNDS,
            registry=registry,
        )
