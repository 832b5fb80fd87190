"""An alert as a value, and as the protobuf message that goes to `browse.alerts`. Pure."""

import hashlib
from typing import Final

import msgspec

from goodstrace.audit.v1 import watch_pb2
from services.audit.watch.observing import SEPARATOR
from services.audit.watch.rules import Rule, Severity
from services.audit.watch.values import Kind

EVIDENCE_TOLD: Final = 32
ID_BYTES: Final = 16
_SEVERITIES: Final = {each: watch_pb2.AlertSeverity.Value(f"ALERT_SEVERITY_{each.name}") for each in Severity}


class Alert(msgspec.Struct, frozen=True):
    """What a rule found in one window.

    id: 16 bytes, the same whenever the same rule finds something about the same subject in the same window. subject: as counted; of a series
    its user, with `series` apart. start_ms, end_ms: the window. figures: what was counted, by name. evidence: IDs of records in it, a
    sample of EVIDENCE_TOLD at the most. blocked_until_ms: until when the rule blocks the subject; 0 where it does not.
    """

    id: bytes
    rule: str
    version: str
    severity: Severity
    says: str
    about: Kind
    subject: str
    series: str
    start_ms: int
    end_ms: int
    figures: dict[str, int]
    evidence: tuple[bytes, ...]
    blocked_until_ms: int = 0


def alert(
    rule: Rule,
    version: str,
    subject: str,
    *,
    start_ms: int,
    figures: dict[str, int],
    evidence: list[bytes],
) -> Alert:
    """Make the alert of a rule about a subject in the window that starts at `start_ms`."""
    end_ms = start_ms + rule.size_ms
    user, _, series = subject.rpartition(SEPARATOR) if rule.about is Kind.SERIES else (subject, "", "")
    return Alert(
        id=_id(rule, subject, start_ms),
        rule=rule.id,
        version=version,
        severity=rule.severity,
        says=rule.says,
        about=rule.about,
        subject=user,
        series=series,
        start_ms=start_ms,
        end_ms=end_ms,
        figures=figures,
        evidence=tuple(evidence[:EVIDENCE_TOLD]),
        blocked_until_ms=end_ms + 1000 * rule.block_s if rule.block_s else 0,
    )


def message(found: Alert) -> watch_pb2.Alert:
    """Give an alert as a message."""
    return watch_pb2.Alert(
        id=found.id.hex(),
        rule=found.rule,
        rules_version=found.version,
        severity=_SEVERITIES[found.severity],
        says=found.says,
        about=found.about,
        subject=found.subject,
        series=found.series,
        start_ms=found.start_ms,
        end_ms=found.end_ms,
        figures=[watch_pb2.Figure(name=name, value=value) for name, value in sorted(found.figures.items())],
        evidence=[each.hex() for each in found.evidence],
        blocked_until_ms=found.blocked_until_ms,
    )


def _id(rule: Rule, subject: str, start_ms: int) -> bytes:
    named = msgspec.json.encode((rule.id, rule.about, rule.size_ms, start_ms, subject))
    return hashlib.sha256(b"goodstrace alert v1\n" + named).digest()[:ID_BYTES]
