"""The witness's metrics, made once per process."""

from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from goodstrace.witnessing import Suspicion

CODES: Final = ("200", "400", "403", "404", "405", "408", "409", "413", "422", "503")


class WitnessMetrics:
    """What a witness counts; all label values exist from the start."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make the metrics."""
        name = "goodstrace_witness"
        self.requests = Counter(
            f"{name}_requests", "add-checkpoint requests by the answer's status.", ["code"], registry=registry
        )
        self.seconds = Histogram(
            f"{name}_request_seconds", "From a request's arrival to its answer.", registry=registry
        )
        self.suspicions = Counter(
            f"{name}_suspicions",
            "Signed checkpoints that contradict what was cosigned. Must stay 0: fork is proof that a log misbehaved, "
            "inconsistent is a fork or a wrong proof.",
            ["kind"],
            registry=registry,
        )
        self.leaves = Counter(
            f"{name}_index_leaves_verified",
            "Leaves of the log `index` that were made again and were the same.",
            registry=registry,
        )
        self.wrong_leaves = Counter(
            f"{name}_index_leaves_wrong",
            "Leaves of the log `index` that are not what the entries give. Must stay 0: something is left out.",
            registry=registry,
        )
        self.last = Gauge(
            f"{name}_last_cosigned_timestamp_seconds", "Unix time of the last cosignature.", registry=registry
        )
        self.logs = Gauge(f"{name}_logs", "Logs whose keys are trusted.", registry=registry)
        self.key_mismatches = Counter(
            f"{name}_key_mismatches",
            "Times that a list of logs named another key than the one trusted, and no statement led to it. Must stay 0.",
            registry=registry,
        )
        for code in CODES:
            self.requests.labels(code)
        for suspicion in Suspicion:
            self.suspicions.labels(suspicion.value)
