"""The collection of events in which something was noticed; whoever shows it is `services.query.flagged_events`."""

from collections.abc import Sequence
from typing import Final

from pymongo import IndexModel

from services.runtime.merchants.flagged import FLAGGED, FlaggedEvent, row_of
from services.runtime.mongo import Database, create_indexes, insert_missing

_NEWEST: Final = [("record_ms", -1), ("_id", -1)]
INDEXES: Final = {
    FLAGGED: [
        IndexModel([("merchant", 1), *_NEWEST], name="newest"),
        IndexModel([("merchant", 1), ("names", 1), *_NEWEST], name="newest_by_name"),
    ]
}


class FlaggedStore:
    """Keeps them."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`."""
        self._database = database

    async def prepare(self) -> None:
        """Make the indexes that are not there. Raises: UnavailableError."""
        await create_indexes(self._database, INDEXES)

    async def add(self, events: Sequence[FlaggedEvent]) -> None:
        """Keep events; the same ones again are left as they are. Raises: UnavailableError."""
        if events:
            await insert_missing(self._database[FLAGGED], list(map(row_of, events)))
