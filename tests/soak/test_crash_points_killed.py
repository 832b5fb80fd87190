"""The whole campaign of crash points: each fault by itself in each scenario, and real processes that end with SIGKILL.

CI does a part of it: tests/integration/test_crash_points.py.
"""

import dataclasses

import pytest

from services.runtime import retry
from tests.crash_campaign import MERGES, SCENARIOS, Scenario, World, at_every_point, run, world
from tests.crash_points import Faults, Point
from tests.crash_processes import kill_in_turn
from tests.memory_store import Failure

__all__ = ["world"]  # the fixture

COMMITTED = [("store.insert_block", 1, True)]
LEFT_BEHIND = [("store.insert_block", 1, False)]


@pytest.mark.parametrize("scenario", [*SCENARIOS, MERGES], ids=lambda scenario: scenario.name)
async def test_each_fault_by_itself(
    world: World, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(retry, "LONGEST_WAIT_S", 0.01)
    every = (
        scenario
        if scenario is MERGES or scenario.witnessed
        else dataclasses.replace(scenario, only=frozenset())
    )
    print(f"\n{scenario.name}: {await at_every_point(world, every, list(Failure))}")


@pytest.mark.parametrize(
    ("scenario", "before"),
    [(SCENARIOS[0], []), (SCENARIOS[1], COMMITTED), (SCENARIOS[2], LEFT_BEHIND)],
    ids=lambda given: given.name if isinstance(given, Scenario) else "",
)
async def test_processes_end_with_sigkill_at_every_point(
    world: World, mongo_uri: str, scenario: Scenario, before: list[tuple[str, int, bool]]
) -> None:
    points = await _points(world, scenario)
    killed = 0
    for point in points:
        for after in (False, True):
            lives = [*before, (point.call, point.nth, after)]
            killed += await kill_in_turn(world, mongo_uri, world.new_prefix(), lives, world.records)
    print(
        f"\n{scenario.name}: SIGKILL at {len(points)} points, before and after each, every log intact and whole"
    )
    assert killed == 2 * len(points) * (1 + len(before))


async def _points(world: World, scenario: Scenario) -> list[Point]:
    """The points of the life under test. A process polls its consumer group instead, where nothing is a point."""
    faults = Faults()
    await run(world, scenario, faults)
    return [point for point in faults.points() if point.call != "source.poll"]
