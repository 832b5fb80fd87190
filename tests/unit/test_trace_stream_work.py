"""What a streamed trace costs where each of its levels withholds something: little more than where all may be seen."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing.walk import Walk
from goodstrace.visibility import Visibility, VisibilityPolicy
from services.query import thinking
from tests.deadlines import DEADLINE_S
from tests.unit.visible_world import EVENTS, ITEM, MAKER, SHOP, STRANGER, Streamed, World

LEVELS = 24


class Counted:
    """How many walks the engine made: each goes over all that was found so far."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.walks = 0
        run = Walk.run

        def counted(walk: Walk) -> None:
            self.walks += 1
            run(walk)

        monkeypatch.setattr(Walk, "run", counted)

    def since(self) -> int:
        """How many there were since the last time."""
        walks, self.walks = self.walks, 0
        return walks


def made_in_steps() -> Iterator[tuple[int, dict[str, Any]]]:
    """Each item is made of the one before, and the shop sees it."""
    items = [f"urn:epc:id:sgtin:9521231.054321.{number}" for number in range(1, LEVELS + 2)]
    for number, (item, made) in enumerate(pairwise(items)):
        change = {
            "eventID": f"urn:uuid:00000000-0000-4000-8000-1{number:011d}",
            "eventTime": f"2026-01-02T03:{number:02d}:30Z",
            "inputEPCList": [item],
            "inputQuantityList": [],
            "outputEPCList": [made],
        }
        yield MAKER, {**EVENTS[0][1], **change}
        seen = {
            "eventID": f"urn:uuid:00000000-0000-4000-8000-2{number:011d}",
            "eventTime": f"2026-01-02T03:{number:02d}:00Z",
            "epcList": [item],
        }
        yield SHOP, {**EVENTS[6][1], **seen}


def streamed(visibility: Visibility) -> tuple[World, Streamed]:
    policies = {MAKER: VisibilityPolicy(Visibility.PUBLIC), SHOP: VisibilityPolicy(visibility)}
    world = World(policies, events=list(made_in_steps()))
    request = trace_pb2.StreamTraceRequest(trace=trace_pb2.TraceRequest(key=ITEM, max_depth=100))
    return world, world.streamed("StreamTrace", request, world.shown_with(STRANGER))


def test_what_a_level_withholds_is_told_with_it_by_one_walk_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        thinking, "AT_ONCE_S", DEADLINE_S
    )  # however busy the machine is, no walk begins again
    counted = Counted(monkeypatch)
    streamed(Visibility.PUBLIC)
    walks_public = counted.since()
    _, messages = streamed(Visibility.PRIVATE)
    assert [(each.level, len(each.withheld_entries)) for each in messages if each.withheld_entries] == [
        (level, 1) for level in range(LEVELS)
    ]
    assert counted.since() <= walks_public + LEVELS + 1


def test_a_client_does_not_trace_again_at_each_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that others follow is cut short: its tree and names are checked with the last one."""
    world, messages = streamed(Visibility.PRIVATE)
    monkeypatch.setattr(world, "streamed", lambda *_: messages)
    counted = Counted(monkeypatch)
    *_, last = world.client(STRANGER).stream_trace(ITEM, max_depth=100)
    assert last.tree_verified
    assert last.total_withheld == LEVELS
    assert counted.since() <= 4 * LEVELS
