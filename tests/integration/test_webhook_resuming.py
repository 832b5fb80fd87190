"""Webhooks that were disabled, or whose key was replaced, resumed over the real services: nothing is missing, and nothing comes twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from deploy.document_store import DocumentStore
from deploy.processes import free_port
from deploy.stack import Stack
from services.query.webhooks.resuming import resumed
from services.query.webhooks.store import WebhookStore
from services.query.webhooks.values import Locked, OwnerId, OwnerKind, Pending, Progress, Sees, State, Webhook
from services.runtime.access.lasting import Credential, CredentialKind
from services.runtime.access.values import Means, Principal, Role
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.integration.looking import Looking, eventually
from tests.integration.test_webhook_owners import SEES, Traded, numbers, state_of, subscribed, traded
from tests.integration.test_webhooks import Receiver
from tests.unit.visible_world import SHOP, STRANGER

__all__ = ["traded"]  # the fixture

SHOPS = len(SEES[SHOP])
"""How many events of a round the shop may see."""


async def came(receiver: Receiver, count: int) -> None:
    async def whole() -> bool:
        return len(receiver.places) == count

    await eventually(whole, f"{count} events were delivered")
    assert len(set(receiver.places)) == count, "each once"


async def disabled(http: httpx.AsyncClient, location: str, words: str) -> dict[str, Any]:
    async def said() -> dict[str, Any] | None:
        shown = await state_of(http, location)
        return shown if shown["goodstrace:state"] == "disabled" else None

    shown = await eventually(said, "it is disabled")
    assert shown is not None
    assert words in shown["goodstrace:lastError"]
    return shown


async def test_a_merchant_that_replaced_its_key_goes_on_where_it_was(
    traded: Traded, http: httpx.AsyncClient
) -> None:
    receiver = Receiver()
    with receiver.running():
        location = await subscribed(http, receiver, traded.shown(SHOP))
        await came(receiver, SHOPS)
        old = traded.shown(SHOP)
        assert await traded.registry.revoke_key(SHOP, traded.key_ids[SHOP], 5)
        await traded.give_key(SHOP)
        await traded.seal(1)
        before = await disabled(http, location, "revoked")

        refused = {
            401: [old, {}],
            404: [traded.shown(STRANGER)],
            403: [traded.shown(0)],
        }
        for status, callers in refused.items():
            for caller in callers:
                answer = await http.post(f"{location}/resume", headers=caller)
                assert answer.status_code == status, answer.text
        assert "its owner may see" in answer.text
        assert await state_of(http, location) == before

        answer = await http.post(f"{location}/resume", headers=traded.shown(SHOP))
        assert answer.status_code == 200, answer.text
        assert answer.json()["goodstrace:state"] == "active"
        assert (answer.json()["goodstrace:failures"], "goodstrace:lastError" in answer.json()) == (0, False)
        assert answer.json()["goodstrace:positions"] == before["goodstrace:positions"]
        await came(receiver, 2 * SHOPS)

        # In order: the new key first, then the old one is revoked; a message is under way meanwhile.
        first = traded.key_ids[SHOP]
        await traded.give_key(SHOP)
        receiver.answers, sent = [0.7], len(receiver.attempts)
        await traded.seal(2)

        async def under_way() -> bool:
            return len(receiver.attempts) > sent

        await eventually(under_way, "a message is under way")
        assert (await http.post(f"{location}/resume", headers=traded.shown(SHOP))).status_code == 200
        assert await traded.registry.revoke_key(SHOP, first, 5)
        await came(receiver, 3 * SHOPS)
        shown = await state_of(http, location)
        assert (shown["goodstrace:state"], shown["goodstrace:failures"]) == ("active", 0)
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values()), "an ID is one message"
    assert not receiver.problems


async def test_one_that_the_receiver_disabled_goes_on_with_the_same_message(
    traded: Traded, http: httpx.AsyncClient
) -> None:
    receiver = Receiver()
    receiver.answers = [410, 410]
    with receiver.running():
        location = await subscribed(http, receiver, traded.shown(SHOP), "public")
        for caller in (0, SHOP):
            await disabled(http, location, "gone")
            answer = await http.post(f"{location}/resume", headers=traded.shown(caller))
            assert answer.status_code == 200, answer.text
        await came(receiver, len(SEES[0]))
        assert numbers(receiver.places) == sorted(SEES[0])
    assert len(set(receiver.attempts)) == 1, "the same message in every attempt"
    assert not receiver.problems
    assert (await http.post(f"{location}0/resume", headers=traded.shown(0))).status_code == 404
    assert (await http.options(f"{location}/resume")).headers["Allow"] == "POST, OPTIONS"
    described = (await http.get("/openapi.json")).json()["paths"]
    assert "/epcis/v2/queries/{name}/subscriptions/{subscription_id}/resume" in described


async def test_who_delivers_as_was_shown_before_is_not_heard_any_more(looking: Looking) -> None:
    store = WebhookStore(looking.mongo.database)
    owner = OwnerId(OwnerKind.MERCHANT, "7")
    pending = Pending("msg_1", {"goods/0": 9}, 5, (("goods/0", 3),), {"goods/0": 4}, "ab")
    failed = Progress(
        {"goods/0": 3}, pending, failures=3, failing_since_ms=5, last_error="no", next_ms=10**14
    )
    made = Webhook(
        "ab" * 16, "q", {}, "https://x.example/", Locked(b"x"), "ann", 1, msgspec.structs.replace(failed, next_ms=0), "merchant:7",
        owner, Sees.OWNER, Credential(CredentialKind.ACCOUNT, "cd" * 16),
    )  # fmt: skip
    await store.add(made)
    assert await store.take(made.id, "worker", 100, 200) == made
    for other in (OwnerId(OwnerKind.MERCHANT, "8"), OwnerId(OwnerKind.ACCOUNT, "7")):
        assert await store.seize("q", made.id, "thief", 300, other) is None
    assert await store.seize("p", made.id, "thief", 300) is None
    assert await store.say(made.id, "worker", failed, 200), "it is heard until then"

    taken = await store.seize("q", made.id, "resumes", 300, owner)
    assert taken == msgspec.structs.replace(made, progress=failed)
    assert not await store.say(made.id, "worker", Progress({}, state=State.DISABLED), 0)
    key = Principal(
        means=Means.API_KEY,
        name="merchant:7",
        roles=frozenset({Role.MERCHANT}),
        merchant=7,
        credential_id="0123456789abcdef",
    )
    going_on = resumed(taken, key, "merchant:7")
    assert not await store.resume(going_on, "another who resumes it"), "the last to take it is heard"
    assert await store.resume(going_on, "resumes")
    found = await store.take(made.id, "worker", 100, 200)
    assert found == going_on
    assert (found.user, found.maker) == (
        "merchant:7",
        Credential(CredentialKind.API_KEY, "0123456789abcdef"),
    )
    assert found.progress == Progress({"goods/0": 3}, pending)


# ---- a store that is away


@pytest.fixture
def own_store(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """The run's Kafka, and a store that a test may kill."""
    own = Stack(
        tmp_path / "own", mongo_port=free_port(), kafka_bootstrap_servers=stack.kafka_bootstrap_servers
    )
    assert own.store
    own.store.start()
    own.store.wait_ready()
    yield own
    own.store.kill()


async def test_while_the_store_is_away_nothing_is_sent_and_afterwards_nothing_is_missing(
    own_store: Stack, tmp_path: Path, names: Names
) -> None:
    store = own_store.store
    assert isinstance(store, DocumentStore)
    looking = Looking(own_store, tmp_path, names)
    looking.environment["GOODSTRACE_MONGO_TIMEOUT_MS"] = "500"
    receiver = Receiver()
    receiver.answers = [500] * 10_000
    base = looking.log_url
    try:
        await looking.prepare()
        traded = Traded(looking)
        await traded.prepare(tmp_path)
        async with httpx.AsyncClient(base_url=base, timeout=DEADLINE_S) as http:
            with receiver.running():
                location = await subscribed(http, receiver, traded.shown(SHOP))

                async def sent(more_than: int) -> bool:
                    return len(receiver.attempts) > more_than

                await eventually(lambda: sent(1), "it was sent twice")
                before = await state_of(http, location)
                store.kill()

                async def waits(times: int) -> bool:
                    told = [each.get("event", "") for each in looking.log_lines("query")]
                    return told.count("webhooks wait") + told.count("a webhook waits") >= times

                await eventually(lambda: waits(1), "it waits")
                attempts, receiver.answers = len(receiver.attempts), []
                await eventually(lambda: waits(4), "it waits on")
                assert (len(receiver.attempts), receiver.messages) == (attempts, {})

                receiver.answers = [500] * 10_000
                store.start()
                store.wait_ready()
                await eventually(lambda: sent(attempts), "it is sent again")
                shown = await state_of(http, location)
                assert shown["goodstrace:positions"] == before["goodstrace:positions"], "the cursor stays"
                receiver.answers = []
                await came(receiver, SHOPS)
        assert numbers(receiver.places) == sorted(SEES[SHOP])
        assert len({*receiver.attempts}) == 1, "the same message in every attempt"
        assert all(len(bodies) == 1 for bodies in receiver.bodies.values())
        assert not receiver.problems
    finally:
        looking.stop()
