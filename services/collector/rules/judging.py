"""Trying rules on an event: which of them hold, where first, and which gave no answer. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import cel
import msgspec

from goodstrace.facts import Facts, Verdict
from services.collector.flow import Unanswered
from services.collector.rules.book import Rule, RuleSet
from services.collector.rules.expressions import NoAnswer
from services.collector.rules.stated import Place
from services.collector.rules.things import ABOUT, REGISTERED, TRIGGERS, About, Subject, Values
from services.collector.rules.wording import told
from services.collector.strict_json import pointer

_QUERY: Final = b"?"
_WHOLE: Final = "event"
_KINDS: Final = 1024
_REMEMBERED: Final = 8192
_LONGEST_REMEMBERED: Final = 64
"""Characters of a text: what is remembered stays small, whatever is sent."""

Answers = tuple[tuple[Rule, bool | NoAnswer], ...]
"""Rules that hold or have no answer; those that do not hold are left out."""


class Judgement(msgspec.Struct, frozen=True):
    """What rules say of one event.

    verdicts: by rule ID, at most one a rule. unanswered: by rule ID, one a rule: where first an expression had no value; that is no
    verdict.
    """

    verdicts: tuple[Verdict, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()


_NOTHING: Final = Judgement()


class _Group:
    """Rules about one kind of thing in one kind of events, and `members` of an event without which it has no such thing."""

    def __init__(self, about: About, rules: tuple[Rule, ...]) -> None:
        self.about = about
        self.members = frozenset(TRIGGERS[about])
        self._rules = rules
        self.reading = lru_cache(maxsize=_KINDS)(self._reading)

    def _reading(self, names: tuple[str, ...], *, always: frozenset[str]) -> "_Reading | None":
        """Choose the rules to try on a thing with values of these names; None for none."""
        there = always.union(names)
        rules = tuple(rule for rule in self._rules if rule.names <= there)
        return _Reading(rules) if rules else None


class _Reading:
    """Rules that are tried together, on the same values. Their answers follow from the values, so they are remembered."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._names = tuple(sorted(frozenset[str]().union(*(rule.names for rule in rules))))
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._try)

    def answers(self, subject: Subject, own: Values) -> Answers:
        """Try the rules; each value costs a microsecond to hand over to CEL, so only those go that are read."""
        always = subject.always
        read: list[Any] = []
        remember = True
        for name in self._names:
            value = own[name] if name in own else subject.whole if name == _WHOLE else always[name]
            kind = type(value)
            if kind is list or kind is dict or (kind is str and len(value) > _LONGEST_REMEMBERED):
                remember = False
            read.append(value)
        return self._remembered(*read) if remember else self._try(*read)

    def _try(self, *values: Any) -> Answers:
        context = cel.Context(dict(zip(self._names, values, strict=True)))
        tried = [(rule, rule.expression.holds(context)) for rule in self._rules]
        return tuple((rule, answer) for rule, answer in tried if answer is not False)


class _Plan(msgspec.Struct, frozen=True):
    """The rules that fit a kind of events, by what they are about.

    members: where none of them is in an event, there is nothing to try; but for `unconditional` rules, and dates in links.
    of_event: each by itself, since each shares something else.
    """

    members: frozenset[str]
    unconditional: bool
    of_event: tuple[tuple[Rule, _Group], ...]
    of_things: tuple[_Group, ...]
    of_dates: bool


class Judge:
    """Tries the rules of several sets together. What it remembers changes no answer."""

    def __init__(self, sets: Sequence[RuleSet]) -> None:
        """Join sets; what one leaves out is not tried."""
        left_out = frozenset[str]().union(*(each.leave_out for each in sets))
        self.rules = tuple(rule for each in sets for rule in each.rules if rule.id not in left_out)
        self._plan = lru_cache(maxsize=_KINDS)(self._plan_for)

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
        for rule, group in plan.of_event:
            if not rule.member or rule.member in event:
                trial.on_event(rule, group)
        for group in plan.of_things:
            if not group.members.isdisjoint(event) or (queries and group.about == "date"):
                trial.on_things(group)
        return trial.judgement()

    def _plan_for(self, event_type: str, action: str, step: str) -> _Plan:
        fitting = [rule for rule in self.rules if rule.fits(event_type, action, step)]
        of_event = tuple(rule for rule in fitting if rule.written.about == "event")
        groups = tuple(
            _Group(about, rules)
            for about in ABOUT
            if about != "event" and (rules := tuple(rule for rule in fitting if rule.written.about == about))
        )
        return _Plan(
            members=frozenset(rule.member for rule in of_event).union(*(group.members for group in groups)),
            unconditional=any(not rule.member for rule in of_event),
            of_event=tuple((rule, _Group("event", (rule,))) for rule in of_event),
            of_things=groups,
            of_dates=any(group.about == "date" for group in groups),
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

    def on_event(self, rule: Rule, group: _Group) -> None:
        """Try a rule about the event as a whole; what it shares is looked at first, without any expression."""
        own: Values = {}
        if rule.written.when.shared is not None:
            shared = self._subject.shared(*rule.written.when.shared)
            if not shared:
                return
            own["shared"] = shared
        self._try(group, (), own)

    def on_things(self, group: _Group) -> None:
        """Try rules on one thing after the other."""
        for place, own in self._subject.things(group.about):
            self._try(group, place, own)

    def _try(self, group: _Group, place: Place, own: Values) -> None:
        reading = group.reading(tuple(own), always=self._subject.names)
        for rule, answer in reading.answers(self._subject, own) if reading else ():
            if isinstance(answer, NoAnswer):
                self._unanswered.setdefault(rule.id, Unanswered(rule.id, pointer(*place), answer.reason))
            elif rule.id not in self._verdicts:
                detail = told(rule.written.detail, {**self._subject.always, **own})
                registered = _registered(rule, own)
                self._verdicts[rule.id] = Verdict(rule.id, rule.severity, pointer(*place), detail, registered)


def _registered(rule: Rule, own: Values) -> tuple[str, ...]:
    """Say by whose registrations a rule holds: those that state values which it reads."""
    sources = {REGISTERED[name] for name in rule.names if name in REGISTERED}
    return tuple(sorted({own[name] for name in sources if name in own}))
