"""Who looked at merchants' goods: gathered by day, and made into what may be told once the day is over.

Until then a row stands for each person, role, step, merchant and day; a person is a hash of the pseudonym of that day and the merchant, so that rows of two
merchants, or of two days, cannot be joined. When a day is closed what may be told of it is kept (`services.runtime.goods_browses`), and the
rows go.
"""

import datetime as dt
import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from pymongo import IndexModel

from services.audit.figures.values import Look, Marks
from services.runtime.goods_browses.days import DAY_MS, day_of, start_ms
from services.runtime.goods_browses.privacy import told_of_day
from services.runtime.goods_browses.steps import steps_of
from services.runtime.goods_browses.store import GoodsBrowses
from services.runtime.goods_browses.values import Cell, DayCounts
from services.runtime.merchants.owners import Owners
from services.runtime.mongo import Database, create_indexes, delete_named, insert_missing, translated

VIEWERS: Final = "goods_viewers"
CLOSE_AFTER_MS: Final = 600_000
"""So long after its end a day is closed, if everything that was told until then is counted: clocks of services differ."""
MOST_KEYS: Final = 256
"""Of one look: the merchants of further keys are not looked for, as the watch does not."""
_KEEP: Final = dt.timedelta(days=7)
_VIEWER_BYTES: Final = 12
_EXPIRES: Final = "expires"


async def provision(database: Database) -> None:
    """Make the indexes in the vault's database where they are not there. Raises: UnavailableError."""
    await create_indexes(database, indexes())


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes by collection."""
    return {
        VIEWERS: [
            IndexModel([("day", 1), ("merchant", 1)], name="day"),
            IndexModel([(_EXPIRES, 1)], name=_EXPIRES, expireAfterSeconds=0),
        ]
    }


class GoodsViewers:
    """Gathers who looked at merchants' goods, and closes days."""

    def __init__(self, database: Database, vault: Database) -> None:
        """Read goods and merchants of a database, keep what may be told there, and people of days that are not over in the vault's."""
        self._database = database
        self._rows = vault[VIEWERS]
        self._owners = Owners(database)
        self._kept = GoodsBrowses(database)

    async def add(self, said: Sequence[Look | Marks]) -> None:
        """Gather from what is told of looks; what comes again changes nothing. Raises: UnavailableError."""
        looks = [each for each in said if isinstance(each, Look) and each.kind == "look" and not each.refused]
        keys = {key for look in looks for key in look.keys[:MOST_KEYS]}
        if not keys:
            return
        owners = {key: numbers for key, numbers in (await self._owners.of(keys)).items() if numbers}
        steps = await steps_of(self._database, owners) if owners else {}
        rows = {
            row["_id"]: row
            for look in looks
            for key in look.keys[:MOST_KEYS]
            for merchant in owners.get(key, ())
            if merchant != look.merchant
            for row in (_row(look, merchant, steps[key]),)
        }
        await insert_missing(self._rows, [rows[name] for name in sorted(rows)])

    async def close_days(self, counted_until_ms: int) -> int:
        """Close the days that are over and counted, the oldest first; tells how many. Whoever does it first, it is done once.

        Args:
            counted_until_ms: up to when everything that was told of looks is gathered; 0 where that is not known.
        Raises: UnavailableError.
        """
        if not counted_until_ms:
            return 0
        counted = await self._kept.begin(day_of(counted_until_ms))
        day = counted.since if counted.until is None else counted.until + dt.timedelta(days=1)
        closed = 0
        while start_ms(day) + DAY_MS + CLOSE_AFTER_MS <= counted_until_ms:
            await self._kept.close(day, await self._told(day))
            async with translated():
                await self._rows.delete_many({"day": day.isoformat()})
            day += dt.timedelta(days=1)
            closed += 1
        return closed

    async def _told(self, day: dt.date) -> dict[int, DayCounts]:
        told = {}
        async for merchant, counts in self._counts(day):
            told[merchant] = told_of_day(counts)
        return told

    async def _counts(self, day: dt.date) -> AsyncIterator[tuple[int, Counter[Cell]]]:
        """Count the rows of a day, merchant after merchant."""
        merchant, counts = 0, Counter[Cell]()
        fields = {"merchant": 1, "role": 1, "step": 1}
        async with translated():
            async for row in self._rows.find({"day": day.isoformat()}, fields).sort("merchant", 1):
                if row["merchant"] != merchant and counts:
                    yield merchant, counts
                    counts = Counter[Cell]()
                merchant = row["merchant"]
                counts[row["role"], row["step"]] += 1
        if counts:
            yield merchant, counts


async def viewed(vault: Database, pseudonyms: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
    """Give the rows of a user's, by the pseudonyms, from the vault's database: all rows are gone through. Raises: UnavailableError."""
    rows = vault[VIEWERS]
    async with translated():
        merchants = await rows.distinct("merchant")
        own = {_viewer(merchant, pseudonym) for merchant in merchants for pseudonym in pseudonyms}
        async for row in rows.find({}, {_EXPIRES: 0}):
            if str(row["_id"]).rpartition("/")[2] in own:
                yield row


async def forget_viewer(vault: Database, pseudonyms: Sequence[str]) -> int:
    """Delete the rows of a user's, as when one is erased; tells how many. Raises: UnavailableError."""
    found = [row["_id"] async for row in viewed(vault, pseudonyms)] if pseudonyms else []
    await delete_named(vault, VIEWERS, found)
    return len(found)


def _viewer(merchant: int, pseudonym: str) -> str:
    return hmac.digest(str(merchant).encode(), pseudonym.encode(), hashlib.sha256)[:_VIEWER_BYTES].hex()


def _row(look: Look, merchant: int, step: str) -> dict[str, Any]:
    day = day_of(look.time_ms)
    return {
        "_id": f"{day.isoformat()}/{merchant}/{look.role}/{step}/{_viewer(merchant, look.user)}",
        "day": day.isoformat(),
        "merchant": merchant,
        "role": look.role,
        "step": step,
        _EXPIRES: dt.datetime.combine(day, dt.time(), dt.UTC) + _KEEP,
    }
