"""The commands `goodstrace audit vault ...`: what operators do with the vault of users' keys."""

import asyncio

import click

from goodstrace.cli.options import json_option, print_json
from services.runtime.command_errors import told
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings, load
from services.runtime.vault import open_vault
from services.runtime.vault.opening import vault_database
from services.runtime.vault.rotating import rewrap as rewrapped
from services.runtime.vault.rotating import rotate as rotated
from services.runtime.vault.settings import VaultSettings


@click.group()
def vault() -> None:
    """The vault: the keys by which looks are read. docs/privacy.md says more."""


@vault.command()
@json_option
def rewrap(*, as_json: bool) -> None:
    """Wrap all keys under the first key-encryption key of GOODSTRACE_VAULT_KEY_FILE; afterwards the others may go. Services may run."""
    with told():
        count = asyncio.run(_rewrapped())
    if as_json:
        print_json({"rewrapped": count})
    else:
        click.echo(f"{count} keys are wrapped anew")


@vault.command()
@click.option(
    "--settle/--no-settle",
    default=True,
    help="Wait for 31 s before the old keys go, for what services are writing. Without, none may run.",
)
@json_option
def rotate(*, settle: bool, as_json: bool) -> None:
    """Put a new key-encryption key in the place of all in GOODSTRACE_VAULT_KEY_FILE: what was erased before is final then, in backups and the store's oplog too.

    Services may run, where they read the same file. Broken off, it is to be asked for again.
    """
    with told(OSError, ValueError):
        count = asyncio.run(_rotated(settle=settle))
    if as_json:
        print_json({"wrapped": count})
    else:
        click.echo(f"{count} keys are wrapped under a new key-encryption key, and the old ones are gone")


async def _rotated(*, settle: bool) -> int:
    settings, mongo = load(VaultSettings), Mongo(load(MongoSettings))
    try:
        database = vault_database(mongo.database, settings)
        return await rotated(database, settings.key_file, settle=settle)
    finally:
        mongo.close()


async def _rewrapped() -> int:
    mongo = Mongo(load(MongoSettings))
    try:
        return await rewrapped(open_vault(mongo.database))
    finally:
        mongo.close()
