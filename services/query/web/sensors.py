"""What sensors measured, and charts of it as values for SVG. Pure. Source: EPCIS 2.0 section 7.2.7 (sensorElementList)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeGuard

import msgspec

from goodstrace.grouping import grouped

TEMPERATURE: Final = "Temperature"
UNITS: Final = {"CEL": "°C", "FAH": "°F", "KEL": "K", "P1": "%", "A93": "g/m³", "PAL": "Pa"}
WIDTH: Final = 640
HEIGHT: Final = 200
LEFT: Final = 48
BOTTOM: Final = 28
_MOST: Final = 500
_INSET: Final = 10


class Reading(msgspec.Struct, frozen=True):
    """One measurement: `kind` as in EPCIS (Temperature, ...), the least and greatest value in `unit` at a time (Unix microseconds)."""

    kind: str
    unit: str
    time_us: int
    least: float
    greatest: float


class Chart(msgspec.Struct, frozen=True):
    """A chart's shape within WIDTH x HEIGHT: `line` and `points` in its units, `marks` of the value axis as (y, text)."""

    kind: str
    unit: str
    line: str
    points: tuple[tuple[float, float, Reading], ...]
    marks: tuple[tuple[float, str], ...]
    readings: tuple[Reading, ...]
    least: float
    greatest: float


def readings_of(document: Mapping[str, Any], time_us: int) -> Iterator[Reading]:
    """Read the measurements of an event in the JSON form of EPCIS; what is malformed is passed over. `time_us` is the event's."""
    for element in _dicts(document.get("sensorElementList")):
        metadata = element.get("sensorMetadata")
        at_us = _time(metadata.get("time") if isinstance(metadata, dict) else None, time_us)
        for report in _dicts(element.get("sensorReport")):
            values = [report.get(name) for name in ("value", "minValue", "maxValue", "meanValue")]
            numbers = [float(each) for each in values if _is_number(each) and abs(each) < 1e12]
            if numbers:
                kind = str(report.get("type", "")).rpartition(":")[2][:60] or "?"
                unit = str(report.get("uom", ""))[:10]
                yield Reading(kind, unit, _time(report.get("time"), at_us), min(numbers), max(numbers))


def temperatures_at(document: Mapping[str, Any]) -> Iterator[str]:
    """List the JSON pointers of reports of temperature: a rule that names one of them speaks of temperature."""
    elements = document.get("sensorElementList")
    for place, element in enumerate(elements if isinstance(elements, list) else ()):
        reports = element.get("sensorReport") if isinstance(element, dict) else None
        for index, report in enumerate(reports if isinstance(reports, list) else ()):
            if isinstance(report, dict) and str(report.get("type", "")).rpartition(":")[2] == TEMPERATURE:
                yield f"/sensorElementList/{place}/sensorReport/{index}"


def charts(readings: Iterable[Reading]) -> tuple[Chart, ...]:
    """Draw a chart for each kind and unit, temperature first; at most 500 readings of each."""
    by_kind = grouped(((each.kind, each.unit), each) for each in readings)
    kinds = sorted(by_kind, key=lambda each: (each[0] != TEMPERATURE, each))
    return tuple(_chart(kind, sorted(by_kind[kind], key=lambda each: each.time_us)[:_MOST]) for kind in kinds)


def _chart(kind: tuple[str, str], readings: Sequence[Reading]) -> Chart:
    least, greatest = min(each.least for each in readings), max(each.greatest for each in readings)
    low, high = (least - 1, greatest + 1) if greatest - least < 1 else (least, greatest)
    first, last = readings[0].time_us, readings[-1].time_us

    def x(each: Reading) -> float:
        share = (each.time_us - first) / (last - first) if last > first else 0.5
        return round(LEFT + _INSET + share * (WIDTH - LEFT - 2 * _INSET), 1)

    def y(value: float) -> float:
        return round(_INSET + (high - value) / (high - low) * (HEIGHT - BOTTOM - 2 * _INSET), 1)

    points = tuple((x(each), y((each.least + each.greatest) / 2), each) for each in readings)
    marks = tuple((y(value), f"{value:.4g}") for value in (low, (low + high) / 2, high))
    line = " ".join(f"{across},{down}" for across, down, _ in points)
    return Chart(kind[0], UNITS.get(kind[1], kind[1]), line, points, marks, tuple(readings), least, greatest)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _dicts(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def _time(text: object, otherwise_us: int) -> int:
    if not isinstance(text, str):
        return otherwise_us
    try:
        found = datetime.fromisoformat(text)
        return round(found.timestamp() * 1_000_000) if found.tzinfo else otherwise_us
    except (ValueError, OverflowError, OSError):
        return otherwise_us
