"""What collector stages put into facts for tracing alone: sensors, and the lots of registered items."""

from goodstrace.identifiers import canonical_key
from goodstrace.registration import of_parts
from goodstrace.tracing.events import NameKind, names
from services.collector.registry.registrations import Registration, item_of
from services.collector.store import tags_of
from services.runtime.merchants.values import What
from tests.unit.collector_builders import (
    collected,
    counted,
    document,
    facts_of,
    object_event,
    processed,
    stamped,
    wires,
)

DEVICE = "urn:epc:id:giai:4000001.111"
SERIAL = "https://id.gs1.org/01/10614141073464/21/2017"
ELEMENTS = [
    {
        "sensorMetadata": {"deviceID": DEVICE},
        "sensorReport": [{"type": "Temperature", "value": 5, "uom": "CEL"}],
    },
    {"sensorReport": [{"deviceID": "https://id.gs1.org/8004/4000001222"}, {"deviceID": ""}]},
]


def test_reports_are_counted_and_devices_named() -> None:
    facts = facts_of(object_event(sensorElementList=ELEMENTS))
    assert facts.sensor_reports == 3
    assert facts.keys["sensor"] == (
        "https://id.gs1.org/8004/4000001111",
        "https://id.gs1.org/8004/4000001222",
    )
    assert (NameKind.KEY, canonical_key(DEVICE)) in set(names(facts))


def test_records_of_pipelines_before_have_none() -> None:
    [value] = wires(collected(document(object_event(sensorElementList=ELEMENTS))))
    facts = processed([stamped(value, "2")])[0].facts
    assert (facts.sensor_reports, "sensor" in facts.keys) == (0, False)


def registered(attributes: dict[str, str], key: str = SERIAL, what: What = What.GOODS) -> Registration:
    return Registration(what, key, 1, {"key": key, "names": {"en": "Tea"}, "attributes": attributes})


def test_an_item_registered_with_a_lot_number_is_found_by_its_lot_too() -> None:
    item = item_of(registered({"lotNumber": " L1 "}), 5, counted())
    lot = "https://id.gs1.org/01/10614141073464/10/L1"
    assert item.facts.lot_of == {SERIAL: lot}
    assert set(names(item.facts)) == {(NameKind.REGISTRATION, SERIAL), (NameKind.REGISTRATION, lot)}
    (tags,) = tags_of(item.facts, item.record.kind).values()
    assert tags == {SERIAL, lot}
    told = of_parts({part.name: part.content for part in item.record.parts})
    assert told is not None
    assert (told.what, told.key, told.merchant) == ("goods", SERIAL, 1)


def test_other_registrations_are_of_no_lot() -> None:
    product = "https://id.gs1.org/01/10614141073464"
    for each in (
        registered({}),
        registered({"lotNumber": "x" * 21}),
        registered({"lotNumber": "L1"}, product),
        registered({"lotNumber": "L1"}, what=What.PLACE),
    ):
        assert item_of(each, 5, counted()).facts.lot_of == {}
