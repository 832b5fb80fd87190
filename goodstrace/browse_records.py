"""Browse records as they are listed: who looked at what, each proved to be in its log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from goodstrace.audit.v1 import audit_pb2
from goodstrace.entry import Kind
from goodstrace.errors import AnswerError
from goodstrace.receipts import Receipt
from goodstrace.verification import VerifiedCheckpoint, VerifiedEntry

OUTCOMES: Final[Mapping[str, audit_pb2.BrowseOutcome.ValueType]] = {
    "": audit_pb2.BROWSE_OUTCOME_UNSPECIFIED,
    "answered": audit_pb2.BROWSE_OUTCOME_ANSWERED,
    "failed": audit_pb2.BROWSE_OUTCOME_FAILED,
    "withheld": audit_pb2.BROWSE_OUTCOME_WITHHELD,
    "unknown": audit_pb2.BROWSE_OUTCOME_UNKNOWN,
}
"""By name; the empty one is any."""


@dataclass(frozen=True, slots=True)
class Browses:
    """Verified browse records, newest first, and the checkpoints they are proved under; outcomes as the service says them, in the order of entries."""

    entries: tuple[VerifiedEntry, ...]
    checkpoints: Mapping[str, VerifiedCheckpoint]
    browse_ids: tuple[str, ...]
    receipts: tuple[Receipt, ...] = ()
    outcomes: tuple[str, ...] = ()


def outcomes_in(pages: Sequence[audit_pb2.ListBrowsesResponse]) -> tuple[str, ...]:
    """Name the outcome of each look-up of an answer, as the service says it. Raises: AnswerError where there are not as many."""
    names = {outcome: name or "unknown" for name, outcome in OUTCOMES.items()}
    if any(len(page.outcomes) not in (0, len(page.browses)) for page in pages):
        raise AnswerError("the answer has not as many outcomes as look-ups")
    return tuple(
        names.get(each, "unknown")
        for page in pages
        for each in (page.outcomes or [OUTCOMES["unknown"]] * len(page.browses))
    )


def check_browses(
    browses: Sequence[VerifiedEntry],
    key: str,
    user: str,
    *,
    merchant: int = 0,
    start_ms: int = 0,
    end_ms: int = 0,
) -> None:
    """Check that these are different look-ups that meet what was asked; what is withheld of them cannot be told."""
    places = {(each.log, each.index) for each in browses}
    if len(places) != len(browses):
        raise AnswerError("the answer shows one look-up twice")
    for each in browses:
        place = f"{each.log}[{each.index}]"
        if each.entry.kind != Kind.BROWSE:
            raise AnswerError(f"{place}: an entry of kind {each.entry.kind} stands where a look-up should")
        if key and "what" in each.parts and key not in _member(each, "what", "keys"):
            raise AnswerError(f"{place}: asked for look-ups of {key} and got one of other goods")
        if user and "who" in each.parts and user != _member(each, "who", "user"):
            raise AnswerError(f"{place}: asked for look-ups by {user} and got one by somebody else")
        if merchant and "who" in each.parts and merchant != _member(each, "who", "merchant"):
            raise AnswerError(f"{place}: asked for look-ups for merchant {merchant} and got one for another")
        if each.entry.time < start_ms or (end_ms and each.entry.time >= end_ms):
            raise AnswerError(f"{place}: asked for look-ups of a time and got one of another")


def _member(entry: VerifiedEntry, part: str, name: str) -> Any:
    try:
        return json.loads(entry.parts[part])[name]
    except (ValueError, TypeError, LookupError) as error:
        raise AnswerError(f"{entry.log}[{entry.index}]: the part {part} of a look-up is malformed") from error
