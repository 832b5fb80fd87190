"""Named queries and webhooks of a user, for erasing and for exporting.

What is a user's own goes. What is a merchant's stays, and has the merchant in the place of who made it: its looks would be recorded under the
forgotten name else. It is delivered as before, unless it was made to see as its owner: with who made it ends what it may see.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

from services.query.webhooks.store import QUERIES, SUBSCRIPTIONS
from services.runtime.mongo import Database, translated
from services.sealing.erasure.steps import Known

_UNKNOWN: Final = "unknown"
_OF_MERCHANTS: Final = "merchant:"
_HIDDEN: Final = {"locked", "locked_under"}
_FOR: Final = "/"  # between a program's name and that of the user for whom it asked


async def erase_webhooks(database: Database, known: Known) -> int:
    """Delete the queries and subscriptions of a user, and take the name off those of merchants. Raises: UnavailableError."""
    count = 0
    for name in (SUBSCRIPTIONS, QUERIES):  # a query goes after what asks it
        async with translated():
            if not known.name.startswith(_OF_MERCHANTS):
                count += (await database[name].delete_many({"owner": known.name})).deleted_count
            async for each in database[name].find({"user": known.name}, {"owner": 1}):
                owner = str(each.get("owner") or _UNKNOWN)
                if owner != known.name:
                    change: dict[str, Any] = {"$set": {"user": owner}}
                    if _FOR not in known.name:  # else who made it is the program, which stays
                        change["$unset"] = {"maker": ""}
                    still = {"_id": each["_id"], "user": known.name}  # another may have resumed it meanwhile
                    changed = await database[name].update_one(still, change)
                    count += changed.modified_count
    return count


async def export_webhooks(database: Database, known: Known) -> AsyncIterator[tuple[str, Any]]:
    """Give the queries and subscriptions that a user made or has, without their secrets. Raises: UnavailableError."""
    wanted = {"$or": [{"user": known.name}, {"owner": known.name}]}
    for kind, name in (("query", QUERIES), ("subscription", SUBSCRIPTIONS)):
        async with translated():
            async for each in database[name].find(wanted):
                yield kind, {"id": each.pop("_id")} | {key: each[key] for key in each if key not in _HIDDEN}
