"""What a merchant is told of looks at its goods: whoever knows the rule, and tries all tables, derives no count of fewer than five people."""

from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import facts
from services.runtime.goods_browses.privacy import told, told_of_day
from services.runtime.goods_browses.values import LEAST_VIEWERS, NO_STEP, ROLES, STEPS

MOST = 26


def test_the_steps_are_the_collector_s() -> None:
    assert (*facts.STEPS, NO_STEP) == STEPS


def _tables(size: int, total: int) -> Iterator[tuple[int, ...]]:
    """All tables of so many counts with that sum."""
    if size == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _tables(size - 1, total - first):
            yield (first, *rest)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("total", range(LEAST_VIEWERS, MOST))
def test_who_tries_all_tables_knows_no_count_that_is_left_out(size: int, total: int) -> None:
    """For each answer: of each count that is not in it, the tables that give this answer have at least two values."""
    possible: defaultdict[tuple[tuple[int, int], ...], list[set[int]]] = defaultdict(
        lambda: [set() for _ in range(size)]
    )
    for table in _tables(size, total):
        answer = tuple(told(dict(enumerate(table))).items())
        for place, count in enumerate(table):
            possible[answer][place].add(count)
    for answer, places in possible.items():
        for place, counts in enumerate(places):
            if place in dict(answer):
                assert counts == {dict(answer)[place]}
            else:
                assert len(counts) > 1, (answer, total, place, counts)


counts_of_a_day = st.dictionaries(
    st.tuples(st.sampled_from(ROLES), st.sampled_from(STEPS)),
    st.one_of(st.integers(0, 6), st.integers(0, 10_000)),
)


@given(counts_of_a_day)
def test_nothing_below_five_is_told_and_nothing_is_told_wrong(counted: dict[tuple[str, str], int]) -> None:
    answer = told_of_day(counted)
    total = sum(counted.values())
    assert answer.total == (total if total >= LEAST_VIEWERS else None)
    for role, of_role in answer.roles.items():
        assert of_role.viewers == sum(count for (by, _), count in counted.items() if by == role)
        assert of_role.viewers >= LEAST_VIEWERS
        for step, viewers in of_role.steps.items():
            assert viewers == counted[role, step] >= LEAST_VIEWERS


@given(counts_of_a_day)
def test_what_is_left_of_a_sum_is_of_five_people_or_more_in_two_places_or_more(
    counted: dict[tuple[str, str], int],
) -> None:
    answer = told_of_day(counted)
    if answer.total is None:
        assert not answer.roles
        return
    families = [(answer.total, {role: each.viewers for role, each in answer.roles.items()}, len(ROLES))]
    families += [(each.viewers, each.steps, len(STEPS)) for each in answer.roles.values()]
    for whole, told_of, places in families:
        if len(told_of) < places:
            assert places - len(told_of) >= 2
            assert whole - sum(told_of.values()) >= LEAST_VIEWERS


@given(counts_of_a_day, st.permutations(STEPS))
def test_which_step_is_which_does_not_count(counted: dict[tuple[str, str], int], order: list[str]) -> None:
    """Exchanging names exchanges the answer's names: places say nothing of why a count is left out."""
    renamed = dict(zip(STEPS, order, strict=True))
    answer = told_of_day(counted)
    other = told_of_day({(role, renamed[step]): count for (role, step), count in counted.items()})
    assert other.total == answer.total
    assert {role: each.viewers for role, each in other.roles.items()} == {
        role: each.viewers for role, each in answer.roles.items()
    }
    for role, each in answer.roles.items():
        assert {renamed[step]: count for step, count in each.steps.items()} == other.roles[role].steps


@given(st.lists(st.integers(0, 30), min_size=2, max_size=9))
def test_one_person_more_among_few_changes_nothing_but_sums(counts: list[int]) -> None:
    """A count that stays below five does not appear, whatever the others are."""
    for place, count in enumerate(counts):
        if count < LEAST_VIEWERS:
            assert place not in told(dict(enumerate(counts)))
