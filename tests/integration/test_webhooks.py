"""Webhooks on a real Kafka and store: signed, tried again until 2xx, each event once whoever fails, and never into our own network."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from deploy.processes import free_port
from services.query.webhooks.asked import SEES_FIELD
from services.query.webhooks.store import WebhookStore
from services.query.webhooks.values import Locked, Pending, Progress, Sees, State, Webhook
from tests.integration.looking import Looking, eventually
from tests.integration.registering import Registered, asking
from tests.unit.collector_builders import object_event
from tests.unit.epcis_builders import sealed

QUERIES = "/epcis/v2/queries"
PER_LOG = 60
BEGINNING = {"initialRecordTime": "1970-01-01T00:00:00Z"}
Place = tuple[str, int]


class Receiver:
    """A receiver of webhooks. `answers` are the next answers: a status, or a time in seconds to be silent; then 200.

    messages: those answered with 2xx, by ID the places of their events, in the order they came. attempts: all, by ID.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.answers: list[int | float] = []
        self.messages: dict[str, list[Place]] = {}
        self.attempts: list[str] = []
        self.bodies: dict[str, set[bytes]] = {}
        self.repeated = 0
        self.secret = ""
        self.problems: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def places(self) -> list[Place]:
        return [place for places in list(self.messages.values()) for place in places]

    @contextmanager
    def running(self) -> Iterator[None]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.take(dict(self.headers.items()), body)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        try:
            document = Verifier(self.secret).verify(body, headers)
        except Exception as error:  # noqa: BLE001 - told by the test
            self.problems.append(repr(error))
            return 400
        name = {key.lower(): value for key, value in headers.items()}["webhook-id"]
        self.attempts.append(name)
        self.bodies.setdefault(name, set()).add(body)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, float):
            time.sleep(answer)
            return 200
        if answer == 200:
            self.repeated += name in self.messages
            self.messages[name] = _places(document)
        return answer


def _places(document: dict[str, Any]) -> list[Place]:
    results = document["epcisBody"]["queryResults"]
    assert results["queryName"] == "shipped"
    assert results["subscriptionID"]
    found = [each["goodstrace:sealed"] for each in results["resultsBody"]["eventList"]]
    return [(each["goodstrace:log"], each["goodstrace:index"]) for each in found]


@pytest.fixture
def looking(looking: Looking) -> Looking:
    looking.environment |= {
        "GOODSTRACE_QUERY_WEBHOOKS": "loopback",
        "GOODSTRACE_QUERY_WEBHOOK_TIMEOUT_S": "0.7",
        "GOODSTRACE_QUERY_WEBHOOK_LONGEST_WAIT_S": "0.3",
        "GOODSTRACE_QUERY_SUBSCRIPTION_POLL_MS": "50",
        "GOODSTRACE_QUERY_MAX_WEBHOOKS": "2",
    }
    return looking


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


async def _seal(looking: Looking, first: int) -> None:
    """Seal 2 * PER_LOG events, every other one of them a shipping."""
    records = sealed(
        [
            object_event(
                eventID=f"urn:uuid:{first + number:032x}",
                bizStep="shipping" if number % 4 < 2 else "receiving",
            )
            for number in range(2 * PER_LOG)
        ]
    )
    await looking.seal({0: records[::2], 1: records[1::2]})


def _shipped(rounds: int) -> set[Place]:
    """Where the shippings are."""
    return {
        (f"goods/{log}", index)
        for log in range(2)
        for index in range(PER_LOG * rounds)
        if (2 * (index % PER_LOG) + log) % 4 < 2
    }


async def _subscribed(http: httpx.AsyncClient, receiver: Receiver, **more: Any) -> str:
    query = {"name": "shipped", "query": {"EQ_bizStep": ["shipping"], "goodstrace:prefix": ["0614141"]}}
    made = await http.post(QUERIES, json=query)
    assert (made.status_code, made.headers["Location"]) == (201, f"{QUERIES}/shipped"), made.text
    answer = await http.post(
        f"{QUERIES}/shipped/subscriptions",
        json={"dest": receiver.url, **BEGINNING, **more},
        headers={"goodstrace-user": "platform"},
    )
    assert answer.status_code == 201, answer.text
    receiver.secret = answer.json()["signatureToken"]
    return answer.headers["Location"]


async def test_it_is_tried_again_until_2xx_and_410_ends_it(
    looking: Looking, http: httpx.AsyncClient, receiver: Receiver, tell: Callable[[str], None]
) -> None:
    await _seal(looking, 0)
    await looking.start("query")
    receiver.answers = [500, 302, 1.5, 429]
    with receiver.running():
        location = await _subscribed(http, receiver)

        async def failing() -> bool:
            return len(receiver.attempts) >= 3

        await eventually(failing, "it is tried again")
        assert not receiver.messages
        assert (await http.get(location)).json()["goodstrace:failures"] >= 2

        async def whole(rounds: int) -> bool:
            return set(receiver.places) == _shipped(rounds)

        await eventually(lambda: whole(1), "all was delivered")
        assert len(set(receiver.attempts[:5])) == 1, "the same message in every attempt"
    # Away for a while, as at a deployment of the platform.
    await _seal(looking, 1000)

    async def unreachable() -> bool:
        said = (await http.get(location)).json().get("goodstrace:lastError", "")
        return str(said).startswith("unreachable")

    await eventually(unreachable, "it says that the receiver is away")
    with receiver.running():
        await eventually(lambda: whole(2), "the rest was delivered")
        places = receiver.places
        assert len(places) == len(set(places)), "each event in one message"
        assert all(len(bodies) == 1 for bodies in receiver.bodies.values()), "a message never changes"

        async def settled() -> dict[str, Any] | None:
            shown: dict[str, Any] = (await http.get(location)).json()
            return shown if shown["goodstrace:lag"] == 0 and not shown["goodstrace:failures"] else None

        shown = await eventually(settled, "the cursor is at the end")
        assert shown is not None
        assert shown["goodstrace:deliveredEvents"] == len(places)
        assert {shown["goodstrace:state"], shown["stream"]} == {"active", True}
        assert shown["lastNotifiedAt"]
        assert "signatureToken" not in shown

        receiver.answers = [410]
        await _seal(looking, 2000)

        async def disabled() -> bool:
            return bool((await http.get(location)).json()["goodstrace:state"] == "disabled")

        await eventually(disabled, "410 disables it")
        attempts = len(receiver.attempts)
        await _seal(looking, 3000)
        await asyncio.sleep(0.5)
        assert len(receiver.attempts) == attempts
    assert not receiver.problems

    looks = await looking.looks()
    assert len([each for each in looks if each["what"]["method"] == "Webhook"]) >= len(receiver.attempts)
    assert {each["who"]["user"] for each in looks} == {"platform"}
    text = (await httpx.AsyncClient().get(f"http://127.0.0.1:{looking.metrics['query']}/metrics")).text
    for line in (
        'goodstrace_query_webhook_deliveries_total{outcome="gone"} 1.0',
        'goodstrace_query_webhooks{state="disabled"} 1.0',
        'goodstrace_query_webhooks_disabled{reason="gone"} 1.0',
    ):
        assert line in text
    tell(
        f"a webhook: {len(receiver.attempts)} attempts, {len(receiver.messages)} messages, {len(places)} events, each once"
    )


@pytest.mark.parametrize("sees", Sees)
async def test_two_processes_and_one_of_them_killed(
    looking: Looking, http: httpx.AsyncClient, receiver: Receiver, tmp_path: Path, sees: Sees
) -> None:
    await _seal(looking, 0)
    if sees is Sees.OWNER:
        known = Registered(looking.mongo.database)
        await known.register(1, everything=True)
        await known.give_key(1)
        looking.environment |= asking(tmp_path)
        http.headers.update(known.shown(1))
    await looking.start("query")
    other = looking.another_query(tmp_path / "other")
    await other.start("query")
    try:
        with receiver.running():
            await _subscribed(http, receiver, **{SEES_FIELD: sees})
            for number in range(1, 4):
                await _seal(looking, 1000 * number)
            other.daemons["query"].kill()
            for number in range(4, 6):
                await _seal(looking, 1000 * number)

            async def whole() -> bool:
                return set(receiver.places) == _shipped(6)

            await eventually(whole, "all was delivered")
            places = receiver.places
            assert len(places) == len(set(places))
            assert receiver.repeated <= 1, "only what the killed one was at may come again"
            assert not receiver.problems
    finally:
        other.daemons["query"].stop()


async def test_who_may_not_and_where_not(
    looking: Looking, http: httpx.AsyncClient, receiver: Receiver
) -> None:
    await _seal(looking, 0)
    await looking.start("query")
    location = await _subscribed(http, receiver)
    for dest in (
        "http://example.com/", "https://8.8.8.8/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]/", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/", "http://localhost.example.com/", "x",
    ):  # fmt: skip
        answer = await http.post(f"{QUERIES}/shipped/subscriptions", json={"dest": dest})
        assert (answer.status_code, answer.json()["parameter"]) == (400, "dest"), dest
    assert (await http.post(QUERIES, json={"name": "shipped", "query": {}})).status_code == 409
    assert (await http.post(QUERIES, json={"name": "x", "query": {"EQ_quantity": "1"}})).status_code == 400
    assert (await http.post(QUERIES, content=b"x" * 70_000)).status_code == 413
    assert (await http.delete(f"{QUERIES}/shipped")).status_code == 409
    assert (await http.get(QUERIES)).json()[0]["name"] == "shipped"
    ran = await http.get(f"{QUERIES}/shipped/events")
    assert ran.status_code == 400
    await http.post(QUERIES, json={"name": "all", "query": {"EQ_bizStep": ["shipping"]}})
    ran = await http.get(f"{QUERIES}/all/events?perPage=7")
    assert len(ran.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]) == 7
    assert (await http.post(QUERIES, json={"name": "third", "query": {}})).status_code == 403
    more = await http.post(f"{QUERIES}/all/subscriptions", json={"dest": receiver.url})
    assert more.status_code == 201
    refused = await http.post(f"{QUERIES}/all/subscriptions", json={"dest": receiver.url})
    assert (refused.status_code, refused.json()["title"]) == (403, "SubscribeNotPermittedException")
    assert [each["subscriptionID"] for each in (await http.get(f"{QUERIES}/all/subscriptions")).json()] == [
        more.json()["subscriptionID"]
    ]
    assert (await http.delete(location)).status_code == 204
    assert (await http.get(location)).status_code == 404
    assert (await http.delete(location)).status_code == 404
    assert (await http.delete(f"{QUERIES}/shipped")).status_code == 204
    wrong = await http.put(f"{QUERIES}/all")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, DELETE, OPTIONS")
    told = await http.options(f"{QUERIES}/all/subscriptions")
    assert (told.status_code, told.headers["Allow"]) == (204, "GET, POST, OPTIONS")
    stored = await looking.mongo.database["epcis_subscriptions"].find_one({})
    assert more.json()["signatureToken"].removeprefix("whsec_") not in json.dumps(stored, default=str)

    looking.daemons["query"].stop()
    looking.environment["GOODSTRACE_QUERY_WEBHOOKS"] = "off"
    await looking.start("query")
    assert (await http.get(QUERIES)).status_code == 404


async def test_a_lease_is_one_processs_until_its_time_is_over(looking: Looking) -> None:
    store = WebhookStore(looking.mongo.database)
    await store.prepare()
    made = Webhook("ab" * 16, "q", {}, "https://a.example/", Locked(b"x"), "ann", 1, Progress({"goods/0": 3}))
    await store.add(made)
    taken = await asyncio.gather(*(store.take(made.id, f"owner-{each}", 100, 200) for each in range(5)))
    [(owner, held)] = [(f"owner-{number}", each) for number, each in enumerate(taken) if each]
    assert held == made
    assert await store.take(made.id, "late", 199, 300) is None
    further = Progress({"goods/0": 4}, Pending("msg_1", {"goods/0": 9}, 5))
    assert await store.say(made.id, owner, further, 250)
    assert await store.take(made.id, "late", 240, 300) is None
    again = await store.take(made.id, "late", 250, 300)
    assert again is not None
    assert again.progress == further
    assert not await store.say(made.id, owner, Progress({}), 0), "who lost the lease is not heard"
    await store.release(made.id, owner)
    assert await store.take(made.id, "third", 260, 400) is None
    assert await store.say(made.id, "late", Progress({"goods/0": 9}, next_ms=500), 0)
    assert await store.take(made.id, "third", 499, 600) is None, "it is not due"
    assert await store.take(made.id, "third", 500, 600) is not None
    assert await store.say(made.id, "third", Progress({}, state=State.DISABLED), 0)
    assert await store.take(made.id, "third", 10**6, 10**7) is None
    assert await store.remove("q", made.id)
    assert not await store.say(made.id, "third", Progress({}), 0)
