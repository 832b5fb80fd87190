"""The collection `delegations`: the registrations of merchants with what delegations depend on, each for itself, by record ID.

For whom a merchant let others speak is asked as of a time, so the newest one, which `merchants` has, does not do. What was sealed
before this collection was is known by that newest one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pymongo import IndexModel

from goodstrace.goods.corrections import Given, Givers
from goodstrace.registration import MERCHANT, Registration, lending, merchant_key
from services.runtime.mongo import Database, create_indexes, find_named, insert_missing

DELEGATIONS: Final = "delegations"
INDEXES: Final = {DELEGATIONS: [IndexModel([("merchant", 1)], name="merchant")]}
_NEWEST: Final = "merchants"


class DelegationStore:
    """Keeps them."""

    def __init__(self, database: Database) -> None:
        """Use the collections in `database`."""
        self._database = database

    async def prepare(self) -> None:
        """Make the index that is not there. Raises: UnavailableError."""
        await create_indexes(self._database, INDEXES)

    async def add(self, given: Sequence[Given]) -> None:
        """Keep registrations; the same ones again are left as they are. Raises: UnavailableError."""
        await insert_missing(self._database[DELEGATIONS], list(map(_row, given)))

    async def find(self, merchants: Collection[int]) -> Givers:
        """Give all that is known of some merchants' registrations. Raises: UnavailableError."""
        numbers = sorted(merchants)
        kept = await find_named(self._database, DELEGATIONS, numbers, by="merchant")
        newest = await find_named(self._database, _NEWEST, numbers, {"registered": 1})
        return Givers(
            [
                *(_given(each["_id"], each["merchant"], each) for each in kept),
                *(
                    _given(each["registered"]["record"], each["_id"], each["registered"])
                    for each in newest
                    if "registered" in each
                ),
            ]
        )


def _row(given: Given) -> dict[str, Any]:
    registration = given.registration
    return {
        "_id": given.record,
        "merchant": registration.merchant,
        "time_ms": given.record_ms,
        "content": lending(registration).content,
    }


def _given(record: str, merchant: int, told: Mapping[str, Any]) -> Given:
    registration = Registration(MERCHANT, merchant_key(merchant), merchant, told["content"])
    return Given(told["time_ms"], record, lending(registration))
