"""Receipts and outcomes with real services: a receipt's look is proved to be sealed, and what became of each answer is sealed behind it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import grpc
import pytest

from goodstrace.audit.v1 import audit_pb2, audit_pb2_grpc
from goodstrace.client import Client
from goodstrace.errors import AnswerError
from goodstrace.log_keys import LogKeys
from goodstrace.query.v1 import recall_pb2, trace_pb2, trace_pb2_grpc
from goodstrace.receipts import BrowseProof, Receipt, Standing
from services.runtime.answering import RECEIPT_HEADER
from tests.deadlines import DEADLINE_S
from tests.integration.looking import Looking, eventually
from tests.unit.collector_builders import sealed_events
from tests.web_world import EVENTS, registrations
from tests.web_world import ITEM_KEY as ITEM


@pytest.fixture
async def looking(looking: Looking) -> Looking:
    await looking.seal({0: registrations(), 1: sealed_events(EVENTS)})
    await asyncio.gather(looking.start("query"), looking.start("audit"))
    return looking


async def _keys(looking: Looking) -> LogKeys:
    return LogKeys.parse([info.vkey for info in await looking.reader.logs()])


def _client(looking: Looking, keys: LogKeys, kept: list[Receipt]) -> Client:
    return Client(
        looking.query_target,
        keys,
        user="ann",
        audit_target=looking.audit_target,
        on_receipt=kept.append,
    )


async def _proved(looking: Looking, receipt: Receipt) -> BrowseProof:
    keys = await _keys(looking)

    async def sealed() -> BrowseProof | None:
        with _client(looking, keys, []) as client:
            proof = await asyncio.to_thread(client.browse_proof, receipt)
        return proof if proof.standing is Standing.SEALED else None

    proof = await eventually(sealed, "the look is sealed")
    assert proof is not None
    return proof


async def test_every_kind_of_answer_has_a_receipt_that_leads_to_its_sealed_record(
    looking: Looking, tell: Callable[[str], None]
) -> None:
    kept: list[Receipt] = []
    client = _client(looking, await _keys(looking), kept)

    def asked() -> int:
        with client:
            traced = client.trace(ITEM, complete=False)
            assert traced.receipts == tuple(kept)
            *_, streamed = client.stream_trace(ITEM)
            assert streamed.receipts == (kept[-1],)
            list(client.recall(ITEM))
            goods = client.goods(ITEM)
            assert goods.receipts == (kept[-1],)
            client.event(traced.events[0].event.facts.event_hash)  # type: ignore[union-attr]
            client.registrations(ITEM)
            listed = client.browses(key=ITEM)
            assert listed.receipts == (kept[-1],)
            return len(kept)

    assert await asyncio.to_thread(asked) == 7
    async with looking.http() as http:
        answered = await http.get("/epcis/v2/events", params={"MATCH_anyEPC": ITEM})
        named = {name.lower() for name in answered.headers}
        assert RECEIPT_HEADER.lower() in named
        assert answered.headers["Goodstrace-Browse-ID"] in answered.headers[RECEIPT_HEADER]
        assert "signed=" not in answered.headers[RECEIPT_HEADER]  # accounts are off: there is no key
        nothing = await http.get("/epcis/v2/eventTypes")
        assert RECEIPT_HEADER not in nothing.headers
    began = time.perf_counter()
    for receipt in kept:
        proof = await _proved(looking, receipt)
        assert proof.entry is not None
        assert proof.entry.parts == {}
        assert proof.entry.withheld == ("who", "what", "purpose", "outcome")
    tell(f"receipts: {len(kept)} looks proved {time.perf_counter() - began:.1f} s after the last of them")


async def test_what_is_not_sealed_is_told_apart_by_its_time(looking: Looking) -> None:
    kept: list[Receipt] = []
    keys = await _keys(looking)
    with _client(looking, keys, kept) as client:
        await asyncio.to_thread(client.goods, ITEM)
        [receipt] = kept
        await _proved(looking, receipt)
        keys = await _keys(looking)  # the browse log's key is known now
    with _client(looking, keys, []) as client:
        denied = replace(receipt, browse_id="00" * 16)
        early = await asyncio.to_thread(client.browse_proof, denied, within_s=3600)
        late = await asyncio.to_thread(client.browse_proof, denied, within_s=0)
        assert (early.standing, late.standing) == (Standing.NOT_YET, Standing.MISSING)
        assert late.checkpoint is not None
        assert late.checkpoint.checkpoint.size > 0
        # Another entry in its place is a lie, and none of the record's content may be another.
        with pytest.raises(AnswerError, match="is not the record of the look"):
            await asyncio.to_thread(client.browse_proof, replace(receipt, leaf_hash=bytes(32)))
    async with looking.audit_channel() as channel:
        audit = audit_pb2_grpc.AuditServiceStub(channel)
        for browse_id, log in (("zz" * 16, "browse/0"), ("00" * 15, "browse/0"), ("00" * 16, "goods/0")):
            request = audit_pb2.GetBrowseProofRequest(browse_id=browse_id, log=log)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await audit.GetBrowseProof(request, timeout=DEADLINE_S)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        request = audit_pb2.GetBrowseProofRequest(browse_id="00" * 16, log="browse/77")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await audit.GetBrowseProof(request, timeout=DEADLINE_S)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_outcomes_are_sealed_and_a_stop_leaves_none_behind(looking: Looking) -> None:
    kept: list[Receipt] = []
    client = _client(looking, await _keys(looking), kept)

    def asked() -> None:
        with client:
            for _ in range(3):
                client.goods(ITEM)
            list(client.recall(ITEM))
            next(iter(client.recall(ITEM)))  # and gone

    await asyncio.to_thread(asked)
    async with looking.http() as http:
        await http.get("/epcis/v2/events", params={"MATCH_anyEPC": ITEM})
    await asyncio.to_thread(looking.daemons["query"].stop)  # SIGTERM
    outcomes = await looking.outcomes()
    looks = {record.id.hex() for record in await looking.browsed()}
    assert outcomes.keys() == looks
    assert len(looks) == 6
    assert [outcomes[each.browse_id] for each in kept[:4]] == ["answered"] * 4
    assert outcomes[kept[4].browse_id] in ("answered", "failed")  # as far as it came before its caller left


async def test_a_caller_who_is_gone_before_the_answer_leaves_a_failed_look(looking: Looking) -> None:
    async with looking.query_channel() as channel:
        stub = trace_pb2_grpc.TraceServiceStub(channel)
        recall = stub.Recall(recall_pb2.RecallRequest(key=ITEM), timeout=DEADLINE_S)
        opened = await recall.read()
        assert opened.receipt.browse_id == opened.browse_id
        recall.cancel()
        # What is refused before it is recorded leaves nothing.
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Trace(trace_pb2.TraceRequest(key=""), timeout=DEADLINE_S)

    async def marked() -> bool:
        return opened.browse_id in await looking.outcomes()

    await eventually(marked, "the outcome is recorded")
    assert len(await looking.browsed()) == len(await looking.outcomes()) == 1
