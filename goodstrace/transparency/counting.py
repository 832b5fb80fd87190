"""Counting what the entries of browse logs show. Pure; who makes a report and who checks it count by this."""

from __future__ import annotations

from typing import Final

from goodstrace.entry import Entry, Kind
from goodstrace.transparency.values import Month, PublicFigures, Shown

OUTCOMES_PART: Final = "outcomes"
"""The one part of a record that says what became of looks, and is none itself."""
LOOKS, OUTCOMES, ERASURES = "looks", "outcomes", "erasures"


class Counting:
    """Counts entries, log after log."""

    def __init__(self, month: Month) -> None:
        """Count those of a month."""
        self._month = month
        self._by_log: dict[str, Shown] = {}
        self._by_day: dict[str, Shown] = {}

    def begin(self, log: str) -> None:
        """Name a log, also one without entries in the month."""
        self._by_log.setdefault(log, Shown())

    def add(self, log: str, entry: Entry) -> None:
        """Count an entry if its record time is in the month, and it is of looks."""
        day, name = self._month.day_of(entry.time), counted_as(entry)
        if day is None or name is None:
            return
        for shown in (self._by_log.setdefault(log, Shown()), self._by_day.setdefault(day, Shown())):
            setattr(shown, name, getattr(shown, name) + 1)

    def figures(self) -> PublicFigures:
        """Give what was counted."""
        logs = self._by_log.values()
        total = Shown(
            sum(each.looks for each in logs),
            sum(each.outcomes for each in logs),
            sum(each.erasures for each in logs),
        )
        return PublicFigures(total, self._by_log, {day: self._by_day[day] for day in sorted(self._by_day)})


def counted_as(entry: Entry) -> str | None:
    """Say as what an entry counts; None where as nothing. The parts that it commits to say it, without being seen."""
    if entry.kind is Kind.ERASURE:
        return ERASURES
    if entry.kind is not Kind.BROWSE:
        return None
    return OUTCOMES if [part.name for part in entry.parts] == [OUTCOMES_PART] else LOOKS
