"""Records asked for by their places, as proofs of completeness have it: what may not be seen comes as its entry alone."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace import facts
from goodstrace.facts import Facts
from goodstrace.identifiers import canonical_key
from goodstrace.query.v1 import completeness_pb2
from services.audit.watch import values as watched
from services.audit.watch.observing import observations
from services.query import completeness
from services.query.completeness import CompletenessServicer
from services.query.index_gate import IndexGate
from services.runtime.call_errors import NotAllowedError
from services.runtime.vault import Person
from services.sealing.browse import watched_browse
from tests.unit.collector_builders import SECRET
from tests.unit.test_visible_answers import POLICIES, VIEWERS, assert_nothing_leaks, may_see
from tests.unit.visible_world import CASE, EVENTS, INPUT, ITEM, World


def servicer(world: World, token: str | None = None) -> CompletenessServicer:
    nothing: Any = None
    reader: Any = world.logs
    recorder: Any = world
    return CompletenessServicer(
        reader,
        recorder,
        nothing,
        nothing,
        sight=world.sight,
        secret=SECRET,
        gate=IndexGate(token),
        page_bytes=10**6,
        max_calls=2,
        metrics=world.metrics,
        log=structlog.get_logger(),
    )


def places_of(world: World) -> list[completeness_pb2.Position]:
    return [
        completeness_pb2.Position(log=log, index=index)
        for log, records in sorted(world.logs.records_of.items())
        for index in range(len(records))
    ]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("viewer", VIEWERS)
def test_parts_come_only_to_who_may_see_them(name: str, viewer: int) -> None:
    world = World(POLICIES[name])
    places = places_of(world)
    metadata = world.shown_with(viewer) if viewer else ()
    context: Any = SimpleNamespace(invocation_metadata=lambda: metadata)
    request = completeness_pb2.GetRecordsRequest(positions=places, key="urn:x:1")
    answer = asyncio.run(world.guarded(metadata, lambda: servicer(world).GetRecords(request, context)))
    world.answers.append(answer)
    assert [(each.log, each.index) for each in answer.records] == [(each.log, each.index) for each in places]
    shown = {world.number_at(each.log, each.index) for each in answer.records if each.parts}
    assert shown == {
        number for number in range(1, len(EVENTS) + 1) if may_see(viewer, POLICIES[name], number)
    }
    assert_nothing_leaks(world, set(range(1, len(EVENTS) + 1)) - shown)
    assert world.browses[-1].merchant == viewer
    assert set(world.browses[-1].keys) == {"urn:x:1"}.union(*(about(number) for number in shown))


def about(number: int) -> set[str]:
    """The goods that an event names, and its hash: by hand out of its facts."""
    facts = facts_of(World({}), number)
    goods = [
        facts.keys.get(role, ()) for role in ("epc", "lot", "class", "parent", "child", "input", "output")
    ]
    return {facts.event_hash}.union(*goods)


def facts_of(world: World, number: int) -> Facts:
    return facts.decode(world.records[number - 1].part("facts").content)


def looked(world: World, places: list[completeness_pb2.Position], viewer: int = 0) -> tuple[Any, Any]:
    """What is answered to who asks for places under a key that nothing has, and the look that is recorded."""
    context: Any = SimpleNamespace(invocation_metadata=tuple)
    request = completeness_pb2.GetRecordsRequest(positions=places, key="urn:x:made-up")
    metadata = world.shown_with(viewer)
    answer = asyncio.run(world.guarded(metadata, lambda: servicer(world).GetRecords(request, context)))
    return answer, world.browses[-1]


def test_a_look_by_places_is_found_by_all_goods_that_it_shows() -> None:
    """Else whoever makes up a key reads all logs, and neither the goods' merchants nor the watch notice."""
    world = World(POLICIES["all public"])
    _, browse = looked(world, places_of(world))
    assert browse.keys[0] == "urn:x:made-up"
    assert len(browse.keys) == len(set(browse.keys))
    assert {canonical_key(each) for each in (ITEM, CASE, INPUT)} < set(browse.keys)
    counted = observations(
        watched_browse(browse, Person(bytes(32), "p" * 24, first_seen=False), record_id=bytes(16), time_ms=1),
        1,
    )
    assert {each.subject for each in counted if each.kind is watched.Kind.KEY} == set(browse.keys)


@given(st.integers(1, 1000))
@settings(max_examples=20, deadline=None)
def test_a_page_ends_before_a_look_names_too_much(most: int) -> None:
    """A browse record that Kafka does not take would keep even the first record from being shown."""
    world = World(POLICIES["all public"])
    places = places_of(world)
    met: list[tuple[str, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(completeness, "MOST_NAMES_BYTES", most)
        while len(met) < len(places):
            answer, browse = looked(world, places[len(met) :])
            met += [(each.log, each.index) for each in answer.records]
            assert sum(map(len, browse.keys[1:])) <= most or len(answer.records) == 1
    assert met == [(each.log, each.index) for each in places]


def test_who_may_not_have_the_index_secret_has_no_name_looked_up() -> None:
    """Under names of places and parties it would tell what not even the answers do."""
    world = World({})
    context: Any = SimpleNamespace(invocation_metadata=lambda: (), peer=lambda: "ipv4:192.0.2.7:1")
    for token in (None, "right"):
        with pytest.raises(NotAllowedError):
            asyncio.run(
                servicer(world, token).ProveComplete(completeness_pb2.ProveCompleteRequest(), context)
            )
    assert not world.browses
