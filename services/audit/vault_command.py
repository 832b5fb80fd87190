"""The commands `goodstrace audit vault ...`: what operators do with the vault of users' keys."""

import asyncio

import click

from services.runtime.errors import ServiceError
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings, load
from services.runtime.vault import open_vault
from services.runtime.vault.opening import rewrap as rewrapped


@click.group()
def vault() -> None:
    """The vault: the keys by which looks are read. docs/privacy.md says more."""


@vault.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text for people.")
def rewrap(*, as_json: bool) -> None:
    """Wrap all keys under the first key-encryption key of GOODSTRACE_VAULT_KEY_FILE; afterwards the others may go. Services may run."""
    try:
        count = asyncio.run(_rewrapped())
    except ServiceError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f'{{"rewrapped":{count}}}' if as_json else f"{count} keys are wrapped anew")


async def _rewrapped() -> int:
    mongo = Mongo(load(MongoSettings))
    try:
        return await rewrapped(open_vault(mongo.database))
    finally:
        mongo.close()
