"""The states of goods in a real store: whatever keeper reads what and when, corrections by delegates end in the same documents."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import pytest
import structlog
from pymongo import UpdateOne

from goodstrace.goods.corrections import Givers
from services.collector import delegation_store, renewals, state_store
from services.collector.delegation_store import DELEGATIONS, DelegationStore
from services.collector.goods_states import Stored, sightings
from services.collector.registry.registrations import changes
from services.collector.registry.store import RegistryStore
from services.collector.renewal_store import RenewalStore
from services.collector.renewals import PARTS
from services.collector.renewing import Renewing
from services.collector.state_keeper import gathered
from services.collector.state_store import StateStore, document
from services.runtime import mongo as runtime_mongo
from services.runtime.merchants.values import What
from services.runtime.mongo import Mongo
from tests.unit.collector_builders import NOW_MS
from tests.unit.goods_worlds import DELEGATE, GIVER, HOT, PREFIX, STRANGER, Lent, Said, given, sealed
from tests.unit.test_goods_corrections import before
from tests.unit.test_goods_state import ITEM_KEY, SITES, seen, taken_back

LOG = structlog.get_logger()
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


async def keep(store: StateStore, records: Sequence[Stored]) -> int:
    """Keep a batch and derive anew what it left to be; give how many documents were written."""
    told = gathered(records)
    renewing = Renewing(store, RenewalStore(store._database, LOG), LOG)
    written = await store.apply(told.said, told.given)
    await renewing.add(told.firsts)
    while (more := await renewing.portion(None)) is not None:
        written += more
    return written


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


async def test_where_most_goods_are_new_only_those_are_looked_for_that_are_not(
    mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = [
        seen(20 + number, 20 + number, epcList=[f"urn:epc:id:sgtin:0614141.107346.{2017 + number}"])
        for number in (6, 7, 8, 9, 10)
    ]
    records = sealed([Said(GIVER, each) for each in (*EVENTS, *again)])
    store = StateStore(mongo.database)
    await store.prepare()
    assert await keep(store, records[:8]) == 8
    find, looked = state_store.find_named, list[list[str]]()

    async def noted(database: Any, collection: str, names: Any, *more: Any) -> list[dict[str, Any]]:
        looked.append(list(names))
        return await find(database, collection, names, *more)

    monkeypatch.setattr(state_store, "find_named", noted)
    monkeypatch.setattr(state_store, "REPLACED_A_CALL", 1)
    assert await keep(store, records[8:]) == 5
    assert [sorted(each) for each in looked] == [
        [ITEM_KEY.replace("2017", each) for each in ("2023", "2024")]
    ]
    there = await states(mongo)
    assert there == expected(records, there)
    assert [each["rev"] for each in there.values() if each["_id"] in looked[0]] == [2, 2]
    assert await keep(store, records[8:]) == 0  # all of them are known by now


async def test_what_was_kept_before_is_renewed_and_old_registrations_count(mongo: Mongo) -> None:
    hot = seen(1, 1, bizLocation={"id": SITES[0]}, sensorElementList=HOT)
    records = sealed([Said(GIVER, hot), Lent({DELEGATE: PREFIX}, -1), Said(DELEGATE, taken_back(hot))])
    event, lent, correction = records
    old = document(ITEM_KEY, before(sightings([event])[ITEM_KEY]), 7)
    await mongo.database["goods_states"].insert_one(old)
    await as_before(mongo, lent)
    store = StateStore(mongo.database)
    await store.prepare()
    assert await keep(store, [event]) == 1
    [renewed] = (await states(mongo)).values()
    assert renewed["flags"] == ["sensor-alarm"]
    assert await keep(store, [correction]) == 1
    there = await states(mongo)
    assert there == expected(records, there)
    assert there[ITEM_KEY]["flags"] == []


async def as_before(mongo: Mongo, *registered: Stored) -> None:
    """Register as releases did that knew the newest registration of a merchant alone."""
    told = changes(each.record for each in registered)[What.MERCHANT]
    await mongo.database["merchants"].bulk_write(
        [UpdateOne({"_id": number}, change, upsert=True) for number, change in told.items()]
    )


async def as_now(mongo: Mongo, *registered: Stored) -> None:
    await RegistryStore(mongo.database).apply(changes(each.record for each in registered))


async def known(mongo: Mongo) -> set[str]:
    return {each["_id"] async for each in mongo.database[DELEGATIONS].find()}


PLACED = seen(1, 1, bizLocation={"id": SITES[0]})
LENT_FIRST = [
    Lent({DELEGATE: PREFIX}, -1),
    Said(GIVER, PLACED),
    Said(DELEGATE, taken_back(PLACED)),
    Lent({}, 1),
]


@pytest.mark.parametrize(
    ("register", "is_prepared"),
    [(as_now, False), (as_now, True), (as_before, True)],
    ids=["ahead of the keeper", "behind the keeper", "by a release of before, behind the keeper"],
)
async def test_a_registration_of_before_an_update_counts_for_its_time_after_the_next_one(
    mongo: Mongo, register: Callable[..., Coroutine[Any, Any, None]], is_prepared: bool
) -> None:
    records = sealed(LENT_FIRST)
    lent, event, correction, taken = records
    await as_before(mongo, lent)
    store = StateStore(mongo.database)
    if is_prepared:
        await store.prepare()
    await register(mongo, taken)
    await store.prepare()
    await keep(store, [event, correction])
    there = await states(mongo)
    assert there == expected(records, there)
    assert "place" not in there[ITEM_KEY]
    await keep(store, [taken])
    assert await states(mongo) == there
    assert await keep(store, [correction, event]) == 0


async def test_registrations_of_before_are_taken_over_once_by_any_number_of_processes(mongo: Mongo) -> None:
    lent, _, _, taken = sealed(LENT_FIRST)
    await as_before(mongo, lent)
    await mongo.database["merchants"].insert_one({"_id": STRANGER, "first_ms": 1, "last_ms": 2})
    stores = [DelegationStore(mongo.database) for _ in range(3)]
    await asyncio.gather(*(each.prepare() for each in stores), *(as_now(mongo, taken) for _ in range(3)))
    [first], [second] = given([lent]), given([taken])
    assert first.record in await known(mongo)
    for each in stores:
        await each.prepare()
        await each.keep_replaced([GIVER, STRANGER, 99])
    assert await known(mongo) == {first.record, second.record}


async def test_what_is_replaced_while_it_is_asked_for_is_found(
    mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent, _, _, taken = sealed(LENT_FIRST)
    await as_before(mongo, lent)
    find, calls = delegation_store.find_named, iter(range(1_000))

    async def then_replaced(*arguments: Any, **more: Any) -> list[dict[str, Any]]:
        found = await find(*arguments, **more)
        if next(calls) == 0:
            await as_now(mongo, taken)
        return found

    monkeypatch.setattr(delegation_store, "find_named", then_replaced)
    newest = (await DelegationStore(mongo.database).find([GIVER])).newest(GIVER, NOW_MS)
    assert newest is not None
    assert newest.record == given([lent])[0].record


@pytest.mark.parametrize("together", [False, True], ids=["later", "in one batch with some of the events"])
async def test_documents_that_depend_on_a_registration_are_derived_anew_portion_by_portion(
    mongo: Mongo, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    taken_all_back = [Said(DELEGATE, taken_back(each)) for each in EVENTS]
    records = sealed([Lent({DELEGATE: PREFIX}, -1), *(Said(GIVER, each) for each in EVENTS), *taken_all_back])
    lent, last = records[0], records[-1]
    store = StateStore(mongo.database)
    await store.prepare()
    await keep(store, records[1:-1] if together else records[1:])
    assert sum("place" in each for each in (await states(mongo)).values()) == len(EVENTS)
    monkeypatch.setattr(renewals, "PORTION_NAMES", 3)
    monkeypatch.setattr(state_store, "KEYS_A_CALL", 2)
    sizes, read = [], runtime_mongo._all_of

    def counted(cursor: Any) -> list[dict[str, Any]]:
        found = read(cursor)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(runtime_mongo, "_all_of", counted)
    written = await keep(store, [lent, last] if together else [lent])
    there = await states(mongo)
    assert there == expected(records, there)
    assert not any("place" in each for each in there.values())
    assert written == len(EVENTS)
    assert max(sizes) == 2


async def test_a_key_that_is_corrected_again_and_again_is_noted_once_a_day(mongo: Mongo) -> None:
    """What is noted of a key is read at once, and a lot may be corrected any number of times."""
    events = [seen(number, number) for number in range(50)]
    records = sealed(
        [each for event in events for each in (Said(GIVER, event), Said(DELEGATE, taken_back(event)))]
    )
    store = StateStore(mongo.database)
    await store.prepare()
    for hour in range(50):
        later = [
            msgspec.structs.replace(
                each, record=msgspec.structs.replace(each.record, time_ms=NOW_MS + hour * 3_600_000)
            )
            for each in records[2 * hour : 2 * hour + 2]
        ]
        await keep(store, later)
    days = await store.days(GIVER, 0)
    assert 3 <= len(days) <= 4
    assert await store.noted(GIVER, range(PARTS), 0) == [ITEM_KEY] * len(days)
    assert max(days) > NOW_MS + 49 * 3_600_000
    assert await store.noted(GIVER, range(PARTS), max(days)) == [ITEM_KEY]
    assert await store.days(GIVER, max(days) + 1) == []
    assert await store.days(DELEGATE, 0) == []
