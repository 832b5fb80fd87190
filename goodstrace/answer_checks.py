"""Checking an answer against what was asked and against itself, once its parts are verified. Pure, no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from goodstrace.entry import Kind
from goodstrace.errors import AnswerError
from goodstrace.query.v1 import trace_pb2
from goodstrace.retrace import ShownEvent
from goodstrace.verification import VerifiedCheckpoint, VerifiedEntry


def check_as_of(as_of: Mapping[str, int], checkpoints: Mapping[str, VerifiedCheckpoint]) -> None:
    """Check that an answer is as of the sizes asked for. Raises: AnswerError."""
    for log, size in as_of.items():
        if log not in checkpoints or checkpoints[log].checkpoint.size != size:
            raise AnswerError(f"asked as of {log} at size {size} and answered as of another")


def check_answer(key: str, first: trace_pb2.TraceResponse, events: Sequence[ShownEvent]) -> None:
    """Check what an answer says of itself against its verified events. Raises: AnswerError."""
    if first.key != key:
        raise AnswerError(f"asked for {key} and answered for {first.key}")
    if len(events) != first.total_events:
        raise AnswerError(f"the answer says it has {first.total_events} events and shows {len(events)}")
    identities = [each.event.identity for each in events]
    if len(set(identities)) != len(identities):
        raise AnswerError("the answer shows one event twice")
    hidden = sum(bool(each.event.position.withheld) for each in events)
    if hidden != first.withheld + first.erased:
        raise AnswerError(
            f"{hidden} events have a part not shown, and the answer says {first.withheld + first.erased}"
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
