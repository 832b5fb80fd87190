"""`goodstrace simulate`: make supply chains to try the system on."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path

import click
from rich.progress import Progress

from goodstrace.cli.display import progress_console
from goodstrace.cli.options import json_option, print_json
from goodstrace.simulate import OptionError, SimulationOptions, write

_DEFAULT = SimulationOptions()


@click.command()
@click.option("--seed", default=_DEFAULT.seed, show_default=True, help="The same seed gives the same bytes.")
@click.option("--events", default=_DEFAULT.events, show_default=True, help="How many events, exactly.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write into."
)
@click.option(
    "--depth",
    default=_DEFAULT.depth,
    show_default=True,
    help="Transformations between raw lots and sold items.",
)
@click.option("--items-per-case", default=_DEFAULT.items_per_case, show_default=True)
@click.option("--cases-per-pallet", default=_DEFAULT.cases_per_pallet, show_default=True)
@click.option("--events-per-document", default=_DEFAULT.events_per_document, show_default=True)
@click.option(
    "--returns", default=_DEFAULT.returns, show_default=True, help="Share of sold items that come back."
)
@click.option("--recalls", default=_DEFAULT.recalls, show_default=True, help="Share of chains with a recall.")
@click.option(
    "--corrections",
    default=_DEFAULT.corrections,
    show_default=True,
    help="Share of events declared in error and corrected.",
)
@click.option(
    "--storms",
    default=_DEFAULT.storms,
    show_default=True,
    help="Share of observations that a reader reports 20 to 60 times.",
)
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    default=str(_DEFAULT.start),
    show_default=True,
    help="Day of the first harvest.",
)
@json_option
def simulate(out: Path, start: datetime, *, as_json: bool, **numbers: float) -> None:
    """Write EPCIS 2.0 documents of simulated supply chains.

    Farms, factories, cases, pallets, trucks, shops, some returns and recalls. OUT/index.json names keys worth a look.
    Capture the documents with: goodstrace capture OUT/*.jsonld
    """
    try:
        options = SimulationOptions(start=start.date(), **numbers)  # type: ignore[arg-type] # click checked the types
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    console = progress_console()
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("simulating", total=options.events)
        try:
            found = write(options, out, lambda done, _: progress.update(task, completed=done))
        except OSError as error:
            raise click.ClickException(f"cannot write into {out}: {error}") from error
    if as_json:
        print_json({"out": str(out), "events": options.events, **dataclasses.asdict(found)})
        return
    click.echo(f"{options.events} events in {out}")
    for name in ("item", "lot", "case", "pallet", "returned", "recalled"):
        if getattr(found, name):
            click.echo(f"  {name:9} {getattr(found, name)}")
