"""Counts of days that are over, as they lie in MongoDB: what may be told, nothing else; written once, never changed.

That they never change is part of the rule: who asks today and tomorrow could take one answer from the other.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.runtime.goods_browses.days import days
from services.runtime.goods_browses.values import DayCounts
from services.runtime.mongo import Database, find_named, insert_missing, translated

GOODS_BROWSES: Final = "goods_browses"
_COUNTED: Final = "counted"


class Counted(msgspec.Struct, frozen=True):
    """Which days are counted: from the first to the last, both included; no last one where none is over yet."""

    since: dt.date
    until: dt.date | None = None


class GoodsBrowses:
    """Reads what a merchant may be told, and keeps what was made of a day."""

    def __init__(self, database: Database) -> None:
        """Use the collection of a database."""
        self._database = database
        self._days = database[GOODS_BROWSES]

    async def counted(self) -> Counted | None:
        """Tell which days are counted; None where counting has not begun. Raises: UnavailableError."""
        async with translated():
            found = await self._days.find_one({"_id": _COUNTED})
        return None if found is None else _counted(found)

    async def of(
        self, merchant: int, first: dt.date, last: dt.date
    ) -> tuple[dict[dt.date, DayCounts], Counted | None]:
        """Give the counts of the days asked for that are counted, the oldest first, and which are counted at all.

        Args:
            merchant: its number.
            first: the first day.
            last: the last day, at most 91 days later.
        Raises: UnavailableError.
        """
        counted = await self.counted()
        if counted is None or counted.until is None:
            return {}, counted
        first, last = max(first, counted.since), min(last, counted.until)
        names = [_name(merchant, day) for day in days(first, last)]
        rows = await find_named(self._database, GOODS_BROWSES, names)
        found = {row["_id"]: msgspec.convert(row["told"], DayCounts) for row in rows}
        return {day: found.get(_name(merchant, day), DayCounts()) for day in days(first, last)}, counted

    async def begin(self, day: dt.date) -> Counted:
        """Begin to count with a day, unless counting has begun. Raises: UnavailableError."""
        await insert_missing(self._days, [{"_id": _COUNTED, "since": day.isoformat()}])
        found = await self.counted()
        assert found is not None
        return found

    async def close(self, day: dt.date, told: Mapping[int, DayCounts]) -> None:
        """Keep what may be told of a day, by merchant: what is there stays, and the day is counted. Raises: UnavailableError."""
        await insert_missing(
            self._days,
            [
                {"_id": _name(merchant, day), "told": msgspec.to_builtins(counts)}
                for merchant, counts in told.items()
            ],
        )
        async with translated():
            await self._days.update_one({"_id": _COUNTED}, {"$max": {"until": day.isoformat()}})


def _name(merchant: int, day: dt.date) -> str:
    return f"{merchant}/{day.isoformat()}"


def _counted(document: Mapping[str, Any]) -> Counted:
    until = document.get("until")
    return Counted(
        dt.date.fromisoformat(document["since"]), None if until is None else dt.date.fromisoformat(until)
    )
