"""Temperatures that events state: units, and between which the goods are to be kept. Pure.

The names of limits are those of GDSN and of the GS1 Web Vocabulary (minimumTemperature, maximumTemperature and the like); the vocabulary that they are
written with does not count.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

_LOWEST: Final = ("minimumtemperature", "minimumstoragetemperature", "storagetemperatureminimum")
_HIGHEST: Final = ("maximumtemperature", "maximumstoragetemperature", "storagetemperaturemaximum")
_UNIT_OF: Final = re.compile(
    rf"(?:.*[:#/])?({'|'.join((*_LOWEST, *_HIGHEST))}|(?:storage)?temperature)[^a-z]*"
    r"(?:measurement)?(?:unit(?:of)?(?:measure(?:ment)?)?|uom)(?:code)?",
    re.ASCII,
)
"""Names of members that state the unit of one limit, such as maximumTemperatureUnit, or of all of them, such as temperatureMeasurementUnitCode."""
_CELSIUS: Final = "CEL"
_PREFIX: Final = re.compile(r"^.*[:#/]")
_NUMBER: Final = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\s*", re.ASCII)
_MAX_NESTED: Final = 3


class Range(NamedTuple):
    """Between which temperatures, in degrees Celsius, the goods are to be kept; None where nothing is said."""

    low: float | None = None
    high: float | None = None


class Unclear(NamedTuple):
    """An attribute of registered goods that makes a limit of temperature unclear, and what it must be."""

    name: str
    detail: str


def stated_limits(value: Any) -> tuple[list[float], list[float]]:
    """List the lowest and the highest temperatures, in degrees Celsius, that an ILMD or other members state, nested ones too."""
    lows: list[float] = []
    highs: list[float] = []
    _gather(value, lows, highs, _MAX_NESTED)
    return lows, highs


def registered_limits(attributes: Mapping[str, str]) -> tuple[list[float], list[float]]:
    """List the temperatures that attributes of registered goods state, as `stated_limits` does: what another unit is stated of counts for nothing."""
    return stated_limits(
        {name: each for name, each in attributes.items() if _foreign_unit(attributes, name) is None}
    )


def unclear_limit(attributes: Mapping[str, str]) -> Unclear | None:
    """Find the first attribute by which a limit does not count as who registers it may think: `-25 C`, or 46.4 beside a unit FAH."""
    for name in filter(_is_limit, attributes):
        degrees, unit = double(attributes[name]), _foreign_unit(attributes, name)
        if degrees is None or not math.isfinite(degrees):
            return Unclear(name, "must be a number of degrees Celsius, without a unit")
        if unit is not None:
            return Unclear(unit, f"must be {_CELSIUS}, or left out: {name} is in degrees Celsius")
    return None


def celsius(value: float, unit: str) -> float | None:
    """Convert a temperature from a UN/CEFACT unit (CEL, KEL, FAH) to degrees Celsius; None for another unit."""
    if unit == _CELSIUS:
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


def _is_limit(name: str) -> bool:
    return bare(name) in (*_LOWEST, *_HIGHEST)


def _foreign_unit(attributes: Mapping[str, str], name: str) -> str | None:
    """Give the name of the attribute that states of the limit `name` another unit than degrees Celsius; None where none does."""
    if not _is_limit(name):
        return None
    units = ((other, match[1]) for other in attributes if (match := _UNIT_OF.fullmatch(other.lower())))
    of_it = (other for other, of in units if of == bare(name) or not _is_limit(of))
    return next((other for other in of_it if attributes[other] != _CELSIUS), None)


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
        (members[name] for name in ("unitcode", "uom", "measurementunitcode") if name in members), _CELSIUS
    )
    return None if number is None else celsius(number, str(unit))
