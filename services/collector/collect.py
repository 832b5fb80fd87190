"""Stage `collect`: from a document's bytes to records. The only stage with a clock and randomness, and they are passed in.

Made here once and for all, and never touched by later stages: event ID and hash, event time and offset, the digest of an
errorDeclaration (all three are the event's identity), the effective @context, the flag `future-time`, the names of the operator's
books that `classify` goes by. Personal data is taken out of the event before any of these is made (docs/personal-data.md).
"""

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from goodstrace import facts as facts_format
from goodstrace import signatures
from goodstrace.entry import ID_BYTES, SALT_BYTES, Kind
from goodstrace.errors import SignatureError
from goodstrace.event_content import is_xml
from goodstrace.event_hash import EventHashError, Hasher
from goodstrace.facts import PIPELINE_VERSION, Correction, Facts, Flag
from goodstrace.signatures import MEMBER, MerchantKey
from goodstrace.vocabulary import term
from services.collector.documents import Document
from services.collector.errors import DocumentError, Fault
from services.collector.flow import (
    CONTEXT_PART,
    DOCUMENT_PART,
    EVENT_PART,
    FACTS_PART,
    MAX_COLLECTED_BYTES,
    MAX_CONTEXT_BYTES,
    SIGNATURE_PART,
    Item,
    Reason,
    Rejected,
    StageName,
    reject,
)
from services.collector.personal.apart import apart, bared, refusal, sealed, unread
from services.collector.personal.finding import Finder
from services.collector.personal.table import Table, built_in
from services.collector.registry.claims import Speech
from services.collector.registry.origin import foreign
from services.collector.registry.ranges import Asked, goods_asked
from services.collector.strict_json import pointer
from services.collector.times import parse_time
from services.collector.validation import check_event
from services.runtime import partitioner
from services.runtime.envelope import Part, Record
from services.runtime.errors import ServiceError
from services.runtime.merchants.values import PersonalData
from services.runtime.personal_values import PersonalKey

_RANDOM_BYTES: Final = ID_BYTES + 2 * SALT_BYTES
_SORTED: Final = msgspec.json.Encoder(order="sorted").encode


class Stamp(msgspec.Struct, frozen=True):
    """What all records of one capture share.

    `time_ms` is the record time in Unix milliseconds; `speech` which goods the merchant may speak for, None: all; `keys` those
    it may sign with, by ID; `personal` what becomes of personal data in its events.
    """

    capture_id: bytes
    merchant: int
    time_ms: int
    traceparent: str = ""
    speech: Speech | None = None
    keys: Mapping[str, MerchantKey] = MappingProxyType({})
    personal: PersonalData = PersonalData.MOVE


class Rules(msgspec.Struct, frozen=True):
    """What an operator may set: the largest event, how far ahead its time may be before it is flagged, books of their own.

    step_table, rule_sets: names of the operator's table of steps and rules, by which `classify` shall go; empty for none.
    personal: the table of what is about a person; None for the program's.
    """

    event_bytes: int = 1024 * 1024
    future_tolerance_ms: int = 5 * 60 * 1000
    step_table: str = ""
    rule_sets: tuple[str, ...] = ()
    personal: Table | None = None


class Sent(msgspec.Struct, frozen=True):
    """One event after `collect`: an item for `goods.collected` or a rejection, and its partition key.

    `personal`: what its part `personal` is encrypted with, to be kept before the record goes to Kafka. `goods`: keys of which the facts want
    to know what is registered, see `ranging.py`.
    """

    outcome: Item | Rejected
    key: bytes
    fault: Fault | None = None
    personal: PersonalKey | None = None
    goods: Asked = Asked()


class _Around(msgspec.Struct, frozen=True):
    """What is worked out once for all events with the same context around them: all of a JSON document, most of an XML one.

    hash_ignores: of the document, as the facts name them.
    """

    context: Any
    hasher: Hasher
    finder: Finder
    hash_ignores: tuple[str, ...]


def collect(
    document: Document,
    stamp: Stamp,
    rules: Rules,
    random: Callable[[int], bytes],
    failed: Callable[[Exception], None] | None = None,
) -> list[Sent]:
    """Check every event of a document and make its record.

    Args:
        document: as `documents.read` gave it.
        stamp: what the records share.
        rules: what an operator may set.
        random: gives as many random bytes as asked for.
        failed: told of what is raised over an event, which is refused as FAULT then; None: it is raised.
    Returns: in the order of the document, what each event became. Bad events are values; nothing is raised on purpose.
    """
    size = len(document.events)
    sent = []
    around: _Around | None = None
    for sequence, event in enumerate(document.events):
        context = document.context_of(sequence)
        fresh = random(_RANDOM_BYTES)
        record = Record(
            id=fresh[:ID_BYTES],
            kind=Kind.EVENT,
            time_ms=stamp.time_ms,
            pipeline_version=PIPELINE_VERSION,
            parts=(Part(EVENT_PART, fresh[ID_BYTES : ID_BYTES + SALT_BYTES], event),),
            capture_id=stamp.capture_id,
            sequence=sequence,
            capture_size=size,
            merchant=stamp.merchant,
            traceparent=stamp.traceparent,
        )
        salt = fresh[ID_BYTES + SALT_BYTES :]
        signature = document.signature(sequence)
        if signature is not None:
            part = Part(SIGNATURE_PART, random(SALT_BYTES), signature.encode(errors="replace"))
            record = msgspec.structs.replace(record, parts=(*record.parts, part))
        try:
            if around is None or context is not around.context:
                around = _around(document, context, rules)
            made = _collect_event(document, record, around, salt, rules, stamp, random)
        except (ServiceError, MemoryError):  # no fault of the event
            raise
        except Exception as error:
            if failed is None:
                raise
            failed(error)
            made = _fault_over(document, record, rules, error)
        sent.append(_with_context(made, context, salt) if made.fault else made)
    return sent


def _around(document: Document, context: Any, rules: Rules) -> _Around:
    return _Around(
        context,
        Hasher(context, ignore=document.ignored),
        Finder(context, rules.personal or built_in()),
        tuple(sorted(document.ignored)),
    )


def _collect_event(  # noqa: PLR0917 - what `collect` has
    document: Document,
    record: Record,
    around: _Around,
    salt: bytes,
    rules: Rules,
    stamp: Stamp,
    random: Callable[[int], bytes],
) -> Sent:
    content, table = record.parts[0].content, around.finder.table
    if len(content) > rules.event_bytes:
        fault = Fault("", f"the event is over {rules.event_bytes} bytes")
        return _refuse(document, unread(record, around.context, table), Reason.TOO_LARGE, fault)
    try:
        event = document.decode(record.sequence)
    except DocumentError as error:
        return _refuse_at(error.faults[0], unread(record, around.context, table), Reason.INVALID)
    taken = apart(document, record.sequence, event, around.finder)
    found = _fault_of(event, around.context, record, stamp) or (
        refusal(taken, record, stamp.personal) if taken is not None else None
    )
    if found is not None:
        return _refuse(document, bared(record, taken) if taken else record, *found)
    bare, key = record, b""
    if taken is not None:
        event, bare = taken.event, bared(record, taken)
        record, key = sealed(record, taken, random)
    try:
        facts = _first_facts(event, around, record, rules)
    except EventHashError as error:
        return _refuse(document, bare, Reason.INVALID, Fault("", str(error)))
    part = Part(FACTS_PART, salt, facts_format.encode(facts))
    parts = (*record.parts, part)  # facts last: later stages write them anew, and nothing behind them
    if sum(len(each.content) for each in parts) > MAX_COLLECTED_BYTES:
        fault = Fault("", f"the event with its @context is over {MAX_COLLECTED_BYTES} bytes")
        return _refuse(document, bare, Reason.TOO_LARGE, fault)
    whole = msgspec.structs.replace(record, parts=parts)
    made = PersonalKey(record.id, key, record.merchant, facts.event_id, record.time_ms) if key else None
    key_of_partition = partitioner.event_key(record.merchant, facts.event_id)
    return Sent(Item(whole, facts, event), key_of_partition, None, made, goods_asked(event))


def _fault_of(event: Any, context: Any, record: Record, stamp: Stamp) -> tuple[Reason, Fault] | None:
    fault = check_event(event, context) or _misplaced(event) or _signature_fault(record, stamp.keys)
    if fault is not None:
        return Reason.INVALID, fault
    fault = foreign(event, stamp.speech) if stamp.speech is not None else None
    return (Reason.FORBIDDEN, fault) if fault is not None else None


def _misplaced(event: dict[str, Any]) -> Fault | None:
    """See that no signature lies where nobody reads it: its sender believes that the event is signed."""
    if MEMBER not in event:
        return None
    return Fault(pointer(MEMBER), f"signatures are the member `{MEMBER}` at the top of a document")


def _signature_fault(record: Record, keys: Mapping[str, MerchantKey]) -> Fault | None:
    """Check the signature over an event, where it has one: nobody shall find one sealed that does not hold."""
    event, *signature = record.parts
    if not signature:
        return None
    try:
        detached = signatures.parse(signature[0].content.decode())
        key = keys.get(detached.kid)
        if key is None:
            return Fault(
                "", f"its signature names the key {detached.kid[:64]!r}, which is none of the merchant's"
            )
        detached.verify(event.content, key)
    except SignatureError as error:
        return Fault("", f"its signature is refused: {error}")
    return None


def _fault_over(document: Document, record: Record, rules: Rules, error: Exception) -> Sent:
    """Refuse an event over which the program failed: of what could not be read nothing is kept that may hold personal data."""
    told = f"collecting failed over it ({type(error).__name__}): the collector's log says more"
    kept = unread(record, document.context_of(record.sequence), rules.personal or built_in())
    if kept is not record:
        told += "; its content is not kept, since it may hold personal data"
    return _refuse(document, kept, Reason.FAULT, Fault("", told))


def _refuse(document: Document, record: Record, reason: Reason, fault: Fault) -> Sent:
    return _refuse_at(document.placed(record.sequence, fault), record, reason)


def _refuse_at(placed: Fault, record: Record, reason: Reason) -> Sent:
    """Refuse an event; where it goes is decided by its bytes, since it may not have an ID."""
    digest = hashlib.sha256(record.parts[0].content).hexdigest()
    detail = f"{placed.pointer or '/'}: {placed.detail}"
    refused = reject(record, StageName.COLLECT, reason, detail, pointer=placed.pointer)
    return Sent(refused, partitioner.event_key(record.merchant, digest), placed)


def _with_context(refused: Sent, context: Any, salt: bytes) -> Sent:
    """Keep the document's @context with a refused event, which may mean nothing without: empty where it is too long."""
    if context is None:
        return refused
    text = msgspec.json.encode(context)
    part = Part(CONTEXT_PART, salt, text if len(text) <= MAX_CONTEXT_BYTES else b"")
    record = refused.outcome.record
    whole = Rejected(msgspec.structs.replace(record, parts=(*record.parts, part)))
    return msgspec.structs.replace(refused, outcome=whole)


def refuse_whole(
    body: bytes, stamp: Stamp, reason: Reason, fault: Fault, random: Callable[[int], bytes]
) -> Sent:
    """Refuse what is no document of events, as one record with the part `document`; without it where `body` is empty."""
    fresh = random(ID_BYTES + SALT_BYTES)
    record = Record(
        id=fresh[:ID_BYTES],
        kind=Kind.EVENT,
        time_ms=stamp.time_ms,
        pipeline_version=PIPELINE_VERSION,
        parts=(Part(DOCUMENT_PART, fresh[ID_BYTES:], body),) if body else (),
        capture_id=stamp.capture_id,
        capture_size=1,
        merchant=stamp.merchant,
        traceparent=stamp.traceparent,
    )
    key = partitioner.event_key(stamp.merchant, hashlib.sha256(body).hexdigest())
    refused = reject(record, StageName.COLLECT, reason, fault.detail, pointer=fault.pointer)
    return Sent(refused, key, fault)


def _first_facts(event: dict[str, Any], around: _Around, record: Record, rules: Rules) -> Facts:
    offset = event["eventTimeZoneOffset"]
    time_us = parse_time(event["eventTime"], offset)
    if time_us is None:
        raise AssertionError("check_event lets no other event time pass")
    context = around.context
    own = around.hasher.event_hash(event)
    ahead = time_us > (record.time_ms + rules.future_tolerance_ms) * 1000
    return Facts(
        event_id=event.get("eventID", own),
        event_hash=own,
        type=event["type"],
        time_us=time_us,
        offset=offset,
        pipeline=PIPELINE_VERSION,
        context=context if is_xml(record.parts[0].content) else _context(context, event.get("@context")),
        correction=_correction(event.get("errorDeclaration"), offset),
        flags=(Flag.FUTURE_TIME,) if ahead else (),
        hash_ignores=around.hash_ignores,
        rule_sets=rules.rule_sets,
        step_table=rules.step_table,
    )


def _context(outer: Any, inner: Any) -> Any:
    """Join the document's @context and the event's own, which counts after it."""
    if outer is None or inner is None:
        return outer if inner is None else inner
    return [*_listed(outer), *_listed(inner)]


def _listed(context: Any) -> list[Any]:
    return context if isinstance(context, list) else [context]


def _correction(declaration: dict[str, Any] | None, offset: str) -> Correction | None:
    """Note an errorDeclaration; its digest is over compact JSON with sorted keys, as decoded."""
    if declaration is None:
        return None
    reason = declaration.get("reason", "")
    return Correction(
        digest=hashlib.sha256(_SORTED(declaration)).hexdigest(),
        time_us=parse_time(declaration["declarationTime"], offset) or 0,
        corrective_ids=tuple(declaration.get("correctiveEventIDs", ())),
        reason=term("er", reason) or reason,
    )
