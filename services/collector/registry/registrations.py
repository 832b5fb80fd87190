"""A registration as a record of its own: sealed like an event, and what the documents in MongoDB follow from. Pure.

The record has two parts: `registration`, the canonical JSON {"content", "key", "merchant", "what"}, and `facts`, which carry its names through
the stages. It is found by the tag of its key of kind REGISTRATION, and never by the tags of events.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from goodstrace import facts as facts_format
from goodstrace.entry import ID_BYTES, SALT_BYTES, Kind
from goodstrace.facts import PIPELINE_VERSION, Facts, Role
from goodstrace.registration import TYPE, content_hash
from services.collector.flow import FACTS_PART, REGISTRATION_PART, Item
from services.collector.goods import Change
from services.collector.record import lot_number, numbered_lot
from services.runtime.envelope import Committed, Part, Record
from services.runtime.errors import EnvelopeError
from services.runtime.merchants.values import What

Changes = dict[What, dict[Any, Change]]
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class Registration(msgspec.Struct, frozen=True):
    """Who registered what: `content` is a Merchant, Goods or Place as JSON values."""

    what: What
    key: str
    merchant: int
    content: dict[str, Any]


class Registered(msgspec.Struct, frozen=True):
    """A registration with the record that holds it, hex, and its time."""

    registration: Registration
    record: str
    time_ms: int


_DECODER: Final = msgspec.json.Decoder(Registration)


def item_of(registration: Registration, time_ms: int, random: Callable[[int], bytes]) -> Item:
    """Make the record of a registration, for `goods.collected`: each is one of its own, also with content of before."""
    content = _ENCODER.encode(registration)
    record_id = random(ID_BYTES)
    lot = _lot_of(registration)
    facts = Facts(
        event_id=f"urn:goodstrace:registration:{record_id.hex()}",
        event_hash=content_hash(content),
        type=TYPE,
        time_us=time_ms * 1000,
        offset="+00:00",
        pipeline=PIPELINE_VERSION,
        keys={Role.REGISTERED: tuple(sorted({registration.key, lot} - {""}))},
        lot_of={registration.key: lot} if lot else {},
    )
    record = Record(
        id=record_id,
        kind=Kind.REGISTRATION,
        time_ms=time_ms,
        pipeline_version=PIPELINE_VERSION,
        parts=(
            Part(REGISTRATION_PART, random(SALT_BYTES), content),
            Part(FACTS_PART, random(SALT_BYTES), facts_format.encode(facts)),
        ),
        capture_id=random(ID_BYTES),
        capture_size=1,
        merchant=registration.merchant,
    )
    return Item(record, facts)


def _lot_of(registration: Registration) -> str:
    """Give the lot that an item is registered as of, by its attributes: by it the item is found too, when the lot is traced."""
    if registration.what is not What.GOODS:
        return ""
    return numbered_lot(registration.key, lot_number(registration.content.get("attributes", {})))


def registered(record: Committed) -> Registered:
    """Read a registration's record. Raises: EnvelopeError where it is none."""
    try:
        found = _DECODER.decode(record.part(REGISTRATION_PART).content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeError(f"record {record.id.hex()} is no registration: {error}") from error
    return Registered(found, record.id.hex(), record.time_ms)


def changes(records: Iterable[Committed]) -> Changes:
    """Gather what registrations among records say, as one upsert's operators for each document.

    The newest counts, by time, then record ID: the order of records, a batch done twice and a replay all end the same.
    Raises: EnvelopeError.
    """
    found: Changes = {}
    for record in records:
        if record.kind is Kind.REGISTRATION:
            each = registered(record)
            told = found.setdefault(each.registration.what, {})
            own, value = document_id(each.registration), document(each)
            known = told.get(own)
            if known is None or _stamp(known["$max"]["registered"]) < _stamp(value):
                told[own] = {"$max": {"registered": value}}
    return found


def document_id(registration: Registration) -> int | str:
    """Give the `_id` of the document that a registration is about."""
    return registration.merchant if registration.what is What.MERCHANT else registration.key


def document(each: Registered) -> dict[str, Any]:
    """Give the `registered` field of a document. MongoDB compares it field by field, in this order: time first."""
    return {
        "time_ms": each.time_ms,
        "record": each.record,
        "merchant": each.registration.merchant,
        "content": each.registration.content,
    }


def _stamp(value: dict[str, Any]) -> tuple[int, str]:
    return value["time_ms"], value["record"]
