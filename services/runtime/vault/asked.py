"""Who was asked for by name: a listing of somebody's looks names that user, under that user's key.

A record of such a listing is encrypted under the key of who asked, which stays when the user asked for is erased. So the name is encrypted apart
(`goodstrace.asked_user`), and `asked_users` {_id: the record's ID, subject: hash of the user asked for} says under whose key, for as long as there is one.
A name that is nobody's goes under the shared key of *unknown*, which is never destroyed: nothing can be promised to who has no account.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from pymongo import IndexModel

from services.runtime.access.naming import NOBODIES
from services.runtime.mongo import Database, create_indexes, translated
from services.runtime.vault.keys import ASKED, Vault, user_subject

_UNKNOWN: Final = "unknown"

IsAccount = Callable[[str], Awaitable[bool]]
"""Says whether there is an account of a name. Raises: UnavailableError."""


class AskedUsers:
    """Knows whose names records of listings have. Every method raises UnavailableError and VaultError."""

    def __init__(self, vault: Vault, is_account: IsAccount) -> None:
        """Use a vault; `is_account` is asked of names that it has no key of."""
        self._vault, self._is_account = vault, is_account
        self._asked = vault.database[ASKED]

    async def key_for(self, name: str, record_id: bytes) -> bytes:
        """Give the key of the user under which a record names the one asked for; that it does is kept, durable when this returns."""
        subject = user_subject(name)
        if name in NOBODIES or not (
            await self._vault.key_of(subject, create=False) or await self._is_account(name)
        ):
            subject = user_subject(_UNKNOWN)
        found = await self._vault.found(subject)
        async with translated():
            await self._asked.insert_one({"_id": record_id, "subject": await self._vault.hash_of(subject)})
        return found.key


async def forget_asked(database: Database, subject: bytes) -> int:
    """Delete which records ask for a user, in the vault's database; tells how many. Raises: UnavailableError."""
    async with translated():
        return int((await database[ASKED].delete_many({"subject": subject})).deleted_count)


async def provision(database: Database) -> None:
    """Make the index in the vault's database. Raises: UnavailableError."""
    await create_indexes(database, indexes())


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes by collection."""
    return {ASKED: [IndexModel("subject")]}
