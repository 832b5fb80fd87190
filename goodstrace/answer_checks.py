"""Whether an answer, each part of which is proved, is one to what was asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from goodstrace.errors import AnswerError
from goodstrace.query.v1 import trace_pb2
from goodstrace.retrace import ShownEvent
from goodstrace.tracing.filtering import EventFilter
from goodstrace.verification import VerifiedCheckpoint


class Totals(Protocol):
    """What an answer says of its events: all, those not asked for, those with a part withheld or erased."""

    total_events: int
    filtered: int
    withheld: int
    erased: int


def check_as_of(as_of: Mapping[str, int], checkpoints: Mapping[str, VerifiedCheckpoint]) -> None:
    """Check that an answer is as of the sizes asked for. Raises: AnswerError."""
    for log, size in as_of.items():
        if log not in checkpoints or checkpoints[log].checkpoint.size != size:
            raise AnswerError(f"asked as of {log} at size {size} and answered as of another")


def check_answer(
    key: str, first: trace_pb2.TraceResponse, events: Sequence[ShownEvent], only: EventFilter
) -> None:
    """Check that a trace is of the key asked for, shows what was asked for, and counts it. Raises: AnswerError."""
    if first.key != key:
        raise AnswerError(f"asked for {key} and answered for {first.key}")
    check_totals(first, events, only)


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
    hidden = sum(each.event.position.is_hidden for each in events)
    if hidden != totals.withheld + totals.erased:
        raise AnswerError(
            f"{hidden} events have a part not shown, and the answer says {totals.withheld + totals.erased}"
        )
