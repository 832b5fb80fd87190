"""Spans of the stages: for each traced capture in a batch one of each stage, below the capture's own, and one of the batch, linked to them.

A capture of many events has one span of a stage for all of its events in a batch: as many spans as there are traces, not as there are events.
"""

import time
from typing import Final

import msgspec

from services.collector.flow import Accepted, Outcome, StageName
from services.collector.stages import INPUTS, ORDER
from services.runtime.envelope import Record
from services.runtime.tracing import spans
from services.runtime.tracing.attributes import Attribute, Value, messaging
from services.runtime.tracing.context import TraceContext, read
from services.runtime.tracing.spans import MAX_LINKS, Finished, Kind

_OF_STAGE: Final = {stage: messaging(stage.value, "process", INPUTS[stage]) for stage in ORDER}


class _Passed(msgspec.Struct):
    """What a stage did for one trace in a batch. Times are Unix nanoseconds."""

    began_ns: int
    ended_ns: int
    record: str
    events: int = 1
    refused: int = 0
    reason: str = ""


class StageSpans:
    """Watches one batch on its way through the stages: implements services.collector.stages.Watcher."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._began_ns = self._last_ns = time.time_ns()
        self._seen: dict[TraceContext, dict[StageName, _Passed]] = {}
        self._left_out: set[TraceContext] = set()
        self._now: dict[StageName, _Passed] | None = None
        self._record = ""

    def began(self, record: Record) -> None:
        """Note a record, if it is traced; of more than 128 traces in a batch the others are only counted."""
        self._now = None
        context = read(record.traceparent) if record.traceparent else None
        if context is None:
            return
        if context not in self._seen and len(self._seen) >= MAX_LINKS:
            self._left_out.add(context)
            return
        self._now = self._seen.setdefault(context, {})
        self._record, self._last_ns = record.id.hex(), time.time_ns()

    def passed(self, stage: StageName, outcome: Outcome) -> None:
        """Note what a stage did."""
        if self._now is None:
            return
        began_ns, self._last_ns = self._last_ns, time.time_ns()
        passed = self._now.get(stage)
        if passed is None:
            passed = self._now[stage] = _Passed(began_ns, self._last_ns, self._record)
        else:
            passed.events += 1
            passed.ended_ns = self._last_ns
        if not isinstance(outcome, Accepted):
            rejection = outcome.record.rejection
            passed.refused += 1
            passed.reason = rejection.reason if rejection else ""

    def committed(self, records: int) -> TraceContext | None:
        """Tell the spans of a batch of so many records, all durable now; gives the batch's own."""
        traced = spans.kept(list(self._seen))
        batch = self._batch(traced, records)
        links = (batch,) if batch else ()
        for context in traced:
            for stage, passed in self._seen[context].items():
                spans.tell(
                    Finished(
                        f"{stage} {INPUTS[stage]}",
                        passed.began_ns,
                        passed.ended_ns,
                        Kind.CONSUMER,
                        parent=context,
                        links=links,
                        attributes=_told(stage, passed),
                    )
                )
        return batch

    def failed(self, records: int, kind: str) -> None:
        """Tell the span of a batch that will be read again."""
        self._batch(spans.kept(list(self._seen)), records, kind)

    def _batch(self, contexts: list[TraceContext], records: int, failed: str = "") -> TraceContext | None:
        if not contexts:
            return None
        first = next(iter(self._seen[contexts[0]]), ORDER[0])
        return spans.tell(
            Finished(
                f"process {INPUTS[first]}",
                self._began_ns,
                time.time_ns(),
                Kind.CONSUMER,
                links=contexts,
                attributes={
                    **messaging("process", "process", INPUTS[first], records),
                    Attribute.LEFT_OUT: len(self._left_out),
                },
                failed=failed,
            )
        )


def _told(stage: StageName, passed: _Passed) -> dict[Attribute, Value]:
    told: dict[Attribute, Value] = {**_OF_STAGE[stage], Attribute.EVENTS: passed.events}
    if passed.events == 1:
        told[Attribute.RECORD] = passed.record
    if passed.refused:
        told |= {Attribute.REFUSED: passed.refused, Attribute.REASON: passed.reason}
    return told
