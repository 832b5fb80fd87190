"""What librdkafka tells of its clients every few seconds, as a few metrics with closed labels: once per process.

Only for clients that are polled all the time: the library keeps each report until somebody takes it.
Source: librdkafka's STATISTICS.md.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

CLIENTS: Final = (
    "ingress",
    "summarise",
    "record",
    "classify",
    "store",
    "projector",
    "states",
    "ledger",
    "ledger_root",
    "ledger_index",
    "audit",
    "browse_index",
    "browses",
)
"""What a client is for: the first stage of a span, a follower, a sealer, or the producer of browse records."""
INTERVAL_MS: Final = 2_000
_CONNECTED: Final = "UP"
_KINDS: Final = ("send", "receive", "timeout")


class _Window(msgspec.Struct):
    p99: int = 0
    max: int = 0


class _Broker(msgspec.Struct):
    state: str = ""
    txerrs: int = 0
    rxerrs: int = 0
    req_timeouts: int = 0
    rtt: _Window = msgspec.field(default_factory=_Window)
    throttle: _Window = msgspec.field(default_factory=_Window)


class _Partition(msgspec.Struct):
    fetch_state: str = "none"
    fetchq_cnt: int = 0
    fetchq_size: int = 0
    next_offset: int = -1
    ls_offset: int = -1


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition] = {}


class Report(msgspec.Struct):
    """What is read of a report of the library; the rest is passed over."""

    msg_cnt: int = 0
    msg_max: int = 0
    brokers: dict[str, _Broker] = {}
    topics: dict[str, _Topic] = {}

    def fetching(self) -> list[_Partition]:
        """List the partitions that are read now."""
        return [
            partition
            for topic in self.topics.values()
            for partition in topic.partitions.values()
            if partition.fetch_state == "active"
        ]

    def lag(self) -> int:
        """Count the records that are committed in Kafka and were not handed out yet, 0 at the end of all partitions.

        From the next offset to fetch, which has passed the markers of transactions, and not from the last one handed
        out, which stays before them: that would never come to 0.
        """
        return sum(
            each.fetchq_cnt + max(0, each.ls_offset - each.next_offset)
            for each in self.fetching()
            if each.next_offset >= 0
        )


class KafkaMetrics:
    """The metrics of all clients of a process; a client's label values exist once it is made."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make the metrics."""
        name, by_client = "goodstrace_kafka", ["client"]
        self.lag = Gauge(
            f"{name}_lag_records",
            "Records that are committed in this client's partitions and were not handed to it yet.",
            by_client,
            registry=registry,
        )
        self.partitions = Gauge(
            f"{name}_partitions_assigned", "Partitions that it reads now.", by_client, registry=registry
        )
        self.fetched = Gauge(
            f"{name}_fetched_waiting_bytes",
            "Bytes that were fetched ahead and not handed out yet; bounded by the client's settings.",
            by_client,
            registry=registry,
        )
        self.unsent = Gauge(
            f"{name}_unsent_messages", "Messages waiting in a producer's queue.", by_client, registry=registry
        )
        self.unsent_limit = Gauge(
            f"{name}_unsent_limit_messages", "How many may wait there.", by_client, registry=registry
        )
        self.round_trip = Gauge(
            f"{name}_round_trip_seconds",
            "99th percentile of the time of a request, of the slowest broker; a fetch waits up to 1 s for records.",
            by_client,
            registry=registry,
        )
        self.throttled = Gauge(
            f"{name}_throttled_seconds", "Longest time that a broker held it back.", by_client,
            registry=registry,
        )  # fmt: skip
        self.errors = Counter(
            f"{name}_broker_errors",
            "Requests that failed on the way to a broker, by kind.",
            ["client", "kind"],
            registry=registry,
        )
        self.connected = Gauge(
            f"{name}_brokers_connected",
            "Brokers that it is connected to; 0 before its first report, and while Kafka is away.",
            by_client,
            registry=registry,
        )
        self.reported = Gauge(
            f"{name}_statistics_timestamp_seconds",
            "When the client last reported; it stands still where nobody polls it any more.",
            by_client,
            registry=registry,
        )

    def begin(self, client: str) -> None:
        """Show a client at 0, before its first report. Raises: ValueError where `client` is none of CLIENTS."""
        if client not in CLIENTS:
            raise ValueError(f"{client!r} is none of {', '.join(CLIENTS)}")
        for gauge in (
            self.lag, self.partitions, self.fetched, self.unsent, self.unsent_limit, self.round_trip,
            self.throttled, self.connected, self.reported,
        ):  # fmt: skip
            gauge.labels(client).set(0)
        for kind in _KINDS:
            self.errors.labels(client, kind)

    def listener(self, client: str) -> Callable[[str], None]:
        """Make the taker of one client's reports, from which on it is shown. Raises: as `begin`."""
        self.begin(client)
        before = dict.fromkeys(_KINDS, 0)

        def take(text: str) -> None:
            self._take(client, msgspec.json.decode(text, type=Report), before)

        return take

    def _take(self, client: str, report: Report, before: dict[str, int]) -> None:
        fetching = report.fetching()
        brokers = report.brokers.values()
        self.lag.labels(client).set(report.lag())
        self.partitions.labels(client).set(len(fetching))
        self.fetched.labels(client).set(sum(each.fetchq_size for each in fetching))
        self.unsent.labels(client).set(report.msg_cnt)
        self.unsent_limit.labels(client).set(report.msg_max)
        self.round_trip.labels(client).set(max((each.rtt.p99 for each in brokers), default=0) / 1e6)
        self.throttled.labels(client).set(max((each.throttle.max for each in brokers), default=0) / 1e3)
        self.connected.labels(client).set(sum(each.state == _CONNECTED for each in brokers))
        self.reported.labels(client).set_to_current_time()
        now = {
            "send": sum(each.txerrs for each in brokers),
            "receive": sum(each.rxerrs for each in brokers),
            "timeout": sum(each.req_timeouts for each in brokers),
        }
        for kind, count in now.items():
            self.errors.labels(client, kind).inc(max(0, count - before[kind]))
        before.update(now)


KAFKA: Final = KafkaMetrics()
"""Those of this process."""


def reporting(client: str) -> dict[str, Any]:
    """Give the settings by which a client of the library reports as `client`; none for an empty name."""
    if not client:
        return {}
    return {"statistics.interval.ms": INTERVAL_MS, "stats_cb": KAFKA.listener(client)}
