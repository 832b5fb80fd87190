"""The collection `merchant_rates`: when each merchant's buckets will be full again. One small document a merchant; it may be lost."""

from collections.abc import Mapping, Sequence
from typing import Final

from pymongo import UpdateOne
from pymongo.write_concern import WriteConcern

from services.collector.registry.rates import NAMES
from services.collector.registry.sharing import FullAt, Taken
from services.runtime.mongo import Database, find_named, translated, within

MERCHANT_RATES: Final = "merchant_rates"
LOOK_UP_S: Final = 1.0


class MongoRateStore:
    """Rates in MongoDB."""

    def __init__(self, database: Database, *, within_s: float = LOOK_UP_S) -> None:
        """Use the collection in `database`, each call within `within_s`; a write need not survive a crash of the store."""
        self._database, self._within_s = database, within_s
        self._rates = database.get_collection(MERCHANT_RATES, write_concern=WriteConcern(w=1))

    async def add(self, taken: Mapping[int, Mapping[str, Taken]]) -> None:
        """Move the times of merchants' buckets on. Raises: UnavailableError."""
        updates = []
        for merchant, of_merchant in taken.items():
            query = {"_id": merchant}
            began = {"$max": {name: each.from_ms for name, each in of_merchant.items()}}
            used = {"$inc": {name: each.used_ms for name, each in of_merchant.items()}}
            updates += [UpdateOne(query, began, upsert=True), UpdateOne(query, used)]
        async with translated():
            with within(self._within_s):
                await self._rates.bulk_write(updates, ordered=True)

    async def full_at_ms(self, merchants: Sequence[int]) -> dict[int, FullAt]:
        """Give the times of merchants' buckets. Raises: UnavailableError."""
        with within(self._within_s):
            rows = await find_named(self._database, MERCHANT_RATES, merchants)
        return {row["_id"]: {name: row[name] for name in NAMES if name in row} for row in rows}
