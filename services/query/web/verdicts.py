"""What rules found in events, in the visitor's language. Pure. `static/shown.js` does the same, to check what stands on the page.

The sentence of a rule that comes with the program is sealed in English, with values of the event in it. It is taken apart by the English
sentence in the catalogue (`rule.<id>`) and put together by that of the visitor's language. An operator's rules speak for themselves: their IDs have a dot.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from goodstrace.facts import Severity, Verdict
from services.query.web.asking import spoken
from services.query.web.languages import ENGLISH, Catalogue
from services.query.web.trace_view import ShownEvent

MOST_FLAGS: Final = 200
_ORDER: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
_NAME: Final = re.compile(r"\{(\w+)\}")


class Flag(msgspec.Struct, frozen=True):
    """A finding for the list on top: `number` is the event's on the page, from 1, and `place_id` where it is sealed."""

    number: int
    place_id: str
    verdict: Verdict


def flags(events: Sequence[ShownEvent]) -> tuple[Flag, ...]:
    """List what rules found in the events of a page, the gravest first, then in the order of the events; at most 200."""
    found = [
        Flag(number, each.place_id, verdict)
        for number, each in enumerate(events, 1)
        for verdict in (each.facts.verdicts if each.facts else ())
    ]
    return tuple(sorted(found, key=lambda each: _ORDER.get(each.verdict.severity, 1))[:MOST_FLAGS])


def is_own(verdict: Verdict) -> bool:
    """Say whether the rule is an operator's, and not one of the program."""
    return "." in verdict.rule


def told(catalogue: Catalogue, language: str, verdict: Verdict) -> str:
    """Tell a verdict in one line: how grave it is, the rule's name, what it says, and of which goods the limit is registered."""
    return as_registered(catalogue, language, _line(catalogue, language, verdict), verdict.registered)


def as_registered(catalogue: Catalogue, language: str, line: str, registered: Sequence[str]) -> str:
    """Add to what a verdict says of which goods its limits are registered; nothing where the event states them."""
    if not registered:
        return line
    goods = ", ".join(map(spoken, registered))
    return catalogue.text(language, "verdict.registered", line=line, goods=goods)


def _line(catalogue: Catalogue, language: str, verdict: Verdict) -> str:
    severity = catalogue.word(language, "merchant.severity", verdict.severity)
    if is_own(verdict):
        return catalogue.text(
            language, "verdict.own", severity=severity, rule=verdict.rule, detail=verdict.detail or "?"
        )
    name = catalogue.word(language, "merchant.flag", verdict.rule)
    return catalogue.text(
        language,
        "verdict.line",
        severity=severity,
        rule=name,
        detail=detail(catalogue, language, verdict) or "?",
    )


def detail(catalogue: Catalogue, language: str, verdict: Verdict) -> str:
    """Give a verdict's sentence in a language; as it was sealed where it is not one of the program's."""
    name = f"rule.{verdict.rule}"
    english = catalogue.texts[ENGLISH].get(name)
    found = None if english is None else _pattern(english).fullmatch(verdict.detail)
    if found is None:
        return verdict.detail
    values = dict(zip(_NAME.findall(english or ""), found.groups(), strict=True))
    return _NAME.sub(lambda each: values[each[1]], catalogue.texts[language][name])


def words(catalogue: Catalogue, language: str, verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Give the texts by which `told` tells a verdict, by name: what a script needs to tell it again."""
    yield (
        f"merchant.severity.{verdict.severity}",
        catalogue.word(language, "merchant.severity", verdict.severity),
    )
    if not is_own(verdict):
        yield f"merchant.flag.{verdict.rule}", catalogue.word(language, "merchant.flag", verdict.rule)
        name = f"rule.{verdict.rule}"
        if name in catalogue.texts[ENGLISH]:
            yield name, catalogue.texts[language][name]
            yield f"sealed.{name}", catalogue.texts[ENGLISH][name]


def _pattern(sentence: str) -> re.Pattern[str]:
    pieces = _NAME.split(sentence)
    written = "".join("(.*?)" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces))
    return re.compile(written, re.DOTALL)
