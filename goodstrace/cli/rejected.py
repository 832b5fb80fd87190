"""`goodstrace rejected`: what the collector refused, and sending it again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from goodstrace.capture import Problem
from goodstrace.cli.display import console, id_columns, progress_console
from goodstrace.cli.identity import source_for
from goodstrace.cli.options import api_key_option, json_option, print_json, url_option
from goodstrace.cli.tls import tls_for
from goodstrace.errors import CallError
from goodstrace.rejected import RejectedClient, Resubmitted

REASONS: Final = ("INVALID", "FORBIDDEN", "TOO_LARGE", "FAULT", "DUPLICATE")
_DETAIL_CHARS: Final = 200

_reason: Callable[[Any], Any] = click.option(
    "--reason", type=click.Choice(REASONS), default=None, help="Only those refused for this reason."
)
_capture: Callable[[Any], Any] = click.option(
    "--capture", default="", metavar="ID", help="Only those of one capture, whatever became of them."
)


@click.group()
def rejected() -> None:
    """What the collector refused: list it, read it, send it again.

    Nothing that was acknowledged is dropped. An event that is not sealed lies in its exact bytes on the topic goods.rejected,
    with the reason, and stays there until somebody has corrected it, and after that too.

    \b
      goodstrace rejected list                          what is open, newest first
      goodstrace rejected show ID                       why, and what was sent
      goodstrace rejected show ID --out event.json      save it; then correct the file
      goodstrace rejected resubmit ID --with event.json send the corrected event
      goodstrace rejected resubmit --all --reason TOO_LARGE
                                                        send all of them as they were, after a limit was raised

    A merchant sees its own by its API key; the operator token, as --api-key-file, shows everyone's.

    DUPLICATE is a reason too and no failure by itself: the event was captured before, and `firstRecordID` names the record that tells what became of it. They are listed with --reason DUPLICATE.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


@rejected.command("list")
@_reason
@_capture
@click.option(
    "--state",
    type=click.Choice(["open", "resubmitted", "settled"]),
    default=None,
    help="open (default): nobody has done anything yet. resubmitted: sent again. settled: a duplicate, of which the first record tells.",
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="At the most.")
@url_option
@api_key_option
@json_option
def list_rejected(
    url: str,
    *,
    api_key_file: Path | None,
    reason: str | None,
    capture: str,
    state: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List what was refused, newest first: open ones, unless asked otherwise."""
    with RejectedClient(url, token=source_for(url, api_key_file), tls=tls_for(url, "--url")) as client:
        found = list(client.list(state=state or "", reason=reason or "", capture=capture, limit=limit))
    if as_json:
        print_json({"rejections": found})
        return
    if not found:
        click.echo("nothing was refused that is not settled")
        return
    table = Table()
    columns = ("record ID", "when (UTC)", "reason", "stage", "merchant", "what is wrong")
    id_columns(table, *columns, ids=columns[:1])
    for each in found:
        names = ("recordID", "recordTime", "reason", "stage", "merchant")
        told = str(each.get("detail", ""))[:_DETAIL_CHARS]
        table.add_row(*(escape(str(each[name])) for name in names), escape(told))
    console().print(table)


@rejected.command()
@click.argument("record", metavar="ID")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what was refused into this file, in its exact bytes.",
)
@url_option
@api_key_option
@json_option
def show(record: str, url: str, api_key_file: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Show why the record ID was refused, what was done about it, and what was sent.

    The content of a duplicate is not shown: the same is sealed, as a rule, and looking at that is recorded (goodstrace trace).
    """
    with RejectedClient(url, token=source_for(url, api_key_file), tls=tls_for(url, "--url")) as client:
        found, content = client.show(record), client.content(record)
    if out is not None:
        if content is None:
            raise CallError(
                "404", "its content is not shown: it is that of a sealed record, as a rule, or was not kept"
            )
        out.write_bytes(content)
    text = content.decode(errors="replace") if content is not None else None
    if as_json:
        print_json({**found, **({"content": text} if text is not None else {})})
        return
    for name, value in found.items():
        click.echo(f"{name:14} {value}")
    if text is not None and out is None:
        click.echo(f"\n{text}")


@rejected.command()
@click.argument("records", nargs=-1, metavar="[ID]...")
@click.option(
    "--with",
    "corrected",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The corrected event, or a document, to capture instead. For one ID.",
)
@click.option("--all", "everything", is_flag=True, help="All that are open, as they were, instead of IDs.")
@_reason
@url_option
@api_key_option
@json_option
def resubmit(
    records: tuple[str, ...],
    corrected: Path | None,
    url: str,
    reason: str | None,
    *,
    api_key_file: Path | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Capture what was refused once more: corrected (--with), or as it was.

    An event goes back under the @context of the document that it came in. It becomes a new capture of the same merchant; the
    rejection is marked with the new record IDs and stays. What is refused again stays open, and the exit status is 1.
    """
    _check_usage(records, corrected, reason, everything=everything)
    body = corrected.read_bytes() if corrected else None
    bar = progress_console()
    with RejectedClient(url, token=source_for(url, api_key_file), tls=tls_for(url, "--url")) as client:
        wanted = [each["recordID"] for each in client.list(reason=reason or "")] if everything else records
        results: dict[str, Resubmitted | Problem] = {}
        with Progress(console=bar, disable=not bar.is_terminal) as progress:
            sending = progress.add_task("sending again", total=len(wanted))
            for record in wanted:
                results[record] = client.resubmit(record, body)
                progress.advance(sending)
    if as_json:
        print_json({"resubmitted": [_as_json(record, result) for record, result in results.items()]})
    else:
        _show(results)
    if any(isinstance(result, Problem) for result in results.values()):
        sys.exit(1)


def _check_usage(
    records: tuple[str, ...], corrected: Path | None, reason: str | None, *, everything: bool
) -> None:
    if everything == bool(records):
        raise click.UsageError("give IDs or --all, not both")
    if reason is not None and not everything:
        raise click.UsageError("--reason goes with --all")
    if corrected is not None and len(records) != 1:
        raise click.UsageError("--with goes with one ID")


def _as_json(record: str, result: Resubmitted | Problem) -> dict[str, Any]:
    if isinstance(result, Resubmitted):
        return {"rejectionID": record, "location": result.location, "recordIDs": list(result.records)}
    problem = {
        "status": result.status,
        "title": result.title,
        "detail": result.detail,
        "errors": list(result.errors),
    }
    return {"rejectionID": record, "problem": problem}


def _show(results: dict[str, Resubmitted | Problem]) -> None:
    for record, result in results.items():
        if isinstance(result, Resubmitted):
            click.secho("captured  ", fg="green", nl=False)
            click.echo(f"{record} as {', '.join(result.records)}  {result.location}")
        else:
            click.secho("refused   ", fg="red", nl=False)
            click.echo(record)
            for line in result.lines():
                click.echo(f"  {line}")
    if len(results) != 1:
        ends = Counter(isinstance(result, Resubmitted) for result in results.values())
        click.echo(f"{ends[True]} captured, {ends[False]} refused again")
