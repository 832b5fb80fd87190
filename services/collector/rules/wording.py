"""What a verdict tells: a rule's sentence with values of the event put in. Pure; the same values give the same text."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

MAX_DETAIL: Final = 500
_MAX_VALUE: Final = 120
_NAME: Final = re.compile(r"\{([A-Za-z_]+)\}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def names_in(template: str) -> set[str]:
    """List the {names} in a sentence."""
    return set(_NAME.findall(template))


def told(template: str, values: Mapping[str, Any]) -> str:
    """Put values in the place of their {names}; one that is not there is written as "?", a long one is cut."""
    return _NAME.sub(lambda found: _text(values.get(found[1], "?")), template)[:MAX_DETAIL]


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else f"{value[0]} and {len(value) - 1} more" if value else "?"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):  # all integers among the values are times
        return _moment(value)
    if isinstance(value, float):
        return _number(value)
    text = str(value)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."


def _moment(time_us: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{time_us} us"


def _number(value: float) -> str:
    """Write a double as the shortest decimal that is read as the same one, whole ones without a point."""
    return repr(value).removesuffix(".0")
