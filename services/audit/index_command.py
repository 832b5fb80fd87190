"""The commands `goodstrace audit index ...`."""

import asyncio
import sys

import click

from goodstrace.cli.options import json_option, print_json
from services.audit.browse_index import BrowseIndex
from services.audit.index_rebuild import Rebuilt
from services.audit.index_rebuild import rebuild as rebuilt
from services.runtime.command_errors import told
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings, load
from services.runtime.vault import open_vault
from services.sealing.reader import LogReader


@click.group()
def index() -> None:
    """The index by which looks of a user are found: docs/privacy.md."""


@index.command()
@json_option
def rebuild(*, as_json: bool) -> None:
    """Make the index again from the browse logs and the vault; what is there stays, and services may run.

    MONGODB_URI, GOODSTRACE_DATABASE and GOODSTRACE_VAULT_KEY_FILE say where all that is. Looks of users that were erased are not found again.
    """
    with told():
        done = asyncio.run(_rebuilt())
    if as_json:
        print_json(done)
    else:
        click.echo(
            f"{done.rows} looks are in the index, of {done.marks} it is known what became of them; {done.unread} are opened by no key; "
            f"{done.clear} are from before there was an index, and found without"
        )


async def _rebuilt() -> Rebuilt:
    mongo = Mongo(load(MongoSettings))
    try:
        vault = open_vault(mongo.database)
        return await rebuilt(LogReader(mongo.database), vault, BrowseIndex(vault.database), _progress)
    finally:
        mongo.close()


def _progress(log: str, count: int, of: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{log}: {count} of {of}", nl=count == of, err=True)
