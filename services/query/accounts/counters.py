"""Counts of failures in MongoDB (`login_counters`), so that several query processes see the same.

A count is written for an attempt that goes on to be hashed, and for work that was done, and is gone after an hour: so there are no more of
them than can be hashed in an hour, whatever names are tried. They are not worth a wait for the disk: a crash forgets some.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from pymongo import IndexModel, UpdateOne, WriteConcern

from services.query.accounts.errors import LockedError
from services.query.accounts.lockout import Count, Rule, counted, locked_until_ms
from services.runtime.errors import ConflictError
from services.runtime.mongo import Database, translated

COUNTERS: Final = "login_counters"
_TRIES: Final = 3
_CONTENDED_S: Final = 1.0
_NONE: Final = Count()


def indexes() -> dict[str, list[IndexModel]]:
    """List the indexes."""
    return {COUNTERS: [IndexModel([("expires_at", 1)], name="expires_at", expireAfterSeconds=0)]}


class Counters:
    """Counts by key, 16 bytes each. Every method raises UnavailableError where the store is away."""

    def __init__(self, database: Database) -> None:
        """Use the collection in `database`."""
        self._counters = database[COUNTERS].with_options(write_concern=WriteConcern(w=1))

    async def read(self, keys: Sequence[bytes]) -> list[Count]:
        """Give the counts of some keys."""
        async with translated():
            found = {row["_id"]: row async for row in self._counters.find({"_id": {"$in": list(keys)}})}
        return [Count(found[key]["n"], found[key]["at_ms"]) if key in found else _NONE for key in keys]

    async def count(
        self, key: bytes, rule: Rule, now_ms: int, *, known: Count | None = None, window: bytes | None = None
    ) -> Count:
        """Count an attempt in, unless it is locked, in one write; give what the key stands at.

        Args:
            key: counted by comparing and swapping: a hundred attempts at a time are a hundred in a row.
            rule: says when it is locked.
            now_ms: Unix milliseconds.
            known: what `read` gave a moment ago.
            window: a second key, counted plainly.
        Raises: LockedError.
        """
        for _ in range(_TRIES):
            before = known or (await self.read([key]))[0]
            known = None
            if (until_ms := locked_until_ms(before, rule)) > now_ms:
                raise LockedError((until_ms - now_ms) / 1000)
            after = counted(before, rule, now_ms)
            with suppress(ConflictError):  # another one counted meanwhile
                await self._swap(key, before, after, rule, window)
                return after
        raise LockedError(_CONTENDED_S)

    async def _swap(self, key: bytes, before: Count, after: Count, rule: Rule, window: bytes | None) -> None:
        # One that stands at something else by now is not matched, and not inserted either, since its `_id` is taken.
        unchanged = {"_id": key, "n": before.n, "at_ms": before.at_ms}
        writes = [UpdateOne(unchanged, {"$set": _fields(after, rule)}, upsert=True)]
        if window is not None:
            writes.append(_plus(window, 1, after.at_ms, rule.forgotten_ms))
        async with translated():
            await self._counters.bulk_write(writes, ordered=True)

    async def take_back(self, key: bytes, window: bytes | None, now_ms: int, rule: Rule) -> None:
        """Uncount an attempt that was not made in the end."""
        keys = [key] if window is None else [key, window]
        async with translated():
            await self._counters.bulk_write([_plus(each, -1, now_ms, rule.forgotten_ms) for each in keys])

    async def forgive(self, key: bytes, window: bytes | None, now_ms: int, rule: Rule) -> None:
        """Forget the failures of a key after a success, and uncount the attempt from the window."""
        async with translated():
            await self._counters.delete_one({"_id": key})
            if window is not None:
                await self._counters.bulk_write([_plus(window, -1, now_ms, rule.forgotten_ms)])

    async def put(self, counts: Mapping[bytes, Count], rule: Rule) -> None:
        """Set counts."""
        writes = [
            UpdateOne({"_id": key}, {"$set": _fields(count, rule)}, upsert=True)
            for key, count in counts.items()
        ]
        async with translated():
            await self._counters.bulk_write(writes)

    async def spend(self, key: bytes, until_s: int) -> bool:
        """Take note of something that counts once; False where it was noted before."""
        row: dict[str, Any] = {"_id": key, "n": 1, "at_ms": 0, "expires_at": _at(until_s * 1000)}
        try:
            async with translated():
                await self._counters.insert_one(row)
        except ConflictError:
            return False
        return True


def _plus(key: bytes, by: int, now_ms: int, lasts_ms: int) -> UpdateOne:
    change = {"$inc": {"n": by}, "$max": {"at_ms": now_ms}, "$set": {"expires_at": _at(now_ms + lasts_ms)}}
    return UpdateOne({"_id": key}, change, upsert=True)


def _fields(count: Count, rule: Rule) -> dict[str, Any]:
    return {"n": count.n, "at_ms": count.at_ms, "expires_at": _at(count.at_ms + rule.forgotten_ms)}


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
