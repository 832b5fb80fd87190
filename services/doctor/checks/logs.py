"""Is everything sealed, signed, published and cosigned; when was it last checked, and copied? Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from goodstrace.grouping import grouped
from services.doctor.values import Finding, ago, failed, listed, ok, warning

LATE_S: Final = 60.0
"""A record is sealed and published within seconds."""
CHECKED_S: Final = 8 * 86_400.0
COPIED_S: Final = 2 * 86_400.0


class LogSeen(msgspec.Struct, frozen=True):
    """How far a log is.

    sealed: entries in blocks; signed, published: entries under the newest checkpoint that is signed, and that readers see. sealed_s: how long ago
    its newest block was made; unsigned_s, unpublished_s: how long ago the oldest one was that is not signed, not published yet. waiting: records
    in its topic that are not sealed, None where that could not be seen; waiting_s: how long ago the oldest of them was written.
    missing: witnesses of the policy that have not cosigned what is published. cosigned_s: how long ago the newest cosignature was made.
    """

    log: str
    sealed: int
    signed: int
    published: int
    sealed_s: float | None = None
    unsigned_s: float | None = None
    unpublished_s: float | None = None
    waiting: int | None = None
    waiting_s: float | None = None
    missing: tuple[str, ...] = ()
    cosigned_s: float | None = None


class FsckSeen(msgspec.Struct, frozen=True):
    """What `goodstrace fsck` found the last time: how long ago, how many entries, faults by kind."""

    log: str
    ago_s: float
    entries: int
    faults: Mapping[str, int]


def check_logs(seen: Sequence[LogSeen]) -> list[Finding]:
    """Is anything stuck between topic and readers?"""
    found = [finding for each in seen for finding in _log(each)]
    if found or not seen:
        return found or [warning("the store has no logs", "capture something", "ledger.md#logstuck")]
    newest = min((each.sealed_s for each in seen if each.sealed_s is not None), default=None)
    when = f", the newest block {ago(newest)} old" if newest is not None else ""
    published, sealed = sum(each.published for each in seen), sum(each.sealed for each in seen)
    if any(each.published < each.sealed for each in seen):
        return [
            ok(
                f"{len(seen)} logs, {published:,} of {sealed:,} entries published, the others just sealed{when}"
            )
        ]
    return [ok(f"{len(seen)} logs, {sealed:,} entries, all signed and published{when}")]


def _log(seen: LogSeen) -> list[Finding]:
    found = []
    if seen.waiting and _is_late(seen.waiting_s if seen.waiting_s is not None else seen.sealed_s):
        found.append(_waiting(seen, seen.waiting))
    if seen.signed < seen.sealed and _is_late(seen.unsigned_s):
        found.append(
            failed(
                f"{seen.log}: sealed to {seen.sealed:,} and signed to {seen.signed:,}{_since(seen.unsigned_s)}",
                "start who seals it: it signs at its start",
                "ledger.md#logstuck",
            )
        )
    if seen.published < seen.signed and _is_late(seen.unpublished_s):
        found.append(
            failed(
                f"{seen.log}: signed to {seen.signed:,} and published to {seen.published:,}{_since(seen.unpublished_s)}",
                "the quorum of witnesses lacks: see witnesses",
                "witnesses.md#witnessquorumlost",
            )
        )
    return found


def _waiting(seen: LogSeen, waiting: int) -> Finding:
    text = f"{seen.log}: {waiting:,} records wait to be sealed{_since(seen.waiting_s)}"
    if not _is_late(seen.sealed_s):
        return warning(f"{text}; it moves", "see what is slow", "ledger.md#logstuck")
    newest = f"; its newest block is {ago(seen.sealed_s)} old" if seen.sealed_s is not None else ""
    do = "read the log of the service that seals it: ledger, of browse/... audit"
    return failed(text + newest, do, "ledger.md#logstuck")


def _is_late(age_s: float | None) -> bool:
    """What is there, and of an age that nobody knows, is late."""
    return age_s is None or age_s > LATE_S


def _since(age_s: float | None) -> str:
    return f", the oldest for {ago(age_s)}" if age_s is not None else ""


def check_cosignatures(seen: Sequence[LogSeen]) -> list[Finding]:
    """Has every witness cosigned what is published?"""
    by_witness = grouped((name, each.log) for each in seen for name in each.missing)
    if by_witness:
        return [
            warning(
                f"{name} has not cosigned what is published of {listed(logs)}",
                "the quorum holds without it; tell who runs it",
                "recovery.md#lost-witness",
            )
            for name, logs in sorted(by_witness.items())
        ]
    ages = [each.cosigned_s for each in seen if each.cosigned_s is not None]
    return (
        [ok(f"every witness has cosigned what is published; the newest cosignature is {ago(min(ages))} old")]
        if ages
        else []
    )


def check_fsck(logs: Collection[str], seen: Sequence[FsckSeen]) -> list[Finding]:
    """When was the store last derived again from its bytes, and what was found?"""
    by_log = {each.log: each for each in seen}
    found = []
    for each in seen:
        if each.faults:
            said = listed([f"{count} x {kind}" for kind, count in sorted(each.faults.items())])
            found.append(
                failed(
                    f"{each.log}: fsck found {said} {ago(each.ago_s)} ago",
                    "keep a copy of the store, then follow the page",
                    "recovery.md#suspected-tampering",
                )
            )
    never = sorted(set(logs) - by_log.keys())
    if never:
        found.append(warning(f"never checked: {listed(never)}", "goodstrace fsck --kafka", "docs/fsck.md"))
    old = [each for each in seen if each.ago_s > CHECKED_S and each.log in logs]
    if old:
        longest = max(old, key=lambda each: each.ago_s)
        found.append(
            warning(
                f"{longest.log} was last checked {ago(longest.ago_s)} ago",
                "goodstrace fsck --kafka, every week",
                "docs/fsck.md",
            )
        )
    return found or [
        ok(f"all logs sound, the longest ago {ago(max((each.ago_s for each in seen), default=0))}")
    ]


def check_backup(ago_s: float | None, changed: Sequence[str] = ()) -> list[Finding]:
    """When was the last whole backup made, and has the key of a log (`changed`) taken over since?"""
    do = "goodstrace backup create --out FOLDER, every day"
    if ago_s is None:
        return [warning("no backup was ever made of this store", do, "docs/backup.md")]
    if changed:
        seen = f"the key of {listed(sorted(changed))} was changed after the last backup, which cannot be gone on with"
        return [warning(seen, do, "docs/backup.md")]
    if ago_s > COPIED_S:
        return [warning(f"the last backup is {ago(ago_s)} old", do, "docs/backup.md")]
    return [ok(f"the last backup is {ago(ago_s)} old")]
