"""The commands `goodstrace replay verify`, `rebuild` and `stage`."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from goodstrace.cli.options import json_option, print_json
from services.replay import runs
from services.replay.rebuilding import Rebuilt
from services.replay.rerunning import FIRST_STAGE
from services.replay.through import STARTS
from services.replay.verifying import Replayed
from services.runtime.command_errors import told
from services.sealing.fsck.faults import kinds_of

T = TypeVar("T")
_LOST: Final = (
    "The store was put back from a copy on purpose: the ledger seals from Kafka what came after it; run this again then. Not on purpose: "
    "docs/runbooks/recovery.md, A log was cut off. What the state file {state} knows, the logs are held to until they contain it again: keep it; "
    "to begin anew on purpose, remove it."
)

_from = click.option(
    "--from",
    "start",
    type=click.Choice(list(STARTS)),
    default="stored",
    show_default=True,
    help="The goods topic to read; from an earlier one than `stored` the records are taken through the stages.",
)
_log = click.option(
    "--log", "names", multiple=True, help="This log only, such as goods/0; may be given again."
)


@click.group()
def replay() -> None:
    """Read Kafka again: compare it with the logs, rebuild them, or run the stages of today.

    \b
      goodstrace replay verify                        goods.stored gives the sealed logs, byte for byte
      goodstrace replay verify --from collected       so do the stages of today, from the first topic on
      goodstrace replay rebuild --into goodstrace2    a new store from Kafka and the logs' keys alone
      goodstrace replay stage --from recorded --since 2026-01-01 --version v2

    Each says how far it is, goes on where it was after an interruption, and exits with 0 only when all is as it should be.
    The settings are those of the services (KAFKA_BOOTSTRAP_SERVERS, MONGODB_URI, GOODSTRACE_DATABASE, GOODSTRACE_KEY_DIR...).
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


@replay.command()
@_from
@_log
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to keep how far it is (run/replay/...); removed at the end, unless a log has lost what it knows.",
)
@json_option
def verify(start: str, names: tuple[str, ...], state: Path | None, *, as_json: bool) -> None:
    """Compare every sealed log with what its topic gives now, byte for byte, and every root with the published one.

    Reads goods.stored, goods.browsed and logs.checkpoints from their first record on. With --from the goods are taken
    through the stages from an earlier topic, by the code of today. The first difference of a log is named with block, index
    and offset. Interrupted, it goes on where it was. A log that is smaller than it was published, or than an interrupted run had
    compared, is LOST: rolled back, and not merely waiting to be sealed.
    """
    with told():
        path = state or runs.state_path(start)
    found = _run(lambda: runs.verify_all(start, names, path))
    sound = bool(found) and all(each.sound for each in found)
    kinds = kinds_of(fault.field for each in found for fault in each.lost)
    if as_json:
        print_json({"sound": sound, "from": start, "logs": found, "kinds": kinds})
    else:
        for each in found:
            _print_replayed(each)
        for field, kind in kinds.items():
            click.echo(kind.told(field))
        if kinds:
            click.echo(_LOST.format(state=path))
        if not found:
            click.echo("the store has no such logs: nothing was compared")
    raise SystemExit(0 if sound else 1)


@replay.command()
@click.option(
    "--into", required=True, help="The database to make. An interrupted rebuild in it is gone on with."
)
@_from
@click.option(
    "--instance", help="The installation's ID (hex); by default that in the public keys of the key folder."
)
@click.option(
    "--new-keys",
    type=click.Path(file_okay=False, path_type=Path),
    help="Sign with new keys, made in this folder: for who has Kafka but not the logs' keys.",
)
@json_option
def rebuild(into: str, start: str, instance: str | None, new_keys: Path | None, *, as_json: bool) -> None:
    """Make a new store from Kafka alone: all logs sealed anew into another database, goods information included.

    Roots come out the same at every size; blocks may be cut elsewhere, and cosignatures are not in Kafka. At the end every
    checkpoint published in the present database (GOODSTRACE_DATABASE) is compared, where there is any.
    """
    found = _run(lambda: runs.rebuild_all(into, start, instance, new_keys))
    same = bool(found) and not any(each.differing or each.beyond for each in found)
    if as_json:
        print_json({"same_roots": same, "database": into, "logs": found})
    else:
        for each in found:
            _print_rebuilt(each)
    raise SystemExit(0 if same else 1)


@replay.command()
@click.option(
    "--from", "start", type=click.Choice(list(FIRST_STAGE)), required=True, help="The goods topic to read."
)
@click.option(
    "--since",
    help="Only records written to it since then: a date or time (ISO 8601, UTC where it does not say).",
)
@click.option(
    "--version",
    default="v2",
    show_default=True,
    help="Names the topics (goods.stored.v2) and the logs (goods.v2/0).",
)
@click.option(
    "--seal/--no-seal", default=True, show_default=True, help="Seal the result into logs of its own."
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3600),
    default=20,
    show_default=True,
    help="Seconds to wait for the quorum, where a policy of witnesses is set.",
)
@json_option
def stage(start: str, since: str | None, version: str, wait_s: float, *, seal: bool, as_json: bool) -> None:
    """Take events through the stages of today into versioned topics and logs; what is sealed stays as it is.

    The duplicate window begins empty where --since leaves out what came before. Run it again to take what came since.
    """
    if not re.fullmatch(r"v[0-9]{1,4}", version):
        raise click.BadParameter("is not a v and a number, such as v2", param_hint="--version")
    found = _run(lambda: runs.stage_again(start, _moment(since), version, wait_s, seal=seal))
    if as_json:
        print_json(found)
    else:
        _print_staged(found)
    raise SystemExit(1 if found["unpublished"] else 0)


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is no date or time such as 2026-01-31 or 2026-01-31T08:00Z", param_hint="--since"
        ) from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _run(work: Callable[[], Awaitable[T]]) -> T:
    async def awaited() -> T:
        return await work()

    try:
        with told():
            return asyncio.run(awaited())
    except KeyboardInterrupt:
        raise click.ClickException("interrupted: the same command goes on where it was") from None


def _print_replayed(found: Replayed) -> None:
    state = "DIFFERS" if found.difference else "LOST" if found.lost else "same"
    resumed = f" ({found.resumed:,} of them in an earlier run)" if found.resumed else ""
    waiting = f", {found.waiting:,} records not sealed yet" if found.waiting else ""
    click.echo(
        f"{found.log:<12}{state:<8}{found.entries:,} entries in {found.blocks:,} blocks{resumed}{waiting}  {found.root}"
    )
    if found.anew:
        click.echo(f"  compared anew from the first block: {found.anew}")
    if found.difference:
        different = found.difference
        places = [f"block {different.block}"]
        places += [f"index {different.index}"] if different.index is not None else []
        places += [f"offset {different.offset} of {found.topic}"] if different.offset is not None else []
        click.echo(f"  {', '.join(places)}, {different.field}: {different.problem}")

    for fault in found.lost:
        click.echo(f"  {fault.place}: {fault.problem}")


def _print_rebuilt(found: Rebuilt) -> None:
    click.echo(f"{found.log:<12}{found.entries:,} entries  {found.root}")
    if found.checkpoints:
        said = "the same root at all" if not found.differing else f"ANOTHER ROOT at {len(found.differing)}"
        click.echo(
            f"  {said} of {found.checkpoints:,} published checkpoints, up to size {found.compared_size:,}"
        )
    if found.differing:
        click.echo(f"  first at size {found.differing[0]:,}")
    if found.beyond:
        click.echo(f"  {found.beyond:,} published checkpoints are of more entries than Kafka gives")


def _print_staged(found: dict[str, Any]) -> None:
    click.echo(
        f"{found['topic']}: {sum(found['records'].values()):,} records in {len(found['records'])} partitions"
    )
    for log, entries in found["logs"].items():
        waits = "; its quorum of witnesses has not cosigned it yet" if log in found["unpublished"] else ""
        click.echo(f"{log}: {entries:,} entries sealed{waits}")
    if found["unpublished"]:
        click.echo("once the witnesses follow these logs, run the same command again: it asks them then")
