"""Deriving anew in portions, over a store that fails and others that change it: nothing is passed over, and it ends."""

import asyncio
import random
from collections.abc import Collection

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from services.collector.renewals import PARTS, PORTION_NAMES, part_of
from services.collector.renewing import Renewing
from services.runtime.errors import UnavailableError
from tests.memory_renewals import Failing, MemoryRenewals

LOG = structlog.get_logger()


class States:
    """States that depend on merchants, each derived at the version of what is registered that is known then."""

    def __init__(self, keys: dict[int, dict[str, int]], failing: Failing | None = None) -> None:
        self.keys, self.failing = keys, failing or Failing()
        self.version = 0
        self.derived = {key: 0 for some in keys.values() for key in some}
        self.portions: list[set[str]] = []
        self.reads: list[int] = []

    async def days(self, merchant: int, first_ms: int) -> list[int]:
        return sorted({until for until in self.keys.get(merchant, {}).values() if until >= first_ms})

    async def noted(self, merchant: int, parts: range, first_ms: int) -> list[str]:
        self.failing.before()
        found = [
            key for key, until in self.keys[merchant].items() if until >= first_ms and part_of(key) in parts
        ]
        self.reads.append(len(found))
        self.failing.after()
        return found

    async def renew(self, keys: Collection[str]) -> int:
        self.failing.before()
        await asyncio.sleep(0)
        self.portions.append(set(keys))
        self.derived |= dict.fromkeys(keys, self.version)
        self.failing.after()
        return len(keys)


def made(states: States, renewals: MemoryRenewals) -> Renewing:
    return Renewing(states, renewals, LOG)  # type: ignore[arg-type]


def keys_of(merchant: int, count: int, until_ms: int = 10) -> dict[str, int]:
    return {f"{merchant}/{number}": until_ms for number in range(count)}


async def all_of(renewing: Renewing, logs: Collection[str] | None = None) -> int:
    written = 0
    while (more := await renewing.portion(logs)) is not None:
        written += more
    return written


async def test_all_that_depends_is_derived_anew_once_in_portions_and_what_is_left_is_told() -> None:
    states, renewals = States({1: keys_of(1, 3000), 2: keys_of(2, 5, until_ms=9)}), MemoryRenewals()
    renewing = made(states, renewals)
    assert await renewing.portion(None) is None
    states.version = 1
    await renewing.add({("goods/0", 1): 10, ("goods/0", 2): 10, ("goods/0", 3): 10})
    assert renewals.kept.keys() == {
        ("goods/0", 1)
    }  # nothing depends on the second from then on, nothing at all on the third
    written = 0
    while (more := await renewing.portion(None)) is not None:
        written += more
        if 1000 <= written < 2800:
            assert renewing.states_left() == pytest.approx(3000 - written, rel=0.2)
    assert written == 3000
    assert sum(map(len, states.portions)) == 3000
    assert max(map(len, states.portions)) < 2.5 * PORTION_NAMES
    assert renewals.kept == {}
    assert renewing.states_left() == 0
    assert {key for key, version in states.derived.items() if version} == states.keys[1].keys()


@pytest.mark.parametrize(("newer", "most_reads"), [(0, 0), (1, 20), (40, 25)])
async def test_what_was_noted_before_a_registration_and_cannot_matter_costs_nothing(
    newer: int, most_reads: int
) -> None:
    """However much it is: nothing is begun where all of it is older, and where it is not, what is older is not read."""
    keys = keys_of(1, 20_000, until_ms=9) | {f"1/newer/{number}": 10 for number in range(newer)}
    states, renewals = States({1: keys}), MemoryRenewals()
    renewing = made(states, renewals)
    await renewing.add({("goods/0", 1): 10})
    assert len(renewals.kept) == bool(newer)
    assert await all_of(renewing) == newer
    assert renewals.kept == {}
    assert len(states.reads) <= most_reads
    assert sum(states.reads) == newer
    assert renewing.states_left() == 0


async def test_only_renewals_of_ones_own_logs_are_done_and_they_take_turns() -> None:
    states, renewals = States({1: keys_of(1, 400), 2: keys_of(2, 400), 3: keys_of(3, 400)}), MemoryRenewals()
    renewing = made(states, renewals)
    await renewing.add({("goods/0", 1): 1, ("goods/0", 2): 1, ("goods/1", 3): 1})
    await renewing.portion({"goods/0", "goods/1"})  # all three are known now; a partition goes
    assert await all_of(renewing, {"goods/0"}) == 800
    assert renewals.kept.keys() == {("goods/1", 3)}
    merchants = [{key.partition("/")[0] for key in some} for some in states.portions if some]
    longest = max(len(run) for run in "".join(min(each) for each in merchants).replace("1", " ").split())
    assert longest < len(merchants) / 4
    assert await renewing.portion({"goods/0"}) is None
    renewing.look()  # it comes back
    assert await all_of(renewing, {"goods/0", "goods/1"}) == 400


async def test_one_that_is_registered_with_each_batch_leaves_turns_to_others() -> None:
    states, renewals = States({1: keys_of(1, 300), 2: keys_of(2, 300)}), MemoryRenewals()
    renewing = made(states, renewals)
    await renewing.add({("goods/0", 2): 1})
    for _ in range(200):
        await renewing.add({("goods/0", 1): 1})
        await renewing.portion({"goods/0"})
    assert renewals.kept.keys() == {("goods/0", 1)}


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_call_that_fails_makes_the_portion_come_again(is_done: bool) -> None:
    async def begun(failing: Failing) -> tuple[States, MemoryRenewals, Renewing]:
        states, renewals = States({1: keys_of(1, 60)}, failing), MemoryRenewals(failing)
        renewing = made(states, renewals)
        states.version = 1
        await renewing.add({("goods/0", 1): 1})
        failing.calls = 0
        return states, renewals, renewing

    whole = Failing()
    await all_of((await begun(whole))[2])
    for at in range(1, whole.calls + 1):
        failing = Failing()
        states, renewals, renewing = await begun(failing)
        failing.at, failing.is_done = at, is_done
        with pytest.raises(UnavailableError):
            await all_of(renewing)
        assert failing.calls == at
        await all_of(renewing)
        assert set(states.derived.values()) == {1}
        assert renewals.kept == {}


@given(seed=st.integers(0, 2**32), keepers=st.integers(1, 3), kills=st.integers(0, 6))
def test_registrations_that_come_meanwhile_and_keepers_that_come_and_go_leave_nothing_as_it_was(
    seed: int, keepers: int, kills: int
) -> None:
    """Of any number of keepers that believe a log theirs only one moves a mark, and a killed one is followed by one that knows nothing."""
    draw = random.Random(seed)
    states, renewals = States({1: keys_of(1, 200)}), MemoryRenewals()

    async def world() -> None:
        followed = [made(states, renewals) for _ in range(keepers)]
        for _ in range(kills + 1):
            states.version += 1
            await followed[0].add({("goods/0", 1): 5})
            for _ in range(draw.randrange(30)):
                await draw.choice(followed).portion({"goods/0"})
            followed[draw.randrange(keepers)] = made(states, renewals)
        for each in followed:
            each.look()
        await asyncio.gather(*(all_of(each, {"goods/0"}) for each in followed))

    asyncio.run(world())
    assert set(states.derived.values()) == {states.version}
    assert renewals.kept == {}


async def test_another_registration_in_the_middle_of_a_portion_keeps_its_mark_from_moving() -> None:
    states, renewals = States({1: keys_of(1, 20)}), MemoryRenewals()
    renewing = made(states, renewals)
    await renewing.add({("goods/0", 1): 1})
    renew = states.renew

    async def then_registered(keys: Collection[str]) -> int:
        written = await renew(keys)
        states.version, states.renew = 1, renew  # type: ignore[method-assign]
        await renewals.add({("goods/0", 1): 1})
        return written

    states.renew = then_registered  # type: ignore[method-assign]
    await renewing.portion(None)
    assert renewals.kept["goods/0", 1].left == PARTS
    await all_of(renewing)
    assert set(states.derived.values()) == {1}
