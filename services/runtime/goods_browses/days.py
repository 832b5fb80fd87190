"""Days as requests and documents name them: "2026-11-01", in UTC. Pure."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

from services.runtime.call_errors import InvalidRequestError

MOST_DAYS: Final = 92
DAY_MS: Final = 86_400_000
_ONE: Final = dt.timedelta(days=1)


def day_of(time_ms: int) -> dt.date:
    """Give the day (UTC) of a time in Unix milliseconds."""
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).date()


def start_ms(day: dt.date) -> int:
    """Give when a day (UTC) begins, Unix milliseconds."""
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) * 1000


def days(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    """List the days from the first to the last; none where that is before it."""
    while first <= last:
        yield first
        first += _ONE


def span_of(first_day: str, last_day: str) -> tuple[dt.date, dt.date]:
    """Read the first and the last day that are asked for. Raises: InvalidRequestError naming the field."""
    first, last = _day(first_day, "first_day"), _day(last_day, "last_day")
    if not 0 <= (last - first).days < MOST_DAYS:
        raise InvalidRequestError(f"from first_day on, at most {MOST_DAYS} days, please", "last_day")
    return first, last


def _day(text: str, field: str) -> dt.date:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise InvalidRequestError('a day such as "2026-11-01", please', field)
    return day
