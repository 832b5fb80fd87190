"""Capture jobs: the verdict on each event of a capture, and the job as EPCIS 2.0 shows it. Pure.

A job is a description, written when the capture is acknowledged, and verdicts, gathered from `goods.stored` and
`goods.rejected`. Verdicts found twice are the same, so a batch may be done again.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from goodstrace import facts as facts_format
from services.collector.flow import FACTS_PART, Reason
from services.runtime.envelope import Record

ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
REJECTED: Final = "rejected"


class Job(msgspec.Struct, frozen=True):
    """A capture as it was acknowledged; `created_ms` is Unix milliseconds."""

    id: str
    created_ms: int
    events: int
    behaviour: str = "rollback"


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event. `event_hash` is the receipt: anyone can compute it from the event. `rules`: what rules found in it."""

    index: int
    verdict: str
    record: str
    event_id: str = ""
    event_hash: str = ""
    flags: tuple[str, ...] = ()
    rules: tuple[facts_format.Verdict, ...] = ()
    stage: str = ""
    reason: str = ""
    detail: str = ""
    first: str = ""


class Verdicts(msgspec.Struct, frozen=True):
    """Verdicts on events of one capture that came together; `size` is the number of its events in all."""

    id: str
    capture: str
    size: int
    created_ms: int
    known_ms: int
    verdicts: tuple[Verdict, ...]


class Seen(msgspec.Struct, frozen=True):
    """A record as it lies on a topic; `written_ms` is when Kafka's producer wrote it."""

    topic: str
    partition: int
    offset: int
    written_ms: int
    record: Record


class _Names(msgspec.Struct):
    event_id: str = ""
    event_hash: str = ""
    flags: tuple[str, ...] = ()
    verdicts: tuple[facts_format.Verdict, ...] = ()


_NAMES: Final = msgspec.json.Decoder(_Names)


def verdict_on(record: Record) -> Verdict:
    """Say what became of an event: from its record on `goods.stored` or `goods.rejected`."""
    names = _Names()
    for part in record.parts:
        if part.name == FACTS_PART:
            names = _NAMES.decode(part.content)
    accepted = Verdict(
        index=record.sequence,
        verdict=ACCEPTED,
        record=record.id.hex(),
        event_id=names.event_id,
        event_hash=names.event_hash,
        flags=names.flags,
        rules=names.verdicts,
    )
    refused = record.rejection
    if refused is None:
        return accepted
    return msgspec.structs.replace(
        accepted,
        verdict=DUPLICATE if refused.reason == Reason.DUPLICATE else REJECTED,
        stage=refused.stage,
        reason=refused.reason,
        detail=refused.detail,
        first=refused.first_id.hex(),
    )


def gather(batch: Iterable[Seen]) -> list[Verdicts]:
    """Gather a batch's verdicts by capture and partition; the ID is where the first and last of them lie."""
    groups: dict[tuple[bytes, str, int], list[Seen]] = {}
    for seen in batch:
        groups.setdefault((seen.record.capture_id, seen.topic, seen.partition), []).append(seen)
    return [_verdicts(group) for group in groups.values()]


def _verdicts(group: Sequence[Seen]) -> Verdicts:
    first = group[0]
    capture = first.record.capture_id.hex()
    return Verdicts(
        id=f"{capture}/{first.topic}/{first.partition}/{first.offset}-{group[-1].offset}",
        capture=capture,
        size=first.record.capture_size,
        created_ms=first.record.time_ms,
        known_ms=max(seen.written_ms for seen in group),
        verdicts=tuple(verdict_on(seen.record) for seen in group),
    )


def describe(job: Job, found: Sequence[Verdicts]) -> dict[str, Any]:
    """Give a job with the fields of the standard, and `events`, our verdict on each event, in the capture's order.

    Source: EPCIS 2.0 section 12.5 (capture job).
    """
    verdicts = {verdict.index: verdict for each in found for verdict in each.verdicts}
    running = len(verdicts) < job.events
    refused = [verdict for verdict in verdicts.values() if verdict.verdict == REJECTED]
    refused.sort(key=lambda verdict: verdict.index)
    told: dict[str, Any] = {
        "captureID": job.id,
        "createdAt": timestamp(job.created_ms),
        "running": running,
        "success": not running and not refused,
        "captureErrorBehaviour": job.behaviour,
        "errors": [_problem(verdict) for verdict in refused],
        "eventCount": job.events,
        "events": [_told(verdicts[index]) for index in sorted(verdicts)],
    }
    if not running:
        told["finishedAt"] = timestamp(max((each.known_ms for each in found), default=job.created_ms))
    return told


def timestamp(milliseconds: int) -> str:
    """Write Unix milliseconds as ISO 8601 in UTC."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _problem(verdict: Verdict) -> dict[str, Any]:
    kind = "CaptureLimitExceededException" if verdict.reason == Reason.TOO_LARGE else "ValidationException"
    return {
        "type": f"epcisException:{kind}",
        "title": f"Event {verdict.index} was refused by {verdict.stage}",
        "detail": verdict.detail,
        "index": verdict.index,
    }


def _told(verdict: Verdict) -> dict[str, Any]:
    told = {
        "index": verdict.index,
        "verdict": verdict.verdict,
        "eventID": verdict.event_id,
        "eventHash": verdict.event_hash,
        "recordID": verdict.record,
        "flags": list(verdict.flags),
        "ruleVerdicts": [msgspec.to_builtins(each) for each in verdict.rules],
        "stage": verdict.stage,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "firstRecordID": verdict.first,
    }
    return {name: value for name, value in told.items() if value not in ("", [])}
