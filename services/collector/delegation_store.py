"""The collection `delegations`: the registrations of merchants with what delegations depend on, each for itself, by record ID.

For whom a merchant let others speak is asked as of a time, so the newest one, which `merchants` has, does not do. What was sealed
before this collection was is known by that newest one alone. So that stays known, too, it is kept here before another one takes its
place there: by whoever puts one there (`keep_replaced`), and, since releases of before put theirs there without that, when a keeper starts.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pymongo import IndexModel

from goodstrace.goods.corrections import Given, Givers
from goodstrace.registration import MERCHANT, Registration, lending, merchant_key
from services.runtime.merchants.store import CONTENT, MERCHANTS
from services.runtime.mongo import Database, create_indexes, find_named, find_pages, insert_missing

DELEGATIONS: Final = "delegations"
INDEXES: Final = {DELEGATIONS: [IndexModel([("merchant", 1)], name="merchant")]}
_NEWEST: Final = {"registered": 1}
_LENDS: Final = {f"{CONTENT}.delegations.to": {"$gt": 0}}
"""An index of `merchants` finds these."""


class DelegationStore:
    """Keeps them."""

    def __init__(self, database: Database) -> None:
        """Use the collections in `database`."""
        self._database = database

    async def prepare(self) -> None:
        """Make the index that is not there, and keep the newest registration of each merchant who lets others speak.

        Not to know those of others says the same as to know them: they let nobody speak. May be done at any time, by several at once.
        Raises: UnavailableError.
        """
        await create_indexes(self._database, INDEXES)
        async for some in find_pages(self._database, MERCHANTS, _LENDS, _NEWEST):
            await self.add(_newest(some))

    async def add(self, given: Sequence[Given]) -> None:
        """Keep registrations; the same ones again are left as they are. Raises: UnavailableError."""
        await insert_missing(self._database[DELEGATIONS], list(map(_row, given)))

    async def keep_replaced(self, merchants: Collection[int]) -> None:
        """Keep what `merchants` has of some, before another registration takes its place. Raises: UnavailableError."""
        await self.add(_newest(await find_named(self._database, MERCHANTS, sorted(merchants), _NEWEST)))

    async def find(self, merchants: Collection[int]) -> Givers:
        """Give all that is known of some merchants' registrations. Raises: UnavailableError."""
        numbers = sorted(merchants)
        # The newest first: what is replaced between the two is kept by then, so that the second finds it.
        newest = _newest(await find_named(self._database, MERCHANTS, numbers, _NEWEST))
        kept = await find_named(self._database, DELEGATIONS, numbers, by="merchant")
        return Givers([*newest, *(_given(each["_id"], each["merchant"], each) for each in kept)])


def _newest(merchants: Sequence[Mapping[str, Any]]) -> list[Given]:
    """Read documents of `merchants`; one who is known by events alone has registered nothing."""
    told = ((each["_id"], each["registered"]) for each in merchants if "registered" in each)
    return [_given(registered["record"], number, registered) for number, registered in told]


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
