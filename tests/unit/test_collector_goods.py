"""What the goods information learns from stored records: in any order, cut into any batches, done again."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.collector import goods
from services.collector.flow import StageName
from services.runtime import envelope
from services.runtime.envelope import Record
from tests.unit.collector_builders import collected, document, object_event, run_all, wires

LOT = "urn:epc:class:lgtin:0614141.107346.L1"
LOT_KEY = "https://id.gs1.org/01/10614141073464/10/L1"
CLASS_KEY = "https://id.gs1.org/01/10614141073464"


def stored(*events: dict[str, Any], merchant: int = 1) -> list[Record]:
    output = run_all(wires(collected(document(*events), merchant=merchant)))
    return [envelope.decode(value) for value in output.passed[StageName.STORE]]


def lot_event(number: int, **changes: Any) -> dict[str, Any]:
    return object_event(
        eventID=f"urn:e:{number}",
        eventTime=f"2026-01-02T03:04:{number:02}Z",
        epcList=None,
        quantityList=[{"epcClass": LOT, "quantity": 1}],
        **changes,
    )


EVENTS = (
    lot_event(1, action="ADD", ilmd={"cbvmda:lotNumber": "L1", "ex:weight": 1.5}),
    lot_event(2, destinationList=[{"type": "owning_party", "destination": "urn:ex:shop"}]),
    lot_event(3, destinationList=[{"type": "owning_party", "destination": "urn:ex:user"}]),
    object_event(eventID="urn:e:4", eventTime="2026-01-01T00:00:00Z"),
    lot_event(5, disposition="in_progress"),
)
RECORDS = [*stored(*EVENTS[:4]), *stored(*EVENTS[4:], merchant=2)]


def applied(batches: list[list[Record]]) -> dict[str, dict[str, Any]]:
    """What the upserts leave in a store, comparing subdocuments field by field as MongoDB does."""
    documents: dict[str, dict[str, Any]] = {}
    for batch in batches:
        for key, change in goods.changes(batch)[0].items():
            there = documents.setdefault(key, dict(change["$setOnInsert"]))
            for operator, better in (("$min", min), ("$max", max)):
                for field, value in change[operator].items():
                    both = [value, there.get(field, value)]
                    there[field] = better(both, key=lambda each: tuple(each.values()))
            there["merchants"] = sorted(
                {*there.get("merchants", ()), *change["$addToSet"]["merchants"]["$each"]}
            )
    return documents


def test_a_lot_is_what_its_events_say() -> None:
    lot = applied([RECORDS])[LOT_KEY]
    assert (lot["grade"], lot["class"], lot["merchants"]) == ("lot", CLASS_KEY, [1, 2])
    assert lot["about"]["ilmd"].startswith('{"cbvmda:lotNumber":"L1"')
    assert lot["owner"]["party"] == "urn:ex:user"
    assert lot["first"]["time_us"] < lot["last"]["time_us"]
    assert lot["last"]["disposition"] == "in_progress"


def test_an_item_tells_of_its_class() -> None:
    assert applied([RECORDS[3:4]]).keys() == {CLASS_KEY}


@given(st.permutations(RECORDS), st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_order_batches_and_repetition_change_nothing(records: list[Record], cut: int, again: int) -> None:
    batches = [records[:cut], records[cut:], records[:again]]
    assert applied([each for each in batches if each]) == applied([RECORDS])


def test_merchants_are_known_by_the_time_of_their_records() -> None:
    _, merchants = goods.changes(RECORDS)
    assert merchants[2] == {"$min": {"first_ms": RECORDS[4].time_ms}, "$max": {"last_ms": RECORDS[4].time_ms}}
