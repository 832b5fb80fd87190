"""How the command line shows what is withheld from the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from goodstrace.cli.display import short
from goodstrace.entry import Position
from goodstrace.withheld import Withheld

MOST_SHOWN: Final = 10


def show_withheld(withheld: Sequence[Withheld], out: Console, *, count: int | None = None) -> None:
    """Print what is withheld: where it is sealed, by whom, about what; nothing where nothing is.

    Args:
        withheld: all of it, or the first MOST_SHOWN of it.
        out: where to.
        count: how much there is in all; None: `withheld` is all of it.
    """
    if not withheld:
        return
    count = len(withheld) if count is None else count
    out.print(
        f"[yellow]{count} events withheld by their merchants' policies[/yellow]"
        " [dim]proved to be sealed; an API key (--api-key-file) may show more[/dim]"
    )
    for each in withheld[:MOST_SHOWN]:
        log, index = each.place
        out.print(
            f"  [green]✔ {log}\\[{index}][/green] by merchant {each.entry.entry.merchant}"
            f" [dim]about {escape(short(each.name))}[/dim]"
        )
    if count > MOST_SHOWN:
        out.print(f"  [dim]... and {count - MOST_SHOWN} more (--json names them all)[/dim]")


def withheld_document(each: Withheld) -> dict[str, Any]:
    """Give an entry that is withheld as JSON-like values."""
    entry = each.entry.entry
    found_by = {"kind": each.kind.value, "name": each.name, "tag_checked": each.tag_checked}
    return _document(each.place, entry.merchant, entry.id, entry.time, found_by)


def spooled_document(row: tuple[Any, ...]) -> dict[str, Any]:
    """Give a row of `RecallSpool.withheld` as the same; nobody checked its tag by the index secret."""
    log, index, merchant, record_id, time_us, kind, name = row
    found_by = {"kind": kind, "name": name, "tag_checked": False}
    return _document((log, index), merchant, record_id, time_us // 1_000, found_by)


def _document(
    place: Position, merchant: int, record_id: str, time_ms: int, found_by: dict[str, Any]
) -> dict[str, Any]:
    return {
        "log": place[0],
        "index": place[1],
        "verified": True,
        "merchant": merchant,
        "record_id": record_id,
        "time_ms": time_ms,
        "found_by": found_by,
    }
