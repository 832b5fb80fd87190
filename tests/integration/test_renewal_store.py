"""What is left to derive anew, in a real store: what cannot matter is not read, and a damaged document holds nobody up."""

from collections.abc import Sequence
from typing import Any

import pytest
import structlog

from services.collector import state_store
from services.collector.renewal_store import RENEWALS, RenewalStore
from services.collector.renewals import PARTS
from services.collector.renewing import Renewing
from services.collector.state_store import ASKING, StateStore
from services.runtime import mongo as runtime_mongo
from services.runtime.mongo import Mongo, insert_missing
from tests.unit.collector_builders import NOW_MS

DAY_MS = 86_400_000


async def noted(mongo: Mongo, merchant: int, keys: Sequence[str], until_ms: int) -> None:
    """Note that states depend on a merchant, as the store does, without any states."""
    asking = {key: {merchant: until_ms - 1} for key in keys}
    await insert_missing(mongo.database[ASKING], list(state_store._notes(asking)))


async def test_of_what_is_noted_only_what_can_matter_is_read(
    mongo: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call by an index, without which the store goes through all that is noted."""
    store, renewals_of = StateStore(mongo.database), RenewalStore(mongo.database, structlog.get_logger())
    await store.prepare()
    day_ms = NOW_MS // DAY_MS * DAY_MS
    for day in range(3):
        await noted(mongo, 7, [f"old/{day}/{each}" for each in range(2_000)], day_ms - day * DAY_MS)
    await noted(mongo, 77, ["another's"], day_ms + DAY_MS)
    read, sizes, plans = runtime_mongo._all_of, list[int](), list[dict[str, Any]]()

    def counted(cursor: Any) -> list[dict[str, Any]]:
        if cursor.collection.name == ASKING:
            plans.append(cursor.clone().explain()["queryPlanner"]["winningPlan"])
        found = read(cursor)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(runtime_mongo, "_all_of", counted)
    renewing = Renewing(store, renewals_of, structlog.get_logger())
    await renewing.add({("goods/0", 7): day_ms + 1})
    assert await renewals_of.find(None) == []
    assert await renewing.portion(None) is None

    await noted(mongo, 7, ["new", "old/0/1"], day_ms + DAY_MS)
    sizes.clear()
    await renewing.add({("goods/0", 7): day_ms + 1})
    while await renewing.portion(None) is not None:
        pass
    assert await renewals_of.find(None) == []
    assert len(sizes) <= 60
    assert sum(sizes) <= 60
    assert plans
    assert all("IXSCAN" in str(plan) and "COLLSCAN" not in str(plan) for plan in plans)
    assert sorted(await store.noted(7, range(PARTS), day_ms + 1)) == ["new", "old/0/1"]


DAMAGES: list[dict[str, Any]] = [
    {"left": 0},
    {"left": -5},
    {"left": PARTS + 1},
    {"next": PARTS},
    {"next": -1},
    {"next": "3"},
    {"merchant": 8},
    {"log": "goods/9"},
    {"first_ms": None},
]


@pytest.mark.parametrize("damage", [*DAMAGES, "stamp"], ids=str)
async def test_a_damaged_document_is_passed_over_and_begun_anew_with_the_next_registration(
    mongo: Mongo, damage: dict[str, Any] | str
) -> None:
    store = RenewalStore(mongo.database, structlog.get_logger())
    damaged, whole = ("goods/0", 7), ("goods/0", 70)
    await store.add({damaged: 50, whole: 60})
    change = {"$unset": {damage: ""}} if isinstance(damage, str) else {"$set": damage}
    await mongo.database[RENEWALS].update_one({"_id": "goods/0/7"}, change)
    with structlog.testing.capture_logs() as told:
        assert [each.of for each in await store.find(None)] == [whole]
    assert [each["id"] for each in told if each["log_level"] == "error"] == ["goods/0/7"]
    await store.add({damaged: 55, whole: 65})
    again, other = await store.find(None)
    assert (again.of, again.first_ms, again.next, again.left) == (damaged, 0, 0, PARTS)
    assert (other.of, other.first_ms) == (whole, 60)
    assert await store.advance(again, None) is None
