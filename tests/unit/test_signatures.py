"""Merchants' signatures: the published vectors, another implementation, every forgery, from capture to the client."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import JWKRegistry

from goodstrace import entry
from goodstrace import facts as sealed_facts
from goodstrace.entry import Kind
from goodstrace.errors import SignatureError, TrustFileError
from goodstrace.log_keys import LogKeys
from goodstrace.query.v1 import trace_pb2
from goodstrace.signatures import HEADER, MEMBER, PART, MerchantKey, MerchantKeys, parse, sign
from goodstrace.signing import sign_document
from goodstrace.verification import VerifiedCheckpoint, verify_checkpoints, verify_event
from services.collector.collect import Rules, Stamp, collect
from services.collector.documents import Limits, read
from services.collector.errors import DocumentError
from services.collector.flow import EVENT_PART, FACTS_PART, Item, Rejected, to_wire
from services.runtime.access.tokens import Pinned
from services.sealing.entries import check
from tests.unit.collector_builders import (
    NOW_MS,
    counted,
    document,
    object_event,
    processed,
    wires,
)
from tests.unit.fake_services import FakeLog
from tests.unit.registry_builders import registry
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("signatures")
ED = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["ed25519_seed"]))
EC = ec.derive_private_key(7, ec.SECP256R1())
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEYS = {key.kid: key for key in (MerchantKey.of(ED.public_key()), MerchantKey.of(EC.public_key()))}
EVENT = json.dumps(object_event()).encode()


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_published_signatures_hold(vector: dict[str, Any]) -> None:
    key = MerchantKey.from_jwk(vector["jwk"])
    assert key.kid == vector["kid"]
    parse(vector["signature"]).verify(vector["event"].encode(), key)
    with pytest.raises(SignatureError):
        parse(vector["signature"]).verify(vector["event"].encode() + b" ", key)
    if vector["jwk"]["kty"] == "OKP":  # the others have randomness in them
        assert sign(vector["event"].encode(), ED) == vector["signature"]


@pytest.mark.parametrize("private", [ED, EC], ids=["EdDSA", "ES256"])
def test_another_implementation_agrees(private: Any) -> None:
    key = MerchantKey.of(private.public_key())
    theirs = JWKRegistry.import_key(dict(key.jwk))
    assert theirs.thumbprint() == key.kid
    registry_ = Pinned(algorithms=["EdDSA", "ES256"])
    text = b"a.text with.dots"  # RFC 7797 section 5.2 wants the payload of a compact JWS to be detached where it has these
    assert (
        jws.deserialize_compact(sign(text, private), theirs, payload=text, registry=registry_).payload == text
    )


def header(**changes: Any) -> str:
    told = {"alg": "EdDSA", "b64": False, "crit": ["b64"], "kid": MerchantKey.of(ED.public_key()).kid}
    text = json.dumps({name: value for name, value in {**told, **changes}.items() if value is not None})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def signed(head: str, content: bytes = EVENT, private: Ed25519PrivateKey = ED) -> str:
    raw = private.sign(head.encode() + b"." + content)
    return f"{head}..{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


GOOD = signed(header())
FORGED = {
    "empty": "",
    "attached": GOOD.replace("..", ".e30."),
    "other event": signed(header(), b"{}"),
    "other key": signed(header(), private=STRANGER),
    "unknown kid": signed(header(kid="nobody")),
    "no kid": signed(header(kid=None)),
    "alg none": signed(header(alg="none")),
    "alg of the other kind of key": signed(header(alg="ES256")),
    "HMAC": signed(header(alg="HS256")),
    "payload encoded": signed(header(b64=True)),
    "b64 not critical": signed(header(crit=None)),
    "another critical extension": signed(header(crit=["b64", "x"], x=1)),
    "short": GOOD[:-8],
    "padded": GOOD + "=",
    "not in its only form": GOOD[:-1] + chr(ord(GOOD[-1]) + 1),
    "too long": signed(header(x="x" * 2000)),
    "member named twice": signed(
        base64.urlsafe_b64encode(b'{"alg":"EdDSA","alg":"EdDSA","b64":false,"crit":["b64"]}')
        .decode()
        .rstrip("=")
    ),
    "lone surrogate": "\ud800..",
}


def collected(signature: str | None, random: Callable[[int], bytes] = os.urandom) -> Item | Rejected:
    body = json.loads(document(object_event()))
    whole = json.dumps({**body, MEMBER: [signature]}).encode()
    (sent,) = collect(read(whole, Limits()), Stamp(b"c" * 16, 1, NOW_MS, keys=KEYS), Rules(), random)
    return sent.outcome


def test_a_good_signature_is_sealed_beside_the_event() -> None:
    item = collected(GOOD)
    assert isinstance(item, Item)
    (stored,) = processed([to_wire(item)])
    sealed = check(stored.record)
    assert [part.name for part in sealed.parts] == [EVENT_PART, PART, FACTS_PART]
    part = stored.record.part(PART)
    assert (part.content, len(part.salt)) == (GOOD.encode(), entry.SALT_BYTES)
    assert len({each.salt for each in stored.record.parts}) == 3


def test_an_event_without_a_signature_is_what_it_was_before() -> None:
    item = collected(None)
    assert isinstance(item, Item)
    assert [part.name for part in item.record.parts] == [EVENT_PART, FACTS_PART]


@pytest.mark.parametrize("name", list(FORGED))
def test_forged_signatures_are_refused(name: str) -> None:
    if name == "lone surrogate":  # no JSON that is taken can say it
        with pytest.raises(DocumentError):
            collected(FORGED[name])
        return
    refused = collected(FORGED[name])
    assert isinstance(refused, Rejected)
    assert refused.record.rejection is not None
    assert refused.record.rejection.reason == "INVALID"
    assert refused.record.rejection.detail.startswith("/epcisBody/eventList/0: its signature ")


@given(st.text(max_size=80))
def test_any_text_is_a_signature_or_refused(text: str) -> None:
    with pytest.raises(SignatureError):
        parse(text)


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        {},
        {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"},
        {**MerchantKey.of(ED.public_key()).jwk, "d": "AAAA"},
    ],
)
def test_what_is_no_public_key_is_refused(jwk: Any) -> None:
    with pytest.raises(SignatureError):
        MerchantKey.from_jwk(jwk)


def test_a_document_is_signed_without_another_byte_changed() -> None:
    body = document(object_event(), object_event(eventID="urn:e:2")) + b"\n \n"
    whole = sign_document(body, EC)
    assert whole.startswith(body.rstrip()[:-1])
    found = read(whole, Limits())
    assert found.events == read(body, Limits()).events
    for event, signature in zip(found.events, found.signatures, strict=True):
        assert signature is not None
        parse(signature).verify(event, MerchantKey.of(EC.public_key()))
    sent = collect(found, Stamp(b"c" * 16, 1, NOW_MS, keys=KEYS), Rules(), counted())
    assert len(wires(sent)) == 2
    for wrong in (whole, b"[]", b"{", b'{"type":"EPCISDocument"}', json.dumps(object_event()).encode()):
        with pytest.raises(SignatureError):
            sign_document(wrong, ED)


@pytest.mark.parametrize("listed", ["text", [None], [1, None], [None, None, None]])
def test_signatures_that_do_not_fit_the_document_are_a_fault_of_it(listed: Any) -> None:
    body = {**json.loads(document(object_event(), object_event(eventID="urn:e:2"))), MEMBER: listed}
    with pytest.raises(DocumentError) as refused:
        read(json.dumps(body).encode(), Limits())
    assert refused.value.faults[0].pointer.startswith("/goodstrace:signatures")


async def test_a_registered_key_signs_events_and_documents_over_http() -> None:
    async with registry() as here:
        jwk = dict(MerchantKey.of(ED.public_key()).jwk)
        number, key = await here.merchant(signingKeys=[{**jwk, "use": "sig"}])
        assert (await here.operate("GET", f"merchants/{number}")).json()["content"]["signingKeys"] == [jwk]
        assert (await here.capture(EVENT, key, **{HEADER: GOOD})).status_code == 202
        assert (await here.capture(sign_document(document(object_event()), ED), key)).status_code == 202
        bad = await here.capture(EVENT, key, **{HEADER: FORGED["other event"]})
        assert (bad.status_code, "does not hold" in bad.json()["detail"]) == (400, True)
        both = await here.capture(document(object_event()), key, **{HEADER: GOOD})
        assert both.status_code == 400
        await here.operate("PATCH", f"merchants/{number}", json={"signingKeys": []})
        assert (await here.capture(EVENT, key, **{HEADER: GOOD})).status_code == 400
        faulty = await here.operate(
            "POST", "merchants", json={"name": "B", "signingKeys": [jwk, {"kty": "oct"}]}
        )
        assert faulty.json()["errors"][0]["pointer"] == "/signingKeys/1"


def answered(signature: bytes) -> tuple[trace_pb2.TraceEvent, dict[str, VerifiedCheckpoint]]:
    """An answer of one event with its proof, under a signed checkpoint: sealed with this signature."""
    item = collected(GOOD)
    assert isinstance(item, Item)
    log = FakeLog("goods/0")
    facts = item.record.part(FACTS_PART).content
    log.append(Kind.EVENT, {EVENT_PART: EVENT, FACTS_PART: facts, PART: signature})
    checkpoints = verify_checkpoints([log.checkpoint()], LogKeys([log.signer.verifier]))
    identity = sealed_facts.identity(1, item.facts)
    return trace_pb2.TraceEvent(identity=identity, sealed=log.sealed(0, log.size)), checkpoints


def test_the_client_finds_who_signed_and_believes_no_signature_that_does_not_hold() -> None:
    key = MerchantKey.of(ED.public_key())
    keys = MerchantKeys({1: {key.kid: key}})
    assert verify_event(*answered(GOOD.encode()), keys).signed_by == key.kid
    assert verify_event(*answered(GOOD.encode())).signed_by is None
    assert verify_event(*answered(sign(EVENT, EC).encode()), keys).signed_by is None
    message, checkpoints = answered(
        FORGED["other event"].encode()
    )  # the log itself sealed what was never signed
    with pytest.raises(SignatureError, match=r"goods/0\[0\]"):
        verify_event(message, checkpoints, keys)
    message, checkpoints = answered(GOOD.encode())
    message.sealed.parts.remove(next(part for part in message.sealed.parts if part.name == PART))
    found = verify_event(message, checkpoints, keys)
    assert (found.signed_by, found.position.withheld) == (None, (PART,))


def test_a_client_checks_by_the_keys_it_trusts(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"1": [dict(MerchantKey.of(ED.public_key()).jwk)]}))
    keys = MerchantKeys.load(path)
    assert keys.verify(1, GOOD.encode(), EVENT) == MerchantKey.of(ED.public_key()).kid
    assert keys.verify(2, GOOD.encode(), EVENT) is None
    assert keys.verify(1, sign(EVENT, STRANGER).encode(), EVENT) is None
    for signature, content in ((GOOD.encode(), EVENT + b" "), (b"\xff", EVENT), (b"a..b", EVENT)):
        with pytest.raises(SignatureError):
            keys.verify(1, signature, content)
    for text in ("{", "[]", '{"x": []}', '{"1": [{}]}', '{"1": [], "1": []}'):
        path.write_text(text)
        with pytest.raises(TrustFileError, match=r"keys\.json"):
            MerchantKeys.load(path)
