"""What rules say of a subject's counts. Pure.

A rule on one window speaks as soon as the window has enough: counts and sets only grow, so whatever the order in which the records of a window
come, in the end the same windows have spoken. A rule that compares with earlier windows waits until all of them are complete.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from goodstrace.identifiers import grade
from services.audit.watch.alerts import EVIDENCE_TOLD, Alert, alert
from services.audit.watch.rules import Book, Rule
from services.audit.watch.sketches import DISTINCT_KEPT, distinct, longest_run, union
from services.audit.watch.state import NUMBERS_KEPT, Pane, State
from services.audit.watch.values import Kind, Measure
from services.audit.watch.windows import pane_of, starts_with, whole

_COUNTED: Final[Mapping[Measure, str]] = {
    Measure.LOOKS: "looks",
    Measure.REFUSED: "refused",
    Measure.SIGN_INS_REFUSED: "sign_ins_refused",
}
_SETS: Final[Mapping[Measure, str]] = {
    Measure.KEYS: "keys",
    Measure.USERS: "users",
    Measure.USERS_REFUSED: "users_refused",
    Measure.NETWORKS: "networks",
}
_OF_REFUSED: Final = (Measure.REFUSED, Measure.SIGN_INS_REFUSED, Measure.USERS_REFUSED)


def windows_of(rule: Rule, panes: Iterable[int]) -> list[int]:
    """Give the starts of the windows that hold one of these panes, in order."""
    return sorted({start for pane in panes for start in starts_with(pane, rule.size_ms, rule.hop_ms)})


def judged(book: Book, kind: Kind, subject: str, state: State, panes: Iterable[int]) -> Iterator[Alert]:
    """Let the rules on one window look at the windows with these panes, and remember in `state` what is told now."""
    touched = list(panes)
    for rule in book.of(kind):
        for start in () if rule.before else windows_of(rule, touched):
            if (rule.id, start) in state.told or measured(rule, state, start) < rule.at_least:
                continue
            if _concerns(rule, book, kind, subject):
                state.told.append((rule.id, start))
                yield _alert(rule, book, subject, state, start)


def waiting(
    book: Book, kind: Kind, subject: str, state: State, panes: Iterable[int]
) -> Iterator[tuple[Rule, int]]:
    """Give the rules that compare, with the starts of windows that have enough: to be judged once they are complete."""
    touched = list(panes)
    for rule in book.of(kind):
        for start in windows_of(rule, touched) if rule.before else ():
            if measured(rule, state, start) >= rule.at_least and _concerns(rule, book, kind, subject):
                yield rule, start


def compared(book: Book, rule: Rule, subject: str, state: State, start: int) -> Alert | None:
    """Judge a complete window by the windows before it, since the subject was first looked at; None where it is not so many times their mean.

    Where there is none before it, as of a lot that was sold today for the first time, there is nothing to compare with: None too.
    """
    size, found = rule.size_ms, measured(rule, state, start)
    known = min(rule.before, (start - pane_of(state.first_ms, size)) // size)
    before = sum(measured(rule, state, start - nth * size) for nth in range(1, known + 1))
    if known < 1 or found < rule.at_least or found * known < rule.times * before:
        return None
    if (rule.id, start) in state.told:
        return None
    state.told.append((rule.id, start))
    return _alert(
        rule, book, subject, state, start, **{f"{rule.measure}-before": before, "windows-before": known}
    )


def measured(rule: Rule, state: State, start: int) -> int:
    """Count what a rule measures in the window that starts there."""
    return _measured(rule, [state.panes[pane] for pane in whole(start, rule.size_ms, state.panes)])


def _measured(rule: Rule, panes: list[Pane]) -> int:
    if rule.measure is Measure.RUN:
        return longest_run(union([pane.numbers for pane in panes], NUMBERS_KEPT), rule.step)
    counted = _COUNTED.get(rule.measure)
    if counted:
        return sum(getattr(pane, counted) for pane in panes)
    sets = [getattr(pane, _SETS[rule.measure]) for pane in panes]
    if rule.at_least <= DISTINCT_KEPT and sum(map(len, sets)) < rule.at_least:
        return 0  # the sets need not be merged to tell
    return distinct(union(sets, DISTINCT_KEPT))


def _concerns(rule: Rule, book: Book, kind: Kind, subject: str) -> bool:
    if f"{kind}:{subject}" in book.exempt:
        return False
    return rule.grade is None or grade(subject) is rule.grade


def _alert(rule: Rule, book: Book, subject: str, state: State, start: int, **figures: int) -> Alert:
    panes = [state.panes[pane] for pane in whole(start, rule.size_ms, state.panes)]
    is_refused = rule.measure in _OF_REFUSED
    evidence = union(
        (pane.evidence_refused if is_refused else pane.evidence for pane in panes), EVIDENCE_TOLD
    )
    counts = {name: sum(getattr(pane, name) for pane in panes) for name in ("looks", "refused", "sign_ins")}
    told = {name: value for name, value in counts.items() if value}
    return alert(
        rule,
        book.version,
        subject,
        start_ms=start,
        figures={**told, rule.measure: _measured(rule, panes), "at-least": rule.at_least, **figures},
        evidence=evidence,
    )
