"""`goodstrace browses --my-goods` and `goodstrace statistics`: figures of who looked."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from goodstrace.audit.v1 import audit_pb2
from goodstrace.cli.display import console
from goodstrace.cli.options import client_options, connect, json_option, print_json
from goodstrace.client_figures import WINDOWS, GoodsBrowses

DEFAULT_DAYS: Final = 30
_TALLIED: Final = ("looks", "refusals", "sign_ins", "account_changes")
_DEFAULT_WINDOWS: Final = {
    "hour": dt.timedelta(days=1),
    "day": dt.timedelta(days=30),
    "month": dt.timedelta(days=365),
}


def span(first: dt.datetime | None, last: dt.datetime | None) -> tuple[dt.date, dt.date]:
    """Give the days that are asked for: by default the 30 up to yesterday."""
    until = last.date() if last else dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    return first.date() if first else until - dt.timedelta(days=DEFAULT_DAYS - 1), until


def show_goods(found: GoodsBrowses, out: Console) -> None:
    """Print who looked at a merchant's goods."""
    table = Table(title=f"Who looked at the goods of merchant {found.merchant}", title_justify="left")
    for column in ("day (UTC)", "role", "step of the goods", "people"):
        table.add_column(column)
    for day in found.days:
        few = f"fewer than {found.least_viewers}"
        total = str(day.total_viewers) if day.HasField("total_viewers") else few
        table.add_row(day.day, "all", "all", total)
        for count in day.counts:
            table.add_row("", count.role, count.step or "all", str(count.viewers))
    out.print(table)
    out.print(
        f"Roles and steps that are not listed: fewer than {found.least_viewers} people, or left out so that those cannot be computed. "
        + (f"Counted until {found.counted_until}." if found.counted_until else "No day is counted yet.")
    )


def goods_document(found: GoodsBrowses) -> dict[str, Any]:
    """Give the same as JSON-like values; what is not told is null or not there."""
    return {
        "merchant": found.merchant,
        "least_viewers": found.least_viewers,
        "counted_until": found.counted_until or None,
        "days": [
            {
                "day": day.day,
                "total_viewers": day.total_viewers if day.HasField("total_viewers") else None,
                "counts": [
                    {"role": each.role, "step": each.step or None, "viewers": each.viewers}
                    for each in day.counts
                ],
            }
            for day in found.days
        ],
        "browse_id": found.browse_id,
    }


@click.command()
@click.option(
    "--window",
    type=click.Choice(list(WINDOWS)),
    default="day",
    show_default=True,
    help="How long each is (UTC).",
)
@click.option("--from", "first", type=click.DateTime(), help="Windows that begin then (UTC) or later.")
@click.option("--to", "last", type=click.DateTime(), help="Windows that begin before it; by default now.")
@client_options
@json_option
def statistics(
    window: str, first: dt.datetime | None, last: dt.datetime | None, *, as_json: bool, **connection: Any
) -> None:
    """Tell how much was looked at, in windows of time: for auditors and operators.

    Of the local stack it is its auditor who asks. The look-up is recorded.
    """
    end = last.replace(tzinfo=dt.UTC) if last else dt.datetime.now(dt.UTC)
    start = first.replace(tzinfo=dt.UTC) if first else end - _DEFAULT_WINDOWS[window]
    with connect(role="auditor", asks_audit=True, **connection) as client:
        found = client.statistics(window, _ms(start), _ms(end))
    if as_json:
        print_json({"window": window, "windows": [_statistics_document(each) for each in found]})
    else:
        _show_statistics(window, found, console())


def _show_statistics(window: str, found: Any, out: Console) -> None:
    table = Table(title=f"Look-ups by {window}", title_justify="left")
    for column in (
        "from (UTC)",
        "looks",
        "refused",
        "sign-ins",
        "failed",
        "account changes",
        "users",
        "keys",
        "merchants",
        "outcomes",
    ):
        table.add_column(column)
    for each in found:
        table.add_row(
            dt.datetime.fromtimestamp(each.start_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M"),
            *map(
                str, (each.looks, each.refusals, each.sign_ins, each.sign_ins_refused, each.account_changes)
            ),
            *map(str, (each.users, each.keys, each.merchants)),
            ", ".join(f"{figure.name} {figure.value}" for figure in each.by_outcome),
        )
    out.print(table)


def _statistics_document(each: audit_pb2.BrowseStatistics) -> dict[str, Any]:
    sums = (*_TALLIED, "sign_ins_refused", "shown")
    return {
        **{name: getattr(each, name) for name in ("start_ms", "end_ms", "records", *sums)},
        **{name: getattr(each, name) for name in ("users", "keys", "merchants")},
        **{
            name: {tally.name: {of: getattr(tally, of) for of in _TALLIED} for tally in getattr(each, name)}
            for name in ("by_role", "by_method")
        },
        **{
            name: {figure.name: figure.value for figure in getattr(each, name)}
            for name in ("by_outcome", "by_reason")
        },
    }


def _ms(time: dt.datetime) -> int:
    return int(time.timestamp() * 1000)
