"""What an event itself states about its goods, until when they are good and how warm they may be, and what its facts say is registered. Pure.

Read from the ILMD of the event and from application identifiers in the query of GS1 Digital Links. The names are those of the
Core Business Vocabulary (itemExpirationDate, bestBeforeDate, sellByDate), of the GS1 Web Vocabulary and, for temperatures, of
GDSN (minimumTemperature, maximumTemperature); the vocabulary they are written with does not count.
Source: CBV 2.0 section 7.5 (ILMD); GS1 General Specifications 3.4 (AI 15, 16, 17, 7003), 3.8 (AI 4330 to 4333), 7.12 (years).
"""

import calendar
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from goodstrace.facts import Limit, RegisteredRange
from goodstrace.temperatures import Range, bare, celsius, double, plain, stated_limits
from services.collector.times import parse_time

ILMD: Final = "ilmd"
EXPIRY: Final = "expiry"
BEST_BEFORE: Final = "best-before"
SELL_BY: Final = "sell-by"
_DATES: Final = {
    "itemexpirationdate": EXPIRY,
    "expirationdate": EXPIRY,
    "expirationdatetime": EXPIRY,
    "bestbeforedate": BEST_BEFORE,
    "sellbydate": SELL_BY,
}
_DATE_AIS: Final = {"17": EXPIRY, "7003": EXPIRY, "15": BEST_BEFORE, "16": SELL_BY}
_TEMPERATURE_AIS: Final = {
    "4330": ("high", "FAH"),
    "4331": ("high", "CEL"),
    "4332": ("low", "FAH"),
    "4333": ("low", "CEL"),
}
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DAY_OF_AI: Final = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2}))?", re.ASCII)
_HUNDREDTHS: Final = re.compile(r"([0-9]{6})(-?)", re.ASCII)
_LINK_LISTS: Final = ("epcList", "childEPCs", "inputEPCList", "outputEPCList")
_CLASS_LISTS: Final = ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList")


Place = tuple[str | int, ...]
"""Names of members and indexes that lead to something in an event."""


class StatedDate(NamedTuple):
    """Until when something is good.

    at: where the event says so. meaning: EXPIRY, BEST_BEFORE or SELL_BY. end_us: the first Unix microsecond after it.
    written: as it stands there.
    """

    at: Place
    meaning: str
    end_us: int
    written: str


class StorageLimit(NamedTuple):
    """How cold or how warm goods may be kept, degrees Celsius; `registered`: the key of the goods whose registration says so, empty: the event."""

    celsius: float
    registered: str = ""


class StorageRange(NamedTuple):
    """Between which temperatures goods are to be kept; None where nobody says it."""

    low: StorageLimit | None
    high: StorageLimit | None


def dates(event: Mapping[str, Any]) -> Iterator[StatedDate]:
    """List the dates of an event, those of its ILMD first. A day ends when it ends in the event's time zone offset."""
    offset = str(event.get("eventTimeZoneOffset", "+00:00"))
    ilmd = event.get(ILMD)
    for name, value in ilmd.items() if isinstance(ilmd, dict) else ():
        meaning = _DATES.get(bare(name))
        text = plain(value)
        end_us = _end(text, offset) if meaning and isinstance(text, str) else None
        if meaning and end_us is not None:
            yield StatedDate((ILMD, name), meaning, end_us, text)
    year = _year(event)
    for at, ai, text in _link_values(event):
        meaning = _DATE_AIS.get(ai)
        end_us = _end_of_ai(text, year, offset) if meaning else None
        if meaning and end_us is not None:
            yield StatedDate(at, meaning, end_us, text)


def storage_range(event: Mapping[str, Any]) -> Range:
    """Give the narrowest range of temperatures that an event states."""
    lows, highs = stated_limits(event.get(ILMD))
    for _, ai, text in _link_values(event):
        side, unit = _TEMPERATURE_AIS.get(ai, ("", ""))
        match = _HUNDREDTHS.fullmatch(text) if side else None
        if match:
            degrees = celsius(float(f"{match[2]}{match[1]}") / 100.0, unit)
            (lows if side == "low" else highs).append(degrees or 0.0)
    return Range(max(lows, default=None), min(highs, default=None))


def narrowest(own: Range, registered: RegisteredRange | None) -> StorageRange:
    """Join what an event states and what is registered of its goods: the narrower one counts on each side, the event's where they are the same."""
    known = registered or RegisteredRange()
    lows = [*_of_event(own.low), *_of_registration(known.low)]
    highs = [*_of_event(own.high), *_of_registration(known.high)]
    return StorageRange(
        max(lows, key=lambda each: each.celsius, default=None),
        min(highs, key=lambda each: each.celsius, default=None),
    )


def _of_event(degrees: float | None) -> list[StorageLimit]:
    return [] if degrees is None else [StorageLimit(degrees)]


def _of_registration(limit: Limit | None) -> list[StorageLimit]:
    degrees = double(limit.celsius) if limit is not None else None
    return [] if limit is None or degrees is None else [StorageLimit(degrees, limit.key)]


def _end(text: str, offset: str) -> int | None:
    if not _DAY.fullmatch(text):
        return parse_time(text, offset)
    try:
        following = date.fromisoformat(text) + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    return parse_time(f"{following.isoformat()}T00:00:00", offset)


def _end_of_ai(text: str, year: int, offset: str) -> int | None:
    """Read YYMMDD or YYMMDDhhmm; day 00 is the last of its month, the century is the one nearest to the event's year."""
    match = _DAY_OF_AI.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= 12:
        return None
    century = year - year % 100
    ahead = int(match[1]) - year % 100
    full = century + int(match[1]) - (100 if ahead >= 51 else -100 if ahead <= -50 else 0)
    if not 1 <= full <= 9998:
        return None
    day = int(match[3]) or calendar.monthrange(full, int(match[2]))[1]
    written = f"{full:04}-{match[2]}-{day:02}"
    return parse_time(f"{written}T{match[4]}:{match[5]}:00", offset) if match[4] else _end(written, offset)


def _year(event: Mapping[str, Any]) -> int:
    text = str(event.get("eventTime", ""))[:4]
    return int(text) if text.isdecimal() and text.isascii() else 2000


def _link_values(event: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    """List place, application identifier and value of what stands in the queries of the event's links."""
    for at, uri in _uris(event):
        if "?" in uri and uri[:4].lower() == "http":
            query = uri.partition("?")[2].partition("#")[0]
            for ai, value in parse_qsl(query):
                yield at, ai, value


def _uris(event: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for name in _LINK_LISTS:
        for index, uri in enumerate(event.get(name, ())):
            yield (name, index), uri
    if "parentID" in event:
        yield ("parentID",), event["parentID"]
    for name in _CLASS_LISTS:
        for index, element in enumerate(event.get(name, ())):
            yield (name, index, "epcClass"), element["epcClass"]
