"""What the query bench asks for: keys of one event each, and chains of lots whose answer has 20 events over 5 levels.

Real EPCIS events, taken through the collector's stages, so that the client can check every byte of an answer. Pure.
"""

import random
from collections.abc import Iterator
from typing import Any, Final

from services.collector.flow import StageName
from tests.unit.collector_builders import SECRET, collected, counted, document, fresh_state, run_all, wires

ONE, TWENTY = "one-event", "20-events"
MOST_REQUESTS: Final = 5_000
LEVELS: Final = 5
EVENTS_A_LEVEL: Final = 4
EVENTS_A_CHAIN: Final = LEVELS * EVENTS_A_LEVEL
ONE_IN: Final = 5  # every fifth event is of a chain
LEAST_EVENTS: Final = ONE_IN * EVENTS_A_CHAIN
_GTIN: Final = "https://id.gs1.org/01/09521234543213"
_DOCUMENT_EVENTS: Final = 200
_STEPS: Final = ("", "shipping", "receiving", "storing")

__all__ = ["SECRET"]


def chains_among(events: int) -> int:
    """Count the chains among so many events, a multiple of LEAST_EVENTS."""
    return events // LEAST_EVENTS


def item(number: int) -> str:
    """Name an item with one event."""
    return f"{_GTIN}/21/{number}"


def lot(chain: int, level: int = 0) -> str:
    """Name a lot of a chain; level 0 is what was made last."""
    return f"{_GTIN}/10/L{level}C{chain}"


def items_among(events: int) -> int:
    """Count the items among so many events."""
    return events - chains_among(events) * EVENTS_A_CHAIN


def records(events: int) -> Iterator[bytes]:
    """Make the records of `goods.stored`, encoded; the events of a chain lie far from one another.

    Args:
        events: how many, a multiple of LEAST_EVENTS.
    """
    state, drawn = fresh_state(window=_DOCUMENT_EVENTS), counted()
    for first in range(0, events, _DOCUMENT_EVENTS):
        numbers = range(first, min(events, first + _DOCUMENT_EVENTS))
        body = document(*(_event(number, chains_among(events)) for number in numbers))
        yield from run_all(wires(collected(body, random=drawn)), state).passed[StageName.STORE]


def _event(number: int, chains: int) -> dict[str, Any]:
    place, of_chain = divmod(number, ONE_IN)
    if of_chain:
        return _observed(
            number,
            "2026-01-01T00:00:00Z",
            _STEPS[1],
            {"epcList": [item(place * (ONE_IN - 1) + of_chain - 1)]},
        )
    step, chain = divmod(place, chains)
    level, within = divmod(step, EVENTS_A_LEVEL)
    own = {"epcClass": lot(chain, level), "quantity": 10, "uom": "KGM"}
    time = f"2026-01-0{1 + LEVELS - level}T0{within}:00:00Z"
    if within:
        return _observed(number, time, _STEPS[within], {"quantityList": [own]})
    if level == LEVELS - 1:
        made = _observed(number, time, "commissioning", {"quantityList": [own]})
        return {**made, "action": "ADD"}
    used = {**own, "epcClass": lot(chain, level + 1)}
    return {
        **_common(number, time, "commissioning"),
        "type": "TransformationEvent",
        "inputQuantityList": [used],
        "outputQuantityList": [own],
    }


def _observed(number: int, time: str, step: str, about: dict[str, Any]) -> dict[str, Any]:
    return {**_common(number, time, step), "type": "ObjectEvent", "action": "OBSERVE", **about}


def _common(number: int, time: str, step: str) -> dict[str, Any]:
    return {
        "eventID": f"urn:uuid:{number:08x}-0000-4000-8000-000000000000",
        "eventTime": time,
        "eventTimeZoneOffset": "+00:00",
        "bizStep": step,
        "readPoint": {"id": f"https://id.gs1.org/414/9521234543213/254/{number % 100}"},
    }


def requests(kind: str, events: int, seed: int) -> list[dict[str, str]]:
    """Draw MOST_REQUESTS requests for keys among so many events; ghz sends one after the other, over and over.

    Drawn here, since the random numbers of ghz's templates come from one source without a lock for all its workers.
    """
    draw = random.Random(seed)
    name, count = (item, items_among(events)) if kind == ONE else (lot, chains_among(events))
    return [{"key": name(draw.randrange(count)), "purpose": "bench"} for _ in range(MOST_REQUESTS)]
