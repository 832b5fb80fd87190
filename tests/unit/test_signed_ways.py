"""Signed events by every way in: XML documents, messages of CaptureService, lines of a stream, messages of the ingress."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from goodstrace.collector.v1 import capture_pb2 as wire
from goodstrace.errors import SignatureError
from goodstrace.signatures import MAX_CHARACTERS, NAMESPACE, PART, MerchantKey, parse, sign
from goodstrace.signing import sign_document
from services.collector.arrivals import Arrival, take
from services.collector.capture_messages import check_size, request_of
from services.collector.collect import Rules
from services.collector.documents import Limits, read
from services.collector.errors import DocumentError
from services.collector.flow import Item, Rejected
from services.collector.preparing import Line, Ports, Prepared, Preparer, Request
from services.collector.registry.gate import Caller
from services.runtime.settings import KafkaSettings
from tests.unit.capture_api import open_gate
from tests.unit.collector_builders import NOW_MS, counted, document, object_event

SHARED = Path(__file__).parents[3] / "shared" / "data" / "epcis"
ANN = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = MerchantKey.of(ANN.public_key())
CALLER = Caller(5, keys={KEY.kid: KEY})
EVENT = json.dumps(object_event()).encode()
XML_EVENT = (
    "<ObjectEvent><eventTime>2026-01-02T03:04:05Z</eventTime><eventTimeZoneOffset>+00:00</eventTimeZoneOffset>"
    "<epcList><epc>urn:epc:id:sgtin:0614141.107346.{}</epc></epcList><action>OBSERVE</action></ObjectEvent>"
)


def xml(*serials: int, beside: str = "", before: str = "", head: str = "") -> bytes:
    events = "\n".join(XML_EVENT.format(serial) for serial in serials)
    return (
        f'<?xml version="1.0"?>\n<e:EPCISDocument xmlns:e="urn:epcglobal:epcis:xsd:2"{head} schemaVersion="2.0"'
        f' creationDate="2026-01-02T03:04:05Z">{before}<EPCISBody><EventList>{events}</EventList></EPCISBody>{beside}'
        "</e:EPCISDocument>\n"
    ).encode()


def preparer() -> Preparer:
    kafka = KafkaSettings()  # type: ignore[call-arg]  # the mypy of pydantic sees aliases only
    return Preparer(kafka, open_gate(1), Limits(), Rules(), Ports(lambda: NOW_MS, counted()))


def signatures_of(prepared: Prepared) -> list[bytes | None]:
    """What was sealed beside each event; each holds over its exact bytes."""
    found: list[bytes | None] = []
    for each in prepared.sent:
        assert isinstance(each.outcome, Item), each.fault
        parts = {part.name: part.content for part in each.outcome.record.parts}
        found.append(parts.get(PART))
        if PART in parts:
            parse(parts[PART].decode()).verify(parts["event"], KEY)
    return found


def test_a_document_in_xml_carries_its_signatures_in_an_element_of_their_own() -> None:
    whole = sign_document(xml(1, 2), ANN)
    assert whole.replace(whole[whole.index(b"<gst:") : whole.index(b"</e:EPCISDocument>")], b"") == xml(1, 2)
    prepared = preparer().document(Request(CALLER, whole))
    assert len([each for each in signatures_of(prepared) if each]) == 2
    with pytest.raises(SignatureError, match="signed already"):
        sign_document(whole, ANN)
    for wrong in (b"<a/>", b"<a", b"<!DOCTYPE a><a/>", b"\xff<a/>", b"<\xff/>"):
        with pytest.raises(SignatureError):
            sign_document(wrong, ANN)


def test_an_event_without_a_signature_among_signed_ones_has_an_empty_element() -> None:
    one = sign(XML_EVENT.format(1).encode(), ANN)
    listed = f"<signature>{one}</signature><signature/>"
    for place in ("beside", "before"):
        body = xml(1, 2, **{place: f'<signatures xmlns="{NAMESPACE}">{listed}</signatures>'})
        assert signatures_of(preparer().document(Request(CALLER, body))) == [one.encode(), None]


@pytest.mark.parametrize(
    "beside",
    [
        "<s:signatures/><s:signatures/>",
        "<s:signatures><s:signature/></s:signatures>",
        "<s:signatures><s:signature/><s:signature/><s:signature/></s:signatures>",
        "<s:signature/>",
        "<x><s:signatures><s:signature/><s:signature/></s:signatures></x>",
        "<s:signatures><s:signature><s:signature/></s:signature><s:signature/></s:signatures>",
        "<s:signatures><s:signature><x/></s:signature><s:signature/></s:signatures>",
        f"<s:signatures><s:signature>{'x' * (MAX_CHARACTERS + 1)}</s:signature><s:signature/></s:signatures>",
        "<s:else/>",
        f'<t:signatures xmlns:t="{NAMESPACE[:-1]}"><t:signature>x</t:signature></t:signatures>',
    ],
)
def test_signatures_that_do_not_fit_an_xml_document_are_a_fault_of_it(beside: str) -> None:
    with pytest.raises(DocumentError):
        read(xml(1, 2, beside=beside, head=f' xmlns:s="{NAMESPACE}"'), Limits())


@pytest.mark.parametrize("path", sorted(SHARED.rglob("*.xml")), ids=lambda path: path.name)
def test_what_is_signed_in_the_shared_documents_is_what_the_collector_cuts(path: Path) -> None:
    body = path.read_bytes()
    try:
        cut = read(body, Limits())
    except DocumentError:
        return
    if cut.place is None:
        with pytest.raises(SignatureError):
            sign_document(body, ANN)
        return
    found = read(sign_document(body, ANN), Limits())
    assert found.events == cut.events
    for event, signature in zip(found.events, found.signatures, strict=True):
        assert signature is not None
        parse(signature).verify(event, KEY)


def sending(**content: bytes | list[str]) -> Request:
    made = request_of(wire.Sending(sequence=1, **content), -1, CALLER)  # type: ignore[arg-type]
    check_size(made)
    return made


def test_messages_of_capture_service_have_a_field_for_signatures() -> None:
    good = sign(EVENT, ANN)
    assert signatures_of(preparer().document(sending(event=EVENT, signatures=[good]))) == [good.encode()]
    two = document(object_event(), object_event(eventID="urn:e:2"))
    assert signatures_of(preparer().document(sending(document=two, signatures=[good, ""]))) == [
        good.encode(),
        None,
    ]
    in_xml = sign(XML_EVENT.format(1).encode(), ANN)
    assert signatures_of(preparer().document(sending(document=xml(1), signatures=[in_xml]))) == [
        in_xml.encode()
    ]
    assert signatures_of(preparer().document(sending(document=sign_document(two, ANN)))) != [None, None]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ({"event": EVENT, "signatures": [sign(EVENT + b" ", ANN)]}, "does not hold"),
        (
            {"event": EVENT, "signatures": [sign(EVENT, Ed25519PrivateKey.generate())]},
            "none of the merchant's",
        ),
        ({"event": EVENT, "signatures": ["x"]}, "not a detached JWS"),
        ({"event": EVENT, "signatures": ["x" * (MAX_CHARACTERS + 1)]}, "over 1024 characters"),
        ({"event": EVENT, "signatures": [sign(EVENT, ANN)] * 2}, "2 signatures for 1 events"),
        (
            {"document": sign_document(document(object_event()), ANN), "signatures": ["x"]},
            "beside it as well",
        ),
        ({"event": EVENT, "signatures": ["x" * 1024] * 4096}, "over 4194304 bytes"),
    ],
)
def test_signatures_in_a_message_that_do_not_hold_or_fit_are_refused(
    content: dict[str, bytes | list[str]], detail: str
) -> None:
    with pytest.raises(DocumentError) as refused:
        preparer().document(sending(**content))
    assert detail in refused.value.faults[0].detail


@pytest.mark.parametrize("whole", [sign_document(document(object_event()), ANN), sign_document(xml(1), ANN)])
def test_lines_and_messages_of_the_ingress_are_signed_as_documents(whole: bytes) -> None:
    line = whole.replace(b"\n", b" ")
    prepared = preparer().lines(Request(CALLER, b""), [Line(1, line), Line(2, EVENT)])
    signed, bare = signatures_of(prepared)
    assert (signed is not None, bare) == (True, None)
    taken = take(preparer(), Arrival("goods.ingress", 0, 1, CALLER, whole))
    assert signatures_of(taken) == [signed]
    forged = whole.replace(b"2026-01-02", b"2026-01-03")
    (refused,) = take(preparer(), Arrival("goods.ingress", 0, 1, CALLER, forged)).sent
    assert isinstance(refused.outcome, Rejected)
    assert "does not hold" in (refused.fault.detail if refused.fault else "")
