"""What a trace computes: with what it shows, not with the product of goods, stays and events; and that it can be stopped."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.tracing import Direction, Query, SealedFacts, Trace, drive, trace
from goodstrace.tracing.intervals import Window
from goodstrace.tracing.names import names_asked
from goodstrace.tracing.recalling import RecallQuery, recall
from goodstrace.tracing.timeline import Cover, Timeline
from tests.unit.tracing_builders import Chain, Source, key_of

bounds = st.tuples(st.integers(0, 9), st.integers(0, 1))
windows = st.tuples(bounds, bounds).map(lambda each: Window(min(each), max(each)))


class StopError(Exception):
    """What the check of these tests raises."""


def crate(items: int, stays: int) -> Chain:
    chain = Chain()
    chain.pack(1, "crate", *[f"item:{number}" for number in range(items)])
    for number in range(stays):
        chain.pack(10 + 4 * number, "truck", "crate")
        chain.unpack(12 + 4 * number, "truck", "crate")
    return chain


def crate_with_sensors(items: int, stays: int) -> Chain:
    chain = crate(items, stays)
    chain.pack(5, "truck", *[f"sensor{number}" for number in range(10)], kind="Association")
    return chain


def checks_of(chain: Chain) -> int:
    """How often a trace of the crate calls its check."""
    checks = 0

    def count() -> None:
        nonlocal checks
        checks += 1

    drive(trace(Query("crate", Direction.BOTH), count), Source(chain.sealed))
    return checks


@pytest.mark.parametrize("made", [crate, crate_with_sensors])
def test_an_event_is_looked_at_once_for_all_items_of_a_crate(
    made: Callable[[int, int], Chain], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = 0
    holds = Window.holds

    def counted(window: Window, event: object) -> bool:
        nonlocal looked_at
        looked_at += 1
        return holds(window, event)  # type: ignore[arg-type]

    monkeypatch.setattr(Window, "holds", counted)
    items, stays = 20, 40
    chain = made(items, stays)
    answer = drive(trace(Query("crate", Direction.BOTH)), Source(chain.sealed))
    assert 2 * stays < len(answer.events) <= len(chain.sealed)
    assert looked_at <= 4 * len(chain.sealed)


@pytest.mark.parametrize("made", [crate, crate_with_sensors])
def test_twice_the_stays_take_about_twice_the_steps(made: Callable[[int, int], Chain]) -> None:
    assert checks_of(made(10, 80)) < 2.5 * checks_of(made(10, 40))


def _traced(sealed: list[SealedFacts], check: Callable[[], None]) -> Trace:
    return drive(trace(Query("crate", Direction.BOTH), check), Source(sealed))


def _recalled(sealed: list[SealedFacts], check: Callable[[], None]) -> None:
    source, recalling = Source(sealed), recall(RecallQuery("crate"), b"any", check)
    sent = None
    while True:
        try:
            asked = recalling.send(sent)
        except StopIteration:
            return
        sent = source(asked) if hasattr(asked, "names") else None  # type: ignore[arg-type]


def _named(sealed: list[SealedFacts], check: Callable[[], None]) -> None:
    names_asked(Query("crate", Direction.BOTH), sealed, check)


@pytest.mark.parametrize("work", [_traced, _recalled, _named])
@pytest.mark.parametrize("after", [1, 100, 2000])
def test_what_the_check_raises_ends_the_computation_there(work: Callable[..., object], after: int) -> None:
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks >= after:
            raise StopError

    with pytest.raises(StopError):
        work(crate(20, 20).sealed, check)
    assert checks == after


@given(st.lists(windows), windows)
def test_a_timeline_finds_what_meets_a_window_in_the_order_given(those: list[Window], window: Window) -> None:
    times = Timeline((each, number) for number, each in enumerate(those))
    assert times.meeting(window) == [
        number for number, each in enumerate(those) if each.meet(window) is not None
    ]


@given(st.lists(windows))
def test_a_cover_covers_what_one_of_its_windows_does(those: list[Window]) -> None:
    cover, added = Cover(), list[Window]()
    for window in those:
        is_covered = any(each.covers(window) for each in added)
        assert cover.covers(window) == is_covered
        if not is_covered:
            cover.add(window)
            added.append(window)


def test_a_crate_that_moved_on_again_and_again_is_shown_to_its_end() -> None:
    chain = Chain()
    chain.pack(1, "crate", "item:1")
    chain.unpack(2, "crate", "item:1")
    for number in range(50):
        chain.pack(3 + number, f"truck{number % 3}", "crate")
    chain.pack(1000, "crate", "item:1")
    answer = chain.trace("item:1")
    again = drive(
        trace(Query(key_of("item:1"))),
        Source(
            SealedFacts(*event.positions[0], event.merchant, event.record_ms, event.facts)
            for event in answer.events
        ),
    )
    assert again.nodes == answer.nodes
