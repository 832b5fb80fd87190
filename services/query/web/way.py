"""The drawn map of the way: places by their registered coordinates, on the outline of `static/world.svg`. Pure.

The projection is equirectangular: one unit is a tenth of a degree, the origin 180 W 90 N. It is a sketch of where goods went, nothing to measure by.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from services.query.web.registered import Point

_LEAST_WIDTH: Final = 120.0
_MARGIN: Final = 0.25
_RATIO: Final = 2.0


class Stop(msgspec.Struct, frozen=True):
    """A place on the way: its number on the map, from 1, where it is drawn, and whether its number stands left of it."""

    number: int
    key: str
    x: float
    y: float


class Way(msgspec.Struct, frozen=True):
    """A map: `box` is its viewBox, `unit` a hundredth of its width, for radii and strokes. legs: paths between stops that follow one another."""

    box: str
    unit: float
    stops: tuple[Stop, ...]
    legs: tuple[str, ...]


def way(keys: Sequence[str], points: Mapping[str, Point]) -> Way | None:
    """Draw the way through places, in order; those without coordinates are left out. None where fewer than two places have some."""
    placed = [each for each in keys if each in points]
    distinct = list(dict.fromkeys(placed))
    if len(distinct) < 2:
        return None
    stops = {
        key: Stop(
            number,
            key,
            round((points[key].longitude + 180) * 10, 1),
            round((90 - points[key].latitude) * 10, 1),
        )
        for number, key in enumerate(distinct, 1)
    }
    box, width = _box(list(stops.values()))
    legs = dict.fromkeys(_leg(stops[one], stops[other]) for one, other in pairwise(placed) if one != other)
    return Way(box, round(width / 100, 2), tuple(stops.values()), tuple(legs))


def _box(stops: Sequence[Stop]) -> tuple[str, float]:
    """Fit the map around the stops, with a margin, at least 12 degrees wide and twice as wide as high."""
    left, right = min(each.x for each in stops), max(each.x for each in stops)
    top, bottom = min(each.y for each in stops), max(each.y for each in stops)
    width = max(_LEAST_WIDTH, (right - left) * (1 + 2 * _MARGIN), (bottom - top) * (1 + 2 * _MARGIN) * _RATIO)
    height = width / _RATIO
    x, y = (left + right - width) / 2, (top + bottom - height) / 2
    return f"{x:.1f} {y:.1f} {width:.1f} {height:.1f}", width


def _leg(one: Stop, other: Stop) -> str:
    """Draw a curve that bends to the left of its direction, so that there and back are two lines."""
    across, down = other.x - one.x, other.y - one.y
    middle_x, middle_y = (one.x + other.x) / 2 + down * 0.15, (one.y + other.y) / 2 - across * 0.15
    return f"M{one.x:.1f} {one.y:.1f}Q{middle_x:.1f} {middle_y:.1f} {other.x:.1f} {other.y:.1f}"
