"""Subscriptions on a real Kafka and store: every sealed event once, whoever is killed; recorded before it is sent; bounded."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import httpx
import pytest

from deploy.service_processes import ROOT
from goodstrace.client import Client
from goodstrace.log_keys import LogKeys
from goodstrace.query.v1 import subscribe_pb2, trace_pb2_grpc
from tests.deadlines import DEADLINE_S
from tests.handmade import event
from tests.integration.looking import Looking, eventually, verified
from tests.unit.collector_builders import object_event
from tests.unit.epcis_builders import sealed

ITEM = "https://id.gs1.org/01/09521234543213/21/1"
OTHER = "https://id.gs1.org/01/09521234543213/21/2"
ROUNDS, PER_LOG = 6, 15
Stub: TypeAlias = "trace_pb2_grpc.TraceServiceAsyncStub"
Message: TypeAlias = subscribe_pb2.SubscribeResponse


@pytest.fixture
def looking(looking: Looking) -> Looking:
    looking.environment["GOODSTRACE_QUERY_MAX_SUBSCRIPTIONS"] = "2"
    looking.environment["GOODSTRACE_QUERY_SUBSCRIPTION_POLL_MS"] = "50"
    return looking


def _ask(**options: Any) -> subscribe_pb2.SubscribeRequest:
    return subscribe_pb2.SubscribeRequest(start=subscribe_pb2.SUBSCRIBE_START_BEGINNING, **options)


async def _seal_rounds(looking: Looking, rounds: int, first: int = 0) -> None:
    """Seal true events: the client computes their hashes."""
    for number in range(first, first + rounds):
        records = sealed(
            [
                object_event(eventID=f"urn:uuid:{number * 1000 + each:032x}", bizStep="shipping")
                for each in range(2 * PER_LOG)
            ]
        )
        await looking.seal({0: records[::2], 1: records[1::2]})


def _keys(looking: Looking, folder: Path) -> Path:
    path = folder / "vkeys"
    path.mkdir(exist_ok=True)
    for each in looking.key_dir.glob("*.vkey"):
        (path / each.name).write_text(each.read_text())
    return path


def _killed_whenever_it_writes(command: Sequence[str], output: Path, done: threading.Event) -> int:
    """Run a command and kill it a moment after it has written something, again and again until `done`; give how often."""
    kills = 0
    errors = output.with_name("stderr")

    def size() -> int:
        return output.stat().st_size if output.exists() else 0

    while not done.is_set():
        before = size()
        with (
            errors.open("wb") as stderr,
            output.open("ab") as stdout,
            subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=stderr) as process,
        ):
            while not done.wait(0.002) and size() == before:
                assert process.poll() is None, errors.read_text()
            done.wait((0.0, 0.004, 0.03)[kills % 3])
            process.send_signal(signal.SIGKILL)
        kills += 1
    return kills


@pytest.mark.parametrize("to_file", [True, False], ids=["--output", ">>"])
async def test_a_subscriber_killed_again_and_again_sees_every_event_once(
    looking: Looking, tmp_path: Path, to_file: bool, tell: Callable[[str], None]
) -> None:
    await _seal_rounds(looking, 1)
    await looking.start("query")
    output, cursor = tmp_path / "seen.jsonl", tmp_path / "cursor.json"
    command = [
        sys.executable, "-c", "from goodstrace.cli.main import main; main()", "subscribe", "--from", "beginning",
        *(("--output", str(output)) if to_file else ()), "--cursor-file", str(cursor), "--query", looking.query_target,
        "--log-keys", str(_keys(looking, tmp_path)), "--memory", str(tmp_path / "memory.json"), "--user", "ann",
    ]  # fmt: skip
    done = threading.Event()
    subscriber = asyncio.create_task(asyncio.to_thread(_killed_whenever_it_writes, command, output, done))
    await _seal_rounds(looking, ROUNDS // 2, 1)
    looking.daemons["query"].kill()
    await looking.start("query")
    await _seal_rounds(looking, ROUNDS - 1 - ROUNDS // 2, 1 + ROUNDS // 2)

    def lines() -> int:
        return output.read_bytes().count(b"\n") if output.exists() else 0

    async def whole() -> bool:
        return await asyncio.to_thread(lines) >= 2 * PER_LOG * ROUNDS

    try:
        await eventually(whole, "everything was seen", DEADLINE_S)
    finally:
        done.set()
    kills = await subscriber
    assert kills >= 2
    places = [(each["log"], each["index"]) for each in map(json.loads, output.read_text().splitlines())]
    assert len(places) == len(set(places))
    for log in ("goods/0", "goods/1"):
        assert [index for each, index in places if each == log] == list(range(PER_LOG * ROUNDS))
    looks = await looking.looks()
    assert sum(each["outcome"]["events"] for each in looks) >= len(places)
    assert {each["what"]["method"] for each in looks} == {"Subscribe"}
    tell(f"a subscriber killed {kills} times, and its service once: {len(places)} events, each once")


@pytest.fixture
async def stub(looking: Looking) -> AsyncIterator[Stub]:
    """200 events in two logs, and the service."""
    records = [
        event(number, ITEM if number % 4 else OTHER, secret=looking.secret, step="sale" if number % 2 else "")
        for number in range(200)
    ]
    await looking.seal({0: records[:150], 1: records[150:]})
    await looking.start("query")
    async with looking.query_channel() as channel:
        yield trace_pb2_grpc.TraceServiceStub(channel)


async def _until_caught_up(stub: Stub, request: subscribe_pb2.SubscribeRequest) -> list[Message]:
    call = stub.Subscribe(request, timeout=DEADLINE_S, metadata=(("goodstrace-user", "ann"),))
    messages = [await call.read()]
    while not messages[-1].caught_up or not messages[1:]:
        messages.append(await call.read())
    call.cancel()
    return messages


async def _until_it_ends(call: Any) -> None:
    """Read what was sent before the end."""
    while await call.read():
        pass


async def _places(looking: Looking, messages: Sequence[Message]) -> list[tuple[str, int]]:
    """Where the events are, each proved."""
    places = []
    for message in messages:
        checkpoints = await looking.opened(message.checkpoints)
        for each in message.events:
            assert verified(each.sealed, checkpoints)
            places.append((each.sealed.log, each.sealed.index))
    return places


async def test_filters_and_looks(looking: Looking, stub: Stub) -> None:
    for asked, count in (
        (_ask(), 200),
        (_ask(keys=["urn:epc:id:sgtin:9521234.054321.2"]), 50),
        (_ask(steps=["sale"]), 100),
        (_ask(prefixes=["952123"]), 200),
        (_ask(prefixes=["952124"]), 0),
        (_ask(merchants=[2]), 0),
        (_ask(keys=[ITEM], steps=["sale"], merchants=[1], page_size=7), 100),
    ):
        before = {each.id.hex() for each in await looking.browsed()}
        messages = await _until_caught_up(stub, asked)
        assert not messages[0].events
        places = await _places(looking, messages)
        assert (len(places), len(set(places))) == (count, count), asked
        assert max(len(message.events) for message in messages) <= (asked.page_size or 200)
        assert {each.log: each.size for each in messages[-1].positions} == {"goods/0": 150, "goods/1": 50}
        after = {each.id.hex() for each in await looking.browsed()}
        assert {message.browse_id for message in messages if message.events} == after - before
    looks = await looking.looks()
    assert {each["who"]["user"] for each in looks} == {"ann"}
    named = [each["what"] for each in looks if each["what"]["keys"] == [ITEM]]
    assert json.loads(named[0]["query"]) == {"keys": [ITEM], "merchants": [1], "steps": ["sale"]}


async def test_from_a_cursor_on_what_is_new_comes_once(looking: Looking, stub: Stub) -> None:
    [_, *rest] = await _until_caught_up(stub, _ask(page_size=50))
    middle = subscribe_pb2.SubscribeRequest(cursor=rest[1].cursor)
    assert len(await _places(looking, await _until_caught_up(stub, middle))) == 100
    end = subscribe_pb2.SubscribeRequest(cursor=rest[-1].cursor, heartbeat_s=1)
    call = stub.Subscribe(end, timeout=DEADLINE_S)
    first = await call.read()
    assert (len(first.events), first.caught_up, first.positions) == (0, True, rest[-1].positions)
    heartbeat = await call.read()
    assert (len(heartbeat.events), heartbeat.positions) == (0, first.positions)
    assert set(await looking.opened(heartbeat.checkpoints)) == {"goods/0", "goods/1"}
    await looking.seal({1: [event(900, OTHER, secret=looking.secret)]})
    while not (message := await call.read()).events:
        assert message.positions == first.positions
    assert await _places(looking, [message]) == [("goods/1", 50)]


async def test_what_may_not_be_is_refused_and_the_end_is_told(looking: Looking, stub: Stub) -> None:
    open_ = [stub.Subscribe(_ask(), timeout=DEADLINE_S) for _ in range(2)]
    for call in open_:
        await call.read()
    for request, code, field in (
        (_ask(), grpc.StatusCode.RESOURCE_EXHAUSTED, ""),
        (_ask(prefixes=["x"]), grpc.StatusCode.INVALID_ARGUMENT, "prefixes"),
        (_ask(keys=["k"] * 65), grpc.StatusCode.INVALID_ARGUMENT, "keys"),
        (_ask(heartbeat_s=301), grpc.StatusCode.INVALID_ARGUMENT, "heartbeat_s"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Subscribe(request, timeout=DEADLINE_S).read()
        assert raised.value.code() is code, raised.value.details()
        assert (raised.value.details() or "").startswith(field)
    open_[0].cancel()

    async def refused() -> str:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Subscribe(subscribe_pb2.SubscribeRequest(cursor="AAAA"), timeout=DEADLINE_S).read()
        return (
            "" if raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else str(raised.value.details())
        )

    assert (await eventually(refused, "there is room again")).startswith("cursor")
    stopping = asyncio.create_task(asyncio.to_thread(looking.daemons["query"].stop))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _until_it_ends(open_[1])
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    await stopping


async def test_a_reader_that_does_not_read_holds_nothing_up_and_little_in_memory(looking: Looking) -> None:
    big = b"x" * 50_000
    for start in range(0, 600, 200):
        await looking.seal(
            {0: [event(start + each, ITEM, secret=looking.secret, content=big) for each in range(200)]}
        )
    await looking.start("query")
    url = f"http://127.0.0.1:{looking.metrics['query']}/metrics"
    target = looking.query_target
    # gRPC makes the window of a quick connection larger, up to 16 MiB: not here.
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535)]
    async with (
        grpc.aio.insecure_channel(target) as channel,
        grpc.aio.insecure_channel(target, options=narrow) as other,
    ):
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        slow = trace_pb2_grpc.TraceServiceStub(other).Subscribe(_ask(page_size=5), timeout=DEADLINE_S)
        await slow.read()
        # Another one on the same service gets everything meanwhile.
        quick = stub.Subscribe(_ask(page_size=50), timeout=DEADLINE_S)
        count = 0
        while count < 600:
            count += len((await quick.read()).events)
        quick.cancel()
        async with httpx.AsyncClient() as http:
            text = (await http.get(url)).text
        shown = float(
            next(
                line for line in text.splitlines() if line.startswith("goodstrace_query_records_shown_total")
            ).split()[1]
        )
        assert shown - 600 < 100, "a reader that does not read was sent what gRPC's window holds, and no more"
        rest = 0
        while rest < 600:
            rest += len((await slow.read()).events)
        assert rest == 600


async def test_the_client_goes_on_when_the_service_comes_back(looking: Looking, tmp_path: Path) -> None:
    await looking.seal({0: sealed([object_event()])})
    await looking.start("query")
    keys = LogKeys.load(_keys(looking, tmp_path))
    with Client(looking.query_target, keys) as client:
        messages = client.subscribe(start="beginning", heartbeat_s=1)
        seen: list[int] = []

        def read(until: int) -> None:
            while len(seen) < until:
                seen.extend(each.position.index for each in next(messages).events)

        await asyncio.to_thread(read, 1)
        looking.daemons["query"].kill()
        await looking.seal({0: sealed([object_event(eventID="urn:uuid:2")])})
        reading = asyncio.create_task(asyncio.to_thread(read, 2))
        await looking.start("query")
        await asyncio.wait_for(reading, DEADLINE_S)
        assert seen == [0, 1]
        messages.close()
