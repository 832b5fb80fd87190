"""What calls to the store cost and how its connections are used, told by the driver: once per process."""

from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from pymongo import monitoring

COMMANDS: Final = (
    "find",
    "getMore",
    "insert",
    "update",
    "delete",
    "findAndModify",
    "aggregate",
    "ping",
    "other",
)
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OPEN, _IN_USE = "open", "in_use"


class StoreMetrics(
    monitoring.CommandListener, monitoring.ConnectionPoolListener, monitoring.TopologyListener
):
    """Rate, errors and duration of each command; connections that are open and in use. All label values exist from the start.

    Where no server is there no command is sent, so that none fails: `writable` tells of that.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make the metrics."""
        name = "goodstrace_store"
        self._seconds = Histogram(
            f"{name}_command_seconds",
            "Duration of commands that the store answered or refused.",
            ["command"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._failures = Counter(
            f"{name}_command_failures",
            "Commands that failed: refused, timed out, or their connection was lost.",
            ["command"],
            registry=registry,
        )
        connections = Gauge(
            f"{name}_connections", "Connections to the store, by state.", ["state"], registry=registry
        )
        self._open, self._in_use = connections.labels(_OPEN), connections.labels(_IN_USE)
        self._waits = Counter(
            f"{name}_connection_failures",
            "Times that a call got no connection: the pool was empty for too long, or the store cannot be reached.",
            registry=registry,
        )
        self._writable = Gauge(
            f"{name}_writable",
            "1 while a server is known that takes writes; 0 before the first connection, and while the store is away.",
            registry=registry,
        )
        for command in COMMANDS:
            self._seconds.labels(command)
            self._failures.labels(command)

    def started(self, event: Any) -> None:
        """A command was sent: counted when it ends."""

    def succeeded(self, event: Any) -> None:
        """Count an answer."""
        self._seconds.labels(_known(event.command_name)).observe(event.duration_micros / 1e6)

    def failed(self, event: Any) -> None:
        """Count a failure."""
        command = _known(event.command_name)
        self._seconds.labels(command).observe(event.duration_micros / 1e6)
        self._failures.labels(command).inc()

    def opened(self, event: Any) -> None:
        """See description_changed."""

    def description_changed(self, event: Any) -> None:
        """Note whether there is a server that takes writes, as the driver sees it now."""
        self._writable.set(event.new_description.has_writable_server())

    def closed(self, event: Any) -> None:
        """See description_changed."""

    def connection_created(self, event: Any) -> None:
        """Count a connection in."""
        del event
        self._open.inc()

    def connection_closed(self, event: Any) -> None:
        """Count a connection out."""
        del event
        self._open.dec()

    def connection_checked_out(self, event: Any) -> None:
        """A call took a connection."""
        del event
        self._in_use.inc()

    def connection_checked_in(self, event: Any) -> None:
        """A call gave its connection back."""
        del event
        self._in_use.dec()

    def connection_check_out_failed(self, event: Any) -> None:
        """A call got none."""
        del event
        self._waits.inc()

    def connection_check_out_started(self, event: Any) -> None:
        """See connection_checked_out."""

    def connection_ready(self, event: Any) -> None:
        """See connection_created."""

    def pool_created(self, event: Any) -> None:
        """Nothing to count."""

    def pool_ready(self, event: Any) -> None:
        """Nothing to count."""

    def pool_cleared(self, event: Any) -> None:
        """Nothing to count: its connections are closed one by one."""

    def pool_closed(self, event: Any) -> None:
        """Nothing to count: its connections are closed one by one."""


def _known(command: str) -> str:
    return command if command in COMMANDS else "other"


STORE: Final = StoreMetrics()
"""Those of this process: a store's clients all tell the same."""
