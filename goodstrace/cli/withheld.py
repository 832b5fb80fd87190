"""How the command line shows what is withheld from the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from goodstrace.cli.display import short
from goodstrace.withheld import Withheld

_MOST: Final = 10


def show_withheld(withheld: Sequence[Withheld], out: Console) -> None:
    """Print what is withheld: where it is sealed, by whom, about what; nothing where nothing is."""
    if not withheld:
        return
    out.print(
        f"[yellow]{len(withheld)} events withheld by their merchants' policies[/yellow]"
        " [dim]proved to be sealed; an API key (--api-key-file) may show more[/dim]"
    )
    for each in withheld[:_MOST]:
        log, index = each.place
        out.print(
            f"  [green]✔ {log}\\[{index}][/green] by merchant {each.entry.entry.merchant}"
            f" [dim]about {escape(short(each.name))}[/dim]"
        )
    if len(withheld) > _MOST:
        out.print(f"  [dim]... and {len(withheld) - _MOST} more (--json names them all)[/dim]")


def withheld_document(each: Withheld) -> dict[str, Any]:
    """Give an entry that is withheld as JSON-like values."""
    return {
        "log": each.entry.log,
        "index": each.entry.index,
        "verified": True,
        "merchant": each.entry.entry.merchant,
        "record_id": each.entry.entry.id,
        "time_ms": each.entry.entry.time,
        "found_by": {"kind": each.kind.value, "name": each.name, "tag_checked": each.tag_checked},
    }
