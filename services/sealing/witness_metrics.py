"""Metrics of witnessing, made once per process; `part` is the service's name. Only where a policy names witnesses."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from goodstrace.policy import Policy
from services.sealing.cosigning import FaultKind
from services.sealing.log_metrics import LogMetrics

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class WitnessMetrics(LogMetrics):
    """What is counted of witnesses and of publishing; all witnesses' label values exist from the start."""

    def __init__(
        self, part: str, policy: Policy, endpoints: Iterable[str], registry: CollectorRegistry = REGISTRY
    ) -> None:
        """Make the metrics of one service; `endpoints` are the clients' labels."""
        super().__init__(part, registry)
        name = f"goodstrace_{part}"
        self.cosignatures = Counter(
            f"{name}_cosignatures", "Cosignatures that verified.", ["witness"], registry=registry
        )
        self.faults = Counter(
            f"{name}_witness_faults",
            "Requests to a witness without a cosignature. Of kinds fork and rolled-back it must stay 0.",
            ["witness", "kind"],
            registry=registry,
        )
        self.seconds = Histogram(
            f"{name}_witness_seconds",
            "Time of a request to a witness, answered or not.",
            ["witness"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.last_cosigned = Gauge(
            f"{name}_witness_last_cosigned_timestamp_seconds",
            "Unix time of a witness's last cosignature that verified; 0 before the first.",
            ["witness"],
            registry=registry,
        )
        for witness in policy.witnesses:
            self.cosignatures.labels(witness.name)
            self.last_cosigned.labels(witness.name)
        for endpoint in endpoints:
            self.seconds.labels(endpoint)
            for kind in FaultKind:
                self.faults.labels(endpoint, kind.value)

    def cosigned(self, witness: str, now_s: float) -> None:
        """Count a cosignature that verified at `now_s`, Unix seconds."""
        self.cosignatures.labels(witness).inc()
        self.last_cosigned.labels(witness).set(now_s)
