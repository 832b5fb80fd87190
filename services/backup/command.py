"""The commands `goodstrace backup create`, `vault` and `verify`, and `goodstrace restore`."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

from goodstrace.cli.options import json_option, policy_text, print_json, read_policy
from goodstrace.errors import VerificationError
from goodstrace.log_keys import LogKeys
from services.backup import checking, creating, groups, ready, restoring
from services.backup.checking import Trust
from services.backup.erased import Again, Applied, destroyed_hashes
from services.backup.errors import BackupError, OtherFolderError
from services.backup.folder import FolderWriter, read_manifest
from services.backup.groups import SetBack
from services.backup.pinned import pin_again
from services.backup.registered import register_again
from services.backup.values import Manifest
from services.erasure.steps import ERASE_STEPS
from services.runtime import clock, topics
from services.runtime.command_errors import told
from services.runtime.errors import ServiceError
from services.runtime.mongo import Mongo, beside
from services.runtime.progress import Progress
from services.runtime.settings import KafkaSettings, MongoSettings, load
from services.runtime.vault.keys import Vault
from services.runtime.vault.opening import load_ring, vault_database
from services.runtime.vault.settings import VaultSettings
from services.runtime.vault.wrapping import Ring
from services.sealing.errors import CorruptError
from services.sealing.fsck.store import Options
from services.sealing.mongo import MongoBlockStore
from services.sealing.operations import Operations

T = TypeVar("T")
_PATH: Final = click.Path(exists=True, path_type=Path)
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_OUT: Final = click.Path(file_okay=False, path_type=Path)

_vkeys = click.option(
    "--vkeys",
    type=_PATH,
    envvar="GOODSTRACE_LOG_KEYS",
    help="File of vkey lines, or folder of *.vkey files: trust these keys, not those that the copy names.",
)
_policy = click.option(
    "--policy",
    "policy_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="GOODSTRACE_WITNESS_POLICY",
    help="C2SP tlog-policy file: each checkpoint must have its quorum's cosignatures.",
)


class Asked(NamedTuple):
    """What is to be put back, and where: the copies, their manifests, the databases, what is believed from elsewhere."""

    folder: Path
    manifest: Manifest
    vault_copy: tuple[Path, Manifest] | None
    mongo: MongoSettings
    kafka: KafkaSettings
    vault_name: str
    trust: Trust


class Restored(NamedTuple):
    """What was put back, who was erased again, which groups read again, and the database of the vault."""

    manifest: Manifest
    applied: Applied
    groups: SetBack
    vault: str


@click.group()
def backup() -> None:
    """Copy the store, so that its logs can be proved again, and verify copies.

    \b
      goodstrace backup create --out backups/2026-11-27      logs and all else of the services' database
      goodstrace backup vault --out vault-backups/2026-11-27 the vault, apart: keep these few days only
      goodstrace backup verify backups/2026-11-27            read all of it again, without a store
      goodstrace restore backups/2026-11-27 --into goodstrace2

    Services may run meanwhile. Keys are in no copy: keep GOODSTRACE_KEY_DIR, index secret and vault keys elsewhere (docs/backup.md).
    MONGODB_URI, GOODSTRACE_DATABASE and KAFKA_BOOTSTRAP_SERVERS say where the store and Kafka are.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


@backup.command()
@click.option("--out", required=True, type=_OUT, help="The folder to make; there must be none of that name.")
@json_option
def create(out: Path, *, as_json: bool) -> None:
    """Copy every log up to its newest published checkpoint, and all other collections as they are.

    Every block, entry and root is verified as it is read: a store that is not sound gives no copy. The folder has its name only
    when all of it is on disk; broken off, there is OUT.partial, to be removed.
    """
    manifest, digest = _run(_created(out))
    if as_json:
        print_json({"folder": str(out), "manifest": digest, **_copied(manifest)})
        return
    entries = sum(each.size for each in manifest.logs)
    size = sum(each.size_bytes for each in manifest.files())
    for each in manifest.logs:
        click.echo(f"{each.log:<12}{each.size} entries  {each.root}")
    click.echo(f"{len(manifest.logs)} logs, {entries:,} entries, {size:,} bytes in {out}")
    click.echo(f"manifest {digest}: note it elsewhere")


@backup.command("vault")
@click.option("--out", required=True, type=_OUT, help="The folder to make; there must be none of that name.")
@json_option
def copy_vault(out: Path, *, as_json: bool) -> None:
    """Copy the vault: keys, wrapped as they lie there, which open by GOODSTRACE_VAULT_KEY_FILE alone.

    After `goodstrace audit vault rotate` copies made before open by nothing: make a new one then, and remove the others.
    """
    manifest, digest = _run(_vault_copied(out))
    if as_json:
        print_json({"folder": str(out), "manifest": digest, **_copied(manifest)})
        return
    documents = sum(each.documents for each in manifest.collections)
    click.echo(f"{documents:,} documents of the vault in {out}")
    click.echo(f"manifest {digest}: note it elsewhere")


@backup.command()
@click.argument("folder", type=_FOLDER)
@click.option("--of-vault", is_flag=True, help="The folder is a copy of the vault.")
@_vkeys
@_policy
@json_option
def verify(
    folder: Path, vkeys: Path | None, policy_file: Path | None, *, of_vault: bool, as_json: bool
) -> None:
    """Read all of a copy and derive its logs again, without any store: what is wrong is named with file and place, or log, block and index."""
    trust = _trust(vkeys, policy_file)
    try:
        manifest = read_manifest(folder, "vault" if of_vault else "store")
        checking.verify(folder, manifest, trust)
    except OtherFolderError as error:  # that is no verdict
        raise click.UsageError(str(error)) from error
    except (BackupError, CorruptError, VerificationError) as error:
        if not as_json:
            raise click.ClickException(f"does not verify: {error}") from error
        print_json({"sound": False, "problem": str(error), "trusted_keys": vkeys is not None})
        sys.exit(1)
    except (ServiceError, OSError) as error:  # that is no verdict
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json({"sound": True, "trusted_keys": vkeys is not None, **_copied(manifest)})
        return
    _tell_sound(manifest, vkeys)
    click.echo(f"{len(manifest.files())} files as they were written")


@click.command()
@click.argument("folder", type=_FOLDER)
@click.option("--into", required=True, help="The database to make; it must be empty.")
@click.option(
    "--vault",
    "vault_folder",
    type=_FOLDER,
    help="A copy of the vault to put back as well; else the vault that is there is used.",
)
@click.option(
    "--vault-into",
    default="",
    help="The database of the vault: with --vault by default INTO_vault, else that in use (GOODSTRACE_VAULT_DATABASE).",
)
@click.option("--jobs", "workers", type=click.IntRange(1, 256), help="Processes at once (one for each core).")
@_vkeys
@_policy
@json_option
def restore(
    *,
    as_json: bool,
    folder: Path,
    into: str,
    vault_folder: Path | None,
    vault_into: str,
    workers: int | None,
    vkeys: Path | None,
    policy_file: Path | None,
) -> None:
    """Put the copy in FOLDER back into an empty database, and verify every record and root against its signed checkpoints.

    No service may run. What can be known before is checked before anything is written. (1) Each document is checked as it is read and then written; (2) what is derived is made again; (3) `fsck` checks all of
    it; (4) users who were erased since the copy was made are erased again, by what Kafka has sealed of it; (5) the groups that read into the store
    are set back, so that what came after the copy comes again from Kafka. Broken off, drop the database and begin again.
    """
    with told(OSError):
        done = _restored(
            folder=folder,
            into=into,
            vault_folder=vault_folder,
            vault_into=vault_into,
            workers=workers or os.cpu_count() or 1,
            vkeys=vkeys,
            policy_file=policy_file,
        )
    if as_json:
        print_json(
            {
                "sound": True,
                "trusted_keys": vkeys is not None,
                **_copied(done.manifest),
                "erased_again": done.applied,
                "groups": done.groups.groups,
                "gone": done.groups.gone,
                "database": into,
                "vault": done.vault,
            }
        )
        return
    _tell_sound(done.manifest, vkeys)
    applied = done.applied
    click.echo(f"erased again: {applied.keys} keys, {applied.users} users, {applied.documents} documents")
    click.echo(f"{done.groups.groups} groups read again from where they were when the copy was made")
    for line in _next(into, done.vault, done.groups):
        click.echo(line)


def _copied(manifest: Manifest) -> dict[str, Any]:
    """Say what a copy holds, as JSON-like values."""
    return {
        "logs": [{"log": each.log, "size": each.size, "root": each.root} for each in manifest.logs],
        "documents": sum(each.documents for each in manifest.collections),
        "files": len(manifest.files()),
        "size_bytes": sum(each.size_bytes for each in manifest.files()),
    }


def _tell_sound(manifest: Manifest, vkeys: Path | None) -> None:
    """Say how far each log is sound, and by whose keys."""
    for each in manifest.logs:
        click.echo(f"{each.log:<12}sound   {each.size} entries  {each.root}")
    if manifest.logs and vkeys is None:
        click.echo(
            "signatures were checked with the keys that the copy names: give --vkeys to trust your own"
        )


def _next(into: str, vault: str, told: SetBack) -> Iterator[str]:
    """Say what lacks, and what to do now."""
    yield "lacking: what came after the copy; it is in Kafka, and comes again by itself. Now:"
    yield f"  where witnesses cosign: goodstrace replay rebuild --into {into}    (they have seen more than the copy has)"
    yield f"  set GOODSTRACE_DATABASE={into} GOODSTRACE_VAULT_DATABASE={vault} for every service"
    yield "  python -m services.runtime.provision, start the services, goodstrace doctor"
    if told.gone:
        places = ", ".join(f"{topic}[{partition}]" for topic, partition in told.gone)
        yield f"  Kafka has forgotten looks since the copy ({places}): when all logs have gone on, goodstrace audit index rebuild"


async def _created(out: Path) -> tuple[Manifest, str]:
    folder, made_ms = FolderWriter(out), clock.now_ms()
    noted = await asyncio.to_thread(groups.positions, load(KafkaSettings))
    mongo = Mongo(load(MongoSettings))
    try:
        planned = await creating.plan(mongo.database)
        progress = Progress("copying, entries", sum(each.checkpoint.size for each in planned))
        manifest = await creating.copy_store(
            mongo.database, planned, folder, made_ms=made_ms, groups=noted, told=progress.add
        )
        progress.end()
        digest = folder.finish(manifest)
        sizes = {each.log: each.size for each in manifest.logs}
        await Operations(mongo.database).backup_ended(made_ms, sizes)
        return manifest, digest
    finally:
        mongo.close()


async def _vault_copied(out: Path) -> tuple[Manifest, str]:
    folder, made_ms = FolderWriter(out), clock.now_ms()
    # Before the rows that follow from it: so they may only come again, never be missed.
    noted = await asyncio.to_thread(groups.positions, load(KafkaSettings), groups.LOOKS)
    mongo = Mongo(load(MongoSettings))
    try:
        instance = await MongoBlockStore(mongo.database).instance_id()
        vault = vault_database(mongo.database, load(VaultSettings))
        manifest = await creating.copy_vault(vault, instance, folder, made_ms, noted)
        return manifest, folder.finish(manifest)
    finally:
        mongo.close()


def _restored(
    *,
    folder: Path,
    into: str,
    vault_folder: Path | None,
    vault_into: str,
    workers: int,
    vkeys: Path | None,
    policy_file: Path | None,
) -> Restored:
    now, ring = load(MongoSettings), load_ring(load(VaultSettings).key_file)
    # Without a copy of the vault it is the one in use whose keys open what looks say.
    vault_name = vault_into or load(VaultSettings).database_beside(into if vault_folder else now.database)
    ready.check_names(into, vault_name)
    manifest, of_vault = read_manifest(folder, "store"), None
    if vault_folder is not None:
        of_vault = read_manifest(vault_folder, "vault")
        if of_vault.instance != manifest.instance:
            raise BackupError("the copy of the vault is of another installation")
    asked = Asked(
        folder=folder,
        manifest=manifest,
        vault_copy=(vault_folder, of_vault) if vault_folder and of_vault else None,
        mongo=now.model_copy(update={"database": into}),
        kafka=load(KafkaSettings),
        vault_name=vault_name,
        trust=_trust(vkeys, policy_file),
    )
    ready.check_kafka(asked.kafka, manifest, of_vault)
    asyncio.run(_checked(asked, ring))
    browsed = asked.kafka.topic(topics.GOODS_BROWSED)
    destroyed = destroyed_hashes(asked.kafka.bootstrap_servers, browsed)
    asyncio.run(_put(asked))
    options = Options(
        names=tuple(each.log for each in manifest.logs),  # keys may be of logs that had nothing to copy yet
        trusted=LogKeys.load(vkeys) if vkeys else None,
        policy=policy_text(policy_file) if policy_file else None,
    )
    restoring.derive(asked.mongo, options, manifest, workers)
    applied = asyncio.run(_finished(asked, ring, destroyed))
    wanted = groups.lowest(manifest.groups, of_vault.groups if of_vault else ())
    return Restored(manifest, applied, groups.set_back(asked.kafka, wanted), vault_name)


async def _checked(asked: Asked, ring: Ring) -> None:
    mongo = Mongo(asked.mongo)
    try:
        vault = beside(mongo.database, asked.vault_name)
        await ready.check_databases(mongo.database, vault, asked.vault_copy, ring)
    finally:
        mongo.close()


async def _put(asked: Asked) -> None:
    mongo = Mongo(asked.mongo)
    try:
        if asked.vault_copy is not None:
            await restoring.put_vault(beside(mongo.database, asked.vault_name), *asked.vault_copy)
        await restoring.put_store(mongo.database, asked.folder, asked.manifest, asked.trust)
    finally:
        mongo.close()


async def _finished(asked: Asked, ring: Ring, destroyed: Mapping[bytes, int]) -> Applied:
    bootstrap, topic = asked.kafka.bootstrap_servers, asked.kafka.topic
    mongo = Mongo(asked.mongo)
    try:
        await pin_again(mongo.database, bootstrap, topic(topics.LOGS_CHECKPOINTS))
        made_ms = asked.manifest.made_ms
        await register_again(mongo.database, bootstrap, topic(topics.GOODS_COLLECTED), made_ms)
        vault = Vault(beside(mongo.database, asked.vault_name), ring)
        return await Again(mongo.database, vault, ERASE_STEPS).apply(destroyed)
    finally:
        mongo.close()


def _trust(vkeys: Path | None, policy_file: Path | None) -> Trust:
    return Trust(LogKeys.load(vkeys) if vkeys else None, read_policy(policy_file) if policy_file else None)


def _run(work: Coroutine[Any, Any, T]) -> T:
    with told(OSError):
        return asyncio.run(work)
