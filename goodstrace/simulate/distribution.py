"""From items to shops: packing into cases and pallets, carriage, receiving, unpacking, re-packing."""

from __future__ import annotations

from typing import NamedTuple

from goodstrace.simulate.identifiers import Key
from goodstrace.simulate.production import Made
from goodstrace.simulate.recorder import Event, Recorder
from goodstrace.simulate.world import Branch, Party


class Case(NamedTuple):
    """A case and the items in it."""

    key: Key
    items: list[Key]


def aggregate(
    recorder: Recorder, party: Party, action: str, step: str, parent: Key, *, children: list[Key] | None
) -> None:
    """Record children put into or taken out of a container. `children` None, with DELETE, means all of them."""
    recorder.begin(party)
    body: Event = {"action": action, "parentID": recorder.say(parent)}
    if children is not None:
        body["childEPCs"] = recorder.say_all(children)
    recorder.record(party, "AggregationEvent", step, "in_progress", body)


def observe(
    recorder: Recorder, party: Party, step: str, disposition: str, items: list[Key], **more: object
) -> None:
    """Record items seen at a step; `more` are further fields of the event, "action" among them to override."""
    recorder.begin(party)
    body: Event = {"action": "OBSERVE", "epcList": recorder.say_all(items)} | more
    recorder.record(party, "ObjectEvent", step, disposition, body)


def pack_pallet(recorder: Recorder, made: Made) -> tuple[Key, list[Case]]:
    """Pack all items into cases, and the cases onto one pallet, where they were made."""
    size = recorder.options.items_per_case
    cases: list[Case] = []
    for first in range(0, len(made.items), size):
        case = Case(recorder.numbers.container(made.maker.company), made.items[first : first + size])
        aggregate(recorder, made.maker, "ADD", "packing", case.key, children=case.items)
        cases.append(case)
        recorder.wait(2, 8)
    pallet = recorder.numbers.container(made.maker.company)
    aggregate(recorder, made.maker, "ADD", "packing", pallet, children=[case.key for case in cases])
    recorder.wait(30, 1440)
    return pallet, cases


def deliver(recorder: Recorder, branch: Branch, seller: Party, buyer: Party, units: list[Key]) -> None:
    """Ship containers by carrier, with order, despatch advice and invoice, and receive them."""
    number = recorder.numbers.fresh()
    order = recorder.order("po", buyer, number)
    advice = recorder.order("desadv", seller, number)
    invoice = recorder.order("inv", seller, number)

    def move(party: Party, step: str, disposition: str, papers: list[dict[str, str]]) -> None:
        recorder.begin(party)
        body: Event = {
            "action": "OBSERVE",
            "epcList": recorder.say_all(units),
            "bizTransactionList": papers,
        }
        body.update(recorder.from_to(seller, buyer))
        recorder.record(party, "ObjectEvent", step, disposition, body)

    move(seller, "shipping", "in_transit", [order, advice])
    recorder.wait(30, 180)
    for _ in range(recorder.between(1, 2)):
        _transport(recorder, branch, units)
        recorder.wait(60, 900)
    move(buyer, "receiving", "in_progress", [advice, invoice])
    recorder.wait(15, 240)


def _transport(recorder: Recorder, branch: Branch, units: list[Key]) -> None:
    """Record the goods on the road; in a cold chain with what the truck's thermometer read."""
    carrier = branch.one("carrier")
    recorder.begin(carrier)
    body: Event = {"action": "OBSERVE", "epcList": recorder.say_all(units)}
    if branch.theme.cold:
        body["sensorElementList"] = [_cold_reading(recorder, carrier)]
    recorder.record(carrier, "ObjectEvent", "transporting", "in_transit", body)


def _cold_reading(recorder: Recorder, carrier: Party) -> Event:
    """Give the last hour's temperature and humidity; one truck in fifty got too warm."""
    mean = round(3.0 + 2.0 * recorder.rng.random(), 1)
    top = round(mean + (6.5 if recorder.chance(0.02) else 1.2), 1)
    temperature: Event = {
        "type": "Temperature",
        "minValue": round(mean - 0.9, 1),
        "maxValue": top,
        "meanValue": mean,
        "uom": "CEL",
    }
    if top > 8.0:
        temperature["exception"] = "ALARM_CONDITION"
    humidity: Event = {"type": "RelativeHumidity", "value": recorder.between(70, 90), "uom": "P1"}
    return {
        "sensorMetadata": {
            "startTime": carrier.local_time(recorder.clock_s - 3600),
            "endTime": carrier.local_time(recorder.clock_s),
            "deviceID": recorder.say(carrier.thermometer),
        },
        "sensorReport": [temperature, humidity],
    }


def break_pallet(recorder: Recorder, hub: Party, pallet: Key, cases: list[Case]) -> list[Case]:
    """Take the cases off: all named at once, in two goes, or by one event that names none (which means all)."""
    keys = [case.key for case in cases]
    way = recorder.between(0, 2)
    if way == 0:
        aggregate(recorder, hub, "DELETE", "unpacking", pallet, children=keys)
    elif way == 1 and len(keys) > 1:
        half = len(keys) // 2
        aggregate(recorder, hub, "DELETE", "unpacking", pallet, children=keys[:half])
        recorder.wait(60, 1440)
        aggregate(recorder, hub, "DELETE", "unpacking", pallet, children=keys[half:])
    else:
        aggregate(recorder, hub, "DELETE", "unpacking", pallet, children=None)
    recorder.wait(10, 120)
    kept = [_repack(recorder, hub, case) if recorder.chance(0.08) else case for case in cases]
    observe(recorder, hub, "storing", "sellable_not_accessible", [case.key for case in kept])
    recorder.wait(600, 2880)
    return kept


def _repack(recorder: Recorder, hub: Party, case: Case) -> Case:
    """Move the items of a crushed case into a new one."""
    aggregate(recorder, hub, "DELETE", "unpacking", case.key, children=None)
    recorder.wait(5, 30)
    fresh = Case(recorder.numbers.container(hub.company), case.items)
    aggregate(recorder, hub, "ADD", "repackaging", fresh.key, children=fresh.items)
    recorder.wait(5, 30)
    return fresh


def supply_store(recorder: Recorder, branch: Branch, store: Party, cases: list[Case]) -> None:
    """Bring cases from the hub to a store: one by itself, several on a pallet made up for the store."""
    hub = branch.one("distributor")
    keys = [case.key for case in cases]
    if len(keys) == 1:
        deliver(recorder, branch, hub, store, keys)
        return
    pallet = recorder.numbers.container(hub.company)
    aggregate(recorder, hub, "ADD", "packing", pallet, children=keys)
    recorder.wait(10, 60)
    deliver(recorder, branch, hub, store, [pallet])
    named = keys if recorder.chance(0.5) else None
    aggregate(recorder, store, "DELETE", "unpacking", pallet, children=named)
    recorder.wait(10, 60)
