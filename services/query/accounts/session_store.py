"""Sessions in MongoDB (`sessions`). They are gone a day after they could have lasted."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from pymongo import IndexModel

from services.query.accounts.sessions import Session
from services.runtime.access.accounts import SESSIONS
from services.runtime.mongo import Database, translated

MAX_LISTED: Final = 100
MAX_OPEN: Final = 100
_KEPT_MS: Final = 86_400_000


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes."""
    return {
        SESSIONS: [
            IndexModel([("account", 1), ("begun_ms", -1)], name="account_begun"),
            IndexModel([("expires_at", 1)], name="expires_at", expireAfterSeconds=0),
        ]
    }


class SessionStore:
    """The sessions of one database. Every method raises UnavailableError where the store is away."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`."""
        self._sessions = database[SESSIONS]

    async def add(self, session: Session) -> None:
        """Keep a new session; of one account MAX_OPEN are open at a time, the oldest ends for a new one."""
        row = msgspec.structs.asdict(session)
        expires_at = datetime.fromtimestamp((session.ends_ms + _KEPT_MS) / 1000, UTC)
        async with translated():
            await self._sessions.insert_one({"_id": row.pop("id"), **row, "expires_at": expires_at})
            open_ones = {"account": session.account, "ended_ms": 0}
            over = (
                self._sessions.find(open_ones, {"_id": 1}).sort("begun_ms", -1).skip(MAX_OPEN).limit(MAX_OPEN)
            )
            too_many = [each["_id"] async for each in over]
            if too_many:
                await self._end({"_id": {"$in": too_many}}, session.begun_ms)

    async def find(self, identifier: str) -> Session | None:
        """Find a session by its ID."""
        async with translated():
            row = await self._sessions.find_one({"_id": identifier})
        return _session(row) if row else None

    async def listed(self, account: str, now_ms: int, idle_ms: int) -> list[Session]:
        """List an account's sessions that are open, newest first."""
        query = {
            "account": account,
            "ended_ms": 0,
            "ends_ms": {"$gt": now_ms},
            "used_ms": {"$gt": now_ms - idle_ms},
        }
        async with translated():
            rows = self._sessions.find(query).sort("begun_ms", -1).limit(MAX_LISTED)
            return [_session(row) async for row in rows]

    async def swap(self, before: Session, after: Session) -> bool:
        """Write a session with another refresh token; False where another one was faster, or it has ended."""
        names = ("digest", "previous", "again_until_ms", "used_ms")
        changed = {name: getattr(after, name) for name in names}
        query = {"_id": before.id, "digest": before.digest, "ended_ms": 0}
        async with translated():
            return (await self._sessions.update_one(query, {"$set": changed})).matched_count == 1

    async def end(self, identifier: str, account: str, now_ms: int) -> int:
        """End a session of an account; how many have ended."""
        async with translated():
            return await self._end({"_id": identifier, "account": account}, now_ms)

    async def end_all(self, account: str, now_ms: int) -> int:
        """End all sessions of an account; how many have ended."""
        async with translated():
            return await self._end({"account": account}, now_ms)

    async def remove_all(self, account: str) -> None:
        """Remove all that is kept of an account's sessions."""
        async with translated():
            await self._sessions.delete_many({"account": account})

    async def _end(self, query: Mapping[str, Any], now_ms: int) -> int:
        result = await self._sessions.update_many({**query, "ended_ms": 0}, {"$set": {"ended_ms": now_ms}})
        return result.modified_count


def _session(row: Mapping[str, Any]) -> Session:
    return msgspec.convert({**row, "id": row["_id"]}, Session)
