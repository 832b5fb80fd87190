"""The commands `goodstrace backup create`, `vault` and `verify`, and `goodstrace restore`."""

import asyncio
import os
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

from goodstrace.errors import GoodstraceError
from goodstrace.log_keys import LogKeys
from goodstrace.policy import MAX_POLICY_BYTES, Policy
from services.backup import checking, creating, groups, restoring
from services.backup.checking import Trust
from services.backup.erased import Again, Applied, destroyed_hashes
from services.backup.errors import BackupError
from services.backup.folder import FolderWriter, read_manifest
from services.backup.pinned import pin_again
from services.backup.values import Manifest
from services.runtime import topics
from services.runtime.errors import ServiceError
from services.runtime.mongo import Database, Mongo, beside
from services.runtime.progress import Progress
from services.runtime.settings import KafkaSettings, MongoSettings, load
from services.runtime.vault.errors import VaultError
from services.runtime.vault.keys import Vault, user_subject
from services.runtime.vault.opening import load_ring, vault_database
from services.runtime.vault.settings import VaultSettings
from services.sealing.erasure.steps import erase_steps
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


class Restored(NamedTuple):
    """What was put back, who was erased again, how many groups read again, and the database of the vault."""

    manifest: Manifest
    applied: Applied
    groups: int
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
def create(out: Path) -> None:
    """Copy every log up to its newest published checkpoint, and all other collections as they are.

    Every block, entry and root is verified as it is read: a store that is not sound gives no copy. The folder has its name only
    when all of it is on disk; broken off, there is OUT.partial, to be removed.
    """
    manifest, digest = _run(_created(out))
    entries = sum(each.size for each in manifest.logs)
    size = sum(each.size_bytes for each in manifest.files())
    for each in manifest.logs:
        click.echo(f"{each.log:<12}{each.size} entries  {each.root}")
    click.echo(f"{len(manifest.logs)} logs, {entries:,} entries, {size:,} bytes in {out}")
    click.echo(f"manifest {digest}: note it elsewhere")


@backup.command("vault")
@click.option("--out", required=True, type=_OUT, help="The folder to make; there must be none of that name.")
def copy_vault(out: Path) -> None:
    """Copy the vault: keys, wrapped as they lie there, which open by GOODSTRACE_VAULT_KEY_FILE alone.

    After `goodstrace audit vault rotate` copies made before open by nothing: make a new one then, and remove the others.
    """
    manifest, digest = _run(_vault_copied(out))
    documents = sum(each.documents for each in manifest.collections)
    click.echo(f"{documents:,} documents of the vault in {out}")
    click.echo(f"manifest {digest}: note it elsewhere")


@backup.command()
@click.argument("folder", type=_FOLDER)
@click.option("--of-vault", is_flag=True, help="The folder is a copy of the vault.")
@_vkeys
@_policy
def verify(folder: Path, vkeys: Path | None, policy_file: Path | None, *, of_vault: bool) -> None:
    """Read all of a copy and derive its logs again, without any store: what is wrong is named with file and place, or log, block and index."""
    try:
        manifest = read_manifest(folder, "vault" if of_vault else "store")
        checking.verify(folder, manifest, _trust(vkeys, policy_file))
    except (ServiceError, GoodstraceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for each in manifest.logs:
        click.echo(f"{each.log:<12}sound   {each.size} entries  {each.root}")
    click.echo(f"{len(manifest.files())} files as they were written")
    if manifest.logs and vkeys is None:
        click.echo(
            "signatures were checked with the keys that the copy names: give --vkeys to trust your own"
        )


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
def restore(
    *,
    folder: Path,
    into: str,
    vault_folder: Path | None,
    vault_into: str,
    workers: int | None,
    vkeys: Path | None,
    policy_file: Path | None,
) -> None:
    """Put the copy in FOLDER back into an empty database, and verify every record and root against its signed checkpoints.

    No service may run. (1) Each document is checked as it is read and then written; (2) what is derived is made again; (3) `fsck` checks all of
    it; (4) users who were erased since the copy was made are erased again, by what Kafka has sealed of it; (5) the groups that read into the store
    are set back, so that what came after the copy comes again from Kafka. Broken off, drop the database and begin again.
    """
    try:
        done = _restored(
            folder=folder,
            into=into,
            vault_folder=vault_folder,
            vault_into=vault_into,
            workers=workers or os.cpu_count() or 1,
            vkeys=vkeys,
            policy_file=policy_file,
        )
    except (ServiceError, GoodstraceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for each in done.manifest.logs:
        click.echo(f"{each.log:<12}sound   {each.size} entries  {each.root}")
    applied = done.applied
    click.echo(f"erased again: {applied.keys} keys, {applied.users} users, {applied.documents} documents")
    click.echo(f"{done.groups} groups read again from where they were when the copy was made")
    for line in _next(into, done.vault):
        click.echo(line)


def _next(into: str, vault: str) -> Iterator[str]:
    """Say what lacks, and what to do now."""
    yield "lacking: what came after the copy; it is in Kafka, and comes again by itself. Now:"
    yield f"  where witnesses cosign: goodstrace replay rebuild --into {into}    (they have seen more than the copy has)"
    yield f"  set GOODSTRACE_DATABASE={into} GOODSTRACE_VAULT_DATABASE={vault} for every service"
    yield "  python -m services.runtime.provision, start the services, goodstrace doctor"


async def _created(out: Path) -> tuple[Manifest, str]:
    made_ms = time.time_ns() // 1_000_000
    noted = await asyncio.to_thread(groups.positions, load(KafkaSettings))
    mongo = Mongo(load(MongoSettings))
    try:
        total = sum(each.checkpoint.size for each in await creating.plan(mongo.database))
        progress, folder = Progress("copying, entries", total), FolderWriter(out)
        manifest = await creating.copy_store(mongo.database, folder, made_ms, noted, progress.add)
        progress.end()
        digest = folder.finish(manifest)
        sizes = {each.log: each.size for each in manifest.logs}
        await Operations(mongo.database).backup_ended(made_ms, sizes)
        return manifest, digest
    finally:
        mongo.close()


async def _vault_copied(out: Path) -> tuple[Manifest, str]:
    mongo = Mongo(load(MongoSettings))
    try:
        instance = await MongoBlockStore(mongo.database).instance_id()
        folder = FolderWriter(out)
        vault = vault_database(mongo.database, load(VaultSettings))
        manifest = await creating.copy_vault(vault, instance, folder, time.time_ns() // 1_000_000)
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
    kafka = load(KafkaSettings)
    now = load(MongoSettings)
    settings = now.model_copy(update={"database": into})
    # Without a copy of the vault it is the one in use whose keys open what looks say.
    vault_name = vault_into or load(VaultSettings).database_beside(into if vault_folder else now.database)
    manifest, trust = read_manifest(folder, "store"), _trust(vkeys, policy_file)
    of_vault = read_manifest(vault_folder, "vault") if vault_folder else None
    if of_vault is not None and of_vault.instance != manifest.instance:
        raise BackupError("the copy of the vault is of another installation")
    groups.check_stopped(kafka)
    destroyed = destroyed_hashes(kafka.bootstrap_servers, kafka.topic(topics.GOODS_BROWSED))
    asyncio.run(
        _put(
            settings=settings,
            vault_name=vault_name,
            folder=folder,
            manifest=manifest,
            trust=trust,
            vault_folder=vault_folder,
            of_vault=of_vault,
        )
    )
    options = Options(
        names=tuple(each.log for each in manifest.logs),  # keys may be of logs that had nothing to copy yet
        trusted=LogKeys.load(vkeys) if vkeys else None,
        policy=_read(policy_file),
    )
    restoring.derive(settings, options, manifest, workers)
    applied = asyncio.run(_finished(settings, kafka, vault_name, destroyed))
    return Restored(manifest, applied, groups.set_back(kafka, manifest.groups), vault_name)


async def _put(
    *,
    settings: MongoSettings,
    vault_name: str,
    folder: Path,
    manifest: Manifest,
    trust: Trust,
    vault_folder: Path | None,
    of_vault: Manifest | None,
) -> None:
    mongo = Mongo(settings)
    try:
        if vault_folder is not None and of_vault is not None:
            vault = beside(mongo.database, vault_name)
            await restoring.put_vault(vault, vault_folder, of_vault)
            await _check_opens(vault)
        await restoring.put_store(mongo.database, folder, manifest, trust)
    finally:
        mongo.close()


async def _check_opens(vault: Database) -> None:
    """Make sure, before all else is put back, that a vault opens by the keys that there are. Raises: BackupError."""
    try:
        await Vault(vault, load_ring(load(VaultSettings).key_file)).hash_of(user_subject(""))
    except VaultError as error:
        raise BackupError(
            "the copy of the vault opens by no key of GOODSTRACE_VAULT_KEY_FILE: it was made before the keys were rotated"
        ) from error


async def _finished(
    settings: MongoSettings, kafka: KafkaSettings, vault_name: str, destroyed: set[str]
) -> Applied:
    mongo = Mongo(settings)
    try:
        await pin_again(mongo.database, kafka.bootstrap_servers, kafka.topic(topics.LOGS_CHECKPOINTS))
        vault = Vault(beside(mongo.database, vault_name), load_ring(load(VaultSettings).key_file))
        return await Again(mongo.database, vault, erase_steps()).apply(destroyed)
    finally:
        mongo.close()


def _trust(vkeys: Path | None, policy_file: Path | None) -> Trust:
    text = _read(policy_file)
    return Trust(LogKeys.load(vkeys) if vkeys else None, Policy.parse(text) if text is not None else None)


def _read(policy_file: Path | None) -> bytes | None:
    if policy_file is None:
        return None
    with policy_file.open("rb") as file:
        return file.read(MAX_POLICY_BYTES + 1)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (ServiceError, GoodstraceError, OSError) as error:
        raise click.ClickException(str(error)) from error
