"""Whose goods are looked at: merchants by the prefixes, location numbers and URIs that they have registered as their own."""

import time
from collections.abc import Iterable
from typing import Any, Final

from goodstrace.claims import levels_of
from goodstrace.company import company_digits
from services.runtime.merchants.directory import Remembered, Staleness
from services.runtime.merchants.store import CONTENT, MERCHANTS
from services.runtime.mongo import Database, find_all

_SHORTEST_PREFIX: Final = 4
_LONGEST_PREFIX: Final = 12
_FRESH_S: Final = 60.0


class Owners:
    """Finds the owners of keys; a registration counts a minute later at the latest.

    What is delegated to a merchant, and what a merchant that speaks for everything speaks for, is not its own.
    """

    def __init__(self, database: Database) -> None:
        """Ask the merchants' collection of a database."""
        self._database = database
        self._known = Remembered(self._find, Staleness(_FRESH_S, 0), time.monotonic)

    async def of(self, keys: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Give the numbers of the merchants whose goods these canonical keys are, by key. Raises: UnavailableError."""
        return {key: await self._known.get(key) for key in keys}

    async def _find(self, key: str) -> tuple[int, ...]:
        rows = await find_all(self._database, MERCHANTS, {"$or": claimed_by(key)}, {"_id": 1})
        return tuple(sorted(int(row["_id"]) for row in rows))


def claimed_by(key: str) -> list[dict[str, Any]]:
    """Say what a merchant has registered who owns a canonical key: conditions of which one holds. Pure."""
    digits, gln = company_digits(key)
    prefixes = [digits[:size] for size in range(_SHORTEST_PREFIX, _LONGEST_PREFIX + 1) if len(digits) >= size]
    meant = {"prefixes": prefixes, "glns": [gln] if gln else [], "uris": list(levels_of(key))}
    return [{f"{CONTENT}.{name}": {"$in": values}} for name, values in meant.items() if values]
