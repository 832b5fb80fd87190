"""The figures of a report that rest on what only the operator sees: statistics, alerts, blocks, what erasures say."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from goodstrace.audit.v1 import watch_pb2
from goodstrace.transparency.values import Month, PublicFigures
from services.audit.figures.store import Statistics
from services.audit.figures.values import Figures, Window
from services.audit.watch.store import ALERTS
from services.runtime.blocking import Blocks
from services.runtime.envelope import content_of
from services.runtime.mongo import Database, translated
from services.sealing.erasure.records import PART
from services.sealing.reader import LogReader

_COUNTED: Final = ("looks", "refusals", "sign_ins", "sign_ins_refused", "account_changes", "shown")

_TALLIED: Final = ("looks", "refusals", "sign_ins", "account_changes")


async def operator_figures(
    database: Database,
    reader: LogReader,
    month: Month,
    public: PublicFigures,
    erasures: dict[str, Sequence[int]],
) -> dict[str, Any]:
    """Gather the figures of a month.

    Args:
        database: of the services.
        reader: of its logs.
        month: which.
        public: what the logs show of it, to compare with.
        erasures: where erasures are, by log.
    Raises: UnavailableError, CorruptError.
    """
    statistics = Statistics(database)
    months = await statistics.windows(Window.MONTH, month.start_ms, month.end_ms)
    days = await statistics.windows(Window.DAY, month.start_ms, month.end_ms)
    told = months[0][1] if months else None
    return {
        **(_statistics(told) if told else {}),
        "by_day": {
            month.day_of(start) or "": each.counts.refusals + each.counts.sign_ins for start, each in days
        },
        **await _watch(database, month),
        "erasures": await _erasures(reader, erasures),
        "notes": _notes(told.counts.records if told else 0, public),
    }


def _statistics(told: Figures) -> dict[str, Any]:
    counts = told.counts
    tallies = {"by_role": counts.by_role, "by_method": counts.by_method}
    return {
        "statistics": {
            **{name: getattr(counts, name) for name in _COUNTED},
            "user_days": told.users,
            "keys": told.keys,
            "merchants": told.merchants,
        },
        **{
            name: {
                of: {name: getattr(tally, name) for name in _TALLIED} for of, tally in sorted(of_name.items())
            }
            for name, of_name in tallies.items()
        },
        "by_outcome": told.outcomes,
        "by_reason": dict(sorted(counts.by_reason.items())),
    }


def _notes(records: int, public: PublicFigures) -> list[str]:
    """Say where these figures and those of the logs do not fit together, which they do where counting has gone on for the whole month."""
    looks = public.total.looks
    notes = [
        "Refusals, sign-ins, changes of accounts, roles, calls, outcomes and reasons are content of records, which entries only commit to: nobody else can derive these figures.",
        "user_days: different users, each counted once for each day; beyond 255 with a standard error of 6.3 %, as keys and merchants.",
        "Alerts are kept for a time (docs/watch.md): those that were gone when the report was made are not counted.",
    ]
    if records != looks:
        notes.append(
            f"Statistics were made of {records} records of looks, and {looks} are sealed: counting began within the month, or was interrupted."
        )
    return notes


async def _watch(database: Database, month: Month) -> dict[str, Any]:
    rules, blocked = Counter[str](), 0
    query = {"end_ms": {"$gte": month.start_ms, "$lt": month.end_ms}}
    async with translated():
        async for row in database[ALERTS].find(query, {"rule": 1, "alert": 1}):
            rules[row["rule"]] += 1
            blocked += watch_pb2.Alert.FromString(bytes(row["alert"])).blocked_until_ms > 0
    in_force = Counter(
        f"{each.subject.partition(':')[0]}s by {'the watch' if each.by == 'watch' else 'operators'}"
        for each in await Blocks(database).in_force()
    )
    return {
        "alerts": dict(sorted(rules.items())),
        "blocks": {
            "put by rules in the month": blocked,
            **{f"in force when made: {name}": count for name, count in sorted(in_force.items())},
        },
    }


async def _erasures(reader: LogReader, places: dict[str, Sequence[int]]) -> dict[str, int]:
    """Count erasures by the scope and the reason that their records say."""
    said = Counter[str]()
    for log, indexes in places.items():
        for record in await reader.records(log, indexes):
            content = content_of(record.parts, PART) or b"{}"
            told = json.loads(content)
            said[f"{told.get('scope', 'unknown')}: {told.get('reason', 'unknown')}"] += 1
    return dict(sorted(said.items()))
