"""`goodstrace browses`: who looked at some goods, each record proved."""

from __future__ import annotations

import datetime as dt
import json
import sys
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from goodstrace.browse_records import OUTCOMES, Browses
from goodstrace.checked_receipts import Checked
from goodstrace.cli.asked import KEY
from goodstrace.cli.display import console, short
from goodstrace.cli.my_goods import goods_document, show_goods, span
from goodstrace.cli.options import client_options, connect, json_option, print_json
from goodstrace.cli.own_receipts import as_document, check_kept, own_name, store_of
from goodstrace.cli.own_receipts import show as show_receipts
from goodstrace.receipts import SEALED_WITHIN_S
from goodstrace.verification import VerifiedEntry


@click.command()
@click.argument("key", required=False, type=KEY)
@click.option(
    "--by",
    "looked_by",
    default="",
    metavar="USER",
    help="List the look-ups of a user instead of those of a key.",
)
@click.option("--mine", is_flag=True, help="List your own look-ups.")
@click.option(
    "--verify",
    is_flag=True,
    help="With --mine: check every receipt that was kept here; the exit status is 1 where one is not kept to.",
)
@click.option(
    "--within",
    "within_s",
    default=SEALED_WITHIN_S,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0),
    help="With --verify: so long after the look it may not be sealed yet; later it is missing.",
)
@click.option("--my-goods", is_flag=True, help="Count who looked at your goods, as a merchant.")
@click.option(
    "--from",
    "first",
    type=click.DateTime(),
    help="Look-ups from this time on (UTC); with --my-goods the first day.",
)
@click.option(
    "--to",
    "last",
    type=click.DateTime(),
    help="Look-ups before this time (UTC); with --my-goods the last day, by default yesterday.",
)
@click.option(
    "--merchant",
    default=0,
    metavar="NUMBER",
    help="Look-ups by those who act for it; with --my-goods, of its goods.",
)
@click.option(
    "--outcome",
    type=click.Choice([name for name in OUTCOMES if name]),
    help="Look-ups of which this is known, as the service says.",
)
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="How many at the most."
)
@client_options
@json_option
def browses(
    key: str | None,
    *,
    looked_by: str,
    limit: int,
    first: dt.datetime | None,
    last: dt.datetime | None,
    merchant: int,
    outcome: str | None,
    my_goods: bool,
    mine: bool,
    verify: bool,
    within_s: float,
    as_json: bool,
    **connection: Any,
) -> None:
    """List who looked at KEY, what a user looked at, or what those of a merchant did, newest first; all that is given must fit.

    Every record is proved to be in its browse log. This listing is recorded as a look-up too. Of the local stack it is its auditor who asks.

    With --mine it lists your own look-ups, and with --verify checks the receipts that you were given for them.

    With --my-goods it counts who looked at the goods of a merchant instead, by day, role and step, and tells of fewer than five people nothing.
    """
    if my_goods:
        with connect(role="auditor" if merchant else "merchant", asks_audit=True, **connection) as client:
            counted = client.goods_browses(*span(first, last), merchant=merchant)
        if as_json:
            print_json(goods_document(counted))
        else:
            show_goods(counted, console())
        return
    _check_usage(mine=mine, verify=verify, looked_by=looked_by, asked=key or merchant or first)
    checked: list[Checked] = []
    with connect(role="merchant" if mine else "auditor", asks_audit=True, **connection) as client:
        if mine:
            target = connection["query_target"]
            looked_by = own_name(target, connection["api_key_file"], connection["user"])
        if verify:
            kept = store_of(connection["memory"], connection["receipts"])
            checked = check_kept(client, kept, target, within_s)
        found = client.browses(
            key=key or "",
            user=looked_by,
            limit=limit,
            merchant=merchant,
            start_ms=_ms(first),
            end_ms=_ms(last),
            outcome=outcome or "",
        )
    if as_json:
        print_json(_as_json(found) | ({"receipts": as_document(checked)} if verify else {}))
    else:
        show(found, console(), key or looked_by or (f"merchant {merchant}" if merchant else "all"))
        if verify:
            show_receipts(checked, console())
    if any(each.is_broken or each.unchecked for each in checked):
        sys.exit(1)


def _check_usage(*, mine: bool, verify: bool, looked_by: str, asked: object) -> None:
    if verify and not mine:
        raise click.UsageError("--verify checks your own receipts: give --mine as well")
    if mine and looked_by:
        raise click.UsageError("--mine names the user already")
    if not (asked or looked_by or mine):
        raise click.UsageError("give a KEY, --mine, --by USER, --merchant NUMBER or --from TIME")


def show(found: Browses, out: Console, subject: str) -> None:
    """Print verified browse records of a key or user as a table."""
    table = Table(title=f"Look-ups of {escape(short(subject))}", title_justify="left")
    for column in ("when (UTC)", "who", "how", "purpose", "events shown", "outcome", "sealed at", "proof"):
        table.add_column(column)
    for entry, outcome in zip(found.entries, found.outcomes, strict=True):
        parts = _parts(entry)
        table.add_row(
            datetime.fromtimestamp(entry.entry.time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            escape(_who(parts.get("who", {}))),
            escape(_how(parts.get("what", {}))),
            escape(str(parts.get("purpose", {}).get("purpose", ""))),
            escape(str(parts.get("outcome", {}).get("events", ""))),
            escape(outcome),
            escape(f"{entry.log}[{entry.index}]"),
            "[green]verified[/green]",
        )
    out.print(table)


def _ms(time: dt.datetime | None) -> int:
    """Give a time, meant in UTC, in Unix milliseconds; 0 where none is given."""
    return int(time.replace(tzinfo=UTC).timestamp() * 1000) if time else 0


def _who(who: dict[str, Any]) -> str:
    """Name who looked; the merchant whose API key was shown is known, the user's name is what the caller said."""
    by = f" (merchant {who['merchant']})" if "merchant" in who else ""
    return f"{who.get('user', 'withheld')}{by}"


def _how(what: dict[str, Any]) -> str:
    """Name the call, and what it asked for or gave beside keys and users."""
    return " ".join(map(str, (what.get("method", "withheld"), *filter(None, [what.get("query")]))))


def _parts(entry: VerifiedEntry) -> dict[str, dict[str, Any]]:
    return {name: json.loads(content) for name, content in entry.parts.items()}


def _as_json(found: Browses) -> dict[str, Any]:
    return {
        "browses": [
            {
                "id": entry.entry.id,
                "time_ms": entry.entry.time,
                "log": entry.log,
                "index": entry.index,
                "verified": True,
                "answer": outcome,
                **_parts(entry),
            }
            for entry, outcome in zip(found.entries, found.outcomes, strict=True)
        ],
        "checkpoints": {log: each.note for log, each in found.checkpoints.items()},
        "browse_ids": list(found.browse_ids),
    }
