"""Reading merchants and their API keys from MongoDB, as the collector's registry keeps them there."""

from typing import Any, Final

import msgspec

from services.runtime.errors import UnavailableError
from services.runtime.merchants.api_keys import ApiKey
from services.runtime.merchants.values import Merchant
from services.runtime.mongo import Database, translated, within

MERCHANTS: Final = "merchants"
API_KEYS: Final = "api_keys"
LOOK_UP_S: Final = 1.0
MAX_URIS: Final = 10_000
CONTENT: Final = "registered.content"


class MerchantStore:
    """What every service may read of merchants; `services.collector.registry.store` writes it."""

    def __init__(self, database: Database) -> None:
        """Use the collections in `database`."""
        self._database = database

    async def merchant(self, number: int) -> Merchant | None:
        """Give a merchant as it registered last. Raises: UnavailableError."""
        query = {"_id": number, "registered": {"$exists": True}}
        async with translated():
            with within(LOOK_UP_S):
                found = await self._database[MERCHANTS].find_one(query, {CONTENT: 1})
        return merchant_of(found["registered"]["content"]) if found else None

    async def givers(self, number: int) -> list[Merchant]:
        """List the merchants that delegate something to another. Raises: UnavailableError."""
        async with translated():
            with within(LOOK_UP_S):
                rows = self._database[MERCHANTS].find({f"{CONTENT}.delegations.to": number})
                return [merchant_of(each["registered"]["content"]) async for each in rows]

    async def uris(self) -> frozenset[str]:
        """List the URIs that merchants have registered as theirs. Raises: UnavailableError, also where they are too many."""
        async with translated():
            with within(LOOK_UP_S):
                rows = self._database[MERCHANTS].find(
                    {f"{CONTENT}.uris": {"$exists": True}}, {f"{CONTENT}.uris": 1}
                )
                found = {uri async for each in rows for uri in each["registered"]["content"]["uris"]}
        if len(found) > MAX_URIS:
            raise UnavailableError(f"merchants have registered over {MAX_URIS} URIs")
        return frozenset(found)

    async def key(self, identifier: str) -> ApiKey | None:
        """Find a key by its ID. Raises: UnavailableError."""
        async with translated():
            with within(LOOK_UP_S):
                row = await self._database[API_KEYS].find_one({"_id": identifier})
        return key_of(row) if row else None


def key_of(row: dict[str, Any]) -> ApiKey:
    """Read the document of an API key."""
    return msgspec.convert({**row, "id": row["_id"], "digest": bytes(row["digest"])}, ApiKey)


def merchant_of(content: dict[str, Any]) -> Merchant:
    """Read what a document says that a merchant registered."""
    return msgspec.convert(content, Merchant)
