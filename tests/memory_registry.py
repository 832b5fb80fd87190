"""What is registered, in memory: the registry's port without a MongoDB. It can be away.

`check_registry` is the contract that this and the real store both keep.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from goodstrace.registration import merchant_key
from services.collector.registry.ranges import Kept, kept_by
from services.collector.registry.registrations import (
    Changes,
    Registered,
    Registration,
    changes,
    item_of,
    registered,
)
from services.collector.registry.store import RegistryStore
from services.collector.registry.under_way import LASTS_MS, AllUnderWay, UnderWay
from services.runtime.errors import UnavailableError
from services.runtime.merchants.api_keys import ApiKey, new_key
from services.runtime.merchants.values import Delegation, Merchant, What, plain


class MemoryRegistry:
    """Implements RegistryStore's methods over dictionaries; `calls` counts look-ups; nothing is answered while `away`."""

    def __init__(self) -> None:
        self.away = False
        self.calls = 0
        self.documents: dict[tuple[What, int | str], dict[str, Any]] = {}
        self.rows: dict[str, ApiKey] = {}
        self.numbers = 0
        self.all_under_way = AllUnderWay()

    async def apply(self, found: Changes) -> None:
        self._asked()
        self.take(found)

    def take(self, found: Changes) -> None:
        """Keep changes."""
        for what, told in found.items():
            for own, change in told.items():
                new = change["$max"]["registered"]
                known = self.documents.get((what, own))
                if known is None or (known["time_ms"], known["record"]) < (new["time_ms"], new["record"]):
                    self.documents[what, own] = new

    async def find(self, what: What, own: int | str) -> Registered | None:
        self._asked()
        told = self.documents.get((what, own))
        if told is None:
            return None
        key = merchant_key(int(own)) if what is What.MERCHANT else str(own)
        return Registered(
            Registration(what, key, told["merchant"], told["content"]), told["record"], told["time_ms"]
        )

    async def registered_by(self, what: What, merchant: int, after: str, limit: int) -> list[Registered]:
        self._asked()
        keys = sorted(
            str(own)
            for (kind, own), told in self.documents.items()
            if kind is what and told["merchant"] == merchant and str(own) > after
        )
        found = [await self.find(what, key) for key in keys[:limit]]
        return [each for each in found if each is not None]

    async def kept(self, keys: Sequence[str]) -> dict[str, Kept]:
        self._asked()
        await asyncio.sleep(0)
        told = {key: self.documents[What.GOODS, key] for key in keys if (What.GOODS, key) in self.documents}
        ranges = {
            key: kept_by(each["content"].get("attributes", {}), each["record"]) for key, each in told.items()
        }
        return {key: each for key, each in ranges.items() if each is not None}

    async def merchants(self, after: int = 0, limit: int = 0) -> AsyncIterator[tuple[int, Merchant]]:
        self._asked()
        numbers = sorted(int(own) for what, own in self.documents if what is What.MERCHANT)
        for number in [each for each in numbers if each > after][: limit or None]:
            yield number, self._merchant(number)

    async def merchant(self, number: int) -> Merchant | None:
        self._asked()
        return self._merchant(number) if (What.MERCHANT, number) in self.documents else None

    async def givers(self, number: int) -> list[Merchant]:
        self._asked()
        every = [each async for _, each in self.merchants()]
        return [each for each in every if any(given.to == number for given in each.delegations)]

    async def uris(self) -> frozenset[str]:
        self._asked()
        return frozenset({uri async for _, each in self.merchants() for uri in each.uris})

    async def reserve_number(self) -> int:
        self._asked()
        self.numbers += 1
        return self.numbers

    async def under_way(self) -> AllUnderWay:
        self._asked()
        seen = self.all_under_way
        await asyncio.sleep(0)  # another collector has its turn
        return seen

    async def begin(self, seen: AllUnderWay, following: AllUnderWay) -> bool:
        self._asked()
        if seen.version != self.all_under_way.version:
            return False
        self.all_under_way = following
        return True

    async def end(self, mine: UnderWay) -> None:
        self._asked()
        now = self.all_under_way
        left = tuple(each for each in now.registrations if each.id != mine.id)
        self.all_under_way = AllUnderWay(now.version + 1, left)

    async def add_key(self, key: ApiKey) -> None:
        self._asked()
        self.rows[key.id] = key

    async def key(self, identifier: str) -> ApiKey | None:
        self._asked()
        return self.rows.get(identifier)

    async def keys(self, merchant: int) -> list[ApiKey]:
        self._asked()
        return [each for each in self.rows.values() if each.merchant == merchant]

    async def revoke_key(self, merchant: int, identifier: str, now_ms: int) -> bool:
        self._asked()
        key = self.rows.get(identifier)
        if key is None or key.merchant != merchant:
            return False
        if not key.revoked_ms:
            self.rows[identifier] = msgspec.structs.replace(key, revoked_ms=now_ms)
        return True

    def _asked(self) -> None:
        self.calls += 1
        if self.away:
            raise UnavailableError("away")

    def _merchant(self, number: int) -> Merchant:
        return msgspec.convert(self.documents[What.MERCHANT, number]["content"], Merchant)


async def check_registry(store: RegistryStore, random: Callable[[int], bytes]) -> None:
    """What both stores must do, on an empty one."""
    first, second = await store.reserve_number(), await store.reserve_number()
    assert (first, second) == (1, 2)
    given = Merchant(
        "Ann", prefixes=("0614141",), uris=("urn:a:",), delegations=(Delegation(second, "0614141", 9),)
    )
    records = [
        item_of(
            Registration(What.MERCHANT, merchant_key(number), number, plain(content)), time_ms, random
        ).record
        for number, content, time_ms in (
            (first, msgspec.structs.replace(given, name="An"), 5),
            (first, given, 6),
            (second, Merchant("Bo"), 5),
        )
    ]
    for record in reversed(records):  # the newest counts, whatever the order
        await store.apply(changes([record]))
    await store.apply(changes(records[:2]))
    found = await store.find(What.MERCHANT, first)
    assert found == registered(records[1])
    assert [number async for number, _ in store.merchants()] == [first, second]
    assert [number async for number, _ in store.merchants(first, 1)] == [second]
    assert await store.merchant(first) == given
    assert await store.merchant(9) is None
    assert await store.givers(second) == [given]
    assert await store.givers(first) == []
    assert await store.uris() == {"urn:a:"}
    assert await store.find(What.PLACE, "urn:a:1") is None
    place = Registration(What.PLACE, "urn:a:1", first, {"key": "urn:a:1", "names": {"en": "A"}})
    await store.apply(changes([item_of(place, 7, random).record]))
    kept = await store.find(What.PLACE, "urn:a:1")
    assert kept is not None
    assert kept.registration == place
    assert await store.registered_by(What.PLACE, first, "", 9) == [kept]
    assert await store.registered_by(What.PLACE, first, "urn:a:1", 9) == []
    assert await store.registered_by(What.PLACE, second, "", 9) == []
    assert await store.registered_by(What.GOODS, first, "", 9) == []
    await check_ranges(store, random)
    key, _ = new_key(second, "till", 8, random)
    await store.add_key(key)
    assert await store.key(key.id) == key
    assert await store.key("0" * 16) is None
    assert not await store.revoke_key(first, key.id, 9)
    assert await store.revoke_key(second, key.id, 9)
    assert await store.revoke_key(second, key.id, 10)
    assert await store.keys(second) == [msgspec.structs.replace(key, revoked_ms=9)]
    assert await store.reserve_number() == 3
    await check_under_way(store)


async def check_ranges(store: RegistryStore, random: Callable[[int], bytes]) -> None:
    """The ranges of goods are those of their newest registrations; goods without one, or that state none, are left out."""
    said: list[tuple[str, dict[str, str]]] = [
        ("urn:a:2", {"minimumTemperature": "1"}),
        ("urn:a:2", {"gs1:minimumTemperature": "2", "gs1:maximumTemperature": "8.0"}),
        ("urn:a:3", {"origin": "LK", "maximumTemperature": "cold"}),
    ]
    records = [
        item_of(
            Registration(What.GOODS, key, 1, {"key": key, "names": {"en": "A"}, "attributes": attributes}),
            time_ms,
            random,
        ).record
        for time_ms, (key, attributes) in enumerate(said)
    ]
    await store.apply(changes(records))
    many = [f"urn:b:{number}" for number in range(300)]
    assert await store.kept([*many, "urn:a:2", "urn:a:3", "urn:a:1"]) == {
        "urn:a:2": Kept(2.0, 8.0, records[1].id.hex())
    }
    assert await store.kept([]) == {}


async def check_under_way(store: RegistryStore) -> None:
    """Of two that begin from the same state one is first."""
    empty = await store.under_way()
    assert not empty.registrations
    mine, other = (UnderWay(name, 0, 5, plain(Merchant(name, prefixes=("0614141",)))) for name in "ab")
    assert await store.begin(empty, empty.with_one(mine, 6))
    assert not await store.begin(empty, empty.with_one(other, 6))
    seen = await store.under_way()
    assert (seen.registrations, seen.registrations[0].merchant().prefixes) == ((mine,), ("0614141",))
    assert await store.begin(seen, seen.with_one(other, 6))
    await store.end(mine)
    assert not await store.begin(seen, seen.with_one(mine, 6))
    left = await store.under_way()
    assert left.registrations == (other,)
    late = left.with_one(mine, 5 + LASTS_MS)
    assert late.registrations == (mine,)
    assert await store.begin(left, late)
    await store.end(mine)
    assert not (await store.under_way()).registrations
