"""The command `goodstrace doctor`."""

import asyncio
import re
import sys
from collections.abc import Sequence
from typing import Final

import click

from goodstrace.cli.options import json_option
from services.doctor import addresses, running
from services.doctor.looks import SETTINGS, Looks
from services.doctor.report import Report
from services.doctor.values import Checked, Level

EXIT_FAILED: Final = 1
NAMES: Final = tuple(Looks([], (), 0).checks())
_COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILED: "red"}
_ONE_QUESTION: Final = 0.6  # of a check's time, so that it can still say what did not answer
_SERVICE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}=https?://[^\s?#@]+")


@click.command()
@click.option(
    "--service",
    "named",
    multiple=True,
    metavar="NAME=URL",
    help="A service and its port of metrics and health, such as ledger=http://10.0.0.7:9102; may be given again.",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(("settings", *NAMES)),
    help="Make this check only; may be given again.",
)
@click.option(
    "--skip", multiple=True, type=click.Choice(NAMES), help="Leave this check out; may be given again."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.5, 600),
    default=15,
    show_default=True,
    help="Seconds that each check may take; they run side by side.",
)
@click.option("--all", "everything", is_flag=True, help="Show what is well one by one, too.")
@json_option
def doctor(
    *,
    named: tuple[str, ...],
    only: tuple[str, ...],
    skip: tuple[str, ...],
    timeout_s: float,
    everything: bool,
    as_json: bool,
) -> None:
    """Look at all that the system stands on, and say what to do about what is not well.

    Run it where a service runs, with that service's settings (KAFKA_BOOTSTRAP_SERVERS, MONGODB_URI, GOODSTRACE_...): first of all when
    something is wrong, and after each change. It reads only, and shows no secret.

    \b
      settings      can they be used?
      kafka mongodb services witnesses      do they answer? are the services ready?
      topics        there, partitions, replicas, retention
      indexes       of the store and of the vault
      clocks        of this machine, the store, the services; times of records and blocks
      secrets       files there, closed to others
      keys          does each log's private key fit the public one that all know?
      certificates  days left
      lag           what waits in Kafka, for whom; does it move?
      logs          sealed, signed, published
      fsck backup   when last, and what was found
      disk          room left

    \b
      goodstrace doctor
      goodstrace doctor --only logs --only lag
      goodstrace doctor --json | jq '.checks[] | select(.level != "ok")'

    `warning` is for somebody within days, `failed` for now; behind each line stands the page that says more (docs/doctor.md, docs/runbooks).

    Exits with 0 when nothing failed, 1 when something did, 2 when it was called wrongly.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is
    _refuse_unnamed(named)
    wanted = [name for name in NAMES if (not only or name in only) and name not in skip]
    report = Report(asyncio.run(_looked(named, wanted, timeout_s)))
    if as_json:
        click.echo(report.json())
    else:
        for level, line in report.lines(everything=everything):
            click.secho(line, fg=_COLOURS[level])
    sys.stdout.flush()
    if not report.is_well:
        sys.exit(EXIT_FAILED)


async def _looked(named: Sequence[str], wanted: Sequence[str], timeout_s: float) -> list[Checked]:
    settings, checked = running.read_settings(SETTINGS)
    looks = Looks(settings, addresses.services(named, settings), timeout_s * _ONE_QUESTION)
    try:
        chosen = {name: look for name, look in looks.checks().items() if name in wanted}
        return [checked, *await running.run(chosen, timeout_s)]
    finally:
        looks.close()


def _refuse_unnamed(named: Sequence[str]) -> None:
    for each in named:
        if not _SERVICE.fullmatch(each):
            raise click.BadParameter(f"{each!r} is not NAME=http://HOST:PORT", param_hint="--service")
