"""The command `goodstrace export`: logs as plain files that any web server can serve (docs/logs.md)."""

import asyncio
from pathlib import Path

import click
import msgspec

from goodstrace.cli.options import json_option, print_json
from services.runtime.command_errors import told
from services.runtime.mongo import Mongo
from services.runtime.progress import Progress
from services.runtime.settings import MongoSettings, load
from services.sealing.bundles import EntryReader
from services.sealing.export import Exported, LogExport, write_list
from services.sealing.reader import LogReader
from services.sealing.values import LogInfo, StoredCheckpoint


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to; what an earlier export wrote there is gone on with.",
)
@click.option(
    "--log", "names", multiple=True, help="Export this log only, such as goods/0; may be given again."
)
@click.option(
    "--since-last",
    is_flag=True,
    help="Do not read again what the last whole export wrote: only what is new is read and checked.",
)
@json_option
def export(out: Path, names: tuple[str, ...], *, since_last: bool, as_json: bool) -> None:
    """Write the logs as plain files, in the layout in which they are served (C2SP tlog-tiles).

    Checkpoint, hash tiles and entry bundles of each log, below OUT/logs/<log>, and the list of them in OUT/logs.json: a
    folder that any web server can serve and from which the logs verify without this system. Every file is checked against
    the signed checkpoint before it is written; what is there already is checked too, kept where it is right and replaced
    where it is not. Parts of records are not exported: they are not public.

    Exits with 0 only when all logs asked for were exported. MONGODB_URI and GOODSTRACE_DATABASE say where the store is.
    """
    with told(OSError):
        reports = asyncio.run(_exported(out, names, since_last=since_last))
    if as_json:
        answer = {"folder": str(out), "logs": msgspec.to_builtins(reports)}
        print_json(answer)
        return
    for each in reports:
        click.echo(
            f"{each.log:<12}{each.size} entries: {each.written} files written ({each.size_bytes} bytes), {each.kept} kept"
        )
    if not reports:
        click.echo("no log is published yet: nothing was exported")


async def _exported(out: Path, names: tuple[str, ...], *, since_last: bool) -> list[Exported]:
    mongo = Mongo(load(MongoSettings))
    try:
        reader = LogReader(mongo.database)
        wanted = await _wanted(reader, names)
        progress = Progress("exporting, entries", sum(stored.size for _, stored in wanted))
        reports = []
        for info, stored in wanted:
            one = LogExport(out, reader, EntryReader(mongo.database, reader), info, progress.add)
            reports.append(await one.run(stored, since_last=since_last))
        write_list(out, [info for info, _ in wanted])
        progress.end()
        return reports
    finally:
        mongo.close()


async def _wanted(reader: LogReader, names: tuple[str, ...]) -> list[tuple[LogInfo, StoredCheckpoint]]:
    newest = await reader.newest()
    unknown = sorted(set(names) - newest.keys())
    if unknown:
        raise click.ClickException(f"nothing is published of {', '.join(unknown)}: is there such a log?")
    return [
        (info, newest[info.name])
        for info in await reader.logs()
        if info.name in newest and (not names or info.name in names)
    ]
