"""What calls to the store cost and how its connections are used, told by the driver: once per process."""

from typing import Any, Final
from weakref import WeakValueDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from pymongo import MongoClient, monitoring

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


class StoreMetrics(monitoring.CommandListener, monitoring.ConnectionPoolListener):
    """Rate, errors and duration of each command; connections that are open and in use. All label values exist from the start.

    Where no server is there no command is sent, so that none fails: `writable` tells of that. Clients are asked for it when somebody
    reads the metrics. Told by the driver it would come from a thread that wakes twice a second, which closing a client waits for.
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
        self._clients: WeakValueDictionary[int, MongoClient[dict[str, Any]]] = WeakValueDictionary()
        self._writable.set_function(self._knows_a_writable_server)
        for command in COMMANDS:
            self._seconds.labels(command)
            self._failures.labels(command)

    def ask(self, client: MongoClient[dict[str, Any]]) -> None:
        """Ask this client too, as long as it is there, whether it knows a server that takes writes."""
        self._clients[id(client)] = client

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

    def _knows_a_writable_server(self) -> bool:
        clients = list(self._clients.values())
        return any(client.topology_description.has_writable_server() for client in clients)


def _known(command: str) -> str:
    return command if command in COMMANDS else "other"


STORE: Final = StoreMetrics()
"""Those of this process: a store's clients all tell the same."""
