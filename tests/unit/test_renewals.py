"""Renewals: whatever comes meanwhile, each state is derived anew after the last registration, and it ends."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector import renewals
from services.collector.renewals import PARTS, PORTION_NAMES, Pace, Renewal, Renewed, begun, part_of
from tests.unit.test_goods_state import CASE_KEY, ITEM_KEY

OF: Renewed = ("goods/3", 17)
WINDOWS = st.integers(1, PARTS + 10)
REGISTRATIONS = st.tuples(st.integers(0, 10**13), st.lists(WINDOWS, max_size=6))


def taken(renewal: Renewal, width: int) -> tuple[set[int], Renewal | None]:
    parts = renewal.window(width)
    assert 1 <= len(parts) <= width
    assert 0 <= parts.start < parts.stop <= PARTS
    return set(parts), renewal.after(parts)


@given(registered=st.lists(REGISTRATIONS, min_size=1, max_size=5), width=st.integers(PARTS // 50, PARTS))
def test_each_part_is_done_after_the_last_registration_and_none_twice(
    registered: list[tuple[int, list[int]]], width: int
) -> None:
    renewal: Renewal | None = None
    first_ms = 10**14
    for at_ms, widths in registered:
        first_ms = min(first_ms, at_ms) if renewal else at_ms
        renewal = begun(renewal, OF, at_ms)
        assert (renewal.of, renewal.first_ms, renewal.left) == (OF, first_ms, PARTS)
        done: Counter[int] = Counter()
        for each in widths:
            if renewal is not None:
                parts, renewal = taken(renewal, each)
                done.update(parts)
    while renewal is not None:
        parts, renewal = taken(renewal, width)
        done.update(parts)
    assert done == Counter(range(PARTS))


def test_registrations_that_keep_coming_hold_up_nothing() -> None:
    """Not even where each comes before the portion of the one before is far: the mark goes round, it never begins again."""
    renewal: Renewal | None = None
    seen: set[int] = set()
    for at_ms in range(100):
        parts, renewal = taken(begun(renewal, OF, at_ms), PARTS // 64)
        seen |= parts
    assert len(seen) == PARTS


@pytest.mark.parametrize(("key", "part"), [(ITEM_KEY, 1532), (CASE_KEY, 14877)])
def test_the_part_of_a_key_is_kept_in_the_store_so_it_never_changes(key: str, part: int) -> None:
    assert part_of(key) == part


def test_serials_that_follow_each_other_are_spread_evenly() -> None:
    found = Counter(
        part_of(f"https://id.gs1.org/01/10614141073464/21/{serial}") // 1024 for serial in range(64_000)
    )
    assert len(found) == 64
    assert max(found.values()) < 1200


@pytest.mark.parametrize("states", [0, 1, 40, 5_000, 200_000, 20_000_000])
def test_windows_come_to_hold_a_portion_however_many_states_there_are(states: int) -> None:
    """And what is left is estimated well from the first thousand states on."""
    draw = random.Random(states)
    renewal: Renewal | None = Renewal(log="goods/0", merchant=1, first_ms=0)
    pace, windows, density = Pace(), 0, states / PARTS
    while renewal is not None and windows < 3_000:
        parts = renewal.window(pace.width)
        names = round(max(0.0, draw.gauss(density * len(parts), (density * len(parts)) ** 0.5)))
        assert names <= max(2.5 * PORTION_NAMES, 1.5 * density)
        pace, windows = pace.after(parts, names, names), windows + 1
        renewal = renewal.after(parts)
        if renewal is not None and pace.found > 1_000:
            assert pace.states_left(renewal) == pytest.approx(density * renewal.left, rel=0.15, abs=1)
    assert windows <= 20 + 2 * states / (PORTION_NAMES / 2)


def test_names_that_come_again_are_read_by_portions_too_but_not_counted_as_left() -> None:
    renewal = Renewal(log="goods/0", merchant=1, first_ms=0)
    pace = Pace(width=64).after(range(64), 10 * PORTION_NAMES, 0)
    assert pace.width == 32
    assert pace.states_left(renewal) == 1
    assert Pace().states_left(renewal) == 1


def test_parts_that_have_nothing_are_passed_in_a_few_windows() -> None:
    renewal: Renewal | None = Renewal(log="goods/0", merchant=1, first_ms=0)
    pace, windows = Pace(), 0
    while renewal is not None:
        parts = renewal.window(pace.width)
        pace, renewal, windows = pace.after(parts, 0, 0), renewal.after(parts), windows + 1
    assert windows == 5


def test_a_window_that_was_cut_short_does_not_widen_the_next() -> None:
    assert Pace(width=64).after(range(3), 0, 0).width == 64
    assert Pace(width=64).after(range(64), 1, 1).width == 128
    assert Pace(width=PARTS).after(range(PARTS), 0, 0).width == PARTS
    assert Pace(width=1).after(range(1), renewals.PORTION_NAMES + 1, 0).width == 1
