"""TraceService as a process: what it shows is proved, and nothing is shown that is not recorded."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from deploy.service_processes import not_ready
from deploy.stack import Stack
from goodstrace.log.v1 import log_pb2
from goodstrace.merkle import verify_consistency, verify_inclusion
from goodstrace.query.v1 import registrations_pb2, trace_pb2, trace_pb2_grpc
from goodstrace.shared_proofs import give_own_proofs
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.handmade import event
from tests.integration.looking import Looking, eventually, parts_of, verified

Stub: TypeAlias = "trace_pb2_grpc.TraceServiceAsyncStub"
ITEM = "https://id.gs1.org/01/09521234543213/21/1"
ITEM_URN = "urn:epc:id:sgtin:9521234.054321.1"
OTHER = "https://id.gs1.org/01/09521234543213/21/2"


@pytest.fixture
async def channel(looking: Looking) -> AsyncIterator[grpc.aio.Channel]:
    async with looking.query_channel() as made:
        yield made


async def _few(looking: Looking) -> None:
    """Three events of ITEM in two logs, one of OTHER, one of them sealed twice."""
    first, second, third = (event(number, ITEM, secret=looking.secret) for number in range(3))
    await looking.seal({0: [first, event(9, OTHER, secret=looking.secret), third], 1: [second]})
    again = event(0, ITEM, secret=looking.secret, content=b"{}")
    await looking.seal({1: [again]})


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    metadata: Any = error.trailing_metadata()
    data = dict(metadata)["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(data).details[0].Unpack(info)
    return info


async def test_a_trace_is_proved_and_recorded_once(looking: Looking, channel: grpc.aio.Channel) -> None:
    await _few(looking)
    await looking.start("query")
    stub = trace_pb2_grpc.TraceServiceStub(channel)
    request = trace_pb2.TraceRequest(key=ITEM_URN, purpose="recall")
    answer = await stub.Trace(request, timeout=DEADLINE_S, metadata=(("goodstrace-user", "ann"),))

    assert answer.key == ITEM
    assert (answer.total_events, answer.paged_out, answer.next_page_token) == (3, 0, "")
    assert (answer.nodes[0].key, answer.nodes[0].level) == (ITEM, 0)
    checkpoints = await looking.opened(answer.checkpoints)
    assert {log: each.size for log, each in checkpoints.items()} == {"goods/0": 3, "goods/1": 2}
    times = []
    for each in answer.events:
        parts = verified(each.sealed, checkpoints)
        assert set(parts) == {"event", "facts"}
        times.append(json.loads(parts["facts"])["time_us"])
        assert [mention.key for mention in each.mentions] == [ITEM]
    assert times == sorted(times)
    [twice] = [each for each in answer.events if each.also_at]
    verified(twice.also_at[0], checkpoints)
    assert {(twice.sealed.log, twice.sealed.index), (twice.also_at[0].log, twice.also_at[0].index)} == {
        ("goods/0", 0),
        ("goods/1", 1),
    }

    [record] = await looking.browsed()
    assert record.id.hex() == answer.browse_id
    assert parts_of(record) == {
        "who": {"network": "127.0.0.0/24", "user": "ann"},
        "what": {
            "method": "Trace",
            "keys": [ITEM],
            "checkpoints": [{"log": "goods/0", "size": 3}, {"log": "goods/1", "size": 2}],
        },
        "purpose": {"purpose": "recall"},
        "outcome": {"events": 3},
    }

    request.share_proofs = True
    sharing = await stub.Trace(request, timeout=DEADLINE_S, metadata=(("goodstrace-user", "ann"),))
    assert [each.log for each in sharing.shared_proofs] == ["goods/0", "goods/1"]
    entries = [entry for each in sharing.events for entry in (each.sealed, *each.also_at)]
    assert not any(each.inclusion_proof for each in entries)
    give_own_proofs(entries, sharing.shared_proofs, sharing.checkpoints)
    assert list(sharing.events) == list(answer.events)


async def test_an_unknown_key_is_an_empty_answer_and_a_look(
    looking: Looking, channel: grpc.aio.Channel
) -> None:
    await _few(looking)
    await looking.start("query")
    stub = trace_pb2_grpc.TraceServiceStub(channel)
    answer = await stub.Trace(trace_pb2.TraceRequest(key="urn:nobody:knows"), timeout=DEADLINE_S)
    assert (list(answer.events), answer.total_events) == ([], 0)
    [record] = await looking.browsed()
    assert parts_of(record)["who"] == {"network": "127.0.0.0/24", "user": "anonymous"}
    assert parts_of(record)["outcome"] == {"events": 0}
    assert record.id.hex() == answer.browse_id


async def test_an_event_by_its_id_as_of_now_and_a_trace_as_of_before(
    looking: Looking, channel: grpc.aio.Channel
) -> None:
    await looking.seal(
        {0: [event(1, ITEM, secret=looking.secret)], 1: [event(2, OTHER, secret=looking.secret)]}
    )
    await looking.seal({0: [event(3, ITEM, secret=looking.secret)]})
    await looking.start("query")
    stub = trace_pb2_grpc.TraceServiceStub(channel)
    found = await stub.GetEvent(trace_pb2.GetEventRequest(event_id=f"urn:uuid:{3:032x}"), timeout=DEADLINE_S)
    [shown] = found.events
    assert (shown.sealed.log, shown.sealed.index) == ("goods/0", 1)
    verified(shown.sealed, await looking.opened(found.checkpoints))

    before = trace_pb2.TraceRequest(key=ITEM, as_of=[log_pb2.LogSize(log="goods/0", size=1)])
    answer = await stub.Trace(before, timeout=DEADLINE_S)
    assert answer.total_events == 1
    checkpoints = await looking.opened(answer.checkpoints)
    assert checkpoints["goods/0"].size == 1
    verified(answer.events[0].sealed, checkpoints)
    assert [each["what"]["method"] for each in await looking.looks()].count("Trace") == 1

    for wrong in (("goods/0", 7), ("goods/7", 1), ("browse/0", 1)):
        request = trace_pb2.TraceRequest(key=ITEM, as_of=[log_pb2.LogSize(log=wrong[0], size=wrong[1])])
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Trace(request, timeout=DEADLINE_S)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        assert _error_info(raised.value).metadata["field"] == "as_of"


async def test_pages_of_a_thousand_events_are_one_answer(looking: Looking, channel: grpc.aio.Channel) -> None:
    records = [event(number, ITEM, secret=looking.secret) for number in range(1000)]
    await looking.seal({0: records[::2], 1: records[1::2]})
    await looking.start("query")
    stub = trace_pb2_grpc.TraceServiceStub(channel)
    request = trace_pb2.TraceRequest(key=ITEM, page_size=300)
    seen: list[str] = []
    notes: set[tuple[str, ...]] = set()
    pages = 0
    while True:
        answer = await stub.Trace(request, timeout=DEADLINE_S)
        checkpoints = await looking.opened(answer.checkpoints)
        for each in answer.events:
            verified(each.sealed, checkpoints)
        seen += [each.identity for each in answer.events]
        notes.add(tuple(each.note for each in answer.checkpoints))
        assert bool(answer.nodes) == (pages == 0)
        assert answer.paged_out == 1000 - len(answer.events)
        pages += 1
        if pages == 1:  # what is sealed now does not change the answer that is being read
            await looking.seal({0: [event(5000, ITEM, secret=looking.secret)]})
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert pages == 4
    assert len(seen) == len(set(seen)) == 1000
    assert len(notes) == 1
    assert len(await looking.browsed()) == 4

    token = request.page_token
    for other in (
        trace_pb2.TraceRequest(key=OTHER, page_token=token),
        trace_pb2.TraceRequest(key=ITEM, page_token=token, max_depth=3),
        trace_pb2.TraceRequest(key=ITEM, page_token=token, direction=trace_pb2.DIRECTION_UPSTREAM),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Trace(other, timeout=DEADLINE_S)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert _error_info(raised.value).metadata["field"] == "page_token"
    assert len(await looking.browsed()) == 4


async def test_big_events_are_paged_under_the_message_limit(
    looking: Looking, channel: grpc.aio.Channel
) -> None:
    big = b"x" * (1024 * 1024 - 1024)
    records = [event(number, ITEM, secret=looking.secret, content=big) for number in range(6)]
    await looking.seal({0: records})
    await looking.start("query")
    stub = trace_pb2_grpc.TraceServiceStub(channel)  # with gRPC's own limit of 4 MiB an answer
    request = trace_pb2.TraceRequest(key=ITEM)
    shown = 0
    while True:
        answer = await stub.Trace(request, timeout=DEADLINE_S)
        checkpoints = await looking.opened(answer.checkpoints)
        for each in answer.events:
            assert verified(each.sealed, checkpoints)["event"] == big
        shown += len(answer.events)
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert shown == 6


async def test_checkpoints_and_proofs_verify_and_are_not_recorded(
    looking: Looking, channel: grpc.aio.Channel
) -> None:
    await looking.seal({0: [event(number, ITEM, secret=looking.secret) for number in range(5)]})
    await looking.seal({0: [event(number, ITEM, secret=looking.secret) for number in range(5, 12)]})
    await looking.start("query")
    stub = trace_pb2_grpc.TraceServiceStub(channel)
    newest = await stub.GetCheckpoint(trace_pb2.GetCheckpointRequest(log="goods/0"), timeout=DEADLINE_S)
    new = (await looking.opened(newest.checkpoints))["goods/0"]
    assert new.size == 12
    older = await stub.GetCheckpoint(
        trace_pb2.GetCheckpointRequest(log="goods/0", size=5), timeout=DEADLINE_S
    )
    old = (await looking.opened(older.checkpoints))["goods/0"]
    every = await stub.GetCheckpoint(trace_pb2.GetCheckpointRequest(), timeout=DEADLINE_S)
    assert [each.log for each in every.checkpoints] == ["goods/0"]

    grown = await stub.GetConsistencyProof(
        trace_pb2.GetConsistencyProofRequest(log="goods/0", old_size=5), timeout=DEADLINE_S
    )
    verify_consistency(5, old.root, grown.new_size, new.root, list(grown.proof))
    for index in (0, 4):
        proof = await stub.GetInclusionProof(
            trace_pb2.GetInclusionProofRequest(log="goods/0", index=index, size=5), timeout=DEADLINE_S
        )
        verify_inclusion(proof.leaf_hash, index, 5, list(proof.proof), old.root)
        assert proof.checkpoint.note == older.checkpoints[0].note
    assert await looking.browsed() == []

    ask = trace_pb2.GetInclusionProofRequest
    for request, code in (
        (ask(log="goods/9"), grpc.StatusCode.NOT_FOUND),
        (ask(log="goods/0", index=12), grpc.StatusCode.INVALID_ARGUMENT),
        (ask(log="goods/0", size=13), grpc.StatusCode.OUT_OF_RANGE),
        (ask(log="goods/0", index=2**64 - 1, size=2**64 - 1), grpc.StatusCode.OUT_OF_RANGE),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetInclusionProof(request, timeout=DEADLINE_S)
        assert raised.value.code() is code, request


async def test_what_is_over_a_limit_is_refused_and_says_where(
    looking: Looking, channel: grpc.aio.Channel
) -> None:
    await _few(looking)
    await looking.start("query")
    stub = trace_pb2_grpc.TraceServiceStub(channel)
    ask = trace_pb2.TraceRequest
    for field, request, metadata in (
        ("key", ask(key=""), ()),
        ("key", ask(key="k" * 2049), ()),
        ("purpose", ask(key=ITEM, purpose="p" * 257), ()),
        ("max_depth", ask(key=ITEM, max_depth=101), ()),
        ("page_size", ask(key=ITEM, page_size=1001), ()),
        ("direction", ask(key=ITEM, direction=9), ()),  # type: ignore[arg-type]
        ("page_token", ask(key=ITEM, page_token="AAAA"), ()),
        ("as_of", ask(key=ITEM, as_of=[log_pb2.LogSize(log="goods/0", size=2**64 - 1)]), ()),
        ("goodstrace-user", ask(key=ITEM), (("goodstrace-user", "u" * 129),)),
        ("goodstrace-user", ask(key=ITEM), (("goodstrace-user", ""),)),
        ("goodstrace-user", ask(key=ITEM), (("goodstrace-user", "a"), ("goodstrace-user", "b"))),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Trace(request, timeout=DEADLINE_S, metadata=metadata)
        info = _error_info(raised.value)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT, request
        assert (info.reason, info.metadata["field"]) == ("INVALID_REQUEST", field)
        assert "Traceback" not in (raised.value.details() or "")
    assert await looking.browsed() == []


async def test_health_and_reflection_and_a_graceful_end(looking: Looking, channel: grpc.aio.Channel) -> None:
    await _few(looking)
    await looking.start("query")
    health = health_pb2_grpc.HealthStub(channel)
    service = "goodstrace.query.v1.TraceService"
    watching = health.Watch(health_pb2.HealthCheckRequest(service=service))
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await reflection.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = {each.name for each in (await reflection.read()).list_services_response.service}
    assert {service, "grpc.health.v1.Health"} <= listed
    await reflection.done_writing()

    stopping = asyncio.create_task(asyncio.to_thread(looking.daemons["query"].stop))
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watching.cancel()
    await stopping
    assert looking.log_lines("query")[-1]["event"] == "stopped"


async def test_without_kafka_nothing_is_shown_and_with_it_everything_goes_on(
    own_stack: Stack, tmp_path: Path, names: Names
) -> None:
    await asyncio.to_thread(own_stack.start)
    looking = Looking(own_stack, tmp_path, names)
    await looking.prepare()
    try:
        await _few(looking)
        await looking.start("query")
        async with looking.query_channel() as channel:
            await _outage(looking, own_stack, trace_pb2_grpc.TraceServiceStub(channel))
    finally:
        looking.stop()


async def _says(looking: Looking, text: str) -> bool:
    """Tell whether /readyz names this problem; the empty text: none."""
    reason = await asyncio.to_thread(not_ready, f"http://127.0.0.1:{looking.metrics['query']}/readyz")
    return text in reason if text else not reason


async def _outage(looking: Looking, stack: Stack, stub: Stub) -> None:
    request = trace_pb2.TraceRequest(key=ITEM)
    assert len((await stub.Trace(request, timeout=DEADLINE_S)).events) == 3
    assert stack.kafka is not None
    await asyncio.to_thread(stack.kafka.kill)

    calls: tuple[tuple[Any, Any], ...] = (
        (stub.Trace, request),
        (stub.GetEvent, trace_pb2.GetEventRequest(event_id="x")),
        (stub.GetRegistrations, registrations_pb2.GetRegistrationsRequest(key="x")),
    )
    for call, asked in calls:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(asked, timeout=DEADLINE_S)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert _error_info(raised.value).reason == "BROWSE_NOT_RECORDED"
    async with httpx.AsyncClient(base_url=f"{looking.log_url}/epcis/v2") as http:
        for path in ("events", "epcs", f"events?MATCH_epc={ITEM}"):
            refused = await http.get(path, timeout=DEADLINE_S)
            assert (refused.status_code, refused.json()["title"]) == (503, "ImplementationException")
    newest = await stub.GetCheckpoint(trace_pb2.GetCheckpointRequest(), timeout=DEADLINE_S)
    assert len(newest.checkpoints) == 2
    await eventually(lambda: _says(looking, "recorder: "), "it says that it is not ready")

    await asyncio.to_thread(stack.kafka.start)
    await asyncio.to_thread(stack.kafka.wait_ready)
    await eventually(lambda: _says(looking, ""), "it is ready again")

    async def answered() -> trace_pb2.TraceResponse | None:
        try:
            return await stub.Trace(request, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - the other outcome is tested just so
            return None

    answer = await eventually(answered, "looks are answered again")
    assert answer is not None
    assert len(answer.events) == 3
    ids = [record.id.hex() for record in await looking.browsed()]
    assert ids.count(answer.browse_id) == 1
    assert len(ids) == len(set(ids))
