"""Metrics of witnessing, made once per process; `part` is the service's name. Only where a policy names witnesses."""

import contextlib
from collections.abc import Iterable
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from goodstrace.policy import Policy
from services.sealing.cosigning import FaultKind

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class WitnessMetrics:
    """What is counted of witnesses and of publishing; all witnesses' label values exist from the start."""

    def __init__(
        self, part: str, policy: Policy, endpoints: Iterable[str], registry: CollectorRegistry = REGISTRY
    ) -> None:
        """Make the metrics of one service; `endpoints` are the clients' labels."""
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
        self.signed = Gauge(
            f"{name}_signed_entries", "Size of a log's newest signed checkpoint.", ["log"], registry=registry
        )
        self.published = Gauge(
            f"{name}_published_entries",
            "Size of a log's newest checkpoint with its quorum; below signed_entries while one is missing.",
            ["log"],
            registry=registry,
        )
        self.last_published = Gauge(
            f"{name}_last_published_timestamp_seconds",
            "Unix time at which a checkpoint of a log was last published or got a cosignature.",
            ["log"],
            registry=registry,
        )
        for witness in policy.witnesses:
            self.cosignatures.labels(witness.name)
        for endpoint in endpoints:
            self.seconds.labels(endpoint)
            for kind in FaultKind:
                self.faults.labels(endpoint, kind.value)

    def forget(self, log: str) -> None:
        """Drop the values of a log that this process does not seal any more."""
        for gauge in (self.signed, self.published, self.last_published):
            with contextlib.suppress(KeyError):  # nothing of it was signed or published here
                gauge.remove(log)
