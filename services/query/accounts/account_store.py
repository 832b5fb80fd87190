"""Accounts in MongoDB (`accounts`): written here, read by every service through `services.runtime.access.accounts`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from pymongo import IndexModel, ReturnDocument

from services.query.accounts.stored import StoredAccount, account_of, row_of
from services.runtime.access.accounts import ACCOUNTS
from services.runtime.access.values import AccountKind, Role
from services.runtime.errors import UnavailableError
from services.runtime.mongo import Database, translated

MAX_SECRETS: Final = 2
_TRIES: Final = 5
_USED_UP: Final = frozenset({"recovery", "totp_step"})
"""What signing in uses up, whatever else an account is: no other change is judged by it."""


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes."""
    return {
        ACCOUNTS: [
            IndexModel([("name", 1)], name="name", unique=True),
            IndexModel([("certificate", 1)], name="certificate", unique=True, sparse=True),
            IndexModel([("merchant", 1), ("name", 1)], name="merchant"),
        ]
    }


class AccountStore:
    """The accounts of one database. Every method raises UnavailableError where the store is away."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`."""
        self._accounts = database[ACCOUNTS]

    async def add(self, account: StoredAccount) -> None:
        """Keep a new account. Raises: ConflictError where its name or certificate is another's."""
        async with translated():
            await self._accounts.insert_one(row_of(account))

    async def named(self, name: str) -> StoredAccount | None:
        """Find an account by its name."""
        return await self._one({"name": name})

    async def find(self, identifier: str) -> StoredAccount | None:
        """Find an account by its ID."""
        return await self._one({"_id": identifier})

    async def by_certificate(self, name: str) -> StoredAccount | None:
        """Find an account by the name in its client certificate."""
        return await self._one({"certificate": name}) if name else None

    async def page(self, after: str, most: int, *, people_of: int = 0) -> list[StoredAccount]:
        """List accounts by name, those after a name; only a merchant's people where `people_of` is its number."""
        query = {"name": {"$gt": after}, **_people(people_of)}
        async with translated():
            rows = self._accounts.find(query).sort("name", 1).limit(most)
            return [account_of(row) async for row in rows]

    async def swap(self, before: StoredAccount, after: StoredAccount) -> bool:
        """Write what differs, unless the account was changed meanwhile: what is written was judged by all that it was.

        Raises: ConflictError where the certificate is another's.
        """
        old, new = row_of(before), row_of(after)
        changed = {name: value for name, value in new.items() if old.get(name) != value}
        removed = {name: "" for name in old if name not in new}
        if not changed and not removed:
            return True
        same = {name: old.get(name) for name in (old.keys() - _USED_UP) | changed.keys()}
        update: dict[str, Any] = {}
        if changed:
            update["$set"] = changed
        if removed:
            update["$unset"] = removed
        async with translated():
            result = await self._accounts.update_one({"_id": before.id, **same}, update)
        return result.matched_count == 1

    async def update(
        self,
        identifier: str,
        change: Callable[[StoredAccount], StoredAccount],
        *,
        first: Callable[[StoredAccount, StoredAccount], Awaitable[None]] | None = None,
    ) -> StoredAccount | None:
        """Change an account as it is now; None where there is none.

        Args:
            identifier: its ID.
            change: gives the account as it shall be; asked anew where it was changed meanwhile.
            first: told of each change, before and after, ahead of its being written.
        Raises: ConflictError as `swap` does; what `change` and `first` raise.
        """
        for _ in range(_TRIES):
            before = await self.find(identifier)
            if before is None:
                return None
            after = change(before)
            if first is not None:
                await first(before, after)
            if await self.swap(before, after):
                return after
        raise UnavailableError("the account is being changed by many at the same time")

    async def use_step(self, identifier: str, step: int) -> bool:
        """Take note that the code of a step has counted; False where it, or a later one, has before."""
        return await self._changed(
            {"_id": identifier, "totp_step": {"$lt": step}}, {"$set": {"totp_step": step}}
        )

    async def use_recovery(self, identifier: str, digest: bytes) -> bool:
        """Strike out a recovery code; False where it was struck out before."""
        return await self._changed({"_id": identifier, "recovery": digest}, {"$pull": {"recovery": digest}})

    async def remove(self, identifier: str, *, people_of: int = 0) -> bool:
        """Remove an account, only one of a merchant's people where `people_of` is its number; False where there was none."""
        async with translated():
            gone = await self._accounts.delete_one({"_id": identifier, **_people(people_of)})
        return gone.deleted_count == 1

    async def _one(self, query: Mapping[str, Any]) -> StoredAccount | None:
        async with translated():
            row = await self._accounts.find_one(query)
        return account_of(row) if row else None

    async def _changed(self, query: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        async with translated():
            row = await self._accounts.find_one_and_update(
                query, update, {"_id": 1}, return_document=ReturnDocument.AFTER
            )
        return row is not None


def _people(merchant: int) -> dict[str, Any]:
    """Say which accounts are a merchant's people; 0: all accounts are meant. See `services.query.accounts.reach`."""
    if not merchant:
        return {}
    return {"merchant": merchant, "kind": AccountKind.USER.value, "roles": [Role.MERCHANT.value]}
