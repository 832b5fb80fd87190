"""What was refused, as people work on it: listed, shown, corrected, sent again. Pure.

The record itself, with all its bytes, stays on `goods.rejected`; what is kept beside it says where it lies. A duplicate is no
failure, and its content is mostly that of a sealed record: it is listed by its IDs alone. What became of the event is told by the first one.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from goodstrace.event_content import is_xml
from services.collector.flow import CONTEXT_PART, DOCUMENT_PART, EVENT_PART, Reason, StageName
from services.collector.jobs import Seen, timestamp, verdict_on
from services.collector.xml_documents import enclose
from services.runtime.envelope import Record, content_of

_SCHEMA_VERSION: Final = b'"schemaVersion":"2.0","type":"EPCISDocument"'


class State(StrEnum):
    """How far people have come with a rejection; a closed set. SETTLED: there is nothing to do, as with duplicates."""

    OPEN = "open"
    RESUBMITTED = "resubmitted"
    SETTLED = "settled"


class Again(msgspec.Struct, frozen=True):
    """A resubmission: the capture that it became and the records of its events; `corrected` where the content was changed."""

    capture: str
    records: tuple[str, ...]
    time_ms: int
    corrected: bool


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """One refused record. IDs are hex; times Unix milliseconds; `order` sorts by time, then ID.

    `part` names the part with the content, `event` or `document`; empty where Kafka could not take it: `detail` says then
    where it lies on the ingress.
    """

    id: str
    order: str
    state: State
    reason: str
    stage: str
    detail: str
    pointer: str = ""
    merchant: int
    capture: str
    sequence: int
    time_ms: int
    partition: int
    offset: int
    part: str = ""
    size_bytes: int = 0
    event_id: str = ""
    event_hash: str = ""
    first: str = ""
    again: tuple[Again, ...] = ()


def of_batch(batch: Iterable[Seen]) -> list[Rejection]:
    """Give the rejections among records of `goods.stored` and `goods.rejected`."""
    return [_rejection(seen) for seen in batch if seen.record.rejection is not None]


def _rejection(seen: Seen) -> Rejection:
    record, verdict = seen.record, verdict_on(seen.record)
    assert record.rejection is not None
    duplicate = verdict.reason == Reason.DUPLICATE
    part = content_part(record)
    return Rejection(
        id=verdict.record,
        order=order(record.time_ms, verdict.record),
        state=State.SETTLED if duplicate else State.OPEN,
        reason=verdict.reason,
        stage=verdict.stage,
        detail=verdict.detail,
        pointer=record.rejection.pointer,
        merchant=record.merchant,
        capture=record.capture_id.hex(),
        sequence=record.sequence,
        time_ms=record.time_ms,
        partition=seen.partition,
        offset=seen.offset,
        part=part[0],
        size_bytes=len(part[1]),
        event_id="" if duplicate else verdict.event_id,
        event_hash="" if duplicate else verdict.event_hash,
        first=verdict.first,
    )


def order(time_ms: int, record: str) -> str:
    """Give what rejections are sorted by."""
    return f"{time_ms:015d}-{record}"


def content_part(record: Record) -> tuple[str, bytes]:
    """Give name and bytes of the part that holds what was sent; both empty where it was not kept."""
    for part in record.parts:
        if part.name in (EVENT_PART, DOCUMENT_PART):
            return part.name, part.content
    return "", b""


def is_shown(rejection: Rejection) -> bool:
    """Say whether the content may be shown: not where a sealed record may have the same, as a duplicate's has, or one that was sent again as it was.

    Of a document that was corrected some events may be sealed as they were.
    """
    if rejection.state is State.RESUBMITTED:
        return rejection.part == EVENT_PART and all(each.corrected for each in rejection.again)
    return bool(rejection.part) and rejection.state is State.OPEN


def hindrance(rejection: Rejection, *, corrected: bool) -> str:
    """Say why a rejection cannot be sent again, with a corrected content or as it is; empty where it can."""
    if rejection.state is State.SETTLED:
        return f"it is a duplicate: the same event was captured before as record {rejection.first}: see its verdict"
    if rejection.state is State.RESUBMITTED:
        records = ", ".join(record for each in rejection.again for record in each.records)
        return f"it was sent again before, as {records}"
    if corrected:
        return ""
    if rejection.stage != StageName.COLLECT:
        return _hindrance_behind(rejection)
    if not rejection.part:
        return (
            "its content was not kept, for the reason that its detail gives: send it from where it came from"
        )
    return ""


def _hindrance_behind(rejection: Rejection) -> str:
    if rejection.reason == Reason.FAULT:
        told = (
            "as it is it counts as a duplicate: after an update send it with an event ID of its own, or, where it has an "
            "errorDeclaration, which cancels by that ID, with another declarationTime"
        )
        return f"{rejection.stage} failed over it, and {told}"
    return f"{rejection.stage} would refuse the same content again: send it corrected"


def rebuilt(content: bytes, record: Record, created_ms: int) -> bytes | None:
    """Put an event that is sent again back under the @context, or the namespaces, of the document it came in.

    What comes in the other of JSON and XML stands by itself.

    Args:
        content: what is sent: the event as it was, or corrected.
        record: the refused record.
        created_ms: the creation date of the document that is made, Unix milliseconds.
    Returns: a document, `content` itself where there was none of these, None where there was one that was not kept.
    """
    kept = content_of(record.parts, CONTEXT_PART)
    if kept is None or is_xml(content) != is_xml(content_part(record)[1]):
        return content
    if not kept:
        return None
    created = timestamp(created_ms)
    if is_xml(content):
        return enclose(content, msgspec.json.decode(kept), created)
    head = b'{"@context":%b,%b,"creationDate":"%b",' % (kept, _SCHEMA_VERSION, created.encode())
    return head + b'"epcisBody":{"eventList":[' + content + b"]}}"


def described(rejection: Rejection) -> dict[str, Any]:
    """Give a rejection as the API shows it; members without a value are left out."""
    told: dict[str, Any] = {
        "recordID": rejection.id,
        "state": rejection.state,
        "reason": rejection.reason,
        "stage": rejection.stage,
        "detail": rejection.detail,
        "pointer": rejection.pointer,
        "merchant": rejection.merchant,
        "captureID": rejection.capture,
        "index": rejection.sequence,
        "recordTime": timestamp(rejection.time_ms),
        "partition": rejection.partition,
        "offset": rejection.offset,
        "part": rejection.part,
        "sizeBytes": rejection.size_bytes,
        "eventID": rejection.event_id,
        "eventHash": rejection.event_hash,
        "firstRecordID": rejection.first,
        "resubmitted": [
            {
                "captureID": each.capture,
                "recordIDs": list(each.records),
                "time": timestamp(each.time_ms),
                "corrected": each.corrected,
            }
            for each in rejection.again
        ],
    }
    return {name: value for name, value in told.items() if value not in ("", [])}
