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

Made by `python -m tools.capacity --write`; `python -m tools.capacity EVENTS_S LOOKS_S` reckons with your numbers. It is arithmetic on what
[benchmarks](benchmarks.md) measured on two cores, and says nothing of what was not: that many workers on many machines add up was not measured, nor MongoDB itself, since the benches run
on SecantusDB. Measure one pod of each on your machines before you buy the others, and put your figures into `tools/capacity/model.py`.

Rates are those of the peak. One look for {part} events; {core:g} US$ a month for a core with 4 GB and {disk:g} for a GB of fast disk.

{table}

**Goods topics and logs keep everything.** That is what replay and proofs rest on, and what costs. Kafka's tiered storage moves old segments to object storage (Strimzi:
`tieredStorage`), at a tenth of the price or less. Packs lie compressed in MongoDB: of the 5.5 kB an event that the bench found on the store's disk, its journal, oplog and the goods information are most.

**600,000 events/s is a plan, not a promise.** Nothing of it was run. Several installations with a log name each, a merchant in one of them, are simpler: they share
nothing, and a client follows any number of logs.

## What the numbers come from

Microseconds of one core for each event (`query_us`, `recorder_us`, `watch_us`: for each look), bytes an event:

| figure | value |
|---|---:|
{figures}

- `partition_most`: a worker of the stages takes 130 us an event, so a core does 7,700; half of that at the peak, and half again, since the biggest merchants are not spread evenly.
- `ledger_most`: one process seals 20,000 to 34,000 records a second, whatever the store does. A partition is one process's, so that no partition may pass it: at 2,000 none comes near.
- `share`: half of a core at the peak. A pod that is away leaves its part to the others.

## What may be scaled, and what not

| process | how many | why |
|---|---|---|
| `collector` | any | captures are taken by whoever is asked; rates of merchants are shared through the store |
| `stages`, `keeper` | up to the partitions | a partition is one consumer's at a time |
| `ledger` | up to the partitions, by hand | one writer a log; each move of a partition stops its log until the next one has read its head |
| `query` | any | keeps nothing but what it has read |
| `audit` | up to the browse partitions, by hand | seals, as the ledger does |
| `watch` | up to the browse partitions | its counts follow from `browse.counted` |

The logs `root` and `index` have one writer each, for ever, among the ledgers. More partitions later are an operation with a short stop of captures ([logs](logs.md)): begin with as many as you will want in two years.
"""
