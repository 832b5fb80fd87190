"""Trying rules on an event: which of them hold, where first, and which gave no answer. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import cel
import msgspec

from goodstrace.facts import Facts, Verdict
from services.collector.flow import Unanswered
from services.collector.rules.book import Rule, RuleSet
from services.collector.rules.expressions import NoAnswer
from services.collector.rules.things import ABOUT, TRIGGERS, About, Subject, Values
from services.collector.rules.wording import told

_QUERY: Final = b"?"
_KINDS_OF_EVENTS: Final = 1024


class Judgement(msgspec.Struct, frozen=True):
    """What rules say of one event.

    verdicts: by rule ID, at most one a rule. unanswered: by rule ID, one a rule: where first an expression had no value; that is no
    verdict.
    """

    verdicts: tuple[Verdict, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()


_NOTHING: Final = Judgement()


class _Plan(msgspec.Struct, frozen=True):
    """The rules that fit a kind of events, by what they are about.

    members: where none of them is in an event, there is nothing to try; but for `unconditional` rules, and dates in links.
    """

    members: frozenset[str]
    unconditional: bool
    of_event: tuple[Rule, ...]
    of_things: tuple[tuple[About, frozenset[str], tuple[Rule, ...]], ...]
    of_dates: bool


class Judge:
    """Tries the rules of several sets together. Holds no state that an answer depends on."""

    def __init__(self, sets: Sequence[RuleSet]) -> None:
        """Join sets; what one leaves out is not tried."""
        left_out = frozenset[str]().union(*(each.leave_out for each in sets))
        self.rules = tuple(rule for each in sets for rule in each.rules if rule.id not in left_out)
        self._plan = lru_cache(maxsize=_KINDS_OF_EVENTS)(self._plan_for)

    def judge(
        self, event: dict[str, Any], facts: Facts, step: str, content: bytes, record_time_ms: int
    ) -> Judgement:
        """Try every rule that fits.

        Args:
            event: a valid event as the stage `record` decodes it: numbers exact.
            facts: its facts.
            step: its step of the supply chain.
            content: its bytes, in which queries of links are looked for.
            record_time_ms: Unix milliseconds.
        """
        plan = self._plan(facts.type, facts.action, step)
        queries = plan.of_dates and _QUERY in content
        if not plan.unconditional and not queries and plan.members.isdisjoint(event):
            return _NOTHING
        trial = _Trial(Subject(event, facts, step, record_time_ms, queries=queries))
        for rule in plan.of_event:
            if not rule.member or rule.member in event:
                trial.on_event(rule)
        for about, members, rules in plan.of_things:
            if not members.isdisjoint(event) or (queries and about == "date"):
                trial.on_things(about, rules)
        return trial.judgement()

    def _plan_for(self, event_type: str, action: str, step: str) -> _Plan:
        fitting = [rule for rule in self.rules if rule.fits(event_type, action, step)]
        things = tuple(
            (about, frozenset(TRIGGERS[about]), rules)
            for about in ABOUT
            if about != "event" and (rules := tuple(rule for rule in fitting if rule.written.about == about))
        )
        of_event = tuple(rule for rule in fitting if rule.written.about == "event")
        return _Plan(
            members=frozenset(member for _, members, _ in things for member in members).union(
                rule.member for rule in of_event
            ),
            unconditional=any(not rule.member for rule in of_event),
            of_event=of_event,
            of_things=things,
            of_dates=any(about == "date" for about, _, _ in things),
        )


class _Trial:
    """The rules of one event being tried."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._verdicts: dict[str, Verdict] = {}
        self._unanswered: dict[str, Unanswered] = {}

    def judgement(self) -> Judgement:
        if not self._verdicts and not self._unanswered:
            return _NOTHING
        verdicts = tuple(self._verdicts[name] for name in sorted(self._verdicts))
        return Judgement(verdicts, tuple(self._unanswered[name] for name in sorted(self._unanswered)))

    def on_event(self, rule: Rule) -> None:
        """Try a rule about the event as a whole; what it shares is looked at first, without any expression."""
        own: Values = {}
        if rule.written.when.shared is not None:
            shared = self._subject.shared(*rule.written.when.shared)
            if not shared:
                return
            own["shared"] = shared
        self._try((rule,), "", own)

    def on_things(self, about: About, rules: Iterable[Rule]) -> None:
        """Try rules on one thing after the other; a rule that has held once is not tried again."""
        open_rules = list(rules)
        for place, own in self._subject.things(about):
            self._try(open_rules, place, own)
            if not self._verdicts.keys().isdisjoint(rule.id for rule in open_rules):
                open_rules = [rule for rule in open_rules if rule.id not in self._verdicts]

    def _try(self, rules: Iterable[Rule], place: str, own: Values) -> None:
        values = {**self._subject.always, **own}
        rules = [rule for rule in rules if rule.names <= values.keys() | _WHOLE]
        if not rules:
            return
        context = cel.Context(self._read(rules, values))
        for rule in rules:
            holds = rule.expression.holds(context)
            if isinstance(holds, NoAnswer):
                self._unanswered.setdefault(rule.id, Unanswered(rule.id, place, holds.reason))
            elif holds:
                detail = told(rule.written.detail, values)
                self._verdicts[rule.id] = Verdict(rule.id, rule.severity, place, detail)

    def _read(self, rules: Sequence[Rule], values: Mapping[str, Any]) -> Values:
        """Choose the values that the rules read: each costs a microsecond to hand over."""
        names = frozenset[str]().union(*(rule.names for rule in rules))
        return {name: self._subject.whole if name in _WHOLE else values[name] for name in names}


_WHOLE: Final = frozenset(("event",))
