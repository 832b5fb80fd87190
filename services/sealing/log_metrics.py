"""How far each log is signed and published, made once per process; `part` is the service's name."""

import contextlib

from prometheus_client import REGISTRY, CollectorRegistry, Gauge


class LogMetrics:
    """The sizes of the logs that this process seals, with witnesses or without."""

    def __init__(self, part: str, registry: CollectorRegistry = REGISTRY) -> None:
        """Make the metrics of one service."""
        name = f"goodstrace_{part}"
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

    def begin(self, log: str) -> None:
        """Show a log, a new one at 0."""
        for gauge in (self.signed, self.published, self.last_published):
            gauge.labels(log)

    def forget(self, log: str) -> None:
        """Drop the values of a log that this process does not seal any more."""
        for gauge in (self.signed, self.published, self.last_published):
            with contextlib.suppress(KeyError):  # nothing of it was signed or published here
                gauge.remove(log)
