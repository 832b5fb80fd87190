"""A transparency report for people: Markdown, its charts as Mermaid text, which needs no library of ours. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from goodstrace.errors import NoteError
from goodstrace.note import parse_note
from goodstrace.transparency.values import Report, Span

_TITLES: Final = {
    "statistics": "Calls",
    "by_role": "By role",
    "by_method": "By call",
    "by_outcome": "Look-ups by outcome",
    "by_reason": "Refused, by reason",
    "alerts": "Alerts of the watch, by rule",
    "blocks": "Blocks",
    "erasures": "Erasures, by scope and reason",
}


def markdown(report: Report) -> str:
    """Write a report as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    made = dt.datetime.fromtimestamp(report.made_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M")
    yield f"# Who looked at what in {report.month}"
    yield ""
    state = "the whole month" if report.complete else "the month so far: it is not complete"
    yield f"Made on {made} UTC, of {state}. Days and times are UTC."
    yield ""
    yield "## What anybody can derive again"
    yield ""
    yield (
        "Counted from the entries of the public logs; `goodstrace audit report --verify FILE` derives it again and checks it against the checkpoints below. "
        "A look-up, an attempt to sign in and a refused call each are one record of looks. Which of them it is, by whom and with what outcome is content, sealed under commitments and "
        "encrypted: nobody but the operator can count that, so refused calls and sign-ins by kind are below, as the operator's word."
    )
    yield ""
    yield from _table(
        ("log", "records of looks", "batches of outcomes", "erasures"),
        [
            *((log, each.looks, each.outcomes, each.erasures) for log, each in report.public.by_log.items()),
            ("all", report.public.total.looks, report.public.total.outcomes, report.public.total.erasures),
        ],
    )
    yield from _chart(
        "Records of looks by day", {day: each.looks for day, each in report.public.by_day.items()}
    )
    yield "## Checkpoints around the month"
    yield ""
    yield from _table(
        ("log", "from size", "to size", "witnesses that cosigned the last"),
        [(each.log, each.first, each.end, ", ".join(witnesses(each)) or "none") for each in report.spans],
    )
    yield from _operator(report.operator)


def witnesses(span: Span) -> list[str]:
    """Name whose signatures a span's last checkpoint bears beside the log's own; whether they hold, a policy tells."""
    try:
        note = parse_note(span.last_checkpoint)
    except NoteError:
        return []
    origin = note.text.partition("\n")[0]
    return sorted({each.name for each in note.signatures if each.name != origin})


def _operator(figures: Mapping[str, Any]) -> Iterator[str]:
    yield "## What only the operator sees"
    yield ""
    yield "These figures rest on what records say, which is not public: they are the operator's word."
    yield ""
    for note in figures.get("notes", ()):
        yield f"- {note}"
    if figures.get("notes"):
        yield ""
    for name, title in _TITLES.items():
        if name in figures:
            yield f"### {title}"
            yield ""
            yield from _figures(figures[name])
    days = figures.get("by_day", {})
    if days:
        yield from _chart("Refused calls and sign-ins by day", days)


def _figures(figures: Mapping[str, Any]) -> Iterator[str]:
    if not figures:
        yield "None."
        yield ""
        return
    if all(isinstance(each, Mapping) for each in figures.values()):
        columns = sorted({column for each in figures.values() for column in each})
        rows = [(name, *(each.get(column, 0) for column in columns)) for name, each in figures.items()]
        yield from _table(("", *(each.replace("_", " ") for each in columns)), rows)
        return
    yield from _table(("", "number"), [(name.replace("_", " "), each) for name, each in figures.items()])


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"
    yield ""


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _chart(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    """Draw one bar for each day, by the number of the day."""
    if not counts:
        return
    yield "```mermaid"
    yield "xychart-beta"
    yield f'    title "{title}"'
    yield f"    x-axis [{', '.join(day[-2:] for day in counts)}]"
    yield f"    bar [{', '.join(map(str, counts.values()))}]"
    yield "```"
    yield ""
