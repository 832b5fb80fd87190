"""EPCIS times: ISO 8601 date and time, in Unix microseconds UTC."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_SHAPE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII
)
_OFFSET: Final = re.compile(r"[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00", re.ASCII)
_ZONE_CHARS: Final = 6
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def parse_time(text: str, offset: str = "+00:00") -> int | None:
    """Read a date and time; None where it is none.

    Args:
        text: years 0001 to 9999, any number of digits of a second (below a microsecond they are cut off).
        offset: the time zone where the text names none: the event's eventTimeZoneOffset.
    Returns: Unix microseconds UTC.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(text if match[1] else text + offset)
        return (moment - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None


def is_time(text: str) -> bool:
    """Say whether a text is a date and time of EPCIS: as `parse_time` reads it, with a sound zone if any.

    `parse_time` takes any zone below 24 hours: stages read with it what was captured before, and a replay must give the same.
    """
    return has_sound_zone(text) and parse_time(text) is not None


def has_sound_zone(text: str) -> bool:
    """Say whether what a text ends with is no time zone offset at all, or one of EPCIS."""
    zone = text[-_ZONE_CHARS:]
    return zone[:1] not in {"+", "-"} or zone[3:4] != ":" or is_offset(zone)


def is_offset(text: str) -> bool:
    """Say whether a text is a time zone offset of EPCIS: +hh:mm or -hh:mm, at most 14:00."""
    return _OFFSET.fullmatch(text) is not None
