"""The command `goodstrace fsck`: everything that is stored, read from MongoDB and derived again."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from services.runtime.errors import ServiceError
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings, load
from services.sealing.audit_logs import read_vkeys, verify_store
from services.sealing.mongo import MongoBlockStore
from services.sealing.verify import Fault, Verdict


@click.command()
@click.option(
    "--log", "logs", multiple=True, help="Check this log only, such as goods/0; may be given again."
)
@click.option(
    "--vkeys",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="GOODSTRACE_LOG_KEYS",
    help="Trust the public keys (*.vkey) in this folder, not those that the store names.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text for people.")
def fsck(logs: tuple[str, ...], vkeys: Path | None, *, as_json: bool) -> None:
    """Check everything stored in MongoDB, from each log's first block on.

    Derives anew what each log must hold (entries, parts and salts, tags, leaf hashes, headers, signatures, roots, Kafka
    offsets, tiles, packs, checkpoints) and names log, block, index and field of each fault. Exits with 0 only when all is
    sound. MONGODB_URI and GOODSTRACE_DATABASE say where the store is.
    """
    try:
        verdicts = asyncio.run(_verified(logs, vkeys))
    except ServiceError as error:
        raise click.ClickException(str(error)) from error
    sound = bool(verdicts) and not any(verdict.faults for verdict in verdicts)
    if as_json:
        answer = {"sound": sound, "trusted_keys": vkeys is not None, "logs": msgspec.to_builtins(verdicts)}
        click.echo(msgspec.json.format(msgspec.json.encode(answer)))
    else:
        _print(verdicts, trusted=vkeys is not None)
    sys.exit(0 if sound else 1)


async def _verified(logs: tuple[str, ...], vkeys: Path | None) -> list[Verdict]:
    trusted = read_vkeys(vkeys) if vkeys is not None else None
    mongo = Mongo(load(MongoSettings))
    try:
        return await verify_store(MongoBlockStore(mongo.database), logs, trusted, _progress)
    finally:
        mongo.close()


def _progress(verdict: Verdict) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{verdict.log}: {verdict.blocks} blocks, {verdict.entries} entries", nl=False, err=True)


def _print(verdicts: list[Verdict], *, trusted: bool) -> None:
    if sys.stderr.isatty():
        click.echo(err=True)
    for verdict in verdicts:
        state = "FAULTY" if verdict.faults else "sound"
        orphans = f", {verdict.orphans} orphan packs" if verdict.orphans else ""
        click.echo(
            f"{verdict.log:<12}{state:<8}{verdict.entries} entries in {verdict.blocks} blocks{orphans}  {verdict.root}"
        )
        for fault in verdict.faults:
            click.echo(f"  {_place(fault)}: {fault.problem}")
    if not verdicts:
        click.echo("the store has no logs: nothing was checked")
    if not trusted:
        click.echo(
            "signatures were checked with the keys that the store names: give --vkeys to trust your own"
        )


def _place(fault: Fault) -> str:
    places = [fault.log]
    if fault.block is not None:
        places.append(f"block {fault.block}")
    if fault.index is not None:
        places.append(f"index {fault.index}")
    return ", ".join([*places, fault.field])
