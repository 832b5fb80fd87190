"""docs/capacity.md, made of the model."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

from tools.capacity.model import Measured, Plan, Prices, plan

PAGE: Final = "docs/capacity.md"
RATES: Final = (2_000, 60_000, 600_000)
LOOKS_PART: Final = 100
"""One look for so many events."""
KEPT_DAYS: Final = 30


def table(plans: Sequence[Plan], prices: Prices | None = None) -> str:
    """Write plans as a table, one a column."""
    prices = prices or Prices()
    rows: list[tuple[str, list[str]]] = [
        ("looks/s", [f"{each.looks_s:,.0f}" for each in plans]),
        ("`GOODSTRACE_PARTITIONS`", [f"{each.partitions}" for each in plans]),
        ("`GOODSTRACE_BROWSE_PARTITIONS`", [f"{each.browse_partitions}" for each in plans]),
        *((f"pods of `{name}`", [f"{each.pods[name]:,}" for each in plans]) for name in plans[0].pods),
        ("brokers (8 cores each where they are more than three)", [f"{each.brokers:,}" for each in plans]),
        ("shards of MongoDB, three nodes each", [f"{each.shards:,}" for each in plans]),
        ("cores in all, each half used at the peak", [f"{each.cores:,}" for each in plans]),
        *(
            (
                f"disk of {name} a day, three copies, TB",
                [f"{each.disk_gb_a_day[name] / 1000:,.1f}" for each in plans],
            )
            for name in plans[0].disk_gb_a_day
        ),
        (
            f"US$ a month, with {KEPT_DAYS} days on fast disks",
            [f"{each.month_cost(prices, KEPT_DAYS):,.0f}" for each in plans],
        ),
        ("what breaks first", ["<br>".join(each.breaks_first) for each in plans]),
    ]
    head = "| events/s | " + " | ".join(f"{each.events_s:,.0f}" for each in plans) + " |"
    line = "|---|" + "---:|" * len(plans)
    return "\n".join([head, line, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)])


def _figures() -> str:
    told = Measured()
    return "\n".join(f"| `{each.name}` | {getattr(told, each.name):,} |" for each in fields(told))


def page() -> str:
    """Write the page."""
    prices = Prices()
    plans = [plan(rate, rate / LOOKS_PART) for rate in RATES]
    return _PAGE.format(
        table=table(plans, prices),
        figures=_figures(),
        core=prices.core,
        disk=prices.disk_gb,
        part=LOOKS_PART,
    )


_PAGE: Final = """\
# How much of everything

How many partitions, pods, cores and disks a given rate needs. `python -m tools.capacity --write` made this page; `python -m tools.capacity EVENTS_S LOOKS_S` computes it for your rates.

The page is arithmetic on what the benches measured on two cores ([benchmarks](benchmarks.md)). Where a figure was measured several times, the most expensive one counts, so most figures here are of busy hours. Two things were not measured: that many workers on many machines add up, and MongoDB
itself, since the benches run on SecantusDB. Measure one pod of each kind on your machines before you buy more, and put your figures into `tools/capacity/model.py`.

Rates are peak rates, with one look-up for {part} events. Prices: {core:g} US$ a month for a core with 4 GB, {disk:g} for a GB of fast disk.

{table}

**Goods topics and logs keep everything.** Replay and proofs rest on that, and it is what costs most. Kafka's tiered storage moves old segments to object storage (Strimzi:
`tieredStorage`), at a tenth of the price or less. Packs are compressed in MongoDB; most of the 5.5 kB an event on the store's disk are its journal, its oplog and the goods information.

**600,000 events/s is a plan, not a promise.** Nobody has run it. Several installations, each with its own log names and its own merchants, are simpler: they share
nothing, and a client follows any number of logs.

## What the numbers come from

Times are microseconds of one core for each event (`query_us`, `recorder_us`, `watch_us`: for each look-up); bytes are for each event.

| figure | value |
|---|---:|
{figures}

- `partition_most`: a worker of the stages takes 130 us an event, so a core processes 7,700 a second. Half of that is left free at the peak, and half again because the biggest merchants are not spread evenly.
- `ledger_most`: one process seals 20,000 to 34,000 records a second, however fast the store is. One process seals a partition, so no partition may exceed this rate; at 2,000 none comes near.
- `share`: at the peak a worker uses half a core, so that the others can take over the work of a pod that is away.

## What scales, and how far

| process | how many | why |
|---|---|---|
| `collector` | any number | any process takes any capture; rate limits of merchants are shared through the store |
| `stages`, `keeper` | up to the number of partitions | one consumer has a partition at a time |
| `ledger` | up to the number of partitions, by hand | a log has one writer; when a partition moves, its log stops until the next writer has read its head |
| `query` | any number | it keeps only caches |
| `audit` | up to the number of browse partitions, by hand | it seals, like the ledger |
| `watch` | up to the number of browse partitions | its counts are restored from `browse.counted` |

The logs `root` and `index` always have one writer each, among the ledgers. Adding partitions later needs a short stop of captures ([logs](logs.md)), so start with as many as you will need in two years.
"""
