"""Counting failures: what is locked when, for how long, and what work is asked for."""

from hypothesis import given
from hypothesis import strategies as st

from services.query.accounts.admission import Networks
from services.query.accounts.lockout import (
    MORE_BITS,
    WINDOW_MS,
    Count,
    Rule,
    bits_for,
    counted,
    locked_until_ms,
    recent,
    window,
)

RULE = Rule()
pauses = st.lists(st.integers(0, 2 * RULE.forgotten_ms), max_size=60)


def test_each_failure_more_locks_twice_as_long_up_to_a_quarter_of_an_hour() -> None:
    seconds = [locked_until_ms(Count(n, 1_000), RULE) // 1000 for n in range(12)]
    assert seconds == [0, 0, 0, 0, 0, 31, 61, 121, 241, 481, 901, 901]
    assert locked_until_ms(Count(10**9, 0), RULE) == RULE.longest_ms


@given(pauses)
def test_attempts_that_wait_are_never_locked_for_longer_than_the_longest(waits: list[int]) -> None:
    now, count = 10**12, Count()
    for wait in waits:
        now += wait
        until = locked_until_ms(count, RULE)
        assert until <= now + RULE.longest_ms
        if until <= now:
            count = counted(count, RULE, now)
        assert count.n >= 1
    assert locked_until_ms(count, RULE) <= now + RULE.longest_ms


@given(st.lists(st.integers(0, 120_000), max_size=400))
def test_nobody_makes_more_attempts_in_an_hour_than_the_rule_allows(waits: list[int]) -> None:
    start, count, made, now = 10**12, Count(), 0, 10**12
    for wait in waits:
        now += wait
        if now >= start + 3_600_000:
            break
        if locked_until_ms(count, RULE) <= now:
            count, made = counted(count, RULE, now), made + 1
    assert made <= 5 + 8  # five, then after 30, 60, 120, 240, 480, 900, 900 and 900 s


@given(pauses)
def test_a_count_is_forgotten_when_nothing_comes(waits: list[int]) -> None:
    now, count = 10**12, Count()
    for wait in waits:
        now += wait
        count = counted(count, RULE, now)
    assert counted(count, RULE, now + RULE.forgotten_ms) == Count(1, now + RULE.forgotten_ms)


@given(st.integers(-5, 10**6), st.integers(-5, 10**6), st.integers(10**12, 10**13))
def test_what_is_recent_lies_between_one_window_and_both(current: int, before: int, now: int) -> None:
    found = recent(current, before, now)
    assert max(current, 0) <= found <= max(current, 0) + max(before, 0)
    assert window(now) * WINDOW_MS <= now < (window(now) + 1) * WINDOW_MS


@given(st.integers(0, 10**9), st.integers(1, 10_000), st.integers(1, 28))
def test_work_grows_with_failures_and_has_a_bound(failures: int, free: int, base: int) -> None:
    bits = bits_for(failures, free, base)
    assert base <= bits <= base + MORE_BITS
    assert bits <= bits_for(2 * failures, free, base)


def test_a_bucket_of_a_network_is_its_own_and_fills_again() -> None:
    networks = Networks(10)
    assert [networks.take("a", 0) for _ in range(11)] == [True] * 10 + [False]
    assert networks.take("b", 0)
    assert [networks.take("a", 6_000) for _ in range(2)] == [True, False]
    assert [networks.take("a", 10**6) for _ in range(11)] == [True] * 10 + [False]


def test_networks_are_remembered_up_to_a_number() -> None:
    networks = Networks(1)
    for number in range(70_000):
        networks.take(str(number), 0)
    assert len(networks._empty_at_ms) == 65_536
