"""The registry on a real store keeps the contract that the one in memory keeps."""

import asyncio
import os

from services.collector.registry.rate_store import MongoRateStore
from services.collector.registry.rates import BYTES, EVENTS
from services.collector.registry.sharing import Taken
from services.collector.registry.store import RegistryStore
from services.runtime.mongo import Mongo
from tests.deadlines import DEADLINE_S
from tests.memory_registry import check_registry


async def test_the_registry_keeps_its_contract(mongo: Mongo) -> None:
    store = RegistryStore(mongo.database)
    await store.prepare()
    await check_registry(store, os.urandom)


async def test_what_collectors_took_adds_up_in_the_store(mongo: Mongo) -> None:
    store = MongoRateStore(mongo.database, within_s=DEADLINE_S)  # whether they add up, not how soon
    assert await store.full_at_ms([1, 2]) == {}
    await store.add({1: {EVENTS: Taken(250.5, 1_000.25)}, 2: {BYTES: Taken(1, 5)}})
    await store.add({1: {EVENTS: Taken(10, 1_100), BYTES: Taken(7, 2_000)}})  # it is not full before 1250.75
    assert await store.full_at_ms([1, 2, 3]) == {1: {EVENTS: 1_260.75, BYTES: 2_007}, 2: {BYTES: 6}}
    await store.add({1: {EVENTS: Taken(10, 5_000)}})  # it was full long ago
    assert await store.full_at_ms([1]) == {1: {EVENTS: 5_010, BYTES: 2_007}}
    together = [store.add({1: {EVENTS: Taken(1, 0)}}) for _ in range(50)]
    await asyncio.gather(*together)
    assert (await store.full_at_ms([1]))[1][EVENTS] == 5_060
