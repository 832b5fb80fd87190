"""The commands `goodstrace audit ...`; other packages of the server side add theirs by entry points."""

import asyncio
import sys
from pathlib import Path

import click

from goodstrace.cli.options import json_option, print_json, read_log_keys, read_policy
from goodstrace.cli.server_side import group_with
from goodstrace.cli.tls import tls_for, tls_options
from goodstrace.connections import http_client
from goodstrace.errors import VerificationError
from goodstrace.log_keys import LogKeys
from goodstrace.policy import Policy
from goodstrace.transparency import values
from goodstrace.transparency.markdown import markdown
from goodstrace.transparency.public_log import PublicLog, from_folder, from_url
from goodstrace.transparency.values import Month, Report
from goodstrace.transparency.verifying import verify
from services.audit.report.making import make_report
from services.runtime import clock
from services.runtime.command_errors import told
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings, load

_TIMEOUT_S = 60.0


@click.group(cls=group_with("goodstrace.commands.audit"))
def audit() -> None:
    """Browse records: reports, and what else their operator does with them. docs/audit.md says more."""


@audit.command()
@click.option("--month", help="Which month to report, such as 2026-11.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write <month>.json and <month>.md to this folder; else the Markdown is printed.",
)
@click.option(
    "--verify",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Derive the figures of this report again, and check them.",
)
@click.option(
    "--logs",
    default="",
    envvar="GOODSTRACE_LOGS",
    help="With --verify: where the public logs are, as the URL of a query service's HTTP port or a folder of `goodstrace export`.",
)
@click.option(
    "--vkeys",
    type=click.Path(path_type=Path),
    default=Path("run/keys"),
    show_default=True,
    envvar="GOODSTRACE_LOG_KEYS",
    help="With --verify: file of vkey lines, or folder of *.vkey files: the log keys you trust.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="GOODSTRACE_POLICY",
    help="With --verify: C2SP tlog-policy file; its quorum must have cosigned the last checkpoints.",
)
@tls_options
@json_option
def report(
    month: str | None,
    *,
    out: Path | None,
    file: Path | None,
    logs: str,
    vkeys: Path,
    policy: Path | None,
    as_json: bool,
) -> None:
    """Report who looked at what in a month, without a name: by role, call and outcome, with alerts, blocks and erasures.

    What the entries of the public logs show is kept apart from what only the operator sees. With --verify the former is derived again from the logs by
    whoever has their keys; no service is trusted. MONGODB_URI and GOODSTRACE_DATABASE say where the store is; --verify needs none.
    """
    if (month is None) == (file is None):
        raise click.UsageError("give either --month or --verify")
    if file is None:
        with told(OSError):
            _write(asyncio.run(_made(_month(month or ""))), out, as_json=as_json)
        return
    if not logs:
        raise click.UsageError("--verify wants --logs: a URL or a folder")
    if not _is_url(logs) and not (Path(logs) / "logs").is_dir():
        raise click.UsageError(f"--logs: {logs} is neither a URL nor a folder of `goodstrace export`")
    keys, wanted = read_log_keys(vkeys, "--vkeys"), read_policy(policy) if policy else None
    try:
        with told(OSError):
            _verify(values.decode(file.read_bytes()), logs, keys, wanted, as_json=as_json)
    except VerificationError as error:
        if not as_json:
            raise
        print_json({"verified": False, "problem": str(error)})
        sys.exit(1)


def _is_url(logs: str) -> bool:
    return logs.startswith(("https://", "http://"))


def _month(name: str) -> Month:
    try:
        return Month.parse(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


async def _made(month: Month) -> Report:
    mongo = Mongo(load(MongoSettings))
    try:
        return await make_report(mongo.database, month, clock.now_ms())
    finally:
        mongo.close()


def _write(made: Report, out: Path | None, *, as_json: bool) -> None:
    if out is None:
        click.echo(values.encode(made).decode() if as_json else markdown(made), nl=False)
        return
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, data in ((".json", values.encode(made)), (".md", markdown(made).encode())):
        path = out / f"{made.month}{suffix}"
        path.write_bytes(data)
        written.append(str(path))
    if as_json:
        print_json({"files": written})
    else:
        click.echo("\n".join(written))


def _verify(read: Report, logs: str, keys: LogKeys, wanted: Policy | None, *, as_json: bool) -> None:
    if _is_url(logs):
        with http_client(logs, tls_for(logs, "--logs"), timeout_s=_TIMEOUT_S) as client:
            derived = verify(read, keys, PublicLog(from_url(client)), wanted)
    else:
        derived = verify(read, keys, PublicLog(from_folder(Path(logs))), wanted)
    total, word = derived.total, sorted(set(read.operator) - {"notes"})
    if as_json:
        print_json(
            {
                "month": read.month,
                "verified": True,
                "complete": read.complete,
                "total": total,
                "not_derived": word,
            }
        )
        return
    click.echo(
        f"{read.month}: {total.looks} records of looks, {total.outcomes} batches of outcomes and {total.erasures} erasures, in all, by log and by day: "
        "derived again from the entries of the logs, which the checkpoints sign"
    )
    if not read.complete:
        click.echo("the month was not over when the report was made")
    click.echo(f"not derived, and the operator's word: {', '.join(word) or 'nothing'}")
