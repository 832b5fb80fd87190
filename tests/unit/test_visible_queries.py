"""What EPCIS queries and subscriptions show of what not everybody may see; and how a policy is registered."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Self

import httpx
import msgspec
import pytest
import structlog
from click.testing import CliRunner

from goodstrace import entry as entries
from goodstrace.cli import merchants as merchants_cli
from goodstrace.cli.main import cli
from goodstrace.entry import TagKind
from goodstrace.identifiers import canonical_key
from goodstrace.query.v1 import subscribe_pb2
from goodstrace.visibility import Visibility, VisibilityPolicy
from services.query import epcis_service
from services.query.epcis_api import EpcisApi
from services.query.epcis_service import EpcisQueries
from services.query.http_app import make_app
from services.query.log_endpoints import LogEndpoints
from services.query.sight import VisibleLogs
from services.query.standing import Standings
from services.runtime.access.values import Principal
from services.runtime.errors import UnavailableError
from services.runtime.merchants.errors import UnauthenticatedError
from services.runtime.page_tokens import fixed_key
from services.sealing.showing import position
from tests.unit.collector_builders import SECRET
from tests.unit.epcis_builders import pages, shown
from tests.unit.registry_builders import registry
from tests.unit.visible_world import (
    CARRIER,
    CASE,
    EVENTS,
    ITEM,
    MAKER,
    SHOP,
    STRANGER,
    World,
    place,
    subscriptions_of,
)

ROOT = "/epcis/v2"
POLICIES = {MAKER: VisibilityPolicy(Visibility.PRIVATE, {"logistics": Visibility.PUBLIC})}
SEEN = {0: {2, 3}, MAKER: {1, 2, 3, 5}, CARRIER: {2, 3, 4, 5}, SHOP: {2, 3, 5, 6, 7}, STRANGER: {2, 3}}
"""By viewer, under POLICIES: numbers of the events."""
ITEMS_AND_CASES = {ITEM: {1, 2, 6, 7}, CASE: {2, 3, 4, 5, 6}}


@pytest.fixture
def world() -> World:
    return World(POLICIES)


def epcis(world: World, max_events: int = 1000) -> httpx.AsyncClient:
    reader: Any = world.logs
    queries = EpcisQueries(
        reader,
        world,  # type: ignore[arg-type]
        sight=world.sight,
        secret=SECRET,
        page_key=fixed_key(b"p" * 32),
        max_events=max_events,
        page_bytes=10**6,
        max_walks=2,
        metrics=world.metrics,
        log=structlog.get_logger(),
    )
    log = structlog.get_logger()
    api = EpcisApi(queries, public_url="", max_call_s=20, metrics=world.metrics, log=log)
    endpoints = LogEndpoints(reader, reader, public_url="", timeout_s=1, metrics=world.metrics, log=log)
    transport = httpx.ASGITransport(make_app(endpoints, world.guard, api))
    return httpx.AsyncClient(transport=transport, base_url="http://query.test")


def numbers(answer: httpx.Response) -> set[int]:
    listed = answer.json()["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
    return {int(each["eventID"][-12:]) for each in listed}


@pytest.mark.parametrize("viewer", SEEN)
@pytest.mark.parametrize(
    ("path", "met"),
    [
        ("/events", set(range(1, 8))),
        (f"/events?MATCH_anyEPC={ITEM}", ITEMS_AND_CASES[ITEM]),
        (f"/events?MATCH_anyEPC={CASE}&orderBy=eventTime", ITEMS_AND_CASES[CASE]),
        ("/events?EQ_bizStep=retail_selling", set(range(1, 8))),
    ],
)
def test_epcis_queries_leave_out_what_may_not_be_seen_and_count_it(
    world: World, viewer: int, path: str, met: set[int]
) -> None:
    async def ask() -> httpx.Response:
        async with epcis(world) as client:
            return await client.get(ROOT + path, headers=dict(world.shown_with(viewer)))

    answer = asyncio.run(ask())
    assert answer.status_code == 200, answer.text
    wanted = {7} if "bizStep" in path else met
    assert numbers(answer) == SEEN[viewer] & wanted
    # The count is of all that was looked at: it must not tell which steps are among what is withheld.
    withheld = met - SEEN[viewer]
    assert answer.headers.get("Goodstrace-Events-Hidden", "0") == str(len(withheld))
    for number in withheld:
        assert not any(secret in answer.content for secret in world.secrets_of(number))
    assert world.browses[-1].merchant == viewer


def test_lists_and_single_events_of_epcis_obey_too(world: World) -> None:
    async def ask() -> list[httpx.Response]:
        async with epcis(world) as client:
            paths = ("/readPoints", "/bizLocations", f"/events/{EVENTS[3][1]['eventID']}")
            public = dict(world.shown_with(0))
            every = [await client.get(ROOT + path, headers=public) for path in paths]
            mine = dict(world.shown_with(CARRIER))
            every += [await client.get(ROOT + path, headers=mine) for path in paths]
            every.append(await client.get(f"{ROOT}/events", headers={"authorization": "Bearer nonsense"}))
            return every

    points, places, event, my_points, my_places, my_event, refused = asyncio.run(ask())
    assert points.json()["member"] == places.json()["member"] == []
    assert (numbers(event), event.headers["Goodstrace-Events-Hidden"]) == (set(), "1")
    assert (len(my_points.json()["member"]), len(my_places.json()["member"])) == (1, 1)
    assert numbers(my_event) == {4}
    assert (refused.status_code, refused.json()["title"]) == (401, "SecurityException")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", [f"EQ_readPoint={place(CARRIER)}", f"EQ_bizLocation={place(SHOP)}"])
def test_queries_by_places_do_not_count_what_is_withheld(world: World, name: str) -> None:
    async def ask() -> httpx.Response:
        async with epcis(world) as client:
            return await client.get(f"{ROOT}/events?{name}", headers=dict(world.shown_with(0)))

    answer = asyncio.run(ask())
    assert numbers(answer) == set()
    assert "Goodstrace-Events-Hidden" not in answer.headers


@pytest.mark.parametrize("more", ["", "&orderBy=eventTime"])
def test_no_page_ends_and_no_query_is_refused_for_what_may_not_be_told(
    world: World, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    monkeypatch.setattr(epcis_service, "LOOKED_AT", 0)

    async def ask() -> httpx.Response:
        async with epcis(world, max_events=0) as client:
            url = f"{ROOT}/events?EQ_bizLocation={place(SHOP)}{more}"
            return await client.get(url, headers=dict(world.shown_with(0)))

    answer = asyncio.run(ask())
    assert numbers(answer) == set()
    assert "Link" not in answer.headers


def test_a_page_that_ends_by_time_is_gone_on_from(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epcis_service, "UNTOLD_S", -1.0)

    async def ask() -> list[httpx.Response]:
        async with epcis(world) as client:
            url = f"{ROOT}/events?EQ_bizLocation={place(SHOP)}"
            return await pages(client, url, **dict(world.shown_with(0)))

    answers = asyncio.run(ask())
    assert len(answers) > 1
    assert shown(answers) == []


def test_how_a_place_stands_is_not_cut_by_what_may_not_be_told(world: World) -> None:
    async def ask(end: int) -> bool:
        eyes = await world.sight.eyes(Principal())
        logs = VisibleLogs(world.logs, eyes, SECRET, 10)
        standings = Standings(logs, SECRET, 0)
        return (
            await standings.find(canonical_key(place(SHOP)), dict.fromkeys(world.logs.records_of, end))
        ).truncated

    assert [asyncio.run(ask(end)) for end in range(4)] == [False] * 4


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("end", range(4))
def test_no_limit_tells_how_much_is_withheld_at_a_place(world: World, limit: int, end: int) -> None:
    """Whatever sizes are asked for: what may not be told neither fills a look-up nor cuts it."""

    async def ask(tag: bytes) -> tuple[bool, int, int]:
        eyes = await world.sight.eyes(Principal())
        sizes = dict.fromkeys(world.logs.records_of, end)
        logs = VisibleLogs(world.logs, eyes, SECRET, 10)
        found = await logs.find([tag], sizes, limit)
        return logs.is_cut, logs.told, len(found[tag])

    for name in (place(CARRIER), place(SHOP)):
        assert asyncio.run(ask(entries.tag(SECRET, TagKind.KEY, canonical_key(name)))) == (False, 0, 0)


async def test_what_may_be_told_is_found_behind_any_number_that_may_not(world: World) -> None:
    told = SECRET[:16]
    every = [
        msgspec.structs.replace(each, tags=(*each.tags, told)) for each in world.logs.records_of["goods/0"]
    ]
    world.logs.records_of["goods/0"] = every
    eyes = await world.sight.eyes(Principal())
    logs = VisibleLogs(world.logs, eyes, SECRET, 10)
    [found] = (await logs.find([told], {"goods/0": len(every)}, 1)).values()
    whole = [each for each in every if each.parts and not await eyes.hidden([each])]
    assert [position(each) for each in found] == [position(each) for each in whole[:1]]


def test_subscriptions_to_places_hear_of_nothing_that_is_withheld(world: World) -> None:
    request = subscribe_pb2.SubscribeRequest(
        keys=[place(CARRIER), place(SHOP)], start=subscribe_pb2.SUBSCRIBE_START_BEGINNING
    )
    for viewer, wanted in ((0, set()), (SHOP, {5}), (CARRIER, {4, 5})):
        messages = asyncio.run(stream(world, request, viewer))
        events = [each.sealed for message in messages for each in message.events]
        assert {world.number_at(each.log, each.index) for each in events} == wanted
        assert all(each.parts for each in events)


class Stream:
    """A call whose messages are kept; it ends after so many events or heartbeats."""

    def __init__(self, metadata: Sequence[tuple[str, str]], until: asyncio.Event) -> None:
        self.metadata, self.until = metadata, until
        self.messages: list[Any] = []

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return self.metadata

    async def write(self, message: Any) -> None:
        self.messages.append(message)
        if message.caught_up and len(self.messages) > 1:
            self.until.set()


async def stream(world: World, request: Any, viewer: int) -> list[Any]:
    stop = asyncio.Event()
    subscriptions = subscriptions_of(world, stop)
    call: Any = Stream(world.shown_with(viewer), stop)
    with pytest.raises(UnavailableError, match="stops"):
        await world.guarded(world.shown_with(viewer), lambda: subscriptions.serve(request, call))
    return list(call.messages)


@pytest.mark.parametrize("viewer", SEEN)
@pytest.mark.parametrize("keys", [[], [ITEM], [ITEM, CASE]])
@pytest.mark.parametrize("steps", [[], ["logistics"]])
def test_subscriptions_show_what_is_withheld_as_sealed_only(
    world: World, viewer: int, keys: list[str], steps: list[str]
) -> None:
    request = subscribe_pb2.SubscribeRequest(
        keys=keys, steps=steps, start=subscribe_pb2.SUBSCRIBE_START_BEGINNING, page_size=2
    )
    messages = asyncio.run(stream(world, request, viewer))
    events = [each for message in messages for each in message.events]
    found = {world.number_at(each.sealed.log, each.sealed.index): each for each in events}
    assert len(found) == len(events)
    met = set(itertools.chain.from_iterable(ITEMS_AND_CASES[key] for key in keys)) or set(range(1, 8))
    whole = {number for number, each in found.items() if each.sealed.parts}
    of_steps = met & {2, 3, 4, 5, 6} if steps else met
    assert whole == SEEN[viewer] & of_steps
    # Whether what is withheld is of a step that was asked for nobody is told.
    assert set(found) - whole == (set() if steps else met - SEEN[viewer])
    for number in set(found) - whole:
        assert found[number].HasField("found_by") == bool(keys)
        assert not found[number].identity
    sent = b"".join(each.SerializeToString() for each in messages)
    for number in set(range(1, 8)) - SEEN[viewer]:
        assert not any(secret in sent for secret in world.secrets_of(number))
    client = world.client()
    checked = [client._trusted.opened([each.checkpoints], {}) for each in messages]
    assert len(checked) == len(messages)


def test_a_subscription_ends_when_its_key_is_revoked(world: World) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        subscriptions = subscriptions_of(world, stop)

        async def write(_message: Any) -> None:
            world.registry.rows.pop(world.key_ids[MAKER], None)
            world.now_s += 2.1

        call: Any = SimpleNamespace(invocation_metadata=lambda: world.shown_with(MAKER), write=write)
        with pytest.raises(UnauthenticatedError):
            await world.guarded(
                world.shown_with(MAKER), lambda: subscriptions.serve(subscribe_pb2.SubscribeRequest(), call)
            )

    asyncio.run(run())


async def test_a_policy_is_registered_strictly_and_sealed_with_its_merchant() -> None:
    async with registry() as here:
        number, _ = await here.merchant(prefixes=["0614141"])
        told = {"default": "public", "steps": {"production": "private"}}
        changed = await here.operate("PATCH", f"merchants/{number}", json={"visibility": told})
        assert changed.status_code == 200, changed.text
        assert changed.json()["content"]["visibility"] == told
        merchant = await here.store.merchant(number)
        assert merchant is not None
        assert merchant.visibility.of("production") is Visibility.PRIVATE
        for wrong in ("public", {"default": "everyone"}, {"steps": {"Sale": "public"}}, {"who": "public"}):
            refused = await here.operate("PATCH", f"merchants/{number}", json={"visibility": wrong})
            assert refused.status_code == 400, wrong
            assert refused.json()["errors"][0]["pointer"].startswith("/visibility")
        unsaid = await here.operate("PATCH", f"merchants/{number}", json={"visibility": None})
        assert "visibility" not in unsaid.json()["content"]


class _Registry:
    """A registry client that keeps what it is told."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.patches: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def merchant(self, number: int) -> dict[str, Any]:
        return {"merchant": number, "content": self.content}

    def change(self, number: int, patch: dict[str, Any]) -> dict[str, Any]:
        self.patches.append(patch)
        return {"merchant": number, "content": {**self.content, **patch}}


@pytest.mark.parametrize(
    ("known", "arguments", "patch"),
    [
        ({}, ["public"], {"default": "public", "steps": {}}),
        ({}, ["--step", "sale=public"], {"default": "partners", "steps": {"sale": "public"}}),
        (
            {"default": "private", "steps": {"sale": "public", "production": "partners"}},
            ["--step", "sale=", "--step", "production=private"],
            {"default": "private", "steps": {"sale": None, "production": "private"}},
        ),
        ({"default": "public"}, ["partners"], None),
    ],
)
def test_the_command_line_says_who_sees_what(
    monkeypatch: pytest.MonkeyPatch, known: Any, arguments: list[str], patch: Any
) -> None:
    made = _Registry({"name": "Ann", "visibility": known})
    monkeypatch.setattr(merchants_cli, "_registry", lambda *_: made)
    done = CliRunner().invoke(cli, ["merchants", "visibility", "2", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["merchant"] == 2
    assert made.patches == [{"visibility": patch}]


@pytest.mark.parametrize("arguments", [[], ["--step", "sale"], ["--step", "sale=all"], ["everyone"]])
def test_the_command_line_refuses_what_is_no_policy(arguments: list[str]) -> None:
    done = CliRunner().invoke(cli, ["merchants", "visibility", "2", *arguments])
    assert done.exit_code == 2
