"""From events a second to partitions, workers, shards, disks and cost: arithmetic on measured figures, and nothing that was not.

The figures are those of docs/benchmarks.md and of the decisions it names, taken on two cores that Kafka, the store and the services shared. They are
processor time, so that what one worker of one core does follows; that many workers add up was measured for none of this, and is what the model assumes.
"""

import math
from dataclasses import dataclass, field
from typing import Final

SECONDS_A_DAY: Final = 86_400
_GB: Final = 10**9


@dataclass(frozen=True)
class Measured:
    """What was measured, and what is reckoned with beside it.

    Times are microseconds of one core for each event or look, bytes are for each event. share: how much of a core a worker may take at the peak. Where a
    figure was taken several times the dearer one stands here: a quiet machine is no promise.
    """

    ways_in_us: float = 240  # some 600 of a busy hour in the whole collector, less the next two
    stages_us: float = 130  # 99 to 130
    keeper_us: float = 230  # 37 % of some 600 us of a busy hour: states and projector
    ledger_us: float = 40  # 22 to 42
    kafka_us: float = 390
    store_us: float = 200
    query_us: float = 5_600
    recorder_us: float = 2_300
    watch_us: float = 720
    kafka_bytes: float = 5 * 1_000  # a record of about 1 kB in five topics that keep everything, before lz4
    store_bytes: float = 5_500
    ledger_most: float = 25_000  # records a second of one process: its loop, whatever the store
    partition_most: float = (
        2_000  # events a second of a partition: what one worker's span takes with the rest of its process
    )
    share: float = 0.5
    replicas: int = 3


@dataclass(frozen=True)
class Prices:
    """US dollars a month, to be replaced by yours: of a core with 4 GB, and of a GB of fast disk."""

    core: float = 30.0
    disk_gb: float = 0.10


@dataclass(frozen=True)
class Plan:
    """What is wanted. cores: of each kind of process and server, all replicas together; disk_gb_a_day: by server, all replicas together."""

    events_s: float
    looks_s: float
    partitions: int
    browse_partitions: int
    pods: dict[str, int]
    brokers: int
    shards: int
    cores: int
    disk_gb_a_day: dict[str, float] = field(default_factory=dict)
    breaks_first: tuple[str, ...] = ()

    def month_cost(self, prices: Prices, kept_days: int) -> float:
        """Reckon a month, with what was kept for so many days on the disks."""
        disks = sum(self.disk_gb_a_day.values()) * kept_days
        return self.cores * prices.core + disks * prices.disk_gb


def plan(events_s: float, looks_s: float, measured: Measured | None = None) -> Plan:
    """Reckon what so many events and looks a second want, at the peak. Raises: ValueError where one is no rate."""
    if not (events_s > 0 and looks_s > 0 and math.isfinite(events_s + looks_s)):
        raise ValueError("events and looks a second must be more than 0")
    figures = measured or Measured()
    partitions = _rounded(max(4, events_s / figures.partition_most))
    watched = max(
        2.0,
        looks_s * figures.watch_us / (1e6 * figures.share),
        looks_s * figures.recorder_us / (1e6 * figures.share),
    )
    browse_partitions = _rounded(watched)
    pods = {
        "collector": _workers(events_s, figures.ways_in_us, figures.share, 2),
        "stages": _workers(events_s, figures.stages_us, figures.share, 2),
        "keeper": _workers(events_s, figures.keeper_us, figures.share, 1),
        "ledger": max(
            _workers(events_s, figures.ledger_us, figures.share, 2), math.ceil(events_s / figures.ledger_most)
        ),
        "query": _workers(looks_s, figures.query_us, figures.share, 2),
        "audit": _workers(looks_s, figures.recorder_us, figures.share, 2),
        "watch": _workers(looks_s, figures.watch_us, figures.share, 1),
    }
    broker_cores = math.ceil(events_s * figures.kafka_us / (1e6 * figures.share))
    store_cores = math.ceil(events_s * figures.store_us / (1e6 * figures.share))
    brokers = max(figures.replicas, math.ceil(broker_cores / 8))
    shards = max(1, math.ceil(store_cores / 8))
    cores = sum(pods.values()) + max(brokers, broker_cores) + max(shards, store_cores) * figures.replicas
    disks = {
        "Kafka": events_s * SECONDS_A_DAY * figures.kafka_bytes * figures.replicas / _GB,
        "MongoDB": events_s * SECONDS_A_DAY * figures.store_bytes * figures.replicas / _GB,
    }
    made = Plan(events_s, looks_s, partitions, browse_partitions, pods, brokers, shards, cores, disks)
    return Plan(**{**made.__dict__, "breaks_first": _breaks(made)})


def _workers(rate: float, each_us: float, share: float, least: int) -> int:
    return max(least, math.ceil(rate * each_us / (1e6 * share)))


def _rounded(number: float) -> int:
    """Give the next number that many numbers of workers divide: 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ..."""
    wanted, power = math.ceil(number), 1
    while power < wanted:
        if power >= 2 and power // 2 * 3 >= wanted:
            return power // 2 * 3
        power *= 2
    return power


def _breaks(made: Plan) -> tuple[str, ...]:
    """Say what gives way first, in order: what a number of the plan runs into."""
    told: list[str] = []
    over = [name for name in ("stages", "keeper", "ledger") if made.pods[name] > made.partitions]
    if over:
        told.append(
            f"{', '.join(over)}: more pods wanted than the {made.partitions} partitions have work for"
        )
    over = [name for name in ("audit", "watch") if made.pods[name] > made.browse_partitions]
    if over:
        told.append(
            f"{', '.join(over)}: more pods wanted than the {made.browse_partitions} browse partitions have work for"
        )
    day = sum(made.disk_gb_a_day.values())
    if day > 1_000:
        told.append(f"disks: {day / 1000:,.1f} TB a day, and nothing sealed is ever deleted")
    if made.shards > 1:
        told.append(f"one MongoDB primary: its processor; {made.shards} shards by hashed log and first entry")
    if made.partitions > 256:
        told.append(
            f"the root log: it pins {made.partitions + made.browse_partitions} heads each 1.5 s in one log of one writer; not measured"
        )
    if not told:
        told.append("the keeper of goods' states: it trails a load that lasts, and nothing waits for it")
    return tuple(told)
