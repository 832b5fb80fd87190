"""The limits of queries and webhooks on a real store: many at once, and from several processes."""

import asyncio
from itertools import count

from services.query.epcis_problems import NotPermittedError
from services.query.webhooks.asked import NamedQuery
from services.query.webhooks.room import Room
from services.query.webhooks.store import QUERIES, SUBSCRIPTIONS, WebhookStore
from services.query.webhooks.values import Locked, OwnerId, OwnerKind, Progress, Webhook
from tests.integration.looking import Looking

ROOM = Room(most=9, most_of_owner=4)
_numbers = count()


def owner(number: int) -> OwnerId:
    return OwnerId(OwnerKind.MERCHANT, str(number))


def webhook(of: OwnerId) -> Webhook:
    name = f"{next(_numbers):032x}"
    return Webhook(name, "q", {}, "https://x.example/", Locked(b"x"), "ann", 1, Progress({}), owner_id=of)


async def add(store: WebhookStore, collection: str, of: OwnerId) -> bool:
    try:
        if collection == SUBSCRIPTIONS:
            await store.add(webhook(of))
        else:
            await store.add_query(NamedQuery(f"q{next(_numbers)}", {}), "ann", "ann", 1, of)
    except NotPermittedError:
        return False
    return True


async def test_limits_hold_whatever_comes_at_once(looking: Looking) -> None:
    database = looking.mongo.database
    processes = [WebhookStore(database, ROOM) for _ in range(4)]
    for name in (SUBSCRIPTIONS, QUERIES):
        asked = [add(processes[each % 4], name, owner(1)) for each in range(60)]
        assert (await asyncio.gather(*asked)).count(True) == ROOM.most_of_owner
        asked = [add(processes[each % 4], name, owner(2 + each // 10)) for each in range(40)]
        assert (await asyncio.gather(*asked)).count(True) == ROOM.most - ROOM.most_of_owner
        assert await database[name].count_documents({}) == ROOM.most


async def test_of_two_that_want_the_last_place_one_has_it(looking: Looking) -> None:
    database = looking.mongo.database
    processes = [WebhookStore(database, ROOM) for _ in range(2)]
    for name in (SUBSCRIPTIONS, QUERIES):
        for _ in range(ROOM.most_of_owner):
            assert await add(processes[0], name, owner(1))
        for _ in range(10):
            await database[name].delete_one({})
            asked = [add(each, name, owner(1)) for each in processes]
            assert sorted(await asyncio.gather(*asked)) == [False, True]


async def test_what_an_earlier_release_kept_takes_its_room(looking: Looking) -> None:
    database = looking.mongo.database
    store = WebhookStore(database, ROOM)
    for _ in range(ROOM.most_of_owner - 1):
        await store.add(webhook(owner(1)))
    await database[SUBSCRIPTIONS].update_many({}, {"$unset": {"place": "", "owner_place": ""}})
    other = WebhookStore(database, ROOM)
    assert await add(other, SUBSCRIPTIONS, owner(1))
    assert not await add(other, SUBSCRIPTIONS, owner(1))
    assert await add(other, SUBSCRIPTIONS, owner(2))
    assert await other.count() == len(await other.all(10)) == ROOM.most_of_owner + 1
