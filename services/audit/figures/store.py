"""Statistics in MongoDB: a document for each window and partition of browse records, changed only where nobody else changed it meanwhile.

A document holds the offset of the last record counted in it, so that a batch may come twice, and two readers of one partition do no harm.
Hours are kept for 92 days, days and months for 800.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from pymongo import IndexModel

from goodstrace.grouping import grouped
from services.audit.figures import values
from services.audit.figures.values import Counts, Figures, Look, Marks, Window, figures, windows_of
from services.runtime.errors import ConflictError, UnavailableError
from services.runtime.mongo import Database, create_indexes, find_all, translated

STATISTICS: Final = "browse_statistics"
KEEP_DAYS: Final = {Window.HOUR: 92, Window.DAY: 800, Window.MONTH: 800}
_CAUGHT_UP: Final = "caught-up"
_EXPIRES: Final = "expires"
_ATTEMPTS: Final = 20
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODER: Final = msgspec.msgpack.Decoder(Counts)


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes by collection."""
    return {
        STATISTICS: [
            IndexModel([("window", 1), ("start_ms", 1)], name="window"),
            IndexModel([(_EXPIRES, 1)], name=_EXPIRES, expireAfterSeconds=0),
        ]
    }


async def provision(database: Database) -> str:
    """Make the indexes where they are not there. Raises: UnavailableError."""
    await create_indexes(database, indexes())
    return f"figures: indexes of {STATISTICS}"


class Statistics:
    """Keeps and gives statistics."""

    def __init__(self, database: Database) -> None:
        """Use the collection of a database."""
        self._database = database
        self._rows = database[STATISTICS]

    async def add(self, partition: int, said: Sequence[Look | Marks]) -> None:
        """Count records of one partition, in its order; those that were counted are not again. Raises: UnavailableError."""
        for window, start_ms in windows_of(said):
            await self._add(window, start_ms, partition, said)

    async def caught_up(self, partition: int, time_ms: int) -> None:
        """Note that everything was counted that was in a partition at a time. Raises: UnavailableError."""
        async with translated():
            await self._rows.update_one(
                {"_id": f"{_CAUGHT_UP}/{partition}"},
                {"$max": {"time_ms": time_ms}, "$set": {"window": _CAUGHT_UP}},
                upsert=True,
            )

    async def counted_until(self, partitions: int) -> int:
        """Tell up to which time every partition is counted, Unix milliseconds; 0 where one never was. Raises: UnavailableError."""
        rows = await find_all(self._database, STATISTICS, {"window": _CAUGHT_UP})
        times = {row["_id"]: int(row["time_ms"]) for row in rows}
        return min(times.get(f"{_CAUGHT_UP}/{each}", 0) for each in range(partitions))

    async def windows(self, window: Window, start_ms: int, end_ms: int) -> list[tuple[int, Figures]]:
        """Give the figures of the windows that begin in a time, the oldest first; those without any are left out.

        Args:
            window: how long they are.
            start_ms: of the first that counts, or before it.
            end_ms: windows that begin at it or later do not count. The caller bounds how many there are.
        Raises: UnavailableError.
        """
        query = {"window": str(window), "start_ms": {"$gte": start_ms, "$lt": end_ms}}
        rows = await find_all(self._database, STATISTICS, query)
        found = grouped((int(row["start_ms"]), _DECODER.decode(row["counts"])) for row in rows)
        return [(start, figures(found[start])) for start in sorted(found)]

    async def _add(self, window: Window, start_ms: int, partition: int, said: Sequence[Look | Marks]) -> None:
        """Try until it is written: where another reader was first, what it has counted is not counted again."""
        name = f"{window}/{start_ms}/{partition}"
        for _ in range(_ATTEMPTS):
            async with translated():
                row = await self._rows.find_one({"_id": name})
            known = Counts() if row is None else _DECODER.decode(row["counts"])
            before = known.offset
            if not values.counted(known, window, start_ms, said):
                return
            document = _document(name, window, start_ms, known)
            try:
                async with translated():
                    if row is None:
                        await self._rows.insert_one(document)
                        return
                    done = await self._rows.replace_one({"_id": name, "offset": before}, document)
            except ConflictError:
                continue
            if done.matched_count:
                return
        raise UnavailableError(f"MongoDB: the statistics {name} are written by others all the time")


def _document(name: str, window: Window, start_ms: int, counts: Counts) -> dict[str, Any]:
    keep = dt.timedelta(days=KEEP_DAYS[window])
    return {
        "_id": name,
        "window": str(window),
        "start_ms": start_ms,
        "offset": counts.offset,
        "counts": _ENCODE(counts),
        _EXPIRES: dt.datetime.fromtimestamp(window.next(start_ms) / 1000, dt.UTC) + keep,
    }
