"""Signing secrets of webhooks on a real store: what an earlier release has locked is locked anew, whoever runs or is killed meanwhile."""

import asyncio
import hmac
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from deploy.service_processes import ROOT
from services.query.accounts.secret_keys import SecretKeys
from services.query.webhooks.adopting import adopt
from services.query.webhooks.locking import SecretLock
from services.query.webhooks.relocking import relock
from services.query.webhooks.room import Room
from services.query.webhooks.signing import secret_text
from services.query.webhooks.store import QUERIES, SUBSCRIPTIONS, WebhookStore
from services.query.webhooks.values import Locked, Progress, Under, Webhook
from services.runtime.aead import Aead
from services.runtime.settings import EXIT_BAD_SETTINGS
from tests.deadlines import DEADLINE_S
from tests.integration.looking import Looking, eventually, parts_of
from tests.integration.test_webhooks import BEGINNING, Receiver
from tests.integration.test_webhooks import QUERIES as PATH
from tests.unit.collector_builders import SECRET, object_event
from tests.unit.epcis_builders import sealed

HOOK_SECRET = b"s" * 32
EVENTS = 10
HOOKS = 40


@pytest.fixture
def looking(looking: Looking) -> Looking:
    looking.environment |= {
        "GOODSTRACE_QUERY_WEBHOOKS": "loopback",
        "GOODSTRACE_QUERY_WEBHOOK_LONGEST_WAIT_S": "0.3",
        "GOODSTRACE_QUERY_SUBSCRIPTION_POLL_MS": "50",
    }
    return looking


def login_secret(looking: Looking) -> bytes:
    return bytes.fromhex((looking.key_dir / "login-secret").read_text())


def lock(looking: Looking) -> SecretLock:
    return SecretLock(SecretKeys(login_secret(looking)), looking.secret)


def as_before(name: str, index_secret: bytes = SECRET) -> Locked:
    """HOOK_SECRET as an earlier release has locked it for a webhook."""
    key = hmac.digest(index_secret, b"goodstrace webhook secrets v1", "sha256")
    return Locked(Aead(key).encrypted(HOOK_SECRET, name.encode(), bytes(12)), Under.INDEX)


async def make_old(looking: Looking, name: str, **changes: Any) -> Locked:
    """Give a webhook's document the form of an earlier release."""
    old = as_before(name, **changes)
    change = {"$set": {"locked": old.data}, "$unset": {"locked_under": ""}}
    assert (await looking.mongo.database[SUBSCRIPTIONS].update_one({"_id": name}, change)).matched_count
    return old


async def seal(looking: Looking, round_: int) -> None:
    events = [object_event(eventID=f"urn:uuid:{EVENTS * round_ + each:032x}") for each in range(EVENTS)]
    await looking.seal({0: sealed(events)})


async def subscribed(http: httpx.AsyncClient, receiver: Receiver) -> str:
    """Subscribe to all events; gives the path of the subscription."""
    assert (await http.post(PATH, json={"name": "shipped", "query": {}})).status_code == 201
    asked = {"dest": receiver.url, "signatureToken": secret_text(HOOK_SECRET), **BEGINNING}
    answer = await http.post(f"{PATH}/shipped/subscriptions", json=asked)
    assert answer.status_code == 201, answer.text
    receiver.secret = answer.json()["signatureToken"]
    return answer.headers["Location"]


def came(receiver: Receiver, rounds: int) -> Callable[[], Awaitable[bool]]:
    async def whole() -> bool:
        return len(receiver.places) == EVENTS * rounds

    return whole


async def kept(looking: Looking, name: str) -> dict[str, Any]:
    found: Any = await looking.mongo.database[SUBSCRIPTIONS].find_one({"_id": name})
    return dict(found)


def relocked(looking: Looking) -> int:
    """How many webhooks a process said that it had locked anew at its start."""
    said = looking.log_lines("query")
    return sum(each["webhooks"] for each in said if each.get("event") == "locked secrets of webhooks anew")


def began(looking: Looking) -> int:
    """How many times a process has begun to deliver."""
    return sum(each.get("event") == "delivering webhooks" for each in looking.log_lines("query"))


async def test_two_processes_find_what_an_earlier_release_has_locked(
    looking: Looking, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    receiver = Receiver()
    await seal(looking, 0)
    await looking.start("query")
    name = (location := await subscribed(http, receiver)).rpartition("/")[2]
    made = await kept(looking, name)
    assert made["locked_under"] == "login"
    assert lock(looking).unlocked(name, Locked(made["locked"])) == HOOK_SECRET
    looking.daemons["query"].stop()

    before = began(looking)
    old = await make_old(looking, name)
    other = looking.another_query(tmp_path / "other")
    try:
        await asyncio.gather(looking.start("query"), other.start("query"))

        async def anew() -> bool:
            return "locked_under" in await kept(looking, name)

        async def idle() -> bool:
            return (await kept(looking, name))["lease_until_ms"] == 0

        async def both_began() -> bool:
            return began(looking) > before and began(other) > 0

        await eventually(both_began, "both have looked for what is old")
        assert await anew(), "it is locked anew at the start"
        assert relocked(looking) + relocked(other) == 1, "one of them has replaced it"
        with receiver.running():
            for round_ in range(1, 4):
                await eventually(came(receiver, round_), "it is signed by the same secret")
                await eventually(idle, "the next message opens it again")
                # another one, as a process of the earlier release would make it that still runs
                old = await make_old(looking, name)
                await seal(looking, round_)
            await eventually(came(receiver, 4), "that one is delivered to, too")
            await eventually(anew, "that one is locked anew, too")
        now = await kept(looking, name)
        assert old.data not in now.values()
        assert lock(looking).unlocked(name, Locked(now["locked"])) == HOOK_SECRET
        assert not receiver.problems
        assert not receiver.repeated
        assert "signatureToken" not in (await http.get(location)).json()
    finally:
        other.daemons["query"].stop()


async def test_whoever_is_killed_each_is_either_of_the_two_and_in_the_end_none_is_old(
    looking: Looking,
) -> None:
    store, opens = WebhookStore(looking.mongo.database, Room(HOOKS, HOOKS)), lock(looking)
    names = [f"{number:032x}" for number in range(HOOKS)]
    for name in names:
        await store.add(Webhook(name, "q", {}, "http://127.0.0.1:9/", Locked(b""), "ann", 1, Progress({})))
        await make_old(looking, name)

    async def begun() -> bool:
        return len(await store.locked_under_index_secret()) < HOOKS

    looking.daemons["query"].start()
    await eventually(begun, "it has begun")
    looking.daemons["query"].kill()
    found = await store.all(HOOKS)
    assert {opens.unlocked(each.id, each.locked) for each in found} == {HOOK_SECRET}

    for name in names[: HOOKS // 2]:  # whatever it got done before it was killed
        await make_old(looking, name)
    left, log = len(await store.locked_under_index_secret()), structlog.get_logger()
    counts = await asyncio.gather(*(relock(store, opens, log) for _ in range(4)))
    assert sum(counts) == left >= HOOKS // 2, "each was replaced by one of them"
    found = await store.all(HOOKS)
    assert {each.locked.under for each in found} == {Under.LOGIN}
    assert {opens.unlocked(each.id, each.locked) for each in found} == {HOOK_SECRET}
    assert not await store.relock(names[0], as_before(names[0]), Locked(b"late")), "the late one is not heard"


async def test_one_of_another_installation_waits_and_is_resumed_with_a_new_secret(
    looking: Looking, http: httpx.AsyncClient
) -> None:
    receiver = Receiver()
    await seal(looking, 0)
    await looking.start("query")
    with receiver.running():
        name = (location := await subscribed(http, receiver)).rpartition("/")[2]
        await eventually(came(receiver, 1), "the first round is delivered")
        answer = await http.post(f"{location}/resume")
        assert answer.status_code == 200
        assert "signatureToken" not in answer.json(), "the secret of one that opens stays"
        looking.daemons["query"].stop()

        right = login_secret(looking).hex()
        looks = len(await looking.browsed())
        for round_, wrong in enumerate(("login", "index"), start=1):
            if wrong == "login":
                (looking.key_dir / "login-secret").write_text("0f" * 32)
            else:
                await make_old(looking, name, index_secret=b"o" * 32)
            await looking.start("query")
            await seal(looking, round_)

            async def said(wrong: str = wrong) -> bool:
                shown = (await http.get(location)).json()
                return f"another {wrong} secret" in shown.get("goodstrace:lastError", "")

            await eventually(said, "it says why it waits")
            assert (await http.get(location)).json()["goodstrace:state"] == "active"
            told = [parts_of(each)["what"] for each in (await looking.browsed())[looks:]]
            assert not [each for each in told if each["method"] == "Webhook"], "nothing was looked at"
            if wrong == "login":
                (looking.key_dir / "login-secret").write_text(right)
                looking.daemons["query"].stop()
                await looking.start("query")
                await eventually(came(receiver, 2), "it goes on once the secret is back")
                looks = len(await looking.browsed())
                looking.daemons["query"].stop()
        answer = await http.post(f"{location}/resume")
        assert answer.status_code == 200, answer.text
        receiver.secret = answer.json()["signatureToken"]
        assert receiver.secret != secret_text(HOOK_SECRET)
        await eventually(came(receiver, 3), "it goes on where it was")
        asked = {"signatureToken": secret_text(b"t" * 32)}
        for _ in range(2):  # as who heard no answer would ask again
            answer = await http.post(f"{location}/resume", json=asked)
            assert answer.status_code == 200, answer.text
            assert answer.json()["signatureToken"] == asked["signatureToken"]
        receiver.secret = asked["signatureToken"]
        await seal(looking, 3)
        await eventually(came(receiver, 4), "it is signed by what was asked for")
        wrong = await http.post(f"{location}/resume", json={"signatureToken": "whsec_AAAA"})
        assert (wrong.status_code, wrong.json()["parameter"]) == (400, "signatureToken")
        assert not receiver.problems
        assert "locked_under" in await kept(looking, name)


@pytest.mark.parametrize(
    "damage",
    [
        {"$set": {"locked_under": "a vault"}},
        {"$unset": {"locked": "", "locked_under": ""}},
        {"$unset": {"created_ms": ""}, "$set": {"progress": "{"}},
    ],
)
async def test_a_damaged_one_is_named_and_removed_and_the_others_go_on(
    looking: Looking, http: httpx.AsyncClient, damage: dict[str, Any]
) -> None:
    receiver, other = Receiver(), Receiver()
    await seal(looking, 0)
    await looking.start("query")
    location = await subscribed(http, receiver)
    listed, name = location.rpartition("/")[0], location.rpartition("/")[2]
    damaged = (await http.post(listed, json={"dest": other.url})).headers["Location"]
    with receiver.running(), other.running():
        change = {"_id": damaged.rpartition("/")[2]}
        assert (await looking.mongo.database[SUBSCRIPTIONS].update_one(change, damage)).modified_count
        for round_ in (1, 2):  # met by one that runs, and by one that starts
            await seal(looking, round_)
            await eventually(came(receiver, round_ + 1), "the other one is delivered to")
            looking.daemons["query"].stop()
            await make_old(looking, name)
            await looking.start("query")
        assert not other.places

        async def counted() -> bool:
            text = (await http.get(f"http://127.0.0.1:{looking.metrics['query']}/metrics")).text
            return {
                'goodstrace_query_webhooks{state="damaged"} 1.0',
                "goodstrace_query_webhooks_failing 1.0",
            } <= set(text.splitlines())

        await eventually(counted, "it is counted")
        told = [each for each in looking.log_lines("query") if each.get("event") == "a webhook is damaged"]
        assert {each["webhook"] for each in told} == set(change.values())
        shown = {each["subscriptionID"]: each for each in (await http.get(listed)).json()}
        assert {own: each["goodstrace:state"] for own, each in shown.items()} == {
            name: "active",
            change["_id"]: "damaged",
        }
        for answer in (await http.get(damaged), await http.post(f"{damaged}/resume")):
            assert answer.status_code == 500
            assert answer.json()["type"] == "epcisException:ImplementationException"
            assert "tell the operator" in answer.json()["detail"]
        assert (await http.get(location)).json()["goodstrace:state"] == "active"
        assert (await http.delete(damaged)).status_code == 204
        assert [each["subscriptionID"] for each in (await http.get(listed)).json()] == [name]


@pytest.mark.parametrize(
    "damage",
    [
        {"$set": {"query": "{"}},
        {"$unset": {"query": ""}},
        {"$set": {"query": '{"EQ_ofALaterRelease": ["x"]}'}},
    ],
)
async def test_a_damaged_query_is_named_and_removed_and_the_others_go_on(
    looking: Looking, http: httpx.AsyncClient, damage: dict[str, Any]
) -> None:
    receiver = Receiver()
    await seal(looking, 0)
    await looking.start("query")
    location, damaged = await subscribed(http, receiver), f"{PATH}/shipped"
    assert (await http.post(PATH, json={"name": "whole", "query": {}})).status_code == 201
    assert (await looking.mongo.database[QUERIES].update_one({"_id": "shipped"}, damage)).modified_count
    listed = {each["name"]: each for each in (await http.get(PATH)).json()}
    assert set(listed) == {"shipped", "whole"}
    assert listed["shipped"]["goodstrace:state"] == "damaged"
    assert "query" not in listed["shipped"]
    told = [each for each in looking.log_lines("query") if each.get("event") == "a named query is damaged"]
    assert [each["query"] for each in told] == ["shipped"]
    asked = {"dest": receiver.url}
    for answer in (
        await http.get(damaged),
        await http.get(f"{damaged}/events"),
        await http.post(f"{damaged}/subscriptions", json=asked),
    ):
        assert answer.status_code == 500
        assert answer.json()["type"] == "epcisException:ImplementationException"
        assert "tell the operator, or remove it" in answer.json()["detail"]
    assert (await http.get(f"{PATH}/whole")).json()["query"] == {}
    assert (await http.post(f"{PATH}/whole/subscriptions", json=asked)).status_code == 201

    with receiver.running():
        await eventually(came(receiver, 1), "its subscription has what it asks, and is delivered to")
    subscriptions = (await http.get(f"{damaged}/subscriptions")).json()
    assert [each["subscriptionID"] for each in subscriptions] == [location.rpartition("/")[2]]
    assert (await http.delete(damaged)).status_code == 409
    assert (await http.delete(location)).status_code == 204
    assert (await http.delete(damaged)).status_code == 204
    assert [each["name"] for each in (await http.get(PATH)).json()] == ["whole"]


async def test_owners_are_given_also_where_a_damaged_one_does_not_say_when_it_was_made(
    looking: Looking,
) -> None:
    documents = looking.mongo.database[SUBSCRIPTIONS]
    for name, owner, made in (
        ("a", "ann", {}),
        ("b", "merchant:7", {"created_ms": "?"}),
        ("c", "merchant:8", {"created_ms": 1}),
    ):
        await documents.insert_one({"_id": name, "owner": owner, **made})
    assert await adopt(looking.mongo.database, "") == 2
    told = {each["_id"]: each.get("owner_id") async for each in documents.find()}
    assert told == {"a": None, "b": "7", "c": "8"}


async def test_without_the_login_secret_there_are_no_webhooks(looking: Looking) -> None:
    (looking.key_dir / "login-secret").unlink()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.query", cwd=ROOT, env=os.environ | looking.environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(DEADLINE_S):
        said = (await process.communicate())[0].decode()
    assert process.returncode == EXIT_BAD_SETTINGS, said
    assert "Traceback" not in said
    assert str(looking.key_dir / "login-secret") in said.splitlines()[-1]

    await seal(looking, 0)
    looking.environment["GOODSTRACE_QUERY_WEBHOOKS"] = "off"
    await looking.start("query")
