"""What is registered of goods is looked up by `collect`, sealed in the facts, and judged by from there: the same whenever it is replayed."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from goodstrace import facts as facts_format
from goodstrace.facts import Facts, Limit, RegisteredRange, Verdict
from goodstrace.temperatures import Range
from services.collector import arrivals
from services.collector.arrivals import Arrival
from services.collector.books import Books
from services.collector.flow import FACTS_PART, Item, from_wire, to_wire
from services.collector.preparing import Prepared
from services.collector.ranging import with_known, with_ranges
from services.collector.registry.ranges import (
    MOST_GOODS,
    MOST_TOGETHER,
    Asked,
    Kept,
    first_of,
    goods_asked,
    kept_by,
    narrowest,
)
from services.collector.rules import book, stated
from services.runtime import envelope
from tests.unit.capture_api import Registered, running
from tests.unit.collector_builders import (
    WHOLE,
    document,
    fresh_state,
    items_of,
    object_event,
    run_all,
    stamped,
)
from tests.unit.registry_builders import registry

PRODUCT = "https://id.gs1.org/01/10614141073464"
LOT = f"{PRODUCT}/10/L1"
OTHER = "https://id.gs1.org/01/09524321012340"
CARTON = "urn:epc:id:sscc:0614141.1234567890"
RECORD = "0a" * 16
COLD = {PRODUCT: Kept(2.0, 8.0, RECORD)}


def measured(celsius: float, **changes: Any) -> dict[str, Any]:
    report = {"type": "Temperature", "value": celsius, "uom": "CEL"}
    return object_event(sensorElementList=[{"sensorReport": [report]}], **changes)


async def collected_facts(ranges: Registered, *events: dict[str, Any]) -> list[bytes]:
    """What Kafka gets of events that are captured where `ranges` are registered."""
    async with running(ranges=ranges) as here:
        answer = await here.post(document(*events))
        assert answer.status_code == 202, answer.text
        return here.kafka.values("goods.collected")


async def sealed(ranges: Registered, event: dict[str, Any]) -> Facts:
    (value,) = run_all(await collected_facts(ranges, event)).passed[WHOLE.last]
    return facts_format.decode(envelope.decode(value).part(FACTS_PART).content)


async def test_a_rule_holds_by_what_is_registered_and_not_for_the_twin_within() -> None:
    warm, twin = await sealed(Registered(COLD), measured(8.5)), await sealed(Registered(COLD), measured(8))
    limits = RegisteredRange(high=Limit("8", PRODUCT, RECORD), low=Limit("2", PRODUCT, RECORD))
    assert warm.registered_range == twin.registered_range == limits
    detail = "8.5 CEL is above the highest storage temperature stated, 8 degrees Celsius"
    at = "/sensorElementList/0/sensorReport/0"
    assert warm.verdicts == (Verdict("storage-too-warm", "critical", at, detail, (PRODUCT,)),)
    assert twin.verdicts == ()
    (cold,) = (await sealed(Registered(COLD), measured(1.5))).verdicts
    assert (cold.rule, cold.registered) == ("storage-too-cold", (PRODUCT,))
    assert (await sealed(Registered(), measured(8.5))).verdicts == ()


async def test_an_event_that_states_a_narrower_range_is_judged_by_its_own() -> None:
    epc = "https://id.gs1.org/01/10614141073464/21/1?4331=000600"  # 6 degrees at the most
    facts = await sealed(Registered(COLD), measured(7, epcList=[epc]))
    (verdict,) = facts.verdicts
    assert (verdict.rule, verdict.registered) == ("storage-too-warm", ())
    assert "stated, 6 degrees" in verdict.detail
    wider = epc.replace("000600", "001000")
    (verdict,) = (await sealed(Registered(COLD), measured(9, epcList=[wider]))).verdicts
    assert verdict.registered == (PRODUCT,)
    same = epc.replace("000600", "000800")
    (verdict,) = (await sealed(Registered(COLD), measured(9, epcList=[same]))).verdicts
    assert verdict.registered == (), "of two that say the same the event is nearer"


async def test_of_several_goods_the_narrowest_range_counts_and_names_them() -> None:
    known = {**COLD, LOT: Kept(None, 6.0, "0b" * 16), OTHER: Kept(-30.0, -18.0, "0c" * 16)}
    one = await sealed(Registered(known), measured(5, epcList=[f"{LOT}/21/1"]))
    assert one.verdicts == ()
    assert one.registered_range is not None
    assert (one.registered_range.high, one.registered_range.low) == (
        Limit("6", LOT, "0b" * 16),
        Limit("2", PRODUCT, RECORD),
    )
    both = await sealed(Registered(known), measured(5, epcList=[f"{LOT}/21/1", f"{OTHER}/21/1"]))
    (verdict,) = both.verdicts
    assert (verdict.rule, verdict.registered) == ("storage-too-warm", (OTHER,))


async def test_every_way_of_writing_an_event_is_asked_for_once() -> None:
    ranges = Registered(COLD)
    bare, aggregation = measured(9), measured(9, type="AggregationEvent", action="ADD", epcList=None)
    aggregation |= {
        "eventID": "urn:e:2",
        "parentID": CARTON,
        "childQuantityList": [{"epcClass": "urn:epc:class:lgtin:0614141.107346.L1"}],
    }
    values = await collected_facts(ranges, bare, object_event(eventID="urn:e:3"), aggregation)
    assert ranges.asked == [["https://id.gs1.org/00/106141412345678908", PRODUCT, LOT]]
    facts = [item.facts for value in values if isinstance(item := from_wire(value), Item)]
    assert sorted(each.registered_range is None for each in facts) == [False, False, True]


async def test_lines_messages_and_the_ingress_pass_the_same_place() -> None:
    async with running(ranges=Registered(COLD)) as here:
        line = json.dumps(measured(9) | {"@context": json.loads(document())["@context"]}).encode()
        answer = await here.post(line + b"\n", "capture", content_type="application/x-ndjson")
        assert answer.status_code in (200, 202), answer.text
        caller = await here.intake.gate.on_behalf_of(1)
        arrival = Arrival("goods.ingress", 0, 0, caller, document(measured(9, eventID="urn:e:2")))
        made = arrivals.take(here.intake._preparer, arrival)
        (ranged,) = await with_ranges(here.intake._ranges, [made])
        values = [*here.kafka.values("goods.collected"), ranged.placed[0].value]
        assert len(values) == 2
        for value in values:
            item = from_wire(value)
            assert isinstance(item, Item)
            assert item.facts.registered_range is not None
        assert isinstance(ranged.sent[0].outcome, Item)
        assert ranged.sent[0].outcome.facts.registered_range is not None


async def test_where_the_registry_is_away_captures_go_on_and_the_facts_say_so() -> None:
    ranges = Registered(COLD)
    ranges.away = True
    facts = await sealed(ranges, measured(9))
    assert facts.registered_range == RegisteredRange(unread=True)
    assert facts.verdicts == ()
    assert json.loads(facts_format.encode(facts))["registered_range"] == {"unread": True}


async def test_only_who_may_speak_for_goods_registers_their_range() -> None:
    async with registry() as here:
        (_, owner), (_, other) = await here.merchant(prefixes=["0614141"]), await here.merchant()
        goods = {"key": PRODUCT, "names": {"en": "Tea"}, "attributes": {"maximumTemperature": "8"}}
        found = []
        for number, (key, status) in enumerate(((other, 403), (owner, 200))):
            headers = {"authorization": f"Bearer {key}"}
            answer = await here.http.put("/registry/v1/goods", json=goods, headers=headers)
            assert answer.status_code == status, answer.text
            here.now_s += 3  # what was asked for before is no longer fresh
            event = measured(9, eventID=f"urn:e:{number}")
            assert (await here.capture(document(event), other)).status_code == 202
            item = from_wire(here.kafka.values("goods.collected")[-1])
            assert isinstance(item, Item)
            found.append(item.facts.registered_range)
        assert found[0] is None
        assert found[1] is not None
        assert found[1].high is not None
        assert (found[1].high.celsius, found[1].high.key) == ("8", PRODUCT)


async def test_a_replay_of_what_was_collected_gives_the_same_whatever_is_registered_since() -> None:
    values = await collected_facts(Registered(COLD), measured(9), measured(5, eventID="urn:e:2"))
    first, again = WHOLE.run(fresh_state(), values), WHOLE.run(fresh_state(), values)
    assert first.passed == again.passed


@pytest.mark.parametrize("version", ["1", "2", "3"])
async def test_records_of_earlier_versions_have_no_such_field(version: str) -> None:
    (value,) = await collected_facts(Registered(), measured(9))
    (sealed_value,) = run_all([stamped(value, version)]).passed[WHOLE.last]
    facts = json.loads(envelope.decode(sealed_value).part(FACTS_PART).content)
    assert "registered_range" not in facts
    assert facts.get("rule_sets", []) == ([] if version == "1" else ["1"])


async def test_rules_of_an_operator_read_the_narrower_range_and_whose_it_is() -> None:
    own = book.operators(
        b"""version = "acme-1"
[[rules]]
id = "acme.near"
severity = "info"
about = "report"
says = "Near the limit."
expr = "highest_celsius > storage_high_celsius - 1.0 && storage_high_registered.startsWith('https://')"
detail = "{highest} of {storage_high_celsius} for {storage_high_registered}"
"""
    )
    (value,) = await collected_facts(Registered(COLD), measured(7.5))
    item = from_wire(value)
    assert isinstance(item, Item)
    named = item.with_facts(rule_sets=(own.name,))
    state = fresh_state()
    state.books = Books(rule_sets=[own])
    ((found,),) = ([each.facts for each in items_of(WHOLE.run(state, [to_wire(named)]))],)
    assert [(each.rule, each.detail, each.registered) for each in found.verdicts] == [
        ("acme.near", f"7.5 of 8 for {PRODUCT}", (PRODUCT,))
    ]


# ---- what is asked for


def test_nothing_is_asked_for_without_sensors_nor_of_transformations() -> None:
    assert goods_asked(object_event()) == Asked()
    assert goods_asked(object_event(sensorElementList=[{"sensorReport": []}])) == Asked()
    baking = measured(180, type="TransformationEvent", action=None, epcList=None)
    assert goods_asked(baking | {"inputEPCList": [f"{PRODUCT}/21/1"], "outputEPCList": [LOT]}) == Asked()


def test_items_are_asked_for_by_product_and_lot_and_never_more_than_a_bound() -> None:
    assert goods_asked(measured(5, epcList=[f"{LOT}/21/7", f"{PRODUCT}/21/8"])) == Asked((PRODUCT, LOT))
    many = [f"{PRODUCT}/10/{number}" for number in range(200)]
    asked = goods_asked(measured(5, epcList=[*many, "urn:own:1"]))
    assert (len(asked.keys), asked.cut, asked.keys[0]) == (MOST_GOODS, True, PRODUCT)
    assert narrowest(asked, dict.fromkeys(asked.keys)) == RegisteredRange(unread=True)
    assert not goods_asked(measured(5, epcList=many[: MOST_GOODS - 1])).cut
    own = goods_asked(measured(5, epcList=["urn:own:1", CARTON]))
    assert own == Asked(("https://id.gs1.org/00/106141412345678908", "urn:own:1"))


def test_of_many_events_the_first_keys_of_each_are_asked_for_and_never_more_than_a_bound() -> None:
    events = [
        Asked((f"urn:product:{event}", *(f"urn:lot:{event}:{lot}" for lot in range(47))))
        for event in range(MOST_TOGETHER - 5)
    ]
    keys = first_of(events)
    assert keys[: len(events)] == [each.keys[0] for each in events]
    assert keys[len(events) :] == [each.keys[1] for each in events[:5]]
    assert first_of([Asked((PRODUCT, LOT)), Asked(), Asked((PRODUCT, OTHER))]) == [PRODUCT, LOT, OTHER]
    assert first_of([]) == []


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True)))
def test_within_the_bound_all_keys_are_asked_for_once(events: list[list[str]]) -> None:
    keys = first_of(Asked(tuple(each)) for each in events)
    assert sorted(keys) == sorted({key for each in events for key in each})


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({"minimumTemperature": "-25", "maximumTemperature": "-18.5"}, (-25.0, -18.5)),
        ({"gs1:maximumTemperature": " 8 ", "storageTemperatureMaximum": "6"}, (None, 6.0)),
        ({"maximumTemperature": "1e999", "minimumTemperature": "2"}, (2.0, None)),
        ({"maximumTemperature": "8 C", "origin": "LK"}, None),
        ({"maximumTemperature": "46.4", "maximumTemperatureUnit": "FAH"}, None),
        ({"maximumTemperature": "8", "maximumTemperatureUnit": "CEL", "unit": "KGM"}, (None, 8.0)),
        (
            {
                "gs1:maximumTemperature": "281.15",
                "minimumTemperature": "2",
                "gs1:maximumTemperature/unitCode": "KEL",
            },
            (2.0, None),
        ),
        (
            {
                "maximumTemperature": "46.4",
                "minimumTemperature": "36",
                "temperatureMeasurementUnitCode": "FAH",
            },
            None,
        ),
        (
            {
                "storageTemperatureMaximum": "46.4",
                "maximumTemperature": "8",
                "storageTemperatureMaximum_UOM": "FAH",
            },
            (None, 8.0),
        ),
        ({"maximumTemperature": "8", "minimumTemperatureUnit": "FAH"}, (None, 8.0)),
        ({}, None),
    ],
)
def test_ranges_are_read_from_attributes(
    attributes: dict[str, str], kept: tuple[float | None, float | None] | None
) -> None:
    assert kept_by(attributes, "r") == (None if kept is None else Kept(*kept, "r"))


DEGREES = st.one_of(st.none(), st.floats(-300, 300))
KEYS = st.sampled_from([PRODUCT, LOT, OTHER])
KNOWN = st.dictionaries(KEYS, st.one_of(st.none(), st.builds(Kept, DEGREES, DEGREES, st.just("r"))))


@given(st.sets(KEYS), KNOWN, DEGREES, DEGREES)
@example({PRODUCT, LOT}, {PRODUCT: Kept(2.0, 8.0, "r"), LOT: Kept(2.0, 8.0, "s")}, 2.0, 8.0)
def test_a_value_is_out_of_the_joined_range_where_it_is_out_of_one_of_them(
    keys: set[str], known: Mapping[str, Kept | None], low: float | None, high: float | None
) -> None:
    found = narrowest(Asked(tuple(keys)), known)
    again = None if found is None else facts_format.decode(facts_format.encode(_with(found))).registered_range
    assert again == found
    joined = stated.narrowest(Range(low, high), found)
    lows = [each.low for key in keys if (each := known.get(key)) and each.low is not None]
    highs = [each.high for key in keys if (each := known.get(key)) and each.high is not None]
    own_low, own_high = (
        [each for each in (low,) if each is not None],
        [each for each in (high,) if each is not None],
    )
    assert (joined.low.celsius if joined.low else None) == max([*own_low, *lows], default=None)
    assert (joined.high.celsius if joined.high else None) == min([*own_high, *highs], default=None)
    for limit in (joined.low, joined.high):
        assert limit is None or limit.registered in {*keys, ""}
    assert (found is not None and found.unread) == any(key not in known for key in keys)


def _with(found: RegisteredRange) -> Facts:
    return Facts("e", "h", "ObjectEvent", 0, "+00:00", "4", registered_range=found)


@given(KNOWN)
def test_a_capture_without_sensors_stays_as_it_is(known: Mapping[str, Kept | None]) -> None:
    made = Prepared(job=None, placed=[], refused=[], sent=[])  # type: ignore[arg-type]  # no events, so no job is looked at
    assert with_known(made, known) == made
