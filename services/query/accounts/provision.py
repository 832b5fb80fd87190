"""What accounts need before the first sign-in: indexes, the login secret, a key to sign with."""

import asyncio

from services.query.accounts import account_store, counters, session_store
from services.query.accounts.errors import ReadOnlyError
from services.query.accounts.key_ring import configured_files
from services.runtime import clock
from services.runtime.access.settings import LoginSettings
from services.runtime.mongo import Database, create_indexes
from services.runtime.provision import make_secret
from services.runtime.settings import load


async def provision(database: Database) -> str:
    """Make them where they are not there. Raises: UnavailableError; KeysError."""
    settings = load(LoginSettings)
    await create_indexes(database, account_store.indexes() | session_store.indexes() | counters.indexes())
    made_secret = await asyncio.to_thread(make_secret, settings.secret_file)
    files = configured_files()
    try:
        key = _said(made=await asyncio.to_thread(files.make_first, clock.now_ms()))
    except (
        ReadOnlyError
    ) as error:  # the services go on with the keys that are there, and so does the next version of them
        key = str(error)
    return f"accounts: indexes; secret {_said(made=made_secret)}; signing key {key}"


def _said(*, made: bool) -> str:
    return "made now" if made else "was there"
