"""What an event says of the key data elements of the FDA's food traceability rule, FSMA 204. Pure.

Source: 21 CFR part 1, subpart S: 1.1310 (what a location description is), 1.1320 (who assigns lot codes), 1.1325 to 1.1350 (what is
kept of each critical tracking event). docs/recall.md lists each element, and which no event can say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from goodstrace.facts import Facts, Role, Typed
from goodstrace.identifiers import Grade, grade
from goodstrace.registration import Registration

TRANSFORMATION: Final = "transformation"
INITIAL_PACKING: Final = "initial packing"
FIRST_RECEIVING: Final = "first land-based receiving"
SHIPPING: Final = "shipping"
RECEIVING: Final = "receiving"
_CRITICAL: Final = {
    "harvesting": "harvesting",
    "farmHarvest": "harvesting",
    "cooling": "cooling",
    "commissioning": INITIAL_PACKING,
    "creating_class_instance": INITIAL_PACKING,
    "shipping": SHIPPING,
    "departing": SHIPPING,
    "receiving": RECEIVING,
    "arriving": RECEIVING,
    "accepting": RECEIVING,
    "landing": FIRST_RECEIVING,
}
_ASSIGNS: Final = frozenset({TRANSFORMATION, INITIAL_PACKING, FIRST_RECEIVING})
_RECEIVED: Final = frozenset({RECEIVING, FIRST_RECEIVING})
_BETWEEN_WORDS: Final = re.compile(r"[:/#]")
_PREFIX: Final = "BizStep-"
"""Of business steps in the web URIs of CBV, and of vocabularies made after it."""
_OFFSET: Final = re.compile(r"([+-])(\d\d):(\d\d)")
_PLACES_FIRST: Final = ("location", "possessing_party", "owning_party")
"""Of a source or destination: where the food is, rather than who has it, rather than whose it is."""
_ADDRESS: Final = ("street", "city", "region", "postalCode", "country")


class Assigned(NamedTuple):
    """A lot that an event names as new: `is_rule` where it is one of the events at which the rule has lot codes assigned (1.1320)."""

    lot: str
    is_rule: bool


def critical_event(facts: Facts) -> str:
    """Name the critical tracking event of FSMA 204 that an event is, or else what it is in the words of EPCIS.

    A business step of another vocabulary counts by its last word: `urn:gdst:bizStep:landing` is a landing. A hyphen is part of a word:
    `urn:acme:step:de-commissioning` is no commissioning.
    """
    if facts.type == "TransformationEvent":
        return TRANSFORMATION
    word = _BETWEEN_WORDS.split(facts.business_step)[-1].removeprefix(_PREFIX)
    return _CRITICAL.get(word, facts.business_step or facts.type)


def assigned_lots(facts: Facts) -> Iterator[Assigned]:
    """List the lots whose codes an event assigns: what it makes, packs first or lands first; else what it adds, which is less sure."""
    event = critical_event(facts)
    is_added = facts.type == "ObjectEvent" and facts.action == "ADD"
    if event == TRANSFORMATION:
        roles: tuple[str, ...] = (Role.OUTPUT,)
    elif is_added or event == FIRST_RECEIVING:
        roles = (Role.EPC, Role.LOT)
    else:
        return
    named = {key for role in roles for key in facts.keys.get(role, ())}
    lots = {key for key in named if grade(key) is Grade.LOT} | {
        facts.lot_of[key] for key in named & facts.lot_of.keys()
    }
    for lot in sorted(lots):
        yield Assigned(lot, event in _ASSIGNS)


def ship_from(facts: Facts) -> str:
    """Give the key of where the food came from: a source, else the place of the event where that is a shipping; or empty."""
    # Of a shipping, the business location is where the food is afterwards.
    at = facts.read_point or facts.business_location
    return _nearest(facts.sources) or (at if critical_event(facts) == SHIPPING else "")


def ship_to(facts: Facts) -> str:
    """Give the key of where the food goes: a destination, else the place of the event where that is a receiving; or empty."""
    at = facts.business_location or facts.read_point
    return _nearest(facts.destinations) or (at if critical_event(facts) in _RECEIVED else "")


def _nearest(listed: Sequence[Typed]) -> str:
    for kind in _PLACES_FIRST:
        for each in listed:
            if each.type == kind:
                return each.key
    return listed[0].key if listed else ""


def local_date(facts: Facts) -> str:
    """Give the date of an event at its place, by its time zone offset, as in ISO 8601; empty where there is no such date."""
    offset = _OFFSET.fullmatch(facts.offset)
    minutes = (int(offset[2]) * 60 + int(offset[3])) * (-1 if offset[1] == "-" else 1) if offset else 0
    try:
        return (
            (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=facts.time_us, minutes=minutes))
            .date()
            .isoformat()
        )
    except OverflowError:
        return ""


def description(told: Registration) -> str:
    """Give the name of registered goods or a place, in English where there is that, and where a place is.

    Of a place the rule wants name, street, city, state, ZIP code and country; its coordinates in the place of a street (1.1310).
    """
    names: Mapping[str, str] = told.content.get("names", {})
    name = names.get("en") or next((names[each] for each in sorted(names)), "")
    address = [str(told.content[each]) for each in _ADDRESS if told.content.get(each)]
    point = told.content.get("coordinates")
    if isinstance(point, Mapping) and not told.content.get("street"):
        address.append(f"{point.get('latitude', '')} {point.get('longitude', '')}")
    return ", ".join(filter(None, (name, *address)))
