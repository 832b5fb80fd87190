"""The states of goods in a real store: whatever keeper reads what and when, corrections by delegates end in the same documents."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from deploy.stack import Stack
from goodstrace.goods.corrections import Givers
from services.collector.delegation_store import DELEGATIONS
from services.collector.goods_states import Stored, given, sightings
from services.collector.state_keeper import gathered
from services.collector.state_store import StateStore, document
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from tests.conftest import Names
from tests.unit.goods_worlds import DELEGATE, GIVER, HOT, PREFIX, STRANGER, Lent, Said, sealed
from tests.unit.test_goods_corrections import before
from tests.unit.test_goods_state import ITEM_KEY, SITES, seen, taken_back

EVENTS = [
    seen(
        number,
        number,
        epcList=[f"urn:epc:id:sgtin:0614141.107346.{2017 + number}"],
        bizLocation={"id": SITES[0]},
    )
    for number in range(8)
]
WORLD: list[Said | Lent] = [
    *(Said(GIVER, each) for each in EVENTS),
    *(Said(DELEGATE, taken_back(each)) for each in EVENTS[:4]),
    *(Said(STRANGER, taken_back(each)) for each in EVENTS[4:6]),
    Lent({}, -2),
    Lent({DELEGATE: PREFIX}, -1),
    Lent({STRANGER: PREFIX}, 1),
]


@pytest.fixture
async def mongo(stack: Stack, names: Names) -> AsyncIterator[Mongo]:
    made = Mongo(MongoSettings(uri=stack.mongodb_uri, database=names.database))  # type: ignore[call-arg]
    yield made
    made.close()


async def keep(store: StateStore, records: Sequence[Stored]) -> int:
    told = gathered(records)
    return await store.apply(told.said, told.given)


async def states(mongo: Mongo) -> dict[str, dict[str, Any]]:
    return {each["_id"]: each async for each in mongo.database["goods_states"].find()}


def expected(records: Sequence[Stored], there: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    givers = Givers(given(records))
    said = sightings(records)
    assert said.keys() == there.keys()
    return {key: document(key, kept, there[key]["rev"], givers) for key, kept in said.items()}


@pytest.mark.parametrize("seed", range(4))
async def test_keepers_that_read_it_in_any_order_end_in_the_same_documents(mongo: Mongo, seed: int) -> None:
    records = sealed(WORLD)
    mixed = [*records, *records[:5]]
    random.Random(seed).shuffle(mixed)
    keepers = [StateStore(mongo.database) for _ in range(3)]
    await keepers[0].prepare()

    async def follow(store: StateStore, mine: Sequence[Stored]) -> None:
        for start in range(0, len(mine), 2):
            await keep(store, mine[start : start + 2])

    await asyncio.gather(*(follow(each, mixed[start::3]) for start, each in enumerate(keepers)))
    there = await states(mongo)
    assert there == expected(records, there)
    assert (
        sum("place" in each for each in there.values()) == 4
    )  # those that the delegate took back are gone, the stranger's stand
    assert await keep(keepers[0], records) == 0


async def test_what_was_kept_before_is_renewed_and_old_registrations_count(mongo: Mongo) -> None:
    hot = seen(1, 1, bizLocation={"id": SITES[0]}, sensorElementList=HOT)
    records = sealed([Said(GIVER, hot), Lent({DELEGATE: PREFIX}, -1), Said(DELEGATE, taken_back(hot))])
    event, lent, correction = records
    old = document(ITEM_KEY, before(sightings([event])[ITEM_KEY]), 7)
    await mongo.database["goods_states"].insert_one(old)
    [registered] = given([lent])
    newest = {"time_ms": registered.record_ms, "record": registered.record, "merchant": GIVER}
    await mongo.database["merchants"].insert_one(
        {"_id": GIVER, "registered": {**newest, "content": registered.registration.content}}
    )
    store = StateStore(mongo.database)
    await store.prepare()
    assert await keep(store, [event]) == 1
    [renewed] = (await states(mongo)).values()
    assert renewed["flags"] == ["sensor-alarm"]
    assert await keep(store, [correction]) == 1
    there = await states(mongo)
    assert await mongo.database[DELEGATIONS].count_documents({}) == 0
    assert there == expected(records, there)
    assert there[ITEM_KEY]["flags"] == []
