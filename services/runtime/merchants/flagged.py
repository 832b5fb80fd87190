"""Events in which something was noticed, as the collector keeps them for the merchants who captured them. Pure.

The collection is a convenience beside the log: what it says is in the facts of the sealed record whose ID is its `_id`.
"""

from typing import Any, Final

import msgspec

FLAGGED: Final = "flagged_events"
MAX_NAMES: Final = 64
MAX_KEYS: Final = 20
MAX_DETAIL_CHARS: Final = 500


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was noticed: `name` of a flag or the ID of a rule; of a rule its severity, one sentence for people, and of which goods its limits are registered."""

    name: str
    severity: str = ""
    detail: str = ""
    registered: tuple[str, ...] = ()


class FlaggedEvent(msgspec.Struct, frozen=True):
    """An event in which something was noticed.

    id: the record's, hex. merchant: who captured it. record_ms: when, Unix milliseconds. time_us: event time, Unix microseconds UTC. step: of
    the supply chain. findings: at most 64. keys: canonical keys of its goods, at most 20. goods: how many there are. place: where it was, a
    canonical key. read: its number in a run of reads, 1 for the first or only one, 0 where it is no read.
    """

    id: str
    merchant: int
    record_ms: int
    time_us: int
    step: str
    findings: tuple[Finding, ...]
    keys: tuple[str, ...]
    goods: int
    place: str = ""
    read: int = 0


def row_of(event: FlaggedEvent) -> dict[str, Any]:
    """Give its document; `names` is what it is found by."""
    row: dict[str, Any] = msgspec.to_builtins(event)
    return {"_id": row.pop("id"), **row, "names": sorted({each.name for each in event.findings})}


def flagged_of(row: dict[str, Any]) -> FlaggedEvent:
    """Read a document."""
    return msgspec.convert({**row, "id": row["_id"]}, FlaggedEvent)
