"""Proofs of completeness beside a page: to whom they are given, that they are recorded, and that a page shows all that names its goods."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from goodstrace.entry import TagKind, tag
from goodstrace.facts import decode as facts_of
from goodstrace.query.v1 import trace_pb2
from services.runtime.access.values import NOBODY
from tests.unit.collector_builders import SECRET
from tests.unit.completeness_world import CompleteWorld
from tests.unit.test_web_pages import get
from tests.web_staff import AUDITOR
from tests.web_world import EVENTS, ITEM_KEY, ITEM_PATH, SHOPPER, WebWorld

PATH = f"/complete?key={ITEM_KEY}"


@pytest.fixture(scope="module")
def world() -> WebWorld:
    return WebWorld(EVENTS, indexed=True)


@pytest.mark.parametrize(
    ("to", "roles"),
    [("off", ()), ("auditors", (AUDITOR,)), ("signed-in", (AUDITOR, SHOPPER)), ("local", (AUDITOR, SHOPPER))],
)
async def test_a_proof_and_the_secret_are_given_to_whom_the_setting_says(to: str, roles: Any) -> None:
    world = WebWorld(EVENTS, indexed=True, complete=to)
    for who in (AUDITOR, SHOPPER):
        world.who = who
        answer = await get(world, PATH)
        assert answer.status_code == (200 if who in roles else 404)
        assert ('id="complete"' in (await get(world, ITEM_PATH)).text) == (who in roles)
    world.who = NOBODY
    assert (await get(world, PATH)).status_code == 401


async def test_the_look_is_recorded_and_without_kafka_there_is_none(world: WebWorld) -> None:
    world.browses.clear()
    answer = await get(world, PATH)
    assert answer.headers["cache-control"] == "no-store"
    [browse] = world.browses
    assert (browse.method, browse.keys, browse.purpose) == ("ProveComplete", (ITEM_KEY,), "web page")
    world.kafka_is_away = True
    assert (await get(world, PATH)).status_code == 503
    world.kafka_is_away = False
    bare = WebWorld(EVENTS)
    assert (await get(bare, PATH)).status_code == 404


@pytest.mark.parametrize("query", ["", "key=", "key=" + "x" * 3000])
async def test_wrong_keys_are_refused(world: WebWorld, query: str) -> None:
    assert (await get(world, f"/complete?{query}")).status_code == 400


def test_a_trace_shows_every_event_that_names_its_goods(tell: Any) -> None:
    """What the page claims when all rows of the key are on it: else it would say that something is left out."""
    world = CompleteWorld(events=250)
    trace, _ = world.servicers()
    context: Any = SimpleNamespace(invocation_metadata=lambda: ())
    keys = {
        key
        for log in ("goods/0", "goods/1")
        for record in world.reader.sealed[log][::7]
        for part in record.parts
        if part.name == "facts"
        for of_role in facts_of(part.content).keys.values()
        for key in of_role
    }
    checked = 0
    for key in sorted(keys)[::4]:
        request = trace_pb2.TraceRequest(key=key, max_depth=3, page_size=1000)
        answer = asyncio.run(trace.Trace(request, context))
        shown = {
            (place.log, place.index) for event in answer.events for place in (event.sealed, *event.also_at)
        }
        named = tag(SECRET, TagKind.KEY, key)
        rows = {
            (each.log, each.index)
            for log in ("goods/0", "goods/1")
            for each in world.reader.sealed[log]
            if named in each.tags
        }
        if not (answer.truncated or answer.next_page_token or answer.paged_out):
            assert rows <= shown, (key, rows - shown)
            checked += len(rows)
    tell(f"web: traces of {len(sorted(keys)[::4])} keys show all {checked} entries that name them")
    assert checked > 50
