"""Reading accounts and sessions from MongoDB, as the query service's login keeps them there."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.runtime.access.values import Account
from services.runtime.mongo import Database, translated, within

ACCOUNTS: Final = "accounts"
SESSIONS: Final = "sessions"
LOOK_UP_S: Final = 1.0
_PUBLIC: Final = {name: 1 for name in (*Account.__struct_fields__, "change_password") if name != "id"}


class AccountReader:
    """What every service may read of accounts; `services.query.accounts.account_store` writes them."""

    def __init__(self, database: Database) -> None:
        """Use the collections in `database`."""
        self._accounts = database[ACCOUNTS]
        self._sessions = database[SESSIONS]

    async def account(self, identifier: str) -> Account | None:
        """Find an account by its ID. Raises: UnavailableError."""
        return await self._one({"_id": identifier})

    async def is_name(self, name: str) -> bool:
        """Tell whether an account has this name. Raises: UnavailableError."""
        async with translated():
            with within(LOOK_UP_S):
                return await self._accounts.find_one({"name": name}, {"_id": 1}) is not None

    async def by_certificate(self, name: str) -> Account | None:
        """Find the service account of a name in a client certificate. Raises: UnavailableError."""
        return await self._one({"certificate": name}) if name else None

    async def session_is_open(self, session_id: str) -> bool:
        """Tell whether a session has not ended. Raises: UnavailableError."""
        async with translated():
            with within(LOOK_UP_S):
                found = await self._sessions.find_one({"_id": session_id, "ended_ms": 0}, {"_id": 1})
        return found is not None

    async def _one(self, query: Mapping[str, Any]) -> Account | None:
        async with translated():
            with within(LOOK_UP_S):
                row = await self._accounts.find_one(query, _PUBLIC)
        return account_of(row) if row else None


def account_of(row: Mapping[str, Any]) -> Account:
    """Read the document of an account. One whose password is to be changed has no roles until it is: it may do that and no more."""
    account = msgspec.convert({**row, "id": row["_id"]}, Account)
    return msgspec.structs.replace(account, roles=()) if row.get("change_password") else account
