"""What the watch keeps in MongoDB for others to read: alerts, statistics, blocks. Everything may be written twice.

Users are pseudonyms of a day. What is of users is kept no longer than the vault keeps what links these with people.

Statistics are written as what they have come to, and only ever raised: whichever worker writes last, also one that lost its partition
meanwhile, they are right.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from pymongo import DESCENDING, IndexModel, UpdateOne

from goodstrace.audit.v1 import watch_pb2
from services.audit.watch.activity import Activity
from services.audit.watch.daily import is_pseudonym
from services.audit.watch.values import Kind
from services.runtime import clock
from services.runtime.blocking import BLOCKS, NETWORK, Block, Blocks, blocked_subject
from services.runtime.blocking import indexes as block_indexes
from services.runtime.errors import ConflictError
from services.runtime.mongo import DOCUMENTS_A_CALL, Database, create_indexes, translated

ALERTS: Final = "watch_alerts"
ACTIVITY: Final = "watch_activity"
_EXPIRES: Final = "expires"
COUNTS: Final = (
    "looks",
    "refused",
    "sign_ins",
    "sign_ins_refused",
    "shown",
    "first_seen",
    "answered",
    "failed",
    "withheld",
)
"""What a window counts, as statistics have it."""
DISTINCT: Final = ("keys", "users", "networks")
"""Of what it counts how many different ones there were: these cannot be added up over partitions."""
_OF_USERS: Final = (Kind.USER, Kind.SERIES)
_DAY_MS: Final = 86_400_000


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes by collection."""
    return {
        ALERTS: [
            IndexModel([("stored_ms", DESCENDING), ("_id", DESCENDING)], name="stored"),
            IndexModel([("subject", 1), ("stored_ms", DESCENDING)], name="subject"),
            IndexModel([(_EXPIRES, 1)], name=_EXPIRES, expireAfterSeconds=0),
        ],
        ACTIVITY: [
            IndexModel([("about", 1), ("subject", 1), ("start_ms", 1)], name="subject"),
            IndexModel([("about", 1), ("start_ms", 1), ("looks", DESCENDING), ("_id", 1)], name="busiest"),
            IndexModel([(_EXPIRES, 1)], name=_EXPIRES, expireAfterSeconds=0),
        ],
        BLOCKS: block_indexes(),
    }


async def provision(database: Database) -> str:
    """Make the indexes where they are not there. Raises: UnavailableError."""
    await create_indexes(database, indexes())
    return f"watch: indexes of {', '.join(indexes())}"


async def forget(database: Database, pseudonyms: Sequence[str]) -> int:
    """Delete alerts, statistics and blocks of users by their pseudonyms, as when one is erased; tells how many documents.

    A worker that counts one of them now may write its statistics once more: these go with their time. Raises: UnavailableError.
    """
    subjects = {"$in": list(pseudonyms)}
    count = await Blocks(database).forget(blocked_subject(Kind.USER, each) for each in pseudonyms)
    async with translated():
        for name in (ALERTS, ACTIVITY):
            about = {"about": {"$in": [str(kind) for kind in _OF_USERS]}}
            count += (await database[name].delete_many({**about, "subject": subjects})).deleted_count
    return count


class WatchStore:
    """Writes what the watch found; `keep_days` later it goes, and what is of users `user_days` later."""

    def __init__(self, database: Database, *, keep_days: int, user_days: int) -> None:
        """Write to a database."""
        self._alerts, self._activity = database[ALERTS], database[ACTIVITY]
        self._blocks = Blocks(database)
        self._keep_ms, self._user_ms = keep_days * _DAY_MS, min(keep_days, user_days) * _DAY_MS

    async def put_activities(self, rows: Sequence[Activity], size_ms: int) -> None:
        """Raise the statistics to what they have come to. Raises: UnavailableError."""
        updates = [self._raised(row, size_ms) for row in rows]
        for start in range(0, len(updates), DOCUMENTS_A_CALL):
            await self._write(updates[start : start + DOCUMENTS_A_CALL])

    async def put_alert(self, found: watch_pb2.Alert, value: bytes) -> bool:
        """Store an alert and block whom it blocks, unless it is there; tells whether it was new.

        The alert is stored last: where it is there, its block was put, and an operator may have lifted it since. Raises: UnavailableError.
        """
        async with translated():
            if await self._alerts.find_one({"_id": found.id}, {"_id": 1}) is not None:
                return False
        if found.blocked_until_ms and (found.about == NETWORK or is_pseudonym(found.subject)):
            await self._blocks.put(
                Block(
                    subject=blocked_subject(found.about, found.subject),
                    until_ms=found.blocked_until_ms,
                    reason=found.rule,
                    alert=found.id,
                    by="watch",
                ),
                only_unless_lifted=True,
            )
        try:
            async with translated():
                await self._alerts.insert_one(self._document(found, value))
        except ConflictError:
            return False
        return True

    def _document(self, found: watch_pb2.Alert, value: bytes) -> dict[str, Any]:
        return {
            "_id": found.id,
            "rule": found.rule,
            "about": found.about,
            "subject": found.subject,
            "end_ms": found.end_ms,
            "stored_ms": clock.now_ms(),
            "alert": value,
            _EXPIRES: _date(found.end_ms + self._kept_ms(found.about)),
        }

    def _kept_ms(self, about: str) -> int:
        return self._user_ms if about in _OF_USERS else self._keep_ms

    def _raised(self, row: Activity, size_ms: int) -> UpdateOne:
        key = {"about": str(row.kind), "subject": row.subject, "start_ms": row.start_ms}
        told = {name: getattr(row, name) for name in (*COUNTS, *DISTINCT)}
        return UpdateOne(
            {"_id": f"{row.kind}/{row.start_ms}/{row.subject}"},
            {
                "$max": told,
                "$setOnInsert": {
                    **key,
                    "end_ms": row.start_ms + size_ms,
                    _EXPIRES: _date(row.start_ms + self._kept_ms(row.kind)),
                },
            },
            upsert=True,
        )

    async def _write(self, updates: list[UpdateOne]) -> None:
        try:
            async with translated():
                await self._activity.bulk_write(updates, ordered=False)
        except (
            ConflictError
        ):  # another worker put one of them at the same moment: now it is there to be raised
            async with translated():
                await self._activity.bulk_write(updates, ordered=False)


def _date(time_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)
