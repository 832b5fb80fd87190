"""Between which temperatures goods are to be kept by their registrations, for the events in which sensors report. Pure.

Registrations lie in other partitions than events, so no later stage may look for them: `collect` does, and writes what counts into the facts.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Final

import msgspec

from goodstrace import identifiers
from goodstrace.facts import Limit, RegisteredRange
from goodstrace.identifiers import Grade
from goodstrace.temperatures import registered_limits
from services.collector.record import named

MOST_GOODS: Final = 48
"""Keys of one event that are asked for: two calls to the store at most, and what is found fits in where `summarise` has room."""
MOST_TOGETHER: Final = 2_000
"""Keys of all events of a capture, or of a batch of the ingress, that are asked for: 84 calls to the store at most, and what others had asked for stays remembered."""
_SENSORS: Final = "sensorElementList"
_LISTS: Final = ("epcList", "childEPCs")
_CLASS_LISTS: Final = ("quantityList", "childQuantityList")
_ORDER: Final = (Grade.CLASS, Grade.LOT, Grade.CONTAINER, Grade.ASSET, Grade.OTHER)
"""Kinds of goods that are asked for, those that most events share first. Of an item its product and lot are: there are too many items."""


class Kept(msgspec.Struct, frozen=True):
    """Between which temperatures goods are to be kept: degrees Celsius, None for no limit. record: hex ID of the registration's record."""

    low: float | None
    high: float | None
    record: str


class Asked(msgspec.Struct, frozen=True):
    """Keys of goods of which an event wants to know the range; `cut`: there are more than MOST_GOODS."""

    keys: tuple[str, ...] = ()
    cut: bool = False


Known = Mapping[str, Kept | None]
"""What is registered, by canonical key: None where nothing is, and no key where that could not be read."""


_NOTHING: Final = Asked()


def kept_by(attributes: Mapping[str, str], record: str) -> Kept | None:
    """Read the range that attributes of registered goods state; None where they state none.

    The names are those of ILMD (see `goodstrace.temperatures`), the values numbers in degrees Celsius, and what is none counts for nothing: the
    registry refuses such, and did not always. Of several the narrowest range counts.
    """
    lows, highs = (list(filter(math.isfinite, side)) for side in registered_limits(attributes))
    return Kept(max(lows, default=None), min(highs, default=None), record) if lows or highs else None


def goods_asked(event: Mapping[str, Any]) -> Asked:
    """List the keys of which a valid event makes it worth to know the range: none where no sensor reports, and MOST_GOODS at the most.

    What goes into a transformation and comes out of it is not asked for: there the process is measured, which may be to bake.
    """
    if not event.get(_SENSORS) or not any(element.get("sensorReport") for element in event[_SENSORS]):
        return _NOTHING
    found = {each for uri in _goods(event) for each in _asked_of(uri)}
    return Asked(tuple(key for _, key in sorted(found)[:MOST_GOODS]), len(found) > MOST_GOODS)


def first_of(every: Iterable[Asked]) -> list[str]:
    """List the keys that several events ask for, each once and MOST_TOGETHER at the most; those left out count as not read.

    The first keys of all events come first, which are products, then the second ones: where not all can be asked for, no event takes the
    place of another, and the product goes before its lots.
    """
    places = zip_longest(*(each.keys for each in every))
    found: dict[str, None] = {}
    for key in (key for place in places for key in place if key is not None):
        found[key] = None
        if len(found) == MOST_TOGETHER:
            break
    return list(found)


def narrowest(asked: Asked, known: Known) -> RegisteredRange | None:
    """Give the narrowest range of goods; None where nothing is registered of them, and all were asked for and could be read.

    Of several that state the same limit the first key counts, so that the order of a store's answers says nothing.
    """
    found = [(key, each) for key in sorted(asked.keys) if (each := known.get(key)) is not None]
    lows = [(each.low, key, each.record) for key, each in found if each.low is not None]
    highs = [(each.high, key, each.record) for key, each in found if each.high is not None]
    low = max(lows, key=lambda each: each[0], default=None)
    high = min(highs, key=lambda each: each[0], default=None)
    unread = asked.cut or any(key not in known for key in asked.keys)
    if low is None and high is None and not unread:
        return None
    return RegisteredRange(low=_limit(low), high=_limit(high), unread=unread)


def _limit(found: tuple[float, str, str] | None) -> Limit | None:
    return None if found is None else Limit(repr(found[0]).removesuffix(".0"), *found[1:])


def _goods(event: Mapping[str, Any]) -> Iterator[str]:
    for name in _LISTS:
        yield from event.get(name, ())
    for name in _CLASS_LISTS:
        yield from (element["epcClass"] for element in event.get(name, ()))
    if "parentID" in event:
        yield event["parentID"]


@lru_cache(maxsize=16_384)
def _asked_of(uri: str) -> tuple[tuple[int, str], ...]:
    """List what to ask for of one identifier, each with its place in the order: itself, its lot and its product."""
    own = named(uri)
    of_kind = [(own.grade, own.key), (Grade.LOT, own.lot), (Grade.CLASS, identifiers.class_of(own.key))]
    return tuple((_ORDER.index(kind), key) for kind, key in of_kind if key and kind in _ORDER)
