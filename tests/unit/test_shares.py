"""Nobody keeps others from streams: of turns, subscriptions and streams of alerts each caller has a share, and who does not read loses theirs."""

import asyncio
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.query.v1 import recall_pb2, subscribe_pb2, trace_pb2
from services.query.service import TraceServicer
from services.runtime.access.current import acting
from services.runtime.access.values import EVERYBODY, NOBODY, Means, Principal, Role
from services.runtime.call_errors import ExhaustedError
from services.runtime.page_tokens import fixed_key
from services.runtime.shares import Shares
from tests.unit.collector_builders import SECRET
from tests.unit.visible_world import ITEM, World, subscriptions_of

CALLERS = {
    "an account": Principal(means=Means.TOKEN, account="a" * 32, name="ann", roles=frozenset({Role.SHOPPER})),
    "another": Principal(means=Means.TOKEN, account="b" * 32, name="bob", roles=frozenset({Role.SHOPPER})),
    "an account named as another's ID": Principal(means=Means.TOKEN, account="c" * 32, name="a" * 32),
    "one by OIDC": Principal(means=Means.TOKEN, name="ann@https://id.example"),
    "a merchant by its key": Principal(means=Means.API_KEY, name="merchant:7", merchant=7),
}
SHOPPER, AUDITOR = CALLERS["an account"], CALLERS["another"]
REQUEST = trace_pb2.StreamTraceRequest(trace=trace_pb2.TraceRequest(key=ITEM))
RECALL = recall_pb2.RecallRequest(key=ITEM)


@given(
    most=st.integers(1, 64),
    share=st.floats(0, 1, exclude_min=True),
    calls=st.lists(st.tuples(st.sampled_from(sorted(CALLERS)), st.booleans()), max_size=60),
)
def test_no_caller_has_more_than_their_share_and_each_has_it_whatever_others_do(
    most: int, share: float, calls: list[tuple[str, bool]]
) -> None:
    shares = Shares(most, share, "streams")
    each = max(1, int(most * share))
    assert each <= most
    held: dict[str, list[ExitStack]] = {name: [] for name in CALLERS}
    for name, begins in calls:
        if not begins:
            if held[name]:
                held[name].pop().close()
            continue
        with acting(CALLERS[name]), ExitStack() as stack:
            if len(held[name]) < each:
                stack.enter_context(shares.taken())
                held[name].append(stack.pop_all())
            else:
                with pytest.raises(ExhaustedError, match=f"you have {each} streams under way"):
                    stack.enter_context(shares.taken())
    for stacks in held.values():
        for stack in stacks:
            stack.close()
    assert not shares._taken


@pytest.mark.parametrize("who", [NOBODY, EVERYBODY])
def test_where_callers_cannot_be_told_apart_nobody_has_a_share(who: Principal) -> None:
    shares = Shares(4, 0.25, "streams")
    with acting(who), ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(shares.taken())


def test_a_call_that_fails_gives_its_place_back() -> None:
    shares = Shares(1, 1, "streams")
    with acting(SHOPPER):
        for _ in range(3):
            with suppress(ValueError), shares.taken():
                raise ValueError


@pytest.fixture
def world() -> World:
    return World({})


class Reads:
    """A caller's side of a stream: one who reads, or never does."""

    def __init__(self, *, never: bool = False) -> None:
        self.messages: list[Any] = []
        self.has_some, self.is_written_to = asyncio.Event(), asyncio.Event()
        self.never = never

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def write(self, message: Any) -> None:
        if self.never:
            self.is_written_to.set()
            await asyncio.Event().wait()
        self.messages.append(message)
        self.has_some.set()


def calls_of(world: World, *, write_s: float) -> Any:
    unused: Any = None
    logs: Any = world.logs
    recorder: Any = world
    return TraceServicer(
        logs,
        recorder,
        unused,
        unused,
        sight=world.sight,
        secret=SECRET,
        page_key=fixed_key(b"p" * 32),
        max_events=100,
        page_bytes=10**6,
        max_walks=4,
        max_streams=8,
        write_s=write_s,
        metrics=world.metrics,
        log=structlog.get_logger(),
    )


async def as_caller(who: Principal, call: Any, request: Any, context: Reads) -> None:
    with acting(who):
        await call(request, context)


@pytest.mark.parametrize(("method", "request_of"), [("StreamTrace", REQUEST), ("Recall", RECALL)])
async def test_one_caller_who_does_not_read_leaves_turns_to_others(
    world: World, method: str, request_of: Any
) -> None:
    call = getattr(calls_of(world, write_s=60), method)
    held = [asyncio.create_task(as_caller(SHOPPER, call, request_of, Reads(never=True))) for _ in range(8)]
    over = set[asyncio.Task[None]]()
    async with asyncio.timeout(10):
        while len(over) < 6:
            done, _ = await asyncio.wait(set(held) - over, return_when=asyncio.FIRST_COMPLETED)
            over |= done
    refused = [each for each in held if each.done()]
    assert len(refused) == 6
    assert all(isinstance(each.exception(), ExhaustedError) for each in refused)
    reader = Reads()
    async with asyncio.timeout(10):
        await as_caller(AUDITOR, call, request_of, reader)
    assert len(reader.messages) > 1
    for each in held:
        each.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    async with asyncio.timeout(10):
        await as_caller(SHOPPER, call, request_of, Reads())


@pytest.mark.parametrize(("method", "request_of"), [("StreamTrace", REQUEST), ("Recall", RECALL)])
async def test_a_stream_ends_that_nobody_reads(world: World, method: str, request_of: Any) -> None:
    call = getattr(calls_of(world, write_s=0.05), method)
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError, match=r"no message was read for 0\.05 s"):
            await as_caller(SHOPPER, call, request_of, Reads(never=True))
    reader = Reads()
    await as_caller(SHOPPER, call, request_of, reader)
    assert reader.messages


async def test_one_caller_leaves_subscriptions_to_others(world: World) -> None:
    subscriptions = subscriptions_of(world, asyncio.Event(), share=0.5)
    request = subscribe_pb2.SubscribeRequest()
    idle = [Reads(never=True) for _ in range(2)]
    held = [asyncio.create_task(as_caller(SHOPPER, subscriptions.serve, request, each)) for each in idle]
    async with asyncio.timeout(10):
        await asyncio.gather(*(each.is_written_to.wait() for each in idle))
    with pytest.raises(ExhaustedError, match="you have 2 subscriptions under way"):
        await as_caller(SHOPPER, subscriptions.serve, request, Reads())
    held.append(asyncio.create_task(as_caller(AUDITOR, subscriptions.serve, request, reader := Reads())))
    async with asyncio.timeout(10):
        await reader.has_some.wait()
    for each in held:
        each.cancel()
    await asyncio.gather(*held, return_exceptions=True)
