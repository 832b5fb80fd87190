"""Merchants' keys out of proved registrations: which counts when, and every lie about them."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from goodstrace import facts as sealed_facts
from goodstrace.cli.signers import signers
from goodstrace.client import Client
from goodstrace.entry import Kind
from goodstrace.errors import AnswerError, SignatureError
from goodstrace.query.v1 import registrations_pb2, trace_pb2
from goodstrace.registration import PART as REGISTRATION_PART
from goodstrace.registration import merchant_key
from goodstrace.registrations import LEEWAY_MS
from goodstrace.signatures import PART, MerchantKey, MerchantKeys, sign
from goodstrace.verification import VerifiedEvent
from tests.unit.collector_builders import collected, document, object_event
from tests.unit.fake_services import ClientOf, FakeLog, FakeServices

OLD, NEW, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([each]) * 32) for each in (1, 2, 3))
DAY_MS = 86_400_000
T0 = 1_800_000_000_000
KEY = merchant_key(1)


def jwk(private: Ed25519PrivateKey) -> dict[str, str]:
    return dict(MerchantKey.of(private.public_key()).jwk)


def kid(private: Ed25519PrivateKey) -> str:
    return MerchantKey.of(private.public_key()).kid


def register(log: FakeLog, day: float, *keys: Ed25519PrivateKey, **changes: Any) -> int:
    told = {
        "what": "merchant",
        "key": KEY,
        "merchant": 1,
        "content": {"name": "Ann", "signingKeys": [*map(jwk, keys)]},
    }
    content = json.dumps({**told, **changes}, sort_keys=True).encode()
    return log.append(Kind.REGISTRATION, {REGISTRATION_PART: content}, T0 + int(day * DAY_MS))


class Scene:
    """One goods log with registrations and one signed event, and the answers that show them."""

    def __init__(self, services: FakeServices, client_of: ClientOf) -> None:
        self.services, self.client_of = services, client_of
        self.log = services.logs["goods/0"] = FakeLog("goods/0")

    def event(self, day: float, private: Ed25519PrivateKey, signature: bytes = b"") -> int:
        (sent,) = collected(document(object_event()))
        self.identity = sealed_facts.identity(1, sent.outcome.facts)  # type: ignore[union-attr]
        parts = {part.name: part.content for part in sent.outcome.record.parts}
        parts[PART] = signature or sign(parts["event"], private).encode()
        return self.log.append(Kind.EVENT, parts, T0 + int(day * DAY_MS))

    def client(self, event: int, registrations: list[int], pages: int = 1, **options: Any) -> Client:
        sealed = trace_pb2.TraceEvent(identity=self.identity, sealed=self.log.sealed(event))
        checkpoints = [self.log.checkpoint()]
        self.services.events = [
            trace_pb2.GetEventResponse(events=[sealed], checkpoints=checkpoints, total_events=1)
        ]
        cut = [registrations[each::pages] for each in range(pages)]
        self.services.registrations = [
            registrations_pb2.GetRegistrationsResponse(
                registrations=[self.log.sealed(each) for each in page],
                checkpoints=checkpoints,
                next_page_token=str(number + 1) if number + 1 < pages else "",
            )
            for number, page in enumerate(cut)
        ]
        return self.client_of(**{"registered_keys": True, **options})

    def seen(self, event: int, registrations: list[int], **options: Any) -> VerifiedEvent:
        client = self.client(event, registrations, **options)
        (found,) = client.event(object_event()["eventID"])
        return found.event


@pytest.fixture
def scene(services: FakeServices, client_of: ClientOf) -> Scene:
    return Scene(services, client_of)


@pytest.mark.parametrize("pages", [1, 2, 3])
def test_an_event_is_signed_by_the_key_that_was_registered_then(scene: Scene, pages: int) -> None:
    first, second, third = register(scene.log, 0, OLD), register(scene.log, 10, NEW), register(scene.log, 20)
    event = scene.event(11, NEW)
    seen = scene.seen(event, [third, second, first], pages=pages)
    assert seen.signed_by == kid(NEW)
    assert seen.registration is not None
    assert (seen.registration.log, seen.registration.index) == ("goods/0", second)
    (line,) = signers([seen])
    assert line.startswith(
        f"signed: 1 events by merchant 1 over their exact bytes, key {kid(NEW)}, registered in goods/0[1]"
    )
    asked = [
        each
        for each in scene.services.requests
        if isinstance(each, registrations_pb2.GetRegistrationsRequest)
    ]
    assert {each.key for each in asked} == {KEY}


@pytest.mark.parametrize(
    ("day", "private", "counts"),
    [
        (-1, OLD, False),  # before it was registered
        (5, OLD, True),
        (5, NEW, False),  # registered later
        (15, OLD, False),  # taken out
        (15, NEW, True),
        (15, STRANGER, False),
        (10 + LEEWAY_MS / 2 / DAY_MS, OLD, True),  # a collector may not have noticed yet
        (10 - LEEWAY_MS / 2 / DAY_MS, NEW, True),  # clocks differ
        (10 + LEEWAY_MS * 2 / DAY_MS, OLD, False),
    ],
)
def test_a_key_counts_as_long_as_it_is_registered(
    scene: Scene, day: float, private: Ed25519PrivateKey, *, counts: bool
) -> None:
    first, second = register(scene.log, 0, OLD), register(scene.log, 10, NEW)
    seen = scene.seen(scene.event(day, private), [second, first])
    assert (seen.signed_by, seen.registration is not None) == (
        (kid(private), True) if counts else (None, False)
    )


def test_a_key_that_was_given_goes_before_and_asks_nobody(scene: Scene) -> None:
    first = register(scene.log, 0, OLD)
    event = scene.event(1, OLD)
    given = MerchantKeys({1: {kid(OLD): MerchantKey.of(OLD.public_key())}})
    seen = scene.seen(event, [first], merchant_keys=given)
    assert (seen.signed_by, seen.registration) == (kid(OLD), None)
    assert [type(each) for each in scene.services.requests] == [trace_pb2.GetEventRequest]
    assert "which you were given" in next(signers([seen]))
    seen = scene.seen(scene.event(1, OLD), [first], registered_keys=False)
    assert (seen.signed_by, seen.registration) == (None, None)


def test_a_signature_by_a_registered_key_that_does_not_hold_refuses_the_answer(scene: Scene) -> None:
    first = register(scene.log, 0, OLD)
    with pytest.raises(SignatureError, match=r"goods/0\[1\]"):
        scene.seen(scene.event(1, OLD, sign(b"{}", OLD).encode()), [first])
    with pytest.raises(SignatureError):
        scene.seen(scene.event(1, OLD, b"\xff"), [first])


@pytest.mark.parametrize(
    "lie",
    [
        {"key": merchant_key(2)},
        {"merchant": 2},
        {"what": 1},
        {"content": []},
        {"content": {"signingKeys": [{"kty": "oct"}]}},
    ],
)
def test_a_registration_that_is_none_of_the_merchant_refuses_the_answer(scene: Scene, lie: Any) -> None:
    first = register(scene.log, 0, OLD, **lie)
    with pytest.raises((AnswerError, SignatureError)):
        scene.seen(scene.event(1, OLD), [first])


def test_an_event_shown_as_a_registration_and_one_shown_twice_refuse_the_answer(scene: Scene) -> None:
    first = register(scene.log, 0, OLD)
    event = scene.event(1, OLD)
    with pytest.raises(AnswerError, match="where a registration should"):
        scene.seen(event, [event])
    with pytest.raises(AnswerError, match="twice"):
        scene.seen(event, [first, first])


def test_what_is_withheld_of_a_registration_names_no_key(scene: Scene) -> None:
    first = register(scene.log, 0, OLD)
    client = scene.client(scene.event(1, OLD), [first])
    del scene.services.registrations[0].registrations[0].parts[:]
    (found,) = client.event(object_event()["eventID"])
    assert found.event.signed_by is None
    (registration,) = client.registrations(KEY)
    assert (registration.content, registration.what) == (None, "")


def test_an_event_that_was_signed_later_is_signed_at_its_other_place(scene: Scene) -> None:
    first = register(scene.log, 0, OLD)
    signed = scene.event(2, OLD)
    parts = {name: content for name, _, content in scene.log.records[signed][1] if name != PART}
    bare = scene.log.append(Kind.EVENT, parts, T0 + DAY_MS)
    client = scene.client(bare, [first])
    scene.services.events[0].events[0].also_at.append(scene.log.sealed(signed))
    (found,) = client.event(object_event()["eventID"])
    assert found.event.signed_by == kid(OLD)
    assert found.event.signed_at == found.event.also_at[0]
    given = MerchantKeys({1: {kid(OLD): MerchantKey.of(OLD.public_key())}})
    client = scene.client(bare, [first], merchant_keys=given)
    scene.services.events[0].events[0].also_at.append(scene.log.sealed(signed))
    (found,) = client.event(object_event()["eventID"])
    assert (found.event.signed_at, found.event.registration) == (found.event.also_at[0], None)


def test_a_signature_at_a_place_that_does_not_show_whose_it_is_is_nobodys(scene: Scene) -> None:
    # It may be of any other event of this merchant: without its facts a place has the identity that the service says.
    first = register(scene.log, 0, OLD)
    signed = scene.event(2, OLD)
    parts = {name: content for name, _, content in scene.log.records[signed][1]}
    unsigned = scene.log.append(Kind.EVENT, {k: v for k, v in parts.items() if k != PART}, T0 + DAY_MS)
    elsewhere = scene.log.append(Kind.EVENT, {k: v for k, v in parts.items() if k != "facts"}, T0 + DAY_MS)
    given = MerchantKeys({1: {kid(OLD): MerchantKey.of(OLD.public_key())}})
    for merchant_keys in (None, given):
        client = scene.client(unsigned, [first], merchant_keys=merchant_keys)
        scene.services.events[0].events[0].also_at.append(scene.log.sealed(elsewhere))
        (found,) = client.event(object_event()["eventID"])
        assert (found.event.signed_by, found.event.signed_at) == (None, None)
        assert found.event.also_at
        assert found.event.shown_at == (found.event.position,)


def test_registrations_are_listed_newest_first(scene: Scene) -> None:
    places = [register(scene.log, day, OLD) for day in (3, 1, 2)]
    scene.client(scene.event(4, OLD), places)
    found = scene.client(scene.event(4, OLD), places).registrations(KEY)
    assert [each.entry.index for each in found] == [0, 2, 1]
    assert [each.what for each in found] == ["merchant"] * 3
