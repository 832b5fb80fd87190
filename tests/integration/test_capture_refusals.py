"""Who CaptureService refuses, and what: each tried over a real connection, with nothing kept of what was refused."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from goodstrace.collector.v1 import capture_pb2 as wire
from goodstrace.collector.v1 import capture_pb2_grpc
from goodstrace.signatures import PART, MerchantKey, sign
from services.collector.registry.gate import DefaultLimits
from services.runtime import envelope
from tests.integration.test_capture_service import MIB, Here, here, messages
from tests.unit.collector_builders import document, object_event
from tests.unit.registry_builders import Registry, registry

ANN = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OWN, FOREIGN = "urn:epc:id:sgtin:0614141.107346.1", "urn:epc:id:sgtin:0999999.107346.1"
Metadata = Sequence[tuple[str, str]]
NOBODY: Metadata = ()


class Scene:
    """The service, who is registered, and a merchant with a key."""

    def __init__(self, service: Here, known: Registry, number: int, key: str) -> None:
        self.service, self.known, self.number, self.key = service, known, number, key
        self.channel = grpc.aio.insecure_channel(service.target)
        self.stub = capture_pb2_grpc.CaptureServiceStub(self.channel)

    @property
    def bearer(self) -> Metadata:
        return (("authorization", f"Bearer {self.key}"),)

    async def capture(self, metadata: Metadata, *sendings: wire.Sending) -> wire.CaptureResponse:
        return await self.stub.Capture(messages(*sendings), metadata=metadata)

    async def refused(self, metadata: Metadata, *sendings: wire.Sending) -> tuple[str, str]:
        """Code and reason with which a call ends."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.capture(metadata, *sendings)
        status = rpc_status.from_call(raised.value)  # type: ignore[arg-type]
        if status is None:
            return raised.value.code().name, ""
        info = error_details_pb2.ErrorInfo()
        assert any(each.Unpack(info) for each in status.details)
        assert self.key not in str(raised.value)
        return raised.value.code().name, info.reason

    async def problem(self, sending: wire.Sending) -> wire.Problem:
        """Why nothing of a message was kept."""
        told = await self.capture(self.bearer, sending)
        assert (told.messages, told.messages_refused) == (1, 1)
        return told.faulty[0].problem

    def kept(self) -> int:
        return sum(len(writes) for writes in self.service.kafka.transactions)


@asynccontextmanager
async def scene(**defaults: int) -> AsyncIterator[Scene]:
    async with registry(defaults=DefaultLimits(**defaults)) as known:
        jwk = dict(MerchantKey.of(ANN.public_key()).jwk)
        number, key = await known.merchant(prefixes=["0614141"], signingKeys=[jwk])
        async with here(gate=known.gate, guard=known.guard) as service:
            made = Scene(service, known, number, key)
            yield made
            await made.channel.close()
            assert service.held() == 0


def sending(sequence: int = 1, **event: object) -> wire.Sending:
    return wire.Sending(
        sequence=sequence, document=document(object_event(eventID=f"urn:e:{sequence}", **event))
    )


async def test_who_calls_must_say_so() -> None:
    async with scene() as on:
        stranger = on.key[:-4] + "xxxx"
        for metadata in (
            NOBODY,
            (("authorization", f"Bearer {stranger}"),),
            (("authorization", "Basic dXNlcjpwYXNz"),),
            (("x-api-key", on.key), ("authorization", f"Bearer {on.key}")),
            (("x-api-key", "gst_"),),
        ):
            assert await on.refused(metadata, sending()) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
        assert on.kept() == 0
        assert (await on.capture(on.bearer, sending())).events_accepted == 1
        assert (await on.capture((("x-api-key", on.key),), sending())).events_accepted == 1


async def test_a_revoked_key_is_none_also_within_a_call() -> None:
    async with scene() as on:
        call = on.stub.CaptureStream(metadata=on.bearer)
        await call.write(wire.CaptureStreamRequest(sending=sending(1)))
        assert (await call.read()).receipt.sequence == 1
        await on.known.operate("DELETE", f"merchants/{on.number}/keys/{on.key.split('_')[1]}")
        await call.write(wire.CaptureStreamRequest(sending=sending(2)))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert await on.refused(on.bearer, sending(3)) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
        assert on.kept() == 1


async def test_a_suspended_merchant_captures_nothing() -> None:
    async with scene() as on:
        await on.known.operate("PATCH", f"merchants/{on.number}", json={"status": "suspended"})
        assert await on.refused(on.bearer, sending()) == ("PERMISSION_DENIED", "PERMISSION_DENIED")
        assert on.kept() == 0


async def test_goods_of_another_prefix_are_refused_with_their_place() -> None:
    async with scene() as on:
        problem = await on.problem(sending(action="ADD", epcList=[OWN, FOREIGN]))
        assert (problem.reason, problem.faults[0].pointer) == (
            "FORBIDDEN",
            "/epcisBody/eventList/0/epcList/1",
        )
        assert on.kept() == 0
        assert (await on.capture(on.bearer, sending(action="ADD", epcList=[OWN]))).events_accepted == 1
        assert (
            await on.capture(on.bearer, sending(action="OBSERVE", epcList=[FOREIGN]))
        ).events_accepted == 1


async def test_over_its_rate_a_call_ends_and_goes_on_when_there_is_room() -> None:
    async with scene(events_per_s=1, burst_s=3) as on:
        told = await on.refused(on.bearer, *(sending(number) for number in range(1, 9)))
        assert told == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        kept = on.kept()
        assert 1 <= kept <= 4
        assert await on.refused(on.bearer, sending(9)) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert on.kept() == kept
        on.known.now_s += 4
        assert (await on.capture(on.bearer, sending(10))).events_accepted == 1


async def test_what_is_too_large_is_refused() -> None:
    async with scene(body_bytes=100_000) as on:
        problem = await on.problem(sending(**{"x:y": "z" * 100_000}))
        assert (problem.reason, problem.faults[0].detail) == ("TOO_LARGE", "over 100000 bytes")
        assert await on.refused(on.bearer, wire.Sending(sequence=1, event=b"x" * 5 * MIB)) == (
            "RESOURCE_EXHAUSTED",
            "",
        )
        assert on.kept() == 0
    async with scene() as on:
        large = document(object_event(**{"x:y": "z" * 1_100_000}))
        problem = await on.problem(wire.Sending(sequence=1, document=large))
        assert (problem.reason, problem.faults[0].pointer) == ("TOO_LARGE", "/epcisBody/eventList/0")


async def test_a_document_of_another_version_or_none_is_refused_with_its_place() -> None:
    async with scene() as on:
        for head, pointer in (
            ({"schemaVersion": "3.0"}, "/schemaVersion"),
            ({"schemaVersion": 2}, "/schemaVersion"),
            ({"type": "EPCISMasterDataDocument"}, "/type"),
            ({"@context": 1}, "/@context"),
        ):
            problem = await on.problem(wire.Sending(sequence=1, document=document(object_event(), **head)))
            assert (problem.reason, problem.faults[0].pointer) == ("INVALID", pointer)
        xml = b'<EPCISDocument schemaVersion="3.0" creationDate="2026-01-02T03:04:05Z"/>'
        problem = await on.problem(wire.Sending(sequence=1, document=xml))
        assert problem.faults[0].pointer == "/EPCISDocument/@schemaVersion"
        assert on.kept() == 0


async def test_signed_messages_are_sealed_with_their_signatures_and_forged_ones_are_refused() -> None:
    event = json.dumps(object_event()).encode()
    async with scene() as on:
        good = wire.Sending(sequence=1, event=event, signatures=[sign(event, ANN)])
        assert (await on.capture(on.bearer, good)).events_accepted == 1
        (value,) = on.service.kafka.values("goods.collected")
        assert envelope.decode(value).part(PART).content.decode() == good.signatures[0]
        for signature in (sign(event + b" ", ANN), sign(event, Ed25519PrivateKey.generate()), "x"):
            problem = await on.problem(wire.Sending(sequence=1, event=event, signatures=[signature]))
            assert problem.reason == "INVALID"
            assert "its signature" in problem.faults[0].detail
        await on.known.operate("PATCH", f"merchants/{on.number}", json={"signingKeys": []})
        assert "none of the merchant's" in (await on.problem(good)).faults[0].detail
        assert on.kept() == 1
