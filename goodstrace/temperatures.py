"""Temperatures that events state: units, and between which the goods are to be kept. Pure.

The names of limits are those of GDSN and of the GS1 Web Vocabulary (minimumTemperature, maximumTemperature and the like); the vocabulary that they are
written with does not count.
"""

import math
import re
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

_LOWEST: Final = ("minimumtemperature", "minimumstoragetemperature", "storagetemperatureminimum")
_HIGHEST: Final = ("maximumtemperature", "maximumstoragetemperature", "storagetemperaturemaximum")
_PREFIX: Final = re.compile(r"^.*[:#/]")
_NUMBER: Final = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\s*", re.ASCII)
_MAX_NESTED: Final = 3


class Range(NamedTuple):
    """Between which temperatures, in degrees Celsius, the goods are to be kept; None where nothing is said."""

    low: float | None = None
    high: float | None = None


def stated_limits(value: Any) -> tuple[list[float], list[float]]:
    """List the lowest and the highest temperatures, in degrees Celsius, that an ILMD or other members state, nested ones too."""
    lows: list[float] = []
    highs: list[float] = []
    _gather(value, lows, highs, _MAX_NESTED)
    return lows, highs


def celsius(value: float, unit: str) -> float | None:
    """Convert a temperature from a UN/CEFACT unit (CEL, KEL, FAH) to degrees Celsius; None for another unit."""
    if unit == "CEL":
        return value
    if unit == "KEL":
        return value - 273.15
    return (value - 32.0) * 5.0 / 9.0 if unit == "FAH" else None


def double(value: Any) -> float | None:
    """Give a JSON number, or a number as text, as the nearest IEEE 754 double, zero without a sign; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return None
    try:
        return float(value) + 0.0  # no minus zero
    except OverflowError:  # an integer of hundreds of digits
        return math.inf if cast(int, value) > 0 else -math.inf


def bare(name: str) -> str:
    """Give a name without its vocabulary, in lower case."""
    return _PREFIX.sub("", name).lower()


def plain(value: Any) -> Any:
    """Take the value out of a JSON-LD value object."""
    return value.get("@value") if isinstance(value, dict) else value


def _gather(value: Any, lows: list[float], highs: list[float], depth: int) -> None:
    """Look for temperatures in the ILMD and in objects in it, such as tradeItemTemperatureInformation."""
    if not isinstance(value, dict):
        return
    for name, member in value.items():
        named = bare(name)
        side = lows if named in _LOWEST else highs if named in _HIGHEST else None
        degrees = _degrees(member) if side is not None else None
        if side is not None and degrees is not None:
            side.append(degrees)
        elif depth:
            _gather(member, lows, highs, depth - 1)


def _degrees(value: Any) -> float | None:
    """Read a number in degrees Celsius, or an object of value and unit such as gs1:QuantitativeValue."""
    if not isinstance(value, dict):
        return double(value)
    members = {bare(name): member for name, member in value.items()}
    number = double(plain(members.get("value")))
    unit = next(
        (members[name] for name in ("unitcode", "uom", "measurementunitcode") if name in members), "CEL"
    )
    return None if number is None else celsius(number, str(unit))
