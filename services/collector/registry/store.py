"""Merchants, their API keys, goods and places in MongoDB.

`merchants`, `goods` and `places` follow from sealed registrations, in the field `registered`. `api_keys` is sealed nowhere: it has to be
backed up with the database. `merchant_numbers` keeps two registrations from taking one number, `registrations_under_way` two of them from
taking one prefix.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
from pymongo import IndexModel, UpdateOne

from goodstrace.registration import merchant_key
from services.collector.delegation_store import DelegationStore
from services.collector.registry.ranges import Kept, kept_by
from services.collector.registry.registrations import Changes, Registered, Registration
from services.collector.registry.under_way import AllUnderWay, UnderWay
from services.runtime.errors import ConflictError
from services.runtime.merchants.api_keys import ApiKey
from services.runtime.merchants.store import API_KEYS, CONTENT, LOOK_UP_S, MerchantStore, key_of, merchant_of
from services.runtime.merchants.values import Merchant, What
from services.runtime.mongo import Database, create_indexes, find_named, translated, within

NUMBERS: Final = "merchant_numbers"
UNDER_WAY: Final = "registrations_under_way"
_MERCHANTS: Final = "merchants"  # its one document
COLLECTIONS: Final = {What.MERCHANT: "merchants", What.GOODS: "goods", What.PLACE: "places"}
_BY_MERCHANT: Final = IndexModel([("registered.merchant", 1), ("_id", 1)], name="merchant", sparse=True)
INDEXES: Final = {
    "merchants": [IndexModel([("registered.content.delegations.to", 1)], name="delegations", sparse=True)],
    **{name: [_BY_MERCHANT] for name in ("goods", "places")},
    API_KEYS: [IndexModel([("merchant", 1)], name="merchant")],
}
_UPSERTS_A_CALL: Final = 1000


class RegistryStore(MerchantStore):
    """What is registered; reading merchants and keys is the parent's."""

    def __init__(self, database: Database) -> None:
        """Use the collections in `database`."""
        super().__init__(database)
        self._delegations = DelegationStore(database)

    async def prepare(self) -> None:
        """Make the indexes that are not there. Raises: UnavailableError."""
        await create_indexes(self._database, INDEXES)

    async def apply(self, changes: Changes) -> None:
        """Apply changes as bulk upserts, in any order and as often as it takes. Raises: UnavailableError.

        A merchant's registration that another one replaces stays known: whose corrections counted follows from it.
        """
        await self._delegations.keep_replaced(changes.get(What.MERCHANT, {}))
        for what, told in changes.items():
            upserts = [UpdateOne({"_id": own}, change, upsert=True) for own, change in told.items()]
            for start in range(0, len(upserts), _UPSERTS_A_CALL):
                async with translated():
                    await self._database[COLLECTIONS[what]].bulk_write(
                        upserts[start : start + _UPSERTS_A_CALL], ordered=False
                    )

    async def find(self, what: What, own: int | str) -> Registered | None:
        """Give what is registered under a merchant's number, or a key. Raises: UnavailableError."""
        async with translated():
            with within(LOOK_UP_S):
                found = await self._database[COLLECTIONS[what]].find_one(
                    {"_id": own, "registered": {"$exists": True}}, {"registered": 1}
                )
        return _registered(what, found) if found else None

    async def registered_by(self, what: What, merchant: int, after: str, limit: int) -> list[Registered]:
        """List goods or places that a merchant registered, by key, those after `after`. Raises: UnavailableError."""
        query = {"registered.merchant": merchant, "_id": {"$gt": after}}
        async with translated():
            with within(LOOK_UP_S):
                rows = self._database[COLLECTIONS[what]].find(query, {"registered": 1})
                return [_registered(what, each) async for each in rows.sort("_id", 1).limit(limit)]

    async def kept(self, keys: Sequence[str]) -> dict[str, Kept]:
        """Give the ranges of temperatures that are registered of goods, by key; LOOK_UP_S for all of them. Raises: UnavailableError."""
        with within(LOOK_UP_S):
            rows = await find_named(
                self._database,
                COLLECTIONS[What.GOODS],
                keys,
                {f"{CONTENT}.attributes": 1, "registered.record": 1},
            )
        found: dict[str, Kept] = {}
        for each in rows:
            told = each.get("registered", {})  # goods that were seen in events alone have none
            kept = kept_by(told.get("content", {}).get("attributes", {}), told.get("record", ""))
            if kept is not None:
                found[each["_id"]] = kept
        return found

    async def merchants(self, after: int = 0, limit: int = 0) -> AsyncIterator[tuple[int, Merchant]]:
        """List merchants by number, those after `after`; all of them where `limit` is 0. Raises: UnavailableError."""
        query = {"_id": {"$gt": after}, "registered": {"$exists": True}}
        async with translated():
            async for each in self._database["merchants"].find(query).sort("_id", 1).limit(limit):
                yield each["_id"], merchant_of(each["registered"]["content"])

    async def reserve_number(self) -> int:
        """Take the next free number for a new merchant. Raises: UnavailableError."""
        highest = 0
        async with translated():
            for name in ("merchants", NUMBERS):
                async for each in self._database[name].find({}, {"_id": 1}).sort("_id", -1).limit(1):
                    highest = max(highest, each["_id"])
        while True:
            highest += 1
            with contextlib.suppress(ConflictError):
                async with translated():
                    await self._database[NUMBERS].insert_one({"_id": highest})
                return highest

    async def under_way(self) -> AllUnderWay:
        """Give the registrations of merchants that are under way. Raises: UnavailableError."""
        async with translated():
            found = await self._database[UNDER_WAY].find_one({"_id": _MERCHANTS})
        return msgspec.convert(found, AllUnderWay) if found else AllUnderWay()

    async def begin(self, seen: AllUnderWay, following: AllUnderWay) -> bool:
        """Put `following` in the place of what was seen; False where that is no more what there is. Raises: UnavailableError."""
        told = msgspec.to_builtins(following)
        if not seen.version:
            with contextlib.suppress(ConflictError):
                async with translated():
                    await self._database[UNDER_WAY].insert_one({"_id": _MERCHANTS, **told})
                return True
        query = {"_id": _MERCHANTS, "version": seen.version}
        async with translated():
            done = await self._database[UNDER_WAY].update_one(query, {"$set": told})
        return bool(done.matched_count)

    async def end(self, mine: UnderWay) -> None:
        """Take out one that has ended. Raises: UnavailableError."""
        change = {"$pull": {"registrations": {"id": mine.id}}, "$inc": {"version": 1}}
        async with translated():
            await self._database[UNDER_WAY].update_one({"_id": _MERCHANTS}, change)

    async def add_key(self, key: ApiKey) -> None:
        """Keep a new key. Raises: UnavailableError."""
        row = msgspec.to_builtins(key, builtin_types=(bytes,))
        row["_id"] = row.pop("id")
        async with translated():
            await self._database[API_KEYS].insert_one(row)

    async def keys(self, merchant: int) -> list[ApiKey]:
        """List a merchant's keys, oldest first. Raises: UnavailableError."""
        async with translated():
            rows = self._database[API_KEYS].find({"merchant": merchant}).sort("created_ms", 1)
            return [key_of(each) async for each in rows]

    async def revoke_key(self, merchant: int, identifier: str, now_ms: int) -> bool:
        """Take a merchant's key back, for good; False where there is none. Raises: UnavailableError."""
        query = {"_id": identifier, "merchant": merchant}
        async with translated():
            await self._database[API_KEYS].update_one(
                {**query, "revoked_ms": 0}, {"$set": {"revoked_ms": now_ms}}
            )
            return await self._database[API_KEYS].find_one(query) is not None


def _registered(what: What, row: dict[str, Any]) -> Registered:
    told = row["registered"]
    key = merchant_key(row["_id"]) if what is What.MERCHANT else row["_id"]
    registration = Registration(what, key, told["merchant"], told["content"])
    return Registered(registration, told["record"], told["time_ms"])
