"""Capture jobs: the verdict on each event of a capture, and the job as EPCIS 2.0 shows it. Pure.

A job is a description, written when the capture is acknowledged, and verdicts, gathered from `goods.stored` and
`goods.rejected`. Verdicts found twice are the same, so a batch may be done again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from goodstrace import facts as facts_format
from goodstrace.entry import Position
from goodstrace.grouping import grouped
from services.collector.flow import FACTS_PART, Reason
from services.runtime.envelope import Record, content_of

ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
REJECTED: Final = "rejected"
MAX_ERRORS: Final = 100


class Job(msgspec.Struct, frozen=True):
    """A capture as it was acknowledged; `created_ms` is Unix milliseconds, `merchant` the number of who captured.

    0 stands for nobody: the job is older than merchants are noted.
    """

    id: str
    created_ms: int
    events: int
    behaviour: str = "rollback"
    merchant: int = 0

    def is_of(self, merchant: int) -> bool:
        """Say whether a merchant may see the job."""
        return self.merchant in (0, merchant)


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
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
    pointer: str = ""


class Verdicts(msgspec.Struct, frozen=True):
    """Verdicts on events of one capture that came together, from one partition of a topic.

    `size` is the number of the capture's events in all. `partition` is -1 where it was not noted, in older ones.
    """

    id: str
    capture: str
    size: int
    created_ms: int
    known_ms: int
    verdicts: tuple[Verdict, ...]
    merchant: int = 0
    partition: int = -1


class Seen(msgspec.Struct, frozen=True, gc=False):
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
    facts = content_of(record.parts, FACTS_PART)
    names = _NAMES.decode(facts) if facts is not None else _Names()
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
        pointer=refused.pointer,
    )


def gather(batch: Iterable[Seen]) -> list[Verdicts]:
    """Gather a batch's verdicts by capture and partition; the ID is where the first and last of them lie."""
    groups = grouped(((seen.record.capture_id, seen.topic, seen.partition), seen) for seen in batch)
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
        merchant=first.record.merchant,
        partition=first.partition,
    )


class Refusal(msgspec.Struct, frozen=True):
    """By which stage a record was refused, and why."""

    stage: str
    reason: str
    detail: str


class Progress(msgspec.Struct, frozen=True):
    """How far a job has come: the verdicts so far by the event's index, and the partition that each came from.

    refused_firsts: by record ID what became of those records of which events are duplicates, as far as they were refused.
    """

    job: Job
    verdicts: dict[int, Verdict]
    partitions: dict[int, int]
    known_ms: int
    refused_firsts: Mapping[str, Refusal] = {}

    @property
    def running(self) -> bool:
        """Whether some event has no verdict yet."""
        return len(self.verdicts) < self.job.events

    def page(self, first: int, size: int) -> list[Verdict]:
        """Give the verdicts on the events `first` to `first + size - 1`, in the capture's order."""
        return [self.verdicts[index] for index in range(first, first + size) if index in self.verdicts]

    def firsts(self) -> set[str]:
        """Give the IDs of the records of which events are duplicates."""
        return {verdict.first for verdict in self.verdicts.values() if verdict.verdict == DUPLICATE}


def progress(job: Job, found: Iterable[Verdicts]) -> Progress:
    """Put together what was found of a job; verdicts found twice are the same."""
    verdicts: dict[int, Verdict] = {}
    partitions: dict[int, int] = {}
    known_ms = job.created_ms
    for each in found:
        known_ms = max(known_ms, each.known_ms)
        for verdict in each.verdicts:
            verdicts[verdict.index] = verdict
            partitions[verdict.index] = each.partition
    return Progress(job, verdicts, partitions, known_ms)


def outline(made: Progress) -> dict[str, Any]:
    """Give a job with the fields of the standard, and how many events have which verdict.

    `success` is true as long as nothing was refused, also while the job is running; of `errors` there are at most 100. A duplicate counts as
    refused where its first record was: its event is sealed nowhere. That verdict may come later than the last one on this capture.
    Source: EPCIS 2.0 section 12.6 and its OpenAPI (CaptureJob).
    """
    job = made.job
    counts = Counter(verdict.verdict for verdict in made.verdicts.values())
    refused = dict(_refusals(made))
    told: dict[str, Any] = {
        "captureID": job.id,
        "createdAt": timestamp(job.created_ms),
        "running": made.running,
        "success": not refused,
        "captureErrorBehaviour": job.behaviour,
        "errors": [_problem(made.verdicts[index], refused[index]) for index in sorted(refused)[:MAX_ERRORS]],
        "eventCount": job.events,
        "counts": {verdict: counts[verdict] for verdict in (ACCEPTED, DUPLICATE, REJECTED)},
    }
    if not made.running:
        told["finishedAt"] = timestamp(made.known_ms)
    return told


def detailed(verdicts: Iterable[Verdict], places: Mapping[str, Position]) -> list[dict[str, Any]]:
    """Give the verdicts as a job's `events` has them.

    Args:
        verdicts: in the capture's order.
        places: by record ID where each record is sealed, as far as that is published. A duplicate shows its first one's.
    """
    return [_told(verdict, places.get(verdict.first or verdict.record)) for verdict in verdicts]


def timestamp(milliseconds: int) -> str:
    """Write Unix milliseconds as ISO 8601 in UTC."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_KINDS: Final[dict[str, str]] = {
    Reason.TOO_LARGE: "CaptureLimitExceededException",
    Reason.FAULT: "ImplementationException",
}


def _refusals(made: Progress) -> Iterator[tuple[int, Refusal]]:
    """Give the events that are not sealed, by their indexes: refused themselves, or duplicates of what was refused."""
    for index, verdict in made.verdicts.items():
        if verdict.verdict == REJECTED:
            yield index, Refusal(verdict.stage, verdict.reason, verdict.detail)
        elif (refusal := made.refused_firsts.get(verdict.first)) is not None:
            detail = f"it is a duplicate of record {verdict.first}, which was refused: {refusal.detail}"
            yield index, msgspec.structs.replace(refusal, detail=detail)


def _problem(verdict: Verdict, refusal: Refusal) -> dict[str, Any]:
    kind = _KINDS.get(refusal.reason, "ValidationException")
    told = {
        "type": f"epcisException:{kind}",
        "title": f"Event {verdict.index} was refused by {refusal.stage}",
        "detail": refusal.detail,
        "index": verdict.index,
    }
    return told | ({"pointer": verdict.pointer} if verdict.pointer else {})


def _told(verdict: Verdict, place: Position | None) -> dict[str, Any]:
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
        "pointer": verdict.pointer,
        "detail": verdict.detail,
        "firstRecordID": verdict.first,
    }
    sealed = {"sealed": {"log": place[0], "index": place[1]}} if place else {}
    return {name: value for name, value in told.items() if value not in ("", [])} | sealed
