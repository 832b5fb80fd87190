"""A batch of observations counted: which states change, what is told, what is shown. Pure: the shell reads before and writes after."""

from collections.abc import Callable
from typing import Final

import msgspec

from services.audit.watch import judging
from services.audit.watch.activity import Activity, activities
from services.audit.watch.alerts import Alert
from services.audit.watch.clock import MAX_WAITING, Clock, Waiting
from services.audit.watch.rules import Book, Panes, panes_of
from services.audit.watch.state import State, count, forget, is_counted
from services.audit.watch.values import Batch, Kind, Seen
from services.audit.watch.windows import pane_of

Subject = tuple[Kind, str]
Load = Callable[[Subject], State | None]
"""Gives the state of a subject as it is stored, None where there is none."""
_DAY_MS: Final = 86_400_000
_KNOWN_LONG: Final = (Kind.LOT,)
"""Of these it matters since when they are known: a state without panes stays."""


class Counted(msgspec.Struct):
    """What came of a batch.

    Written in this order, each only after all before it: alerts and statistics; `waiting`; the states; the clock. A crash between two of
    them repeats the batch: what is counted already is skipped, what was told is told again under the same ID.
    """

    alerts: list[Alert]
    activities: list[Activity]
    waiting: list[Waiting]
    states: dict[Subject, State]
    clock: Clock
    counted: int = 0
    skipped: int = 0
    late: int = 0
    first_seen: int = 0
    not_waited_for: int = 0


class Counter:
    """Counts batches by a book of rules; `sources` is how many partitions `browse.watched` has."""

    def __init__(self, book: Book, sources: int) -> None:
        """Count by these rules."""
        self._book, self._sources = book, sources
        self._panes = {kind: panes_of(book, kind) for kind in Kind}
        self._rules = {rule.id: rule for rule in book.rules}

    def count(
        self, batch: Batch, partition: int, clock: Clock, waiting: list[Waiting], load: Load
    ) -> Counted:
        """Count a batch that came in a partition of `browse.observed`, with the clock and what waits there."""
        done = Counted([], [], list(waiting), {}, clock)
        work = _Work(batch.source, clock.now_ms(self._sources), load, done, {})
        everybody = (Kind.ALL, str(partition))
        for seen in batch.seen:
            if seen.kind is Kind.USER:
                self._count(work, everybody, seen)
            self._count(work, (seen.kind, seen.subject), seen)
        self._judge(done, work.touched)
        if batch.until_ms:
            clock.move(batch.source, batch.until_ms)
        self._judge_waiting(done, load)
        now_ms = clock.now_ms(self._sources)
        for (kind, _), state in done.states.items():
            self._forget(kind, state, now_ms)
        return done

    def is_over(self, kind: Kind, state: State, now_ms: int) -> bool:
        """Say whether a state that nobody touched since may go, after its old panes have."""
        self._forget(kind, state, now_ms)
        kept_ms = self._book.keep_days * _DAY_MS if kind in _KNOWN_LONG else 0
        return not state.panes and state.last_ms + kept_ms < now_ms

    def _count(self, work: "_Work", subject: Subject, seen: Seen) -> None:
        """Count one observation, unless it is counted already or its window is gone."""
        done, source = work.done, work.source
        state = done.states.get(subject)
        if state is None:
            state = done.states[subject] = work.load(subject) or State()
        panes, own = self._panes[subject[0]], subject[0] is not Kind.ALL
        pane = pane_of(seen.time_ms, panes.pane_ms)
        if is_counted(state, source, seen.offset):
            done.skipped += (
                own  # stored again all the same: the changelog may not have what the local store has
            )
        elif pane < _floor(panes, work.now_ms):
            state.counted[source] = seen.offset
            done.late += own
        else:
            count(state, source, seen, pane)
            done.counted += own
            done.first_seen += 0 if own else seen.first_seen
        if pane in state.panes:
            work.touched.setdefault(subject, set()).add(pane)

    def _judge(self, done: Counted, touched: dict[Subject, set[int]]) -> None:
        known = set(done.waiting)
        for (kind, subject), panes in touched.items():
            state = done.states[kind, subject]
            done.alerts += judging.judged(self._book, kind, subject, state, panes)
            done.activities += activities(kind, subject, state, panes, self._book.statistics_ms)
            for rule, start in judging.waiting(self._book, kind, subject, state, panes):
                at_ms = start + rule.size_ms + self._book.grace_ms
                waits = Waiting(at_ms, kind, subject, rule.id, start)
                if waits in known or (rule.id, start) in state.told:
                    continue
                if len(known) >= MAX_WAITING:
                    done.not_waited_for += 1
                    continue
                known.add(waits)
                done.waiting.append(waits)

    def _judge_waiting(self, done: Counted, load: Load) -> None:
        now_ms = done.clock.now_ms(self._sources)
        due = [each for each in done.waiting if each.at_ms <= now_ms]
        if not due:
            return
        done.waiting = [each for each in done.waiting if each.at_ms > now_ms]
        for each in due:
            rule, subject = self._rules.get(each.rule), (each.kind, each.subject)
            state = done.states.get(subject) or load(subject)
            if rule is None or state is None:
                continue
            done.states[subject] = state
            found = judging.compared(self._book, rule, each.subject, state, each.start)
            if found is not None:
                done.alerts.append(found)

    def _forget(self, kind: Kind, state: State, now_ms: int) -> None:
        panes = self._panes[kind]
        forget(state, _floor(panes, now_ms), panes.keep_ms)


class _Work(msgspec.Struct):
    """A batch while it is counted: `now_ms` is the clock before it; `touched` has the panes of each subject that it concerns."""

    source: int
    now_ms: int
    load: Load
    done: Counted
    touched: dict[Subject, set[int]]


def _floor(panes: Panes, now_ms: int) -> int:
    """Give the start of the earliest pane that is kept."""
    return pane_of(max(0, now_ms - panes.keep_ms), panes.pane_ms)
