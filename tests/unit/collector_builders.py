"""Events, documents and stages for the collector's tests: fixed clock, counted randomness."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from goodstrace.goods.sightings import Placed
from services.collector import documents
from services.collector.books import PROGRAMS, Books
from services.collector.collect import Rules, Sent, Stamp, collect
from services.collector.documents import Limits
from services.collector.flow import Item, StageName, from_wire, to_wire
from services.collector.goods_states import Stored, events
from services.collector.stages import Span, SpanOutput, State
from services.collector.summarise import Window, remembered
from services.runtime.envelope import Part, Record

CONTEXT = "https://ref.gs1.org/standards/epcis/epcis-context.jsonld"
SECRET = bytes(range(32))
NOW_MS = 1_800_000_000_000
WHOLE = Span(StageName.SUMMARISE, StageName.STORE)


def counted(first: int = 0) -> Callable[[int], bytes]:
    """Bytes that differ from call to call and are the same in every run; `first` makes them another row."""
    calls = first

    def random(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return calls.to_bytes(4, "big").rjust(size, b"\x07")[-4:] + bytes(size - 4)

    return random


def object_event(**changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = {
        "type": "ObjectEvent",
        "eventID": "urn:uuid:11111111-2222-4333-8444-555555555555",
        "eventTime": "2026-01-02T03:04:05.678Z",
        "eventTimeZoneOffset": "+01:00",
        "epcList": ["urn:epc:id:sgtin:0614141.107346.2017"],
        "action": "OBSERVE",
        "bizStep": "shipping",
        "disposition": "in_transit",
        "readPoint": {"id": "urn:epc:id:sgln:0614141.07346.1234"},
    }
    event.update(changes)
    return {name: value for name, value in event.items() if value is not None}


def document(*events: dict[str, Any], **head: Any) -> bytes:
    whole = {
        "@context": [CONTEXT],
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-01-02T03:04:05Z",
        **head,
        "epcisBody": {"eventList": list(events)},
    }
    return json.dumps(whole).encode()


def collected(
    body: bytes,
    *,
    random: Callable[[int], bytes] | None = None,
    merchant: int = 1,
    books: Books = PROGRAMS,
) -> list[Sent]:
    stamp = Stamp(b"c" * 16, merchant, NOW_MS)
    rules = Rules(step_table=books.step_table, rule_sets=books.rule_sets)
    return collect(documents.read(body, Limits()), stamp, rules, random or counted())


def wires(sent: Sequence[Sent]) -> list[bytes]:
    return [to_wire(each.outcome) for each in sent if isinstance(each.outcome, Item)]


def stamped(value: bytes, version: str) -> bytes:
    """A collected event as a version of the program stamped it."""
    item = from_wire(value)
    assert isinstance(item, Item)
    record = msgspec.structs.replace(item.record, pipeline_version=version)
    return to_wire(Item(record, msgspec.structs.replace(item.facts, pipeline=version)))


def poisoned(members: dict[str, Any], random: Callable[[int], bytes] | None = None) -> bytes:
    """A collected event with members that `collect` would refuse today, as it let them pass once."""
    (value,) = wires(collected(document(object_event(eventID="urn:e:poisoned")), random=random))
    item = from_wire(value)
    assert isinstance(item, Item)
    content = json.dumps(object_event(eventID="urn:e:poisoned") | members).encode()
    parts = tuple(
        Part(part.name, part.salt, content) if part.name == "event" else part for part in item.record.parts
    )
    return to_wire(Item(msgspec.structs.replace(item.record, parts=parts), item.facts))


def fresh_state(window: int = 1000) -> State:
    return State(Window(window), SECRET)


def taken_up(values: Sequence[bytes], window: int = 1000) -> State:
    """The state of a collector that starts, of what its first stage has passed on before."""
    state = fresh_state(window)
    for value in values:
        for each in remembered(value):
            state.window.add(*each)
    return state


def items_of(output: SpanOutput) -> list[Item]:
    """The records that came through a whole span, as the next reader of its last topic takes them."""
    last = [from_wire(value) for value in list(output.passed.values())[-1]]
    return [item for item in last if isinstance(item, Item)]


def run_all(values: Sequence[bytes], state: State | None = None) -> SpanOutput:
    return WHOLE.run(state or fresh_state(), values)


def processed(values: Sequence[bytes]) -> list[Item]:
    """What all stages make of collected values."""
    return items_of(run_all(values))


def processed_document(
    body: bytes, *, random: Callable[[int], bytes] | None = None, merchant: int = 1
) -> list[Item]:
    """What all stages make of a captured document."""
    return processed(wires(collected(body, random=random, merchant=merchant)))


def seeded(seed: object) -> Callable[[int], bytes]:
    """Bytes that differ from call to call and from seed to seed, and are the same in every run."""
    calls = itertools.count()
    return lambda size: hashlib.shake_256(f"{seed}/{next(calls)}".encode()).digest(size)


def sealed_by(event: Mapping[str, Any], merchant: int, seed: object) -> Record:
    """The record that all stages make of a merchant's event."""
    (whole,) = processed_document(document(dict(event)), merchant=merchant, random=seeded(seed))
    return whole.record


def sealed_events(events: Iterable[tuple[int, Mapping[str, Any]]], first: int = 0) -> list[Record]:
    """The records of merchants' events, each seeded by its number; they count from `first`."""
    return [sealed_by(event, merchant, number) for number, (merchant, event) in enumerate(events, first)]


def facts_of(event: dict[str, Any]) -> Any:
    """The facts of one event after all stages."""
    return processed_document(document(event))[0].facts


def events_of(records: Iterable[Record]) -> list[Placed]:
    """The events among records, as if they lay one after the other in one log."""
    return list(events(Stored("goods/0", offset, record) for offset, record in enumerate(records)))
