"""`goodstrace recall`: all that goods went into, counted, or as a spreadsheet."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape

from goodstrace.cli.asked import KEY
from goodstrace.cli.display import NOTHING_NAMES_IT, console, short
from goodstrace.cli.options import as_of_option, client_options, connect, json_option, print_json, sizes_of
from goodstrace.cli.withheld import MOST_SHOWN, show_withheld, spooled_document
from goodstrace.query.v1 import recall_pb2
from goodstrace.recall_sheet import write_csv, write_xlsx
from goodstrace.recall_spool import RecallSpool
from goodstrace.recalls import RecallPiece
from goodstrace.withheld import Withheld

_MOST_SHOWN: Final = 20


@dataclass(slots=True)
class _Kept:
    """What is said of a recall at the end."""

    browse_id: str = ""
    summary: recall_pb2.RecallSummary = field(default_factory=recall_pb2.RecallSummary)
    proofs: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    withheld: list[Withheld] = field(default_factory=list)

    def take(self, piece: RecallPiece) -> None:
        self.browse_id = piece.browse_id
        self.proofs += sum(1 + len(each.event.also_at) for each in piece.events) + len(piece.registrations)
        self.withheld += piece.withheld_entries[: MOST_SHOWN - len(self.withheld)]
        if piece.summary is not None:
            self.summary = piece.summary


@click.command()
@click.argument("key", type=KEY)
@click.option(
    "--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the key data as CSV."
)
@click.option(
    "--xlsx",
    "xlsx_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all as an XLSX workbook.",
)
@click.option(
    "--depth", default=100, show_default=True, type=click.IntRange(1, 100), help="Levels at the most."
)
@as_of_option
@client_options
@json_option
def recall(
    key: str,
    csv_path: Path | None,
    xlsx_path: Path | None,
    *,
    depth: int,
    as_of: tuple[str, ...],
    as_json: bool,
    **connection: Any,
) -> None:
    """Recall KEY: find all products, containers, orders and holders downstream of it.

    KEY is a lot, an item, a class, a container or an order. Every event is verified as it comes. The files hold a row for each
    event and traceability lot, with the key data elements of the FDA's food traceability rule (FSMA 204). The look-up is
    recorded.
    """
    kept, sizes = _Kept(), sizes_of(as_of)
    with RecallSpool() as spool:
        with connect(**connection) as client:
            for piece in client.recall(key, max_depth=depth, as_of=sizes):
                spool.add(piece)
                kept.take(piece)
        if csv_path:
            kept.rows[str(csv_path)] = write_csv(csv_path, spool)
        if xlsx_path:
            kept.rows[str(xlsx_path)] = write_xlsx(xlsx_path, spool, _tell_cut)
        if as_json:
            print_json(_document(key, kept, spool))
        else:
            _show(key, kept, spool, console())
    if kept.summary.truncated:
        sys.exit(1)


def _tell_cut(count: int) -> None:
    click.echo(
        f"{count} texts are longer than a cell of a workbook takes, and are cut there: --csv has those of the key data whole",
        err=True,
    )


def _document(key: str, kept: _Kept, spool: RecallSpool) -> dict[str, Any]:
    summary = kept.summary
    return {
        "key": key,
        "verified": True,
        "goods": dict(sorted(summary.goods.items())),
        "containers": summary.containers,
        "events": summary.events,
        "levels": summary.levels,
        "orders": [{"key": row[0], "type": row[1]} for row in spool.orders()],
        "holders": [{"key": row[0], "description": row[1], "role": row[2]} for row in spool.holders()],
        "withheld": summary.withheld,
        "total_withheld": summary.total_withheld,
        "withheld_entries": [spooled_document(row) for row in spool.withheld()],
        "erased": summary.erased,
        "truncated": summary.truncated,
        "files": kept.rows,
        "browse_id": kept.browse_id,
    }


def _show(key: str, kept: _Kept, spool: RecallSpool, out: Console) -> None:
    summary = kept.summary
    out.print(f"[bold]recall of {escape(short(key))}[/bold]")
    for grade, count in sorted(summary.goods.items()):
        out.print(f"  {count:>9,} {grade}")
    out.print(f"  {summary.containers:>9,} containers")
    _list("orders", summary.orders, [f"{short(row[0])} {row[1]}".strip() for row in spool.orders()], out)
    holders = [" ".join(filter(None, (short(row[0]), row[1], row[2]))) for row in spool.holders()]
    _list("holders", summary.holders, holders, out)
    out.print(
        f"{summary.events} events on {summary.levels} levels; [green]{kept.proofs} of {kept.proofs} inclusion proofs verified[/green]"
    )
    for path, rows in kept.rows.items():
        out.print(f"  [dim]{escape(path)}: {rows:,} rows[/dim]")
    out.print(f"  [dim]recorded as browse {kept.browse_id}[/dim]")
    if not summary.events and not summary.total_withheld:
        out.print(f"[yellow]{NOTHING_NAMES_IT}[/yellow]")
    if summary.truncated:
        out.print("[yellow]a limit was reached: there may be more[/yellow]")
    show_withheld(kept.withheld, out, count=summary.total_withheld)
    if summary.withheld or summary.erased:
        out.print(f"[yellow]parts of {summary.withheld} events withheld, of {summary.erased} erased[/yellow]")


def _list(what: str, count: int, lines: list[str], out: Console) -> None:
    out.print(f"  {count:>9,} {what}")
    for line in lines[:_MOST_SHOWN]:
        out.print(f"            [dim]{escape(line)}[/dim]")
    if len(lines) > _MOST_SHOWN:
        out.print(
            f"            [dim]... and {len(lines) - _MOST_SHOWN} more (--json or --xlsx shows them)[/dim]"
        )
