"""Figures of looks on a real store: counted once however often they come, and days of a merchant's goods closed once and for good."""

import asyncio
import datetime as dt
import os
from typing import Any

import msgspec
import pytest

from services.audit.figures import goods, store
from services.audit.figures.goods import CLOSE_AFTER_MS, VIEWERS, GoodsViewers
from services.audit.figures.store import Statistics
from services.audit.figures.values import Look, Marks, Window
from services.runtime.goods_browses.days import DAY_MS, start_ms
from services.runtime.goods_browses.steps import STATES
from services.runtime.goods_browses.store import GoodsBrowses
from services.runtime.goods_browses.values import DayCounts, RoleCounts
from services.runtime.merchants.owners import Owners
from services.runtime.merchants.store import MERCHANTS
from services.runtime.mongo import Database, Mongo, beside
from tests.conftest import Names

DAY = dt.date(2026, 11, 24)
BEGIN_MS = start_ms(DAY)
ITEM = "https://id.gs1.org/01/09521234543213/21/1"
CLASS = "https://id.gs1.org/01/09521234543213"
FOREIGN = "https://id.gs1.org/01/04012345123456/21/9"
URI = "urn:shop:goods:7"


@pytest.fixture
async def database(mongo: Mongo, names: Names) -> Database:
    await store.provision(mongo.database)
    await goods.provision(beside(mongo.database, f"{names.database}_vault"))
    await mongo.database[MERCHANTS].insert_many(
        [
            _merchant(4, prefixes=["952123454"]),
            _merchant(5, uris=["urn:shop:"]),
            _merchant(6, everything=True, prefixes=[]),
        ]
    )
    await mongo.database[STATES].insert_one({"_id": ITEM, "rev": 1, "step": {"value": "sale"}})
    return mongo.database


def _merchant(number: int, **content: Any) -> dict[str, Any]:
    return {"_id": number, "registered": {"content": {"name": f"m{number}", **content}}}


def _viewers(database: Database) -> GoodsViewers:
    return GoodsViewers(database, beside(database, f"{database.name}_vault"))


def _looks(count: int, *, first: int = 0, **fields: Any) -> list[Look | Marks]:
    named: dict[str, Any] = {
        "role": "shopper",
        "method": "Trace",
        "keys": (ITEM,),
        "shown": 1,
        "kind": "look",
    }
    return [
        Look(offset=first + place, time_ms=BEGIN_MS + place, user=f"{place:024x}", **{**named, **fields})
        for place in range(count)
    ]


async def test_batches_that_come_twice_and_at_the_same_time_count_once(database: Database) -> None:
    said = [*_looks(40), *_looks(3, first=40, kind="refusal", refused="role", times=4, keys=())]
    said.append(Marks(43, BEGIN_MS, answered=38, failed=1, withheld=1))
    readers = [Statistics(database) for _ in range(3)]
    for start in range(0, len(said), 10):
        await asyncio.gather(*(reader.add(0, said[max(0, start - 7) : start + 10]) for reader in readers))
    await readers[0].add(1, _looks(5))
    for window in Window:
        [(start, told)] = await readers[0].windows(window, window.start(BEGIN_MS), BEGIN_MS + 1)
        assert start == window.start(BEGIN_MS)
        assert (told.counts.records, told.counts.looks, told.counts.refusals) == (48, 45, 12)
        assert told.users == 40
        assert told.keys == 1
        assert told.outcomes == {"answered": 38, "failed": 1, "withheld": 1, "unknown": 5}
        assert told.counts.by_role["shopper"].looks == 45
        assert told.counts.by_reason == {"role": 12}
    assert await readers[0].windows(Window.DAY, BEGIN_MS + DAY_MS, BEGIN_MS + 9 * DAY_MS) == []
    assert await readers[0].counted_until(2) == 0
    await readers[0].caught_up(0, 7)
    await readers[0].caught_up(1, 9)
    await readers[0].caught_up(1, 8)
    assert await readers[0].counted_until(2) == 7


async def test_owners_are_who_registered_the_goods_as_their_own(database: Database) -> None:
    found = await Owners(database).of([ITEM, CLASS, FOREIGN, URI, "urn:shopping"])
    assert found == {ITEM: (4,), CLASS: (4,), FOREIGN: (), URI: (5,), "urn:shopping": ()}


async def test_a_day_is_told_once_it_is_over_and_never_changes(database: Database) -> None:
    viewers, kept = _viewers(database), GoodsBrowses(database)
    said = [
        *_looks(7),
        *_looks(3, keys=(CLASS, URI)),
        *_looks(9, role="merchant", merchant=4),  # its own staff
        *_looks(6, role="merchant", merchant=8),
        *_looks(6, keys=(FOREIGN,)),
        *_looks(5, kind="refusal", refused="role"),
    ]
    await viewers.add(said)
    await viewers.add(said)
    assert await viewers.close_days(0) == 0
    assert await kept.counted() is None
    assert await viewers.close_days(BEGIN_MS) == 0
    assert await viewers.close_days(BEGIN_MS + DAY_MS + CLOSE_AFTER_MS - 1) == 0
    assert await kept.of(4, DAY, DAY) == ({}, await kept.counted())
    closing = [_viewers(database).close_days(BEGIN_MS + DAY_MS + CLOSE_AFTER_MS) for _ in range(3)]
    assert max(await asyncio.gather(*closing)) == 1
    told, counted = await kept.of(4, DAY - dt.timedelta(days=3), DAY + dt.timedelta(days=3))
    # 10 shoppers, and 6 of another merchant who would be told were not the other roles' 0 what is left then. Of the shoppers' steps 3 must
    # not be told, so that the 7 are not either.
    assert told == {DAY: DayCounts({"shopper": RoleCounts(10)}, 16)}
    assert counted is not None
    assert counted.until == DAY
    assert (await kept.of(5, DAY, DAY))[0] == {DAY: DayCounts()}
    vault = beside(database, f"{database.name}_vault")
    assert await vault[VIEWERS].count_documents({}) == 0

    await viewers.add(_looks(50, first=100))  # late
    assert await viewers.close_days(BEGIN_MS + 2 * DAY_MS) == 0
    assert await kept.of(4, DAY, DAY) == (told, counted)
    assert await viewers.close_days(BEGIN_MS + 4 * DAY_MS) == 2
    assert (await kept.of(4, DAY, DAY))[0] == told


async def test_rows_of_a_day_name_nobody_and_join_with_nothing(database: Database) -> None:
    pseudonym = os.urandom(12).hex()
    [look] = _looks(1, keys=(ITEM, URI))
    await _viewers(database).add([msgspec.structs.replace(look, user=pseudonym)])
    rows = await beside(database, f"{database.name}_vault")[VIEWERS].find().to_list(None)
    assert {row["merchant"] for row in rows} == {4, 5}
    assert pseudonym not in str(rows)
    assert len({row["_id"].rpartition("/")[2] for row in rows}) == len(rows) == 2
