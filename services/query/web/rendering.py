"""Templates in a language: Jinja2 with autoescape, and the helpers that templates use. No I/O after start.

Whatever events say goes through autoescape; no template marks anything as safe, and none puts values into script or style.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jinja2
import msgspec

from goodstrace.asked_keys import is_gs1
from goodstrace.facts import Verdict
from services.query.web.asking import is_web, page_of, spoken
from services.query.web.languages import LANGUAGES, OWN_NAMES, Catalogue, best_name
from services.query.web.navigation import sections_of
from services.query.web.registered import Thing
from services.query.web.sensors import UNITS
from services.query.web.shown_words import shown_words
from services.query.web.trace_view import ShownEvent
from services.query.web.verdicts import as_registered, told

_MINUTES: Final = "%H:%M"
_SECONDS: Final = "%H:%M:%S"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BOUNDS: Final = (
    datetime(2, 1, 1, tzinfo=UTC),
    datetime(9998, 1, 1, tzinfo=UTC),
)  # an offset may be added to it


class Rendering:
    """Renders pages."""

    def __init__(self, **fixed: object) -> None:
        """Read templates and catalogues; `fixed` values are known to every template."""
        self.catalogue = Catalogue()
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("services.query.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            page_of=page_of,
            spoken=spoken,
            sections_of=sections_of,
            languages=OWN_NAMES,
            units=UNITS,
            is_web=is_web,
            is_gs1=is_gs1,
            order=LANGUAGES,
            **fixed,
        )

    def page(self, template: str, language: str, **values: Any) -> bytes:
        """Render a template in a language."""
        found = self._environment.get_template(template)
        return found.render(lang=language, **self._helpers(language), **values).encode()

    def _helpers(self, language: str) -> dict[str, Any]:
        def t(name: str, /, **values: object) -> str:
            return self.catalogue.text(language, name, **values)

        def word(family: str, of: str) -> str:
            return self.catalogue.word(language, family, of)

        def name_of(key: str, things: Mapping[str, Thing]) -> str:
            thing = things.get(key)
            return (best_name(thing.names, language) if thing else "") or spoken(key)

        def named(names: Mapping[str, str]) -> str:
            return best_name(names, language)

        def moment(time_us: int, offset: str = "+00:00", *, seconds: bool = False) -> str:
            return self._moment(language, time_us, offset, _SECONDS if seconds else _MINUTES)

        def verdict(found: Verdict) -> str:
            return told(self.catalogue, language, found)

        def limited(line: str, registered: Sequence[str]) -> str:
            return as_registered(self.catalogue, language, line, registered)

        def words_of(events: Iterable[ShownEvent]) -> str:
            return msgspec.json.encode(shown_words(self.catalogue, language, events)).decode()

        return {
            "t": t, "word": word, "name_of": name_of, "named": named, "moment": moment, "iso": iso, "verdict": verdict,
            "as_registered": limited, "words_of": words_of,
        }  # fmt: skip

    def _moment(self, language: str, time_us: int, offset: str, clock: str = _MINUTES) -> str:
        found = _datetime(time_us) + _shift(offset)
        months = self.catalogue.text(language, "time.months").split(",")
        zone = "UTC" if offset in ("+00:00", "-00:00", "Z", "") else offset[:6]
        return self.catalogue.text(
            language,
            "time.moment",
            day=found.day,
            month=months[found.month - 1],
            year=found.year,
            clock=found.strftime(clock),
            zone=zone,
        )


def iso(time_us: int) -> str:
    """Write a time for programs: UTC, to the second."""
    return _datetime(time_us).strftime("%Y-%m-%dT%H:%M:%SZ")


def _datetime(time_us: int) -> datetime:
    earliest, latest = ((each - _EPOCH) // timedelta(microseconds=1) for each in _BOUNDS)
    return _EPOCH + timedelta(microseconds=min(max(time_us, earliest), latest))


def _shift(offset: str) -> timedelta:
    """Read an offset such as +05:30; none where it is no such."""
    try:
        hours, _, minutes = offset[1:6].partition(":")
        shift = timedelta(hours=int(hours), minutes=int(minutes or 0))
    except ValueError:
        return timedelta()
    return -shift if offset[0] == "-" else shift
