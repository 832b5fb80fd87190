"""A trace of many pages is walked once, and every page is what it would be were it walked for each."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from goodstrace.query.v1 import trace_pb2
from goodstrace.visibility import Visibility, VisibilityPolicy
from services.query import traces
from services.query.traces import KEPT_S, KeptWalks
from services.runtime.call_errors import InvalidRequestError
from services.runtime.errors import UnavailableError
from services.sealing.values import SealedRecord
from tests.unit.visible_world import ITEM, MAKER, SHOP, STRANGER, SignedLogs, World

OPEN = {number: VisibilityPolicy(Visibility.PUBLIC) for number in (1, 2, 3)}
PARTLY = {MAKER: VisibilityPolicy(Visibility.PUBLIC), SHOP: VisibilityPolicy(Visibility.PUBLIC)}


class Counting(SignedLogs):
    """Counts the look-ups by tag."""

    look_ups = 0

    async def find(
        self, tags: Sequence[bytes], sizes: Mapping[str, int], limit: int
    ) -> dict[bytes, list[SealedRecord]]:
        self.look_ups += 1
        return await super().find(tags, sizes, limit)


def world_of(policies: Mapping[int, VisibilityPolicy], **more: Any) -> tuple[World, Counting]:
    world = World(policies, **more)
    world.logs.__class__ = Counting
    assert isinstance(world.logs, Counting)
    return world, world.logs


def page(world: World, merchant: int, token: str = "", size: int = 1, key: str = ITEM) -> Any:
    request = trace_pb2.TraceRequest(key=key, page_size=size, page_token=token)
    return world.call("Trace", request, world.shown_with(merchant))


def pages(world: World, merchant: int, size: int = 1) -> list[Any]:
    found = [page(world, merchant, size=size)]
    while found[-1].next_page_token:
        found.append(page(world, merchant, found[-1].next_page_token, size))
    return found


def but_for_its_token(answer: Any) -> tuple[bytes, bool]:
    """A page's bytes, and whether another follows: the token itself is encrypted anew each time."""
    whole = trace_pb2.TraceResponse()
    whole.CopyFrom(answer)
    whole.ClearField("next_page_token")
    return whole.SerializeToString(deterministic=True), bool(answer.next_page_token)


@pytest.mark.parametrize("policies", [OPEN, PARTLY, {}])
@pytest.mark.parametrize(("merchant", "size"), list(itertools.product((0, MAKER, SHOP), (1, 2, 3))))
def test_pages_are_the_same_whether_kept_or_walked_again(
    policies: Mapping[int, VisibilityPolicy], merchant: int, size: int
) -> None:
    kept, kept_logs = world_of(policies)
    walked, walked_logs = world_of(policies, keep_bytes=0)
    ours, theirs = pages(kept, merchant, size), pages(walked, merchant, size)
    assert list(map(but_for_its_token, ours)) == list(map(but_for_its_token, theirs))
    if len(ours) > 1 and ours[0].total_events:
        assert kept_logs.look_ups * len(ours) == walked_logs.look_ups
        assert kept.metrics.pages_of_kept_walks._value.get() == len(ours) - 1
    assert walked.metrics.pages_of_kept_walks._value.get() == 0
    assert len(kept.browses) == len(ours)  # each page is a look


def test_the_last_page_lets_go_of_it_and_a_page_asked_for_again_is_walked_again() -> None:
    world, logs = world_of(OPEN)
    [*_, before, last] = pages(world, 0, 4)
    walked = logs.look_ups
    assert not last.next_page_token
    assert page(world, 0, before.next_page_token, 4).events == last.events
    assert logs.look_ups == 2 * walked


def test_a_policy_that_was_narrowed_meanwhile_counts_on_the_next_page() -> None:
    world, logs = world_of(OPEN)
    first = page(world, STRANGER)
    walked = logs.look_ups
    world.register(SHOP, prefixes=("9521233",), visibility=VisibilityPolicy(Visibility.PRIVATE))
    world.now_s += 3
    with pytest.raises(InvalidRequestError, match="what the caller may see has changed"):
        page(world, STRANGER, first.next_page_token)
    assert logs.look_ups > walked


def test_where_who_may_see_what_cannot_be_told_nothing_that_is_kept_is_shown() -> None:
    world, _ = world_of(OPEN)
    first = page(world, STRANGER)
    world.now_s += 3
    world.registry.away = True
    with pytest.raises(UnavailableError):
        page(world, STRANGER, first.next_page_token)


def test_the_walk_of_one_caller_serves_no_other() -> None:
    world, _ = world_of(PARTLY)
    page(world, MAKER)
    first = page(world, STRANGER)
    page(world, STRANGER, first.next_page_token)
    again, logs = world_of(PARTLY)
    page(again, STRANGER)
    walked = logs.look_ups
    page(again, MAKER)
    assert logs.look_ups == 2 * walked
    with pytest.raises(InvalidRequestError, match="another caller"):
        page(world, MAKER, first.next_page_token)


def test_other_filters_and_depths_are_other_walks() -> None:
    world, logs = world_of(OPEN)
    page(world, 0)
    walked = logs.look_ups
    request = trace_pb2.TraceRequest(key=ITEM, page_size=1, max_depth=1)
    world.call("Trace", request, world.shown_with(0))
    assert logs.look_ups > walked


def test_it_is_kept_for_a_while_after_its_last_page() -> None:
    world, logs = world_of(OPEN)
    answer = page(world, 0)
    walked = logs.look_ups
    for _ in range(3):
        world.now_s += KEPT_S - 1
        answer = page(world, 0, answer.next_page_token)
    assert logs.look_ups == walked
    world.now_s += KEPT_S + 1
    page(world, 0, answer.next_page_token)
    assert logs.look_ups == 2 * walked


def kept_bytes(world: World) -> int:
    return world.servicer._traces._kept.size_bytes


def test_no_more_is_kept_than_is_allowed() -> None:
    measured, _ = world_of(OPEN)
    page(measured, 0)
    one = kept_bytes(measured)
    assert one > 7 * 1000
    world, logs = world_of(OPEN, keep_bytes=one)
    first = page(world, 0)
    walked = logs.look_ups
    page(world, 0, first.next_page_token)
    assert logs.look_ups == walked
    page(world, MAKER)  # takes its place
    assert kept_bytes(world) <= one
    looked = logs.look_ups
    page(world, 0, first.next_page_token)
    assert logs.look_ups == looked + walked
    small, small_logs = world_of(OPEN, keep_bytes=one - 1)
    pages(small, 0, 6)
    assert small_logs.look_ups == 2 * walked


def test_one_caller_who_asks_for_many_traces_pushes_out_their_own() -> None:
    measured, _ = world_of(OPEN)
    page(measured, 0)
    world, logs = world_of(OPEN, keep_bytes=4 * kept_bytes(measured))
    theirs = page(world, SHOP)
    walked = logs.look_ups
    for depth in range(1, 40):  # each is another walk
        request = trace_pb2.TraceRequest(key=ITEM, page_size=1, max_depth=depth)
        assert world.call("Trace", request, world.shown_with(MAKER)).next_page_token
    assert 2 * kept_bytes(measured) < kept_bytes(world) <= 4 * kept_bytes(measured)
    looked = logs.look_ups
    assert looked > walked
    page(world, SHOP, theirs.next_page_token)
    assert logs.look_ups == looked, "it was kept"


def test_what_is_withheld_counts_as_kept_too() -> None:
    world, _ = world_of({})
    assert page(world, 0).total_withheld > 3
    assert kept_bytes(world) > 3 * 600


def test_no_record_is_kept() -> None:
    world, _ = world_of(OPEN)
    page(world, 0)
    [(_, kept)] = world.servicer._traces._kept._kept.items()
    assert not kept.walked.walk._held
    assert not kept.walked.walk._facts


def test_what_nobody_asks_for_any_more_is_let_go_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "KEPT_S", 0.04)

    async def walk_and_wait() -> None:
        kept = KeptWalks(2**20, lambda: world.now_s)
        world.servicer._traces._kept = kept
        context: Any = SimpleNamespace(invocation_metadata=lambda: ())
        request = trace_pb2.TraceRequest(key=ITEM, page_size=1)
        await world.guarded((), lambda: world.servicer.Trace(request, context))
        assert kept.size_bytes
        world.now_s += 1
        for _ in range(1000):
            if kept._timer is None:
                break
            await asyncio.sleep(0.01)
        assert kept.size_bytes == 0

    world, _ = world_of(OPEN)
    asyncio.run(walk_and_wait())


def test_what_was_erased_meanwhile_is_walked_again() -> None:
    world, logs = world_of(OPEN)
    first = page(world, 0, size=2)
    walked = logs.look_ups
    log, index = next(
        (log, index)
        for log, records in logs.records_of.items()
        for index, record in enumerate(records)
        if world.number_at(log, index) == 6
    )
    erased = logs.records_of[log][index]
    logs.records_of[log][index] = msgspec.structs.replace(erased, parts=())
    found = [first]
    while found[-1].next_page_token:
        found.append(page(world, 0, found[-1].next_page_token, 2))
    assert logs.look_ups > walked
    fresh, fresh_logs = world_of(OPEN)
    fresh_logs.records_of[log][index] = msgspec.structs.replace(erased, parts=())
    assert found[-1].total_events == page(fresh, 0).total_events == 6
    assert erased.parts[0].content not in b"".join(each.SerializeToString() for each in found[1:])
