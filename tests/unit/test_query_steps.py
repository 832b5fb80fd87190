"""Steps of the engine: on the event loop for a moment only, and in a thread they come to the same."""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing import trace_levels
from goodstrace.tracing import walk as engine_walks
from goodstrace.tracing.model import Lookup, Query, SealedFacts, Trace
from goodstrace.tracing.pool import Check
from goodstrace.visibility import Visibility, VisibilityPolicy
from services.query import thinking as thinkings
from services.query.steps import Done, Steps
from services.query.thinking import Engine, Thinking, TooLongError
from tests.deadlines import DEADLINE_S
from tests.unit.visible_world import CASE, ITEM, MAKER, PREFIXES, World

ITEMS, STAYS = 200, 30
TRUCK = "urn:epc:id:sscc:9521231.1000000099"


class Slow:
    """Computes a step of numbers for each that it is sent, and says in which thread each step ended; `slow` never end on the event loop."""

    def __init__(self, slow: frozenset[int]) -> None:
        self.slow, self.threads = slow, list[bool]()

    def __call__(self, check: Check) -> Generator[int, int, list[int]]:
        asked, sent = 0, list[int]()
        while asked < 8:
            until_s = time.monotonic() + (DEADLINE_S if asked in self.slow else 0)
            while threading.current_thread() is threading.main_thread() and time.monotonic() < until_s:
                check()
            check()
            self.threads.append(threading.current_thread() is threading.main_thread())
            got = yield asked
            sent.append(got)
            asked += 1
        return sent


@given(st.frozensets(st.integers(0, 7)), st.integers(0, 8))
async def test_wherever_a_step_takes_long_all_that_follow_are_in_a_thread_and_the_answer_is_the_same(
    slow: frozenset[int], much_at: int
) -> None:
    work = Slow(slow)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(thinkings, "AT_ONCE_S", 0.001 if slow else DEADLINE_S)
        steps: Steps[int, int, list[int]] = Steps(Engine(1).thinking(), work)
    step, number = await steps.next(None), 0
    while not isinstance(step, Done):
        assert step == number
        number += 1
        step = await steps.next(10 * step, at_once=number != much_at)
    assert step.answer == [10 * each for each in range(8)]
    moved = work.threads.index(False) if False in work.threads else 8
    assert not any(work.threads[moved:])
    assert moved <= min({much_at or 8, *slow})


async def test_a_call_has_its_time_on_the_loop_once_however_many_steps_take_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 0.0
    monkeypatch.setattr(thinkings.time, "monotonic", lambda: now_s)
    thinking = Engine(1).thinking()

    def step() -> None:
        nonlocal now_s
        now_s += thinkings.AT_ONCE_S * 0.4
        thinking.check()

    thinking.at_once(step)
    thinking.at_once(step)
    with pytest.raises(thinkings.TooLongError):
        thinking.at_once(step)
    with pytest.raises(thinkings.TooLongError):
        thinking.at_once(lambda: pytest.fail("nothing is left"))


def crate() -> list[tuple[int, dict[str, Any]]]:
    """A case of many items, in and out of a truck: few records, that name little, and each stay concerns each item."""

    def packing(number: int, parent: str, children: list[str], action: str) -> tuple[int, dict[str, Any]]:
        return MAKER, {
            "type": "AggregationEvent",
            "eventID": f"urn:uuid:00000000-0000-4000-8000-{number:012d}",
            "eventTime": f"2026-01-02T03:{number // 60:02d}:{number % 60:02d}Z",
            "eventTimeZoneOffset": "+00:00",
            "bizStep": "packing",
            "parentID": parent,
            "childEPCs": children,
            "action": action,
        }

    items = [f"urn:epc:id:sgtin:{PREFIXES[MAKER]}.054321.{number}" for number in range(ITEMS)]
    stays = [
        packing(2 + 2 * stay + number, TRUCK, [CASE], action)
        for stay in range(STAYS)
        for number, action in enumerate(("ADD", "DELETE"))
    ]
    return [packing(1, CASE, items, "ADD"), *stays]


@pytest.fixture
def ended_in(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each run of the engine that came to its end was on the event loop."""
    runs: list[bool] = []
    run = engine_walks.Walk.run

    def ended(walk: engine_walks.Walk) -> None:
        run(walk)
        runs.append(threading.current_thread() is threading.main_thread())

    monkeypatch.setattr(engine_walks.Walk, "run", ended)
    return runs


@pytest.mark.parametrize("method", ["Trace", "StreamTrace"])
def test_few_records_that_make_much_together_are_thought_over_in_a_thread(
    method: str, ended_in: list[bool]
) -> None:
    world = World({MAKER: VisibilityPolicy(Visibility.PUBLIC)}, events=crate())
    asked = trace_pb2.TraceRequest(key=CASE, direction=trace_pb2.DIRECTION_BOTH)
    if method == "Trace":
        answer = world.call("Trace", asked, world.shown_with(MAKER))
        assert answer.total_events == 1 + 2 * STAYS
    else:
        world.streamed(method, trace_pb2.StreamTraceRequest(trace=asked), world.shown_with(MAKER))
    assert not any(ended_in[-2:])


def test_a_small_trace_is_walked_on_the_event_loop(
    ended_in: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinkings, "AT_ONCE_S", DEADLINE_S)  # however busy the machine is
    world = World(dict.fromkeys(PREFIXES, VisibilityPolicy(Visibility.PUBLIC)))
    assert world.call("Trace", trace_pb2.TraceRequest(key=ITEM), world.shown_with(MAKER)).events
    assert ended_in
    assert all(ended_in)


async def test_a_trace_by_levels_is_the_same_wherever_it_is_moved() -> None:
    def found(asked: Lookup | Trace) -> Iterable[SealedFacts] | None:
        return [] if isinstance(asked, Lookup) else None

    async def traced(much_at: int) -> list[Lookup | Trace]:
        steps: Steps[Lookup | Trace, Iterable[SealedFacts] | None, Trace] = Steps(
            Engine(1).thinking(), lambda check: trace_levels(Query(ITEM), check)
        )
        step, seen = await steps.next(None, at_once=much_at != 0), list[Lookup | Trace]()
        while not isinstance(step, Done):
            seen.append(step)
            step = await steps.next(found(step), at_once=len(seen) != much_at)
        return [*seen, step.answer]

    inline = await traced(100)
    assert [await traced(number) for number in range(len(inline))] == [inline] * len(inline)


class Interrupted:
    """Ends what is computed on the event loop at its `at`-th check of a call, and counts the checks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.checks, self.again = -1, 0, 0
        self._is_at_once = False
        monkeypatch.setattr(Thinking, "at_once", self._at_once)
        monkeypatch.setattr(Thinking, "check", self._check)

    def _at_once(self, work: Callable[..., Any], *arguments: object) -> Any:
        self._is_at_once = True
        try:
            return work(*arguments)
        finally:
            self._is_at_once = False

    def _check(self) -> None:
        if not self._is_at_once:
            return
        self.checks += 1
        if self.checks == self.at:
            self.again += 1
            raise TooLongError


@pytest.mark.parametrize("method", ["Trace", "StreamTrace"])
@pytest.mark.parametrize("crated", [False, True])
def test_an_answer_is_the_same_wherever_its_computation_begins_again(
    method: str, *, crated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = Interrupted(monkeypatch)
    policies = dict.fromkeys(PREFIXES, VisibilityPolicy(Visibility.PUBLIC))
    world = World(policies, events=crate()) if crated else World(policies)
    asked = trace_pb2.TraceRequest(key=CASE if crated else ITEM, direction=trace_pb2.DIRECTION_BOTH)

    def answered() -> list[bytes]:
        interrupted.checks = 0
        if method == "Trace":
            answer = world.call(method, asked, world.shown_with(MAKER))
            answer.next_page_token = ""  # encrypted anew each time
            answers = [answer]
        else:
            answers = world.streamed(
                method, trace_pb2.StreamTraceRequest(trace=asked), world.shown_with(MAKER)
            )
        for each in answers:
            each.browse_id = ""
        return [each.SerializeToString(deterministic=True) for each in answers]

    whole, checks = answered(), interrupted.checks
    places = range(1, checks + 1, max(1, checks // 8))
    for interrupted.at in places:
        assert answered() == whole
    assert interrupted.again == len(places)
