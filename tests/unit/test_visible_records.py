"""Records asked for by their places, as proofs of completeness have it: what may not be seen comes as its entry alone."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from goodstrace.query.v1 import completeness_pb2
from services.query.completeness import CompletenessServicer
from services.query.index_gate import IndexGate
from services.runtime.call_errors import NotAllowedError
from tests.unit.collector_builders import SECRET
from tests.unit.test_visible_answers import POLICIES, VIEWERS, assert_nothing_leaks, may_see
from tests.unit.visible_world import EVENTS, World


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


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("viewer", VIEWERS)
def test_parts_come_only_to_who_may_see_them(name: str, viewer: int) -> None:
    world = World(POLICIES[name])
    places = [
        completeness_pb2.Position(log=log, index=index)
        for log, records in sorted(world.logs.records_of.items())
        for index in range(len(records))
    ]
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
