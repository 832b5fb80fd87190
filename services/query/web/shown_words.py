"""The words of the catalogue in which a page tells its events, by the sealed value that they stand for: handed to `static/shown.js`, which reads the page. Pure."""

from collections.abc import Iterable
from typing import Final

from services.query.web.languages import Catalogue
from services.query.web.trace_view import ShownEvent
from services.query.web.verdicts import words

_FIXED: Final = (
    "face.merchant",
    "seal.also",
    "seal.recorded",
    "seal.where",
    "sensor.unchecked",
    "time.moment",
    "time.months",
    "timeline.details",
    "timeline.event",
    "timeline.exact",
    "timeline.hidden",
    "timeline.inside",
    "timeline.reads",
    "timeline.reads_all",
    "timeline.said_by",
    "trace.possible",
    "verdict.line",
    "verdict.own",
    "verdict.registered",
)


def shown_words(catalogue: Catalogue, language: str, events: Iterable[ShownEvent]) -> dict[str, str]:
    """Give what the cards of events are written with, by name in the catalogue."""
    found = {name: catalogue.text(language, name) for name in _FIXED}
    for each in events:
        said = [("did", each.word)] if each.word else []
        said += [("mark", mark) for mark in (*each.flags, *each.marks)]
        said += [("role", role) for role, _ in each.goods]
        said += [("sensor", reading.kind) for reading in each.readings]
        found |= {f"{family}.{word}": catalogue.word(language, family, word) for family, word in said}
        for verdict in each.facts.verdicts if each.facts else ():
            found |= dict(words(catalogue, language, verdict))
    return found
