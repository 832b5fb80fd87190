"""Webhooks that send what their owner may see, over the real services: who is sent what, and what ends or waits when that changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from goodstrace.visibility import Visibility, VisibilityPolicy
from services.query.webhooks.adopting import adopt
from services.query.webhooks.asked import SEES_FIELD, NamedQuery
from services.query.webhooks.store import QUERIES, SUBSCRIPTIONS, WebhookStore
from services.query.webhooks.values import Locked, OwnerId, OwnerKind, Pending, Progress, Sees, Webhook
from services.runtime.access.accounts import ACCOUNTS
from services.runtime.access.lasting import Credential, CredentialKind
from services.runtime.merchants.values import Status
from tests.integration.looking import Looking, eventually
from tests.integration.registering import OPERATOR, Registered, asking
from tests.integration.test_webhooks import BEGINNING, Place, Receiver
from tests.integration.test_webhooks import QUERIES as PATH
from tests.unit.collector_builders import sealed_events
from tests.unit.visible_world import CARRIER, EVENTS, MAKER, PREFIXES, SHOP, STRANGER

SHOWING, HIDING = VisibilityPolicy(Visibility.PUBLIC), VisibilityPolicy(Visibility.PRIVATE)
POLICIES = {
    MAKER: VisibilityPolicy(Visibility.PRIVATE, {"logistics": Visibility.PUBLIC}),
    SHOP: VisibilityPolicy(Visibility.PUBLIC, {"sale": Visibility.PARTNERS}),
}
"""The carrier says nothing: what it does its partners see."""
SEES = {
    0: {2, 3, 6},
    MAKER: {1, 2, 3, 5, 6},
    CARRIER: {2, 3, 4, 5, 6},
    SHOP: {2, 3, 5, 6, 7},
    STRANGER: {2, 3, 6},
}
"""By viewer the numbers of the events, 0 for everybody."""


class Traded(Registered):
    """The chain of merchants, sealed and registered, and the query service asking who calls."""

    def __init__(self, looking: Looking) -> None:
        super().__init__(looking.mongo.database)
        self.looking = looking

    async def register(self, merchant: int, **content: Any) -> None:
        await super().register(merchant, prefixes=(PREFIXES[merchant],), **content)

    async def prepare(self, folder: Path) -> None:
        for merchant in PREFIXES:
            await self.register(merchant, visibility=POLICIES.get(merchant, VisibilityPolicy()))
            await self.give_key(merchant)
        await self.seal(0)
        self.looking.environment |= asking(folder) | {
            "GOODSTRACE_QUERY_WEBHOOKS": "loopback",
            "GOODSTRACE_QUERY_WEBHOOK_LONGEST_WAIT_S": "0.3",
            "GOODSTRACE_QUERY_SUBSCRIPTION_POLL_MS": "50",
        }
        await self.looking.start("query")

    async def seal(self, round_: int) -> None:
        """Seal the chain's events, even ones in one log and odd ones in the other."""
        records = sealed_events(EVENTS, 1000 * round_)
        await self.looking.seal({0: records[::2], 1: records[1::2]})


def numbers(places: list[Place]) -> list[int]:
    """The numbers of the events at places of the first round."""
    return sorted(2 * index + int(log[-1]) + 1 for log, index in places)


@pytest.fixture
async def traded(looking: Looking, tmp_path: Path) -> Traded:
    made = Traded(looking)
    await made.prepare(tmp_path)
    return made


async def subscribed(
    http: httpx.AsyncClient, receiver: Receiver, shown: Mapping[str, str], sees: str | None = "owner"
) -> str:
    """Subscribe to all events from the beginning; gives where the subscription is."""
    query = {"name": "shipped", "query": {}}
    made = await http.post(PATH, json=query, headers=shown)
    assert made.status_code == 201, made.text
    asked = {"dest": receiver.url, **BEGINNING, **({SEES_FIELD: sees} if sees else {})}
    answer = await http.post(f"{PATH}/shipped/subscriptions", json=asked, headers=shown)
    assert answer.status_code == 201, answer.text
    assert answer.json()[SEES_FIELD] == (sees or "public")
    receiver.secret = answer.json()["signatureToken"]
    return answer.headers["Location"]


async def removed(http: httpx.AsyncClient, location: str, shown: Mapping[str, str]) -> None:
    assert (await http.delete(location, headers=shown)).status_code == 204
    assert (await http.delete(f"{PATH}/shipped", headers=shown)).status_code == 204


async def state_of(http: httpx.AsyncClient, location: str) -> dict[str, Any]:
    shown: dict[str, Any] = (await http.get(location, headers={"authorization": f"Bearer {OPERATOR}"})).json()
    return shown


async def test_each_is_sent_what_it_may_see(traded: Traded, http: httpx.AsyncClient) -> None:
    for viewer, sees in [*((each, "owner") for each in SEES if each), (MAKER, None), (0, "public")]:
        receiver = Receiver()
        wanted = SEES[viewer if sees == "owner" else 0]
        with receiver.running():
            location = await subscribed(http, receiver, traded.shown(viewer), sees)

            async def at_end(location: str = location) -> bool:
                return bool((await state_of(http, location))["goodstrace:lag"] == 0)

            await eventually(at_end, "all was looked at")
        assert numbers(receiver.places) == sorted(wanted)
        assert not receiver.problems
        listed = (await http.get(f"{PATH}/shipped/subscriptions", headers=traded.shown(viewer))).json()
        assert [each[SEES_FIELD] for each in listed] == [sees or "public"]
        told = await traded.looking.looks()
        own = location.rpartition("/")[2]
        looks = [each["who"] for each in told if own in each["what"].get("query", "")]
        assert looks
        for who in looks:
            assert who["user"] == (f"merchant:{viewer}" if viewer else "operator")
            asked = (viewer, "merchant") if sees == "owner" else (None, None)
            assert (who.get("merchant"), who.get("role")) == asked, "as whom it looked"
        await removed(http, location, traded.shown(viewer))


async def test_an_owner_has_so_many_and_takes_no_room_from_others(
    looking: Looking, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    traded = Traded(looking)
    looking.environment |= {"GOODSTRACE_QUERY_MAX_WEBHOOKS_PER_OWNER": "2"}
    await traded.prepare(tmp_path)
    body = {"dest": "http://127.0.0.1:9/"}
    for viewer in (MAKER, SHOP):
        shown, paths = traded.shown(viewer), f"{PATH}/of-{viewer}/subscriptions"
        made = await http.post(PATH, json={"name": f"of-{viewer}", "query": {}}, headers=shown)
        assert made.status_code == 201, made.text
        named = [{"name": f"{each}-of-{viewer}", "query": {}} for each in ("second", "third")]
        answers = [await http.post(PATH, json=each, headers=shown) for each in named]
        assert [each.status_code for each in answers] == [201, 403]
        assert "2 queries already" in answers[1].text
        answers = [await http.post(paths, json=body, headers=shown) for _ in range(3)]
        assert [each.status_code for each in answers] == [201, 201, 403]
        assert "2 subscriptions already" in answers[2].text
        assert (await http.delete(answers[0].headers["Location"], headers=shown)).status_code == 204
        assert (await http.post(paths, json=body, headers=shown)).status_code == 201


async def test_who_sees_no_more_than_everybody_is_told_so(traded: Traded, http: httpx.AsyncClient) -> None:
    made = await http.post(PATH, json={"name": "all", "query": {}}, headers=traded.shown(0))
    assert made.status_code == 201, made.text
    for sees, said in (("owner", "everybody sees"), ("all", "public, or owner")):
        body = {"dest": "http://127.0.0.1:9/", SEES_FIELD: sees}
        answer = await http.post(f"{PATH}/all/subscriptions", json=body, headers=traded.shown(0))
        assert (answer.status_code, answer.json()["parameter"]) == (400, SEES_FIELD)
        assert said in answer.text


async def test_what_may_not_be_seen_any_more_does_not_leave_again(
    traded: Traded, http: httpx.AsyncClient
) -> None:
    await traded.register(CARRIER, visibility=SHOWING)
    receiver = Receiver()
    receiver.answers = [500] * 1000
    with receiver.running():
        location = await subscribed(http, receiver, traded.shown(STRANGER))

        async def attempts(least: int) -> bool:
            return len(receiver.attempts) >= least

        await eventually(lambda: attempts(2), "it was sent twice")
        await traded.register(CARRIER, visibility=HIDING)

        async def anew() -> bool:
            return len(receiver.bodies) == 2

        await eventually(anew, "the message is made anew")
        receiver.answers = []

        async def delivered() -> bool:
            return (await state_of(http, location))["goodstrace:lag"] == 0

        await eventually(delivered, "the rest is delivered")
    whole, rest = (next(iter(bodies)) for bodies in receiver.bodies.values())
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values()), "an ID is one message"
    for number in (4, 5):
        assert b"-%012d" % number in whole
        assert b"-%012d" % number not in rest
    assert numbers(receiver.places) == [2, 3, 6]
    assert not receiver.problems


async def test_a_suspended_merchant_waits_and_a_revoked_key_ends_it(
    traded: Traded, http: httpx.AsyncClient
) -> None:
    receiver = Receiver()
    with receiver.running():
        location = await subscribed(http, receiver, traded.shown(SHOP))

        async def came(count: int) -> bool:
            return len(receiver.places) == count

        await eventually(lambda: came(len(SEES[SHOP])), "what the shop may see was delivered")
        await traded.register(SHOP, visibility=POLICIES[SHOP], status=Status.SUSPENDED)
        await traded.seal(1)

        async def said(state: str, words: str) -> bool:
            shown = await state_of(http, location)
            return shown["goodstrace:state"] == state and words in shown.get("goodstrace:lastError", "")

        await eventually(lambda: said("active", "suspended"), "it waits and says why")
        assert len(receiver.places) == len(SEES[SHOP])
        await traded.register(SHOP, visibility=POLICIES[SHOP])
        await eventually(lambda: came(2 * len(SEES[SHOP])), "it goes on where it was")
        assert await traded.registry.revoke_key(SHOP, traded.key_ids[SHOP], 5)
        await traded.seal(2)
        await eventually(lambda: said("disabled", "revoked"), "it is disabled and says why")
        assert len(receiver.places) == len(set(receiver.places)) == 2 * len(SEES[SHOP])
    assert not receiver.problems


# ---- what the store keeps


def _webhook(name: str, owner: str, **more: Any) -> Webhook:
    return Webhook(
        name * 4, "q", {}, "https://x.example/", Locked(b"x"), owner, 100, Progress({}), owner, **more
    )


async def test_all_of_a_webhook_is_kept_and_found_by_kind_and_id(looking: Looking) -> None:
    store = WebhookStore(looking.mongo.database)
    pending = Pending("msg_1", {"goods/0": 9}, 5, (("goods/0", 3), ("goods/0", 7)), {"goods/0": 8}, "ab")
    made = Webhook(
        "ab" * 16, "q", {}, "https://x.example/", Locked(b"x"), "bea", 1, Progress({"goods/0": 3}, pending), "merchant:7",
        OwnerId(OwnerKind.MERCHANT, "7"), Sees.OWNER, Credential(CredentialKind.ACCOUNT, "cd" * 16),
    )  # fmt: skip
    await store.add(made)
    assert await store.find("q", made.id, OwnerId(OwnerKind.MERCHANT, "7")) == made
    for other in (OwnerId(OwnerKind.MERCHANT, "8"), OwnerId(OwnerKind.ACCOUNT, "7")):
        assert await store.find("q", made.id, other) is None
        assert not await store.remove("q", made.id, other)


async def test_owners_of_an_earlier_release_are_found_unless_the_name_may_be_anothers(
    looking: Looking,
) -> None:
    database = looking.mongo.database
    store = WebhookStore(database)
    await database[ACCOUNTS].insert_many(
        [
            {"_id": "aa", "name": "ann", "created_ms": 50},
            {"_id": "bb", "name": "ben", "created_ms": 150},  # there was another of this name before
            {"_id": "cc", "name": "operator", "created_ms": 150},
            {
                "_id": "dd",
                "name": "ida@idp.example",
                "created_ms": 50,
            },  # called as somebody of the identity provider
            {"_id": "ee", "name": "eve@shop.example", "created_ms": 50},
        ]
    )
    owners = {
        "merchant:7": OwnerId(OwnerKind.MERCHANT, "7"),
        "ann": OwnerId(OwnerKind.ACCOUNT, "aa"),
        "ben": None,
        "operator": None,
        "ida@idp.example": None,
        "eve@shop.example": OwnerId(OwnerKind.ACCOUNT, "ee"),
        "": None,
    }
    for number, owner in enumerate(owners):
        await store.add_query(NamedQuery(f"q{number}", {}), owner, owner, 100)
        await store.add(_webhook(f"{number:08x}", owner))
        await database[SUBSCRIPTIONS].update_one({"_id": f"{number:08x}" * 4}, {"$unset": {"sees": ""}})
    assert await adopt(database, "IdP.example") == 6
    assert await adopt(database, "IdP.example") == 0
    found = await store.all(10)
    assert {each.owner: each.owner_id for each in found} == owners
    assert {(each.sees, each.maker) for each in found} == {(Sees.PUBLIC, None)}
    for owner in (OwnerId(OwnerKind.MERCHANT, "7"), OwnerId(OwnerKind.ACCOUNT, "aa")):
        assert len(await store.all(10, owner=owner)) == len(await store.queries(10, owner)) == 1
    assert await database[QUERIES].count_documents({"owner_kind": {"$exists": False}}) == 4
