"""Reads that a reader repeated, put together for people: one line says how often and from when to when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from goodstrace import read_runs
from goodstrace.query.v1.trace_pb2 import TraceMention
from goodstrace.read_runs import Said
from goodstrace.retrace import ShownEvent

Shown = tuple[ShownEvent, TraceMention]


def runs(events: Iterable[Shown]) -> list[Sequence[Shown]]:
    """Put events of one node, in the order of their times, into runs of reads, see `read_runs.runs`."""
    return read_runs.runs(events, _said)


def _said(shown: Shown) -> Said | None:
    traced, mention = shown
    if traced.event.facts is None:
        return None
    merchant = traced.event.position.entry.merchant
    beside = merchant, tuple(traced.marks), mention.SerializeToString(deterministic=True)
    return read_runs.said(traced.event.facts, beside)
