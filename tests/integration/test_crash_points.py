"""Every call of the ledger to the store, to Kafka and to its keys fails both ways, and the process is killed there.

In one process over the real store and a real topic: a killed sealer's calls come through no more, and nothing of it is
cleaned up. tests/soak/test_crash_points_killed.py does the same to processes of their own, with SIGKILL, and each
fault by itself.
"""

from collections.abc import Callable

import pytest

from services.runtime import retry
from tests.crash_campaign import (
    MERGES,
    RECORDS,
    SCENARIOS,
    Covered,
    Scenario,
    World,
    at_every_point,
    fail_every_call,
    world,
)
from tests.crash_processes import kill_in_turn

__all__ = ["world"]  # the fixture


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(retry, "LONGEST_WAIT_S", 0.01)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_killed_at_every_point(world: World, scenario: Scenario, tell: Callable[[str], None]) -> None:
    covered = await at_every_point(world, scenario)
    tell(f"killed, {scenario.name}: {covered}")
    assert covered.points > 5


@pytest.mark.parametrize("scenario", [*SCENARIOS, MERGES], ids=lambda scenario: scenario.name)
async def test_every_call_fails_both_ways(
    world: World, scenario: Scenario, tell: Callable[[str], None]
) -> None:
    covered = await fail_every_call(world, scenario)
    tell(f"failed both ways, {scenario.name}: {covered}")
    assert covered.points > 20


SAMPLE = [
    ("store.put_packs", 0, True),
    ("store.insert_block", 0, False),
    ("store.insert_block", 0, True),
    ("store.put_head", 1, True),
    ("store.remove_orphans", 0, False),
]


async def test_processes_that_end_with_sigkill_at_a_point(
    world: World, mongo_uri: str, tell: Callable[[str], None]
) -> None:
    """A sample of the points with real processes, real consumer groups and SIGKILL; all of them in tests/soak."""
    killed = await kill_in_turn(world, mongo_uri, world.new_prefix(), SAMPLE, RECORDS)
    assert killed == len(SAMPLE)
    covered = Covered(killed, killed + 1, {call for call, _, _ in SAMPLE})
    tell(f"ended with SIGKILL, one after the other on one log: {covered}")
