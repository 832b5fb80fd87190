"""One lot of cheese as it is commissioned, packed into cases and onto pallets, and shipped to shops; taken through the stages."""

from collections.abc import Iterator, Sequence
from typing import Any

from services.collector.flow import to_wire
from services.collector.registry.registrations import Registration, item_of
from services.collector.stages import State
from services.collector.summarise import Window
from services.runtime.envelope import Record
from services.runtime.merchants.values import What
from tests.unit.collector_builders import WHOLE, collected, counted, document, items_of, wires

GTIN = "https://id.gs1.org/01/09521234543213"
LOT = f"{GTIN}/10/L1"
DAIRY = "https://id.gs1.org/414/9521234000006"
CASES_ON_PALLET = 25


def serials_of(case: int, items: int) -> list[str]:
    return [f"{GTIN}/21/{case:05}-{number:04}" for number in range(items)]


def case_key(number: int) -> str:
    return _sscc(f"0{number:06}")


def pallet_key(number: int) -> str:
    return _sscc(f"1{number:06}")


def _sscc(serial: str) -> str:
    digits = f"0952123400{serial}"
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(digits))
    return f"https://id.gs1.org/00/{digits}{-total % 10}"


def _event(number: int, hour: int, **fields: Any) -> dict[str, Any]:
    return {
        "eventID": f"urn:uuid:{number:08x}-0000-4000-8000-{hour:012x}",
        "eventTime": f"2026-03-01T{hour:02}:00:00Z",
        "eventTimeZoneOffset": "+00:00",
        "readPoint": {"id": DAIRY},
        **fields,
    }


def events_of(cases: int, items: int) -> Iterator[dict[str, Any]]:
    """Yield the events: one commissions what comes into a case, one packs it, one puts it onto its pallet; two a pallet."""
    for case in range(cases):
        serials = serials_of(case, items)
        yield _event(
            case,
            1,
            type="ObjectEvent",
            action="ADD",
            bizStep="commissioning",
            epcList=serials,
            ilmd={"cbvmda:lotNumber": "L1"},
        )
        yield _event(
            case,
            2,
            type="AggregationEvent",
            action="ADD",
            bizStep="packing",
            parentID=case_key(case),
            childEPCs=serials,
        )
        pallet = pallet_key(case // CASES_ON_PALLET)
        yield _event(
            case, 3, type="AggregationEvent", action="ADD", parentID=pallet, childEPCs=[case_key(case)]
        )
    for number in range((cases + CASES_ON_PALLET - 1) // CASES_ON_PALLET):
        shop = f"urn:gdst:shop:party:shop.{number}"
        yield _event(
            number,
            4,
            type="ObjectEvent",
            action="OBSERVE",
            bizStep="shipping",
            epcList=[pallet_key(number)],
            bizTransactionList=[{"type": "po", "bizTransaction": f"urn:shop:po:{number}"}],
            destinationList=[{"type": "possessing_party", "destination": shop}],
        )


def records_of(cases: int, items: int, secret: bytes) -> list[Record]:
    """Give the records of all of it, with what was registered of product and dairy."""
    registered = [
        to_wire(item_of(each, 1_700_000_000_000, counted(10**6)))
        for each in (
            Registration(What.GOODS, GTIN, 1, {"key": GTIN, "names": {"en": "=Cheese, mild"}}),
            Registration(
                What.PLACE,
                DAIRY,
                1,
                {"key": DAIRY, "names": {"en": "Dairy"}, "city": "Bern", "country": "CH"},
            ),
        )
    ]
    return _staged(list(events_of(cases, items)), registered, secret)


def stays_of(items: int, stays: int, secret: bytes) -> list[Record]:
    """Give the records of case 0, with `items` in it, that is `stays` times put onto pallet 0 and taken off, a minute each."""
    serials, case = serials_of(0, items), case_key(0)
    packed = _event(0, 1, type="AggregationEvent", action="ADD", parentID=case, childEPCs=serials)
    moved = [
        {
            **_event(1 + minute, 2, type="AggregationEvent", action=action, parentID=pallet_key(0)),
            "eventTime": f"2026-03-{2 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00Z",
            "childEPCs": [case],
        }
        for minute, action in enumerate(("ADD", "DELETE") * stays)
    ]
    return _staged([packed, *moved], [], secret)


def _staged(events: list[dict[str, Any]], registered: list[bytes], secret: bytes) -> list[Record]:
    """Take events, and registrations, through the stages."""
    context = [
        "https://ref.gs1.org/standards/epcis/epcis-context.jsonld",
        {"cbvmda": "urn:epcglobal:cbv:mda:"},
    ]
    random = counted()
    values = [
        value
        for first in range(0, len(events), 100)
        for value in wires(
            collected(document(*events[first : first + 100], **{"@context": context}), random=random)
        )
    ]
    values += registered
    output = WHOLE.run(State(Window(1000), secret), values)
    assert not output.rejected
    return [item.record for item in items_of(output)]


def spread(records: Sequence[Record], partitions: int) -> dict[int, list[Record]]:
    return {number: list(records[number::partitions]) for number in range(partitions)}
