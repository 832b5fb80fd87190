"""Whose goods are looked at: merchants by the prefixes, location numbers and URIs that they have registered as their own."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import getitem
from typing import Any, Final

from goodstrace.claims import levels_of
from goodstrace.company import company_digits
from services.runtime.merchants.store import CONTENT, MERCHANTS
from services.runtime.mongo import Database, find_all

_SHORTEST_PREFIX: Final = 4
_LONGEST_PREFIX: Final = 12
_AT_ONCE: Final = 500
_NAMES: Final = ("prefixes", "glns", "uris")

Claims = Mapping[str, Sequence[str]]
"""Values by the name of the member that they would be registered in."""


class Owners:
    """Finds the owners of keys, those of many keys by one query.

    What is delegated to a merchant, and what a merchant that speaks for everything speaks for, is not its own.
    """

    def __init__(self, database: Database) -> None:
        """Ask the merchants' collection of a database."""
        self._database = database

    async def of(self, keys: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Give the numbers of the merchants whose goods these canonical keys are, by key. Raises: UnavailableError."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, tuple[int, ...]] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            found |= await self._find({key: claimed_by(key) for key in wanted[start : start + _AT_ONCE]})
        return found

    async def _find(self, claims: Mapping[str, Claims]) -> dict[str, tuple[int, ...]]:
        sought = {
            name: sorted({value for each in claims.values() for value in each[name]}) for name in _NAMES
        }
        conditions = [{f"{CONTENT}.{name}": {"$in": values}} for name, values in sought.items() if values]
        fields = {f"{CONTENT}.{name}": 1 for name in _NAMES}
        rows = await find_all(self._database, MERCHANTS, {"$or": conditions}, fields) if conditions else []
        by_claim: dict[tuple[str, str], set[int]] = {}
        for row in rows:
            content: Any = reduce(getitem, CONTENT.split("."), row)
            for name in _NAMES:
                for value in content.get(name, ()):
                    by_claim.setdefault((name, value), set()).add(int(row["_id"]))
        return {
            key: tuple(
                sorted(
                    {
                        number
                        for name, values in each.items()
                        for value in values
                        for number in by_claim.get((name, value), ())
                    }
                )
            )
            for key, each in claims.items()
        }


def claimed_by(key: str) -> Claims:
    """Say what a merchant has registered who owns a canonical key: at least one of these. Pure."""
    digits, gln = company_digits(key)
    prefixes = [digits[:size] for size in range(_SHORTEST_PREFIX, _LONGEST_PREFIX + 1) if len(digits) >= size]
    return {"prefixes": prefixes, "glns": [gln] if gln else [], "uris": list(levels_of(key))}
