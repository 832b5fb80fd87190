"""What streams and recalls show of what not everybody may see: nothing of it, but how much it is."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from goodstrace.query.v1 import recall_pb2, trace_pb2
from goodstrace.visibility import Visibility, VisibilityPolicy
from services.runtime.merchants.errors import UnauthenticatedError
from tests.unit.visible_world import CARRIER, INPUT, ITEM, MAKER, SHOP, STRANGER, World

POLICIES = {
    MAKER: VisibilityPolicy(Visibility.PRIVATE, {"logistics": Visibility.PUBLIC}),
    SHOP: VisibilityPolicy(Visibility.PUBLIC, {"sale": Visibility.PARTNERS}),
}
SEES = {
    0: {2, 3, 6},
    MAKER: {1, 2, 3, 5, 6},
    CARRIER: {2, 3, 4, 5, 6},
    SHOP: {2, 3, 5, 6, 7},
    STRANGER: {2, 3, 6},
}


def streamed(world: World, method: str, request: Any, metadata: Any) -> list[Any]:
    messages: list[Any] = []

    async def write(message: Any) -> None:
        messages.append(message)

    context = SimpleNamespace(invocation_metadata=lambda: metadata, write=write)
    asyncio.run(world.guarded(metadata, lambda: getattr(world.servicer, method)(request, context)))
    return messages


def shown(world: World, messages: list[Any]) -> set[int]:
    """The numbers of the events that come with any part."""
    sealed = [each.sealed for message in messages for each in message.events if each.sealed.parts]
    return {world.number_at(each.log, each.index) for each in sealed}


@pytest.mark.parametrize("viewer", SEES)
@pytest.mark.parametrize("key", [ITEM, INPUT])
@pytest.mark.parametrize("method", ["StreamTrace", "Recall"])
def test_a_stream_shows_what_the_model_says(viewer: int, key: str, method: str) -> None:
    world = World(POLICIES)
    metadata = world.shown_with(viewer) if viewer else ()
    request: Any = (
        recall_pb2.RecallRequest(key=key)
        if method == "Recall"
        else trace_pb2.StreamTraceRequest(trace=trace_pb2.TraceRequest(key=key))
    )
    messages = streamed(world, method, request, metadata)
    found = shown(world, messages)
    assert found <= SEES[viewer]
    sent = b"".join(each.SerializeToString() for each in messages)
    for number in set(range(1, 8)) - SEES[viewer]:
        assert not any(secret in sent for secret in world.secrets_of(number)), number
    summary = messages[-1].summary
    if key == ITEM:
        assert found >= SEES[viewer] & {1, 2, 6, 7} or method == "Recall"
        assert summary.total_withheld >= len({1, 2, 6, 7} - SEES[viewer])
    else:  # only the maker gets from the input to what was made of it
        assert (found == SEES[viewer]) == (viewer == MAKER)
        assert (summary.total_withheld, bool(found)) == (
            1 if viewer != MAKER else summary.total_withheld,
            viewer == MAKER,
        )
    assert world.browses[0].merchant == viewer


@pytest.mark.parametrize("method", ["StreamTrace", "Recall"])
def test_a_key_that_does_not_count_gets_no_message(method: str) -> None:
    world = World({})
    request: Any = (
        recall_pb2.RecallRequest(key=ITEM)
        if method == "Recall"
        else trace_pb2.StreamTraceRequest(trace=trace_pb2.TraceRequest(key=ITEM))
    )
    with pytest.raises(UnauthenticatedError):
        streamed(world, method, request, (("authorization", "Bearer nonsense"),))
    assert not world.browses
