"""Checking answers against what was asked for, and against what they say of themselves. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from goodstrace.entry import Kind
from goodstrace.errors import AnswerError
from goodstrace.retrace import ShownEvent
from goodstrace.tracing.filtering import EventFilter
from goodstrace.verification import VerifiedCheckpoint, VerifiedEntry


class Totals(Protocol):
    """What an answer says of its events: all, those not asked for, those with a part withheld or erased."""

    total_events: int
    filtered: int
    withheld: int
    erased: int


def check_as_of(as_of: Mapping[str, int], checkpoints: Mapping[str, VerifiedCheckpoint]) -> None:
    """Check that an answer is made from the sizes that were asked for. Raises: AnswerError."""
    for log, size in as_of.items():
        if log not in checkpoints or checkpoints[log].checkpoint.size != size:
            raise AnswerError(f"asked as of {log} at size {size} and answered as of another")


def check_totals(totals: Totals, events: Sequence[ShownEvent], only: EventFilter) -> None:
    """Check the events of a whole answer against what it says of them, and against the filter that was asked for.

    Raises: AnswerError.
    """
    if len(events) != totals.total_events - totals.filtered or (totals.filtered and only.is_open):
        raise AnswerError(
            f"the answer says it has {totals.total_events} events, {totals.filtered} of them not asked for, and shows {len(events)}"
        )
    if not all(only.shows(each.event.facts) for each in events if each.event.facts is not None):
        raise AnswerError("the answer shows an event that was not asked for")
    identities = [each.event.identity for each in events]
    if len(set(identities)) != len(identities):
        raise AnswerError("the answer shows one event twice")
    hidden = sum(bool(each.event.position.withheld) for each in events)
    if hidden != totals.withheld + totals.erased:
        raise AnswerError(
            f"{hidden} events have a part not shown, and the answer says {totals.withheld + totals.erased}"
        )


def check_browses(browses: Sequence[VerifiedEntry], key: str, user: str) -> None:
    """Check that these are different look-ups of the key, or by the user; what is withheld of them cannot be told.

    Raises: AnswerError.
    """
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


def _member(entry: VerifiedEntry, part: str, name: str) -> Any:
    try:
        return json.loads(entry.parts[part])[name]
    except (ValueError, TypeError, LookupError) as error:
        raise AnswerError(f"{entry.log}[{entry.index}]: the part {part} of a look-up is malformed") from error
