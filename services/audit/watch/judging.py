"""What rules say of a subject's counts. Pure.

A rule on one window speaks as soon as the window has enough: counts and sets only grow, so whatever the order in which the records of a window
come, in the end the same windows have spoken. A rule that compares, with earlier windows or with all calls, waits until the window is complete.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from goodstrace.identifiers import grade
from services.audit.watch.alerts import EVIDENCE_TOLD, Alert, alert
from services.audit.watch.daily import distinct_users
from services.audit.watch.rules import Book, Rule
from services.audit.watch.sketches import DISTINCT_KEPT, distinct, longest_run, union
from services.audit.watch.state import NUMBERS_KEPT, Pane, State
from services.audit.watch.values import Kind, Measure
from services.audit.watch.windows import pane_of, starts_with, whole

_COUNTED: Final[Mapping[Measure, str]] = {
    Measure.LOOKS: "looks",
    Measure.REFUSED: "refused",
    Measure.SIGN_INS_REFUSED: "sign_ins_refused",
    Measure.FIRST_SEEN: "first_seen",
    Measure.FAILED: "failed",
    Measure.WITHHELD: "withheld",
}
_ALL_ANSWERS: Final = ("answered", "failed", "withheld")
_ALL_OF: Final[Mapping[Measure, tuple[str, ...]]] = {
    Measure.REFUSED: ("looks", "refused"),
    Measure.SIGN_INS_REFUSED: ("sign_ins",),
    Measure.FAILED: _ALL_ANSWERS,
    Measure.WITHHELD: _ALL_ANSWERS,
}
"""Of what a share is."""
_SETS: Final[Mapping[Measure, str]] = {Measure.KEYS: "keys", Measure.NETWORKS: "networks"}
_SETS_OF_USERS: Final[Mapping[Measure, str]] = {
    Measure.USERS: "users",
    Measure.USERS_REFUSED: "users_refused",
}
_OF_REFUSED: Final = (
    Measure.REFUSED,
    Measure.SIGN_INS_REFUSED,
    Measure.USERS_REFUSED,
    Measure.FAILED,
    Measure.WITHHELD,
)
_TOLD: Final = ("looks", "refused", "sign_ins", *_ALL_ANSWERS)


def windows_of(rule: Rule, panes: Iterable[int]) -> list[int]:
    """Give the starts of the windows that hold one of these panes, in order."""
    return sorted({start for pane in panes for start in starts_with(pane, rule.size_ms, rule.hop_ms)})


def judged(book: Book, kind: Kind, subject: str, state: State, panes: Iterable[int]) -> Iterator[Alert]:
    """Let the rules on one window look at the windows with these panes, and remember in `state` what is told now."""
    touched = list(panes)
    for rule in book.of(kind):
        for start in () if rule.waits else windows_of(rule, touched):
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
        for start in windows_of(rule, touched) if rule.waits else ():
            if measured(rule, state, start) >= rule.at_least and _concerns(rule, book, kind, subject):
                yield rule, start


def compared(book: Book, rule: Rule, subject: str, state: State, start: int) -> Alert | None:
    """Judge a complete window by the windows before it, and by its share of all calls; None where it is below either.

    Before it are those since the subject was first looked at. Where there is none, as of a lot that was sold today for the first time, there is nothing to
    compare with: None too.
    """
    found, figures = measured(rule, state, start), dict[str, int]()
    if (rule.id, start) in state.told or found < rule.at_least:
        return None
    if rule.before:
        size = rule.size_ms
        known = min(rule.before, (start - pane_of(state.first_ms, size)) // size)
        before = sum(measured(rule, state, start - nth * size) for nth in range(1, known + 1))
        if known < 1 or found * known < rule.times * before:
            return None
        figures |= {f"{rule.measure}-before": before, "windows-before": known}
    if rule.share:
        panes = whole(start, rule.size_ms, state.panes)
        total = sum(getattr(state.panes[pane], name) for pane in panes for name in _ALL_OF[rule.measure])
        if found * 100 < rule.share * total:
            return None
        figures |= {"percent": found * 100 // total, "at-least-percent": rule.share}
    state.told.append((rule.id, start))
    return _alert(rule, book, subject, state, start, **figures)


def measured(rule: Rule, state: State, start: int) -> int:
    """Count what a rule measures in the window that starts there."""
    return _measured(rule, _panes(rule, state, start))


def _panes(rule: Rule, state: State, start: int) -> dict[int, Pane]:
    return {pane: state.panes[pane] for pane in whole(start, rule.size_ms, state.panes)}


def _measured(rule: Rule, panes: Mapping[int, Pane]) -> int:
    if rule.measure is Measure.RUN:
        return longest_run(union([pane.numbers for pane in panes.values()], NUMBERS_KEPT), rule.step)
    counted = _COUNTED.get(rule.measure)
    if counted:
        return sum(getattr(pane, counted) for pane in panes.values())
    users = _SETS_OF_USERS.get(rule.measure)
    name = users or _SETS[rule.measure]
    sets: dict[int, list[int]] = {start: getattr(pane, name) for start, pane in panes.items()}
    if rule.at_least <= DISTINCT_KEPT and sum(map(len, sets.values())) < rule.at_least:
        return 0  # the sets need not be merged to tell
    return distinct_users(sets) if users else distinct(union(sets.values(), DISTINCT_KEPT))


def _concerns(rule: Rule, book: Book, kind: Kind, subject: str) -> bool:
    if f"{kind}:{subject}" in book.exempt:
        return False
    return rule.grade is None or grade(subject) is rule.grade


def _alert(rule: Rule, book: Book, subject: str, state: State, start: int, **figures: int) -> Alert:
    panes = _panes(rule, state, start)
    is_refused = rule.measure in _OF_REFUSED
    evidence = union(
        (pane.evidence_refused if is_refused else pane.evidence for pane in panes.values()), EVIDENCE_TOLD
    )
    counts = {name: sum(getattr(pane, name) for pane in panes.values()) for name in _TOLD}
    told = {name: value for name, value in counts.items() if value}
    return alert(
        rule,
        book.version,
        subject,
        start_ms=start,
        figures={**told, rule.measure: _measured(rule, panes), "at-least": rule.at_least, **figures},
        evidence=evidence,
    )
