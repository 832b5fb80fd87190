"""What is kept of accounts, for erasing a user and for exporting what is held about one."""

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from services.query.accounts.account_store import AccountStore
from services.query.accounts.session_store import SessionStore
from services.query.accounts.stored import StoredAccount
from services.runtime.access.accounts import SESSIONS
from services.runtime.mongo import Database, translated
from services.sealing.erasure.steps import Known

_SECRET: Final = ("password", "secrets", "recovery", "totp_secret", "totp_step")
_SECRET_OF_SESSIONS: Final = ("digest", "previous")


async def erase_user(database: Database, known: Known) -> int:
    """Delete account and sessions; counts of attempts are gone within the hour by themselves. Raises: UnavailableError."""
    account = await AccountStore(database).named(known.name)
    if account is None:
        return 0
    async with translated():
        sessions = await database[SESSIONS].count_documents({"account": account.id})
    await SessionStore(database).remove_all(account.id)
    removed = await AccountStore(database).remove(account.id)  # last: by it a second try finds the rest
    return int(sessions) + removed


async def export_user(database: Database, known: Known) -> AsyncIterator[tuple[str, Any]]:
    """Give account and sessions, without what lets somebody in. Raises: UnavailableError."""
    account = await AccountStore(database).named(known.name)
    if account is None:
        return
    yield "account", _told(account)
    async with translated():
        async for each in database[SESSIONS].find({"account": account.id}):
            told = {name: value for name, value in each.items() if name not in _SECRET_OF_SESSIONS}
            yield "session", {"id": told.pop("_id"), **told}


def _told(account: StoredAccount) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(account)
    return {name: value for name, value in plain.items() if name not in _SECRET}
