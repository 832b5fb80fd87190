"""Events to measure the collector with: of a size and with as many keys as is asked for, as documents and as records of `goods.collected`."""

import json
import os
import time
from collections.abc import Iterator
from typing import Any, Final

from services.collector import documents
from services.collector.collect import Rules, Sent, Stamp, collect
from services.collector.documents import Limits
from services.collector.flow import Item, to_wire
from services.runtime.partitioner import partition_of

EVENT_BYTES: Final = 1000
EVENTS_A_DOCUMENT: Final = 100
PARTITIONS: Final = 4
CONTEXT: Final = "https://ref.gs1.org/standards/epcis/epcis-context.jsonld"
Values = list[list[bytes]]
"""Records of `goods.collected` by partition."""


def event(number: int, keys: int) -> dict[str, Any]:
    """Make an event that names so many keys: its serials, but one that is a place where there are more."""
    made: dict[str, Any] = {
        "type": "ObjectEvent",
        "eventID": f"urn:uuid:00000000-0000-4000-8000-{number:012x}",
        "eventTime": f"2026-01-{1 + number % 28:02}T{number // 28 % 24:02}:00:00.000Z",
        "eventTimeZoneOffset": "+00:00",
        "action": "OBSERVE",
        "bizStep": "shipping",
        "disposition": "in_transit",
        "epcList": [
            f"urn:epc:id:sgtin:9521234.{each % 1000:06}.{number}-{each}" for each in range(max(1, keys - 1))
        ],
    }
    if keys > 1:
        made["readPoint"] = {"id": f"urn:epc:id:sgln:9521234.{number % 100:05}.0"}
    short = EVENT_BYTES - len(json.dumps(made)) - len(', "ext:note": ""')
    return {**made, "ext:note": "x" * short} if short > 0 else made


def bodies_of(events: int, keys: int, first: int = 0) -> Iterator[bytes]:
    """Make documents of a hundred such events, or fewer where they would be over the limit of a request."""
    together = max(1, min(EVENTS_A_DOCUMENT, 200_000 // keys))
    for start in range(first, first + events, together):
        listed = [event(number, keys) for number in range(start, min(first + events, start + together))]
        yield json.dumps(
            {
                "@context": [CONTEXT, {"ext": "https://example.com/ext/"}],
                "type": "EPCISDocument",
                "schemaVersion": "2.0",
                "creationDate": "2026-01-01T00:00:00Z",
                "epcisBody": {"eventList": listed},
            }
        ).encode()


def events_of(asked: int, keys: int, in_all: int, least: int) -> int:
    """How many events of so many keys are measured where so many events are asked for, and about so many keys `in_all`."""
    return max(least, min(asked, in_all // keys))


def collected(events: int, keys: int) -> tuple[Values, float]:
    """Take events through `collect` in this process; gives its records, and microseconds of a core an event."""
    bodies = list(bodies_of(events, keys))
    begun = time.process_time()
    sent = [each for body in bodies for each in _collected(body)]
    collect_us = (time.process_time() - begun) * 1e6 / len(sent)
    values: Values = [[] for _ in range(PARTITIONS)]
    for each in sent:
        if not isinstance(each.outcome, Item):
            raise SystemExit(f"an event was refused: {each.fault}")
        values[partition_of(each.key, PARTITIONS)].append(to_wire(each.outcome))
    return values, collect_us


def _collected(body: bytes) -> list[Sent]:
    stamp = Stamp(os.urandom(16), 1, time.time_ns() // 1_000_000)
    return collect(documents.read(body, Limits()), stamp, Rules(), os.urandom)
