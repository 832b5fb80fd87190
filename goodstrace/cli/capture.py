"""`goodstrace capture`: send documents and follow them until each event has its verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import Progress

from goodstrace.capture import CaptureClient, Job, Problem
from goodstrace.capture_stream import CaptureStream
from goodstrace.cli.asked import warn
from goodstrace.cli.display import progress_console
from goodstrace.cli.identity import source_for
from goodstrace.cli.options import api_key_option, json_option, print_json, url_option
from goodstrace.cli.reaching import trouble
from goodstrace.cli.tls import AskedTarget, tls_for
from goodstrace.collector.v1.capture_pb2 import Receipt

_STATUSES: Final = {"TOO_LARGE": 413, "FORBIDDEN": 403}

_MOST_SHOWN: Final = 20


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@url_option
@click.option(
    "--grpc",
    "grpc_target",
    metavar="TARGET",
    help="Send over gRPC, such as to https://127.0.0.1:50053: many at a time, and again by itself after a break.",
)
@click.option(
    "--error-behaviour",
    type=click.Choice(["rollback", "proceed"]),
    default="rollback",
    show_default=True,
    help="What a faulty event does to the others of its document.",
)
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until every event has its verdict."
)
@click.option(
    "--timeout", "deadline_s", default=60.0, show_default=True, help="Seconds to wait for a document."
)
@api_key_option
@json_option
def capture(
    files: tuple[Path, ...],
    url: str,
    grpc_target: str | None,
    error_behaviour: str,
    deadline_s: float,
    *,
    api_key_file: Path | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Capture EPCIS documents (JSON or XML) from FILES.

    A document is taken once the collector has it safe in Kafka; with --wait the command follows it until every event is
    accepted (it is then about to be sealed), found to be a duplicate, or refused. Sending a document twice is harmless.

    The collector wants a merchant: by the API key of the file named or of GOODSTRACE_API_KEY, by your session, or, of the local
    stack, the demo merchant.
    """
    console = progress_console()
    results: dict[Path, Job | Problem] = {}
    with (
        CaptureClient(url, token=source_for(url, api_key_file), tls=tls_for(url, "--url")) as client,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        sending = progress.add_task("sending", total=len(files))
        sent = (
            _streamed(files, grpc_target, error_behaviour, deadline_s, api_key_file)
            if grpc_target
            else ((file, client.send(file.read_bytes(), error_behaviour=error_behaviour)) for file in files)
        )
        for file, result in sent:
            results[file] = result
            progress.advance(sending)
        if wait:
            waiting = progress.add_task("sealing", total=len(files))
            for file, result in results.items():
                results[file] = (
                    client.wait(result, deadline_s=deadline_s) if isinstance(result, Job) else result
                )
                progress.advance(waiting)
    if as_json:
        print_json([_as_json(file, result) for file, result in results.items()])
    else:
        for file, result in results.items():
            _show(file, result)
    if not all(isinstance(result, Job) and (result.success or not wait) for result in results.values()):
        sys.exit(1)


def _streamed(
    files: tuple[Path, ...], target: str, error_behaviour: str, patience_s: float, api_key_file: Path | None
) -> Iterator[tuple[Path, Job | Problem]]:
    token, tls = source_for(target, api_key_file), tls_for(target, "--grpc")
    # A stream goes on by itself, as where a collector is just being started again: said at once, not when patience is over.
    if problem := trouble(AskedTarget(target, "--grpc", tls), is_grpc=True):
        warn(f"{problem}; trying for {patience_s:g} s")
    with CaptureStream(
        target,
        error_behaviour=error_behaviour,
        patience_s=patience_s,
        token=token,
        tls=tls,
    ) as stream:
        for receipt in stream.send(file.read_bytes() for file in files):
            yield files[receipt.sequence], _result(receipt)


def _result(receipt: Receipt) -> Job | Problem:
    """Give a receipt as what the same document becomes over HTTP."""
    if not receipt.HasField("problem"):
        return Job(f"/epcis/v2/capture/{receipt.capture_id}", {"running": True})
    faults = tuple({"pointer": fault.pointer, "detail": fault.detail} for fault in receipt.problem.faults)
    status = _STATUSES.get(receipt.problem.reason, 400)
    return Problem(status, receipt.problem.reason, f"{faults[0]['pointer']}: {faults[0]['detail']}", faults)


def _as_json(file: Path, result: Job | Problem) -> dict[str, Any]:
    if isinstance(result, Job):
        return {"file": str(file), "location": result.location, "job": result.raw}
    problem = {
        "status": result.status,
        "title": result.title,
        "detail": result.detail,
        "errors": list(result.errors),
    }
    return {"file": str(file), "problem": problem}


def _show_rules(job: Job) -> None:
    """Show what rules found in the events, the first of it."""
    found = [
        (event["index"], each)
        for event in job.raw.get("events", ())
        for each in event.get("ruleVerdicts", ())
    ]
    for index, each in found[:_MOST_SHOWN]:
        whose = f" (as registered for {', '.join(each['registered'])})" if each.get("registered") else ""
        click.echo(f"  event {index}: {each['severity']}: {each['rule']}: {each.get('detail', '')}{whose}")
    if len(found) > _MOST_SHOWN:
        click.echo(f"  ... and {len(found) - _MOST_SHOWN} more findings of rules (--json shows them)")


def _show(file: Path, result: Job | Problem) -> None:
    if isinstance(result, Problem):
        click.secho(f"refused   {file}", fg="red")
        for line in result.lines():
            click.echo(f"  {line}")
        return
    if result.running:
        click.echo(f"taken     {file}  {result.location}")
        return
    summary = ", ".join(f"{number} {verdict}" for verdict, number in result.counts.items() if number)
    click.secho(
        f"{'captured' if result.success else 'failed  '}  ", fg="green" if result.success else "red", nl=False
    )
    click.echo(f"{file}  {summary}")
    _show_rules(result)
    for fault in result.errors:
        click.echo(f"  {fault.get('title', '')} {fault.get('detail', fault)}")
