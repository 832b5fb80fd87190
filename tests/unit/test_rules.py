"""Every rule that comes with the program holds once for an event with its fault, and not for the twin without it."""

import hashlib
import json
from importlib import resources
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import facts as facts_format
from goodstrace.facts import Facts, Verdict
from services.collector.flow import FACTS_PART, Item
from services.collector.rules import book
from services.collector.rules.judging import Judge
from services.collector.validation import check_event
from services.runtime import envelope
from tests.unit.collector_builders import (
    WHOLE,
    collected,
    document,
    fresh_state,
    items_of,
    object_event,
    processed,
    processed_document,
    run_all,
    stamped,
    wires,
)

BUILT_IN = book.built_in("2")
LOT = "urn:epc:class:lgtin:9524321.001234.L1"
SERIAL = "urn:epc:id:sgtin:9524321.001234.1"
PALLET = "urn:epc:id:sscc:9524321.0123456789"
DIGESTS = {
    "rules/rules-1.toml": "087745f4846c08b80fbb3f6a3b232b4c00d5b68932d7e39b93453009a535f2b7",
    "rules/rules-2.toml": "dd7bda7c96c5b539334a818efa01da8f9262797f241652d4520c81d671b031b8",
    "steps-1.json": "0c041bb08d496aa53d3dbb85e62ab043736861dc36e088e8bf92495059800850",
    "steps-2.json": "2eda767fb41d8a19d606f1050073c094b0760e6d0f1b376f57f2b8bfe8484a98",
}


class Pair(NamedTuple):
    """An event with a fault, its twin without, where the fault lies, and what the verdict tells."""

    rule: str
    faulty: dict[str, Any]
    twin: dict[str, Any]
    at: str
    detail: str


def reporting(metadata: dict[str, Any] | None = None, **report: Any) -> dict[str, Any]:
    """An event whose second sensor report is the given one."""
    sound = {"type": "Temperature", "value": 5, "uom": "CEL"}
    element: dict[str, Any] = {"sensorReport": [sound, {"type": "Temperature", "uom": "CEL", **report}]}
    return object_event(sensorElementList=[{**element, **({"sensorMetadata": metadata} if metadata else {})}])


def kept(ilmd: dict[str, Any], value: float) -> dict[str, Any]:
    return {**reporting(value=value), "action": "ADD", "bizStep": "commissioning", "ilmd": ilmd}


def commissioned(**ilmd: Any) -> dict[str, Any]:
    names = {f"cbvmda:{name}": value for name, value in ilmd.items()}
    return object_event(action="ADD", bizStep="commissioning", disposition="active", ilmd=names)


def counting(
    quantity: Any, *, uom: str | None = "KGM", of: str = LOT, action: str = "OBSERVE"
) -> dict[str, Any]:
    element = {"epcClass": of, "quantity": quantity} | ({"uom": uom} if uom else {})
    return object_event(action=action, epcList=None, quantityList=[element])


def packing(kind: str, parent: str, *children: str) -> dict[str, Any]:
    return object_event(
        type=kind, epcList=None, parentID=parent, childEPCs=list(children), action="ADD", bizStep="packing"
    )


def making(inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    return object_event(
        type="TransformationEvent", action=None, epcList=None, inputEPCList=inputs, outputEPCList=outputs
    )


def moving(source: str, destination: str) -> dict[str, Any]:
    return object_event(
        sourceList=[{"type": "owning_party", "source": source}],
        destinationList=[{"type": "urn:epcglobal:cbv:sdt:owning_party", "destination": destination}],
    )


def corrected(moment: str) -> dict[str, Any]:
    return object_event(errorDeclaration={"declarationTime": moment, "reason": "incorrect_data"})


REPORT = "/sensorElementList/0/sensorReport/1"
QUANTITY = "/quantityList/0"
LOT_KEY = "https://id.gs1.org/01/09524321012340/10/L1"
PERIOD = {"startTime": "2026-01-02T03:00:00Z", "endTime": "2026-01-02T04:00:00+01:00"}

PAIRS = [
    Pair("sensor-alarm", reporting(value=5, exception="gs1:ALARM_CONDITION"), reporting(value=5), REPORT,
         "the sensor reports an alarm condition for Temperature"),
    Pair("sensor-error", reporting(exception="ERROR_CONDITION"), reporting(), REPORT,
         "the sensor reports an error condition for Temperature"),
    Pair("sensor-value-below-minimum", reporting(value="1.95", minValue=2), reporting(value="2.0", minValue=2), REPORT,
         "1.95 CEL is below the minimum 2 of the same report"),
    Pair("sensor-value-above-maximum", reporting(value=8.5, maxValue="8"), reporting(value=8, maxValue="8.0"), REPORT,
         "8.5 CEL is above the maximum 8 of the same report"),
    Pair("sensor-mean-out-of-range", reporting(meanValue=9, minValue=2, maxValue=8),
         reporting(meanValue=8, minValue=2, maxValue=8), REPORT, "the mean 9 CEL is not between 2 and 8"),
    Pair("sensor-range-reversed", reporting(minValue=8, maxValue=2), reporting(minValue=2, maxValue=8), REPORT,
         "the minimum 8 CEL is above the maximum 2"),
    Pair("sensor-below-absolute-zero", reporting(value=-0.5, uom="KEL"), reporting(value=0, uom="KEL"), REPORT,
         "-0.5 KEL is below absolute zero"),
    Pair("sensor-humidity-impossible", reporting(value=101, type="RelativeHumidity", uom="P1"),
         reporting(value=100, type="gs1:RelativeHumidity", uom="P1"), REPORT,
         "a relative humidity of 101 to 101 percent cannot be"),
    Pair("storage-too-cold", kept({"gs1:minimumTemperature": 2}, 1.5), kept({"gs1:minimumTemperature": 2}, 2), REPORT,
         "1.5 CEL is below the lowest storage temperature stated, 2 degrees Celsius"),
    Pair("storage-too-warm", kept({"x:info": {"maximumTemperature": {"value": 46.4, "uom": "FAH"}}}, 8.5),
         kept({"x:info": {"maximumTemperature": {"value": 50, "uom": "FAH"}}}, 8.5), REPORT,
         "8.5 CEL is above the highest storage temperature stated, 8 degrees Celsius"),
    Pair("sensor-time-reversed", reporting({**PERIOD, "endTime": "2026-01-02T03:59:59+01:00"}), reporting(PERIOD),
         "/sensorElementList/0/sensorMetadata",
         "the period ends at 2026-01-02T02:59:59Z, before it begins at 2026-01-02T03:00:00Z"),
    Pair("expired", commissioned(itemExpirationDate="2026-01-01"), commissioned(itemExpirationDate="2026-01-02"),
         "/ilmd/cbvmda:itemExpirationDate", "expired on 2026-01-01, handled at 2026-01-02T03:04:05.678000Z"),
    Pair("past-best-before", commissioned(bestBeforeDate="2026-01-02T03:04:05Z"),
         commissioned(bestBeforeDate="2026-01-02T04:04:05.679+01:00"), "/ilmd/cbvmda:bestBeforeDate",
         "best before 2026-01-02T03:04:05Z, handled at 2026-01-02T03:04:05.678000Z"),
    Pair("sold-after-sell-by",
         object_event(bizStep="retail_selling", disposition="retail_sold",
                      epcList=["https://example.com/01/09524321012340/21/1?16=251231"]),
         object_event(bizStep="shipping", epcList=["https://example.com/01/09524321012340/21/1?16=251231"]),
         "/epcList/0", "to be sold by 251231, sold at 2026-01-02T03:04:05.678000Z"),
    Pair("quantity-negative", counting(-0.5), counting(0), QUANTITY, f"-0.5 KGM of {LOT_KEY}"),
    Pair("quantity-zero-added", counting(0, action="ADD"), counting(0), QUANTITY, f"0 KGM of {LOT_KEY} was added"),
    Pair("quantity-fractional", counting(1.5, uom=None), counting(1.5), QUANTITY, f"1.5 pieces of {LOT_KEY}"),
    Pair("quantity-of-one-thing", counting(2, uom=None, of=SERIAL), counting(1, uom=None, of=SERIAL), QUANTITY,
         "2 of https://id.gs1.org/01/09524321012340/21/1, of which there is only one"),
    Pair("parent-among-children",
         packing("AggregationEvent", PALLET, SERIAL, "https://id.gs1.org/00/095243211234567897"),
         packing("AggregationEvent", PALLET, SERIAL), "",
         "https://id.gs1.org/00/095243211234567897 is both parent and child"),
    Pair("input-is-output", making([SERIAL], ["https://x.example/01/09524321012340/21/1"]),
         making([SERIAL], ["https://x.example/01/09524321012340/21/2"]), "",
         "https://id.gs1.org/01/09524321012340/21/1 is both input and output"),
    Pair("source-is-destination", moving("urn:epc:id:pgln:9524321.00001", "https://id.gs1.org/417/9524321000019"),
         moving("urn:epc:id:pgln:9524321.00001", "https://id.gs1.org/417/9524321000026"), "",
         "https://id.gs1.org/417/9524321000019 is both source and destination"),
    Pair("disposition-set-and-unset",
         object_event(persistentDisposition={"set": ["damaged"], "unset": ["cbv:Disp-damaged"]}),
         object_event(persistentDisposition={"set": ["damaged"], "unset": ["cbv:Disp-recalled"]}), "",
         "damaged is both set and unset"),
    Pair("declared-before-it-happened", corrected("2026-01-02T03:04:05Z"), corrected("2026-01-02T03:04:06Z"), "",
         "declared wrong at 2026-01-02T03:04:05Z, before it happened at 2026-01-02T03:04:05.678000Z"),
]  # fmt: skip


def sealed_facts(event: dict[str, Any]) -> Facts:
    """The facts that the last stage seals for an event, read from its record's bytes."""
    output = run_all(wires(collected(document(event))))
    (value,) = output.passed[WHOLE.last]
    assert output.unanswered == []
    return facts_format.decode(envelope.decode(value).part(FACTS_PART).content)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.rule)
def test_a_rule_holds_once_for_a_fault_and_not_for_its_twin(pair: Pair) -> None:
    assert check_event(pair.faulty) is None
    severity = {rule.id: rule.severity for rule in BUILT_IN.rules}[pair.rule]
    found, sound = sealed_facts(pair.faulty), sealed_facts(pair.twin)
    assert found.rule_sets == sound.rule_sets == ("2",)
    assert found.verdicts == (Verdict(pair.rule, severity, pair.at, pair.detail),)
    assert sound.verdicts == ()


def test_every_rule_has_its_pair() -> None:
    assert [rule.id for rule in BUILT_IN.rules] == [pair.rule for pair in PAIRS]
    assert [fault for rule in BUILT_IN.rules for fault in book.faults_of(rule.written)] == []


def test_what_has_sealed_verdicts_does_not_change() -> None:
    folder = resources.files("services.collector")
    assert {
        name: hashlib.sha256(folder.joinpath(*name.split("/")).read_bytes()).hexdigest() for name in DIGESTS
    } == DIGESTS


def test_a_rule_tells_the_first_place_only() -> None:
    hot = {"type": "Temperature", "value": 9, "maxValue": 8, "uom": "CEL"}
    facts = sealed_facts(
        object_event(sensorElementList=[{"sensorReport": [hot] * 3}, {"sensorReport": [hot]}])
    )
    (verdict,) = facts.verdicts
    assert verdict.at == "/sensorElementList/0/sensorReport/0"


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"bizStep": "destroying", "disposition": "destroyed"}, []),
        ({"bizStep": "receiving", "disposition": "returned"}, []),
        ({"bizStep": "holding", "disposition": "recalled"}, []),
        ({"bizStep": "retail_selling", "disposition": "retail_sold"}, ["expired"]),
    ],
)
def test_disposing_of_what_has_expired_is_no_fault(change: dict[str, str], rules: list[str]) -> None:
    epc = "https://id.gs1.org/01/09524321012340/21/1?17=251200"
    assert [each.rule for each in sealed_facts(object_event(epcList=[epc], **change)).verdicts] == rules


def test_records_of_before_are_not_judged() -> None:

    values = wires(collected(document(PAIRS[0].faulty)))
    (item,) = processed([stamped(values[0], "1")])
    assert (item.facts.rule_sets, item.facts.verdicts, item.facts.step_table) == ((), (), "1")


# ---- arbitrary events

NUMBERS = st.one_of(
    st.integers(-(10**18), 10**18),
    st.floats(-1e18, 1e18, allow_nan=False),
    st.sampled_from([0, -0.0, 1e-300, 0.1]),
)
MEASURES = st.one_of(NUMBERS, st.sampled_from(["1e999", "-1e999", " 5 ", ".5", "1e-999", "+7."]))
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.sampled_from(["CEL", "FAH", "KEL", ""])
)
TIMES = st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-14:00", "2026-01-02T03:04:05Z"])
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**400), 10**400), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=12,
)
URIS = st.one_of(
    st.sampled_from([SERIAL, LOT, PALLET, "urn:x:y"]),
    st.builds(
        "https://x.example/01/09524321012340/21/1?{}={}".format,
        st.sampled_from(["17", "15", "16", "7003", "4330", "4331", "4333", "10"]),
        st.one_of(st.text("0123456789-", max_size=10), TEXTS),
    ),
)
REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.one_of(TEXTS, st.sampled_from(["Temperature", "gs1:RelativeHumidity"])),
        "uom": TEXTS,
        "exception": st.one_of(TEXTS, st.just("gs1:ALARM_CONDITION")),
        "booleanValue": st.sampled_from([True, "false"]),
        "time": TIMES,
        **dict.fromkeys(["value", "minValue", "maxValue", "meanValue", "percRank"], MEASURES),
    },
)
SENSORS = st.fixed_dictionaries(
    {"sensorReport": st.lists(REPORTS, max_size=3)},
    optional={
        "sensorMetadata": st.fixed_dictionaries({}, optional=dict.fromkeys(["startTime", "endTime"], TIMES))
    },
)
ILMD = st.dictionaries(
    st.one_of(
        TEXTS,
        st.sampled_from(
            ["cbvmda:itemExpirationDate", "gs1:minimumTemperature", "x#maximumTemperature", "bestBeforeDate"]
        ),
    ),
    st.one_of(JSON, TIMES, st.sampled_from(["2026-02-30", "9999-12-31", "0000-00-00", "2026-01-01"])),
    max_size=4,
)
QUANTITIES = st.lists(
    st.fixed_dictionaries(
        {"epcClass": URIS}, optional={"quantity": NUMBERS, "uom": st.sampled_from(["KGM", "EA"])}
    ),
    max_size=3,
)
DISPOSITIONS = st.lists(st.sampled_from(["damaged", "cbv:Disp-damaged", "x:y"]), max_size=2)
OPTIONAL = {
    "sensorElementList": st.lists(SENSORS, min_size=1, max_size=3),
    "errorDeclaration": st.fixed_dictionaries({"declarationTime": TIMES}),
    "persistentDisposition": st.fixed_dictionaries({}, optional={"set": DISPOSITIONS, "unset": DISPOSITIONS}),
    "x:extension": JSON,
}
HEAD = {"eventTime": TIMES, "eventTimeZoneOffset": st.sampled_from(["+00:00", "-14:00", "+14:00"])}
EVENTS = st.one_of(
    st.fixed_dictionaries(
        {**HEAD, "type": st.just("ObjectEvent"), "action": st.just("ADD"), "epcList": st.lists(URIS, max_size=3)},
        optional={**OPTIONAL, "ilmd": ILMD, "quantityList": QUANTITIES},
    ),
    st.fixed_dictionaries(
        {**HEAD, "type": st.just("AggregationEvent"), "action": st.just("OBSERVE"), "childEPCs": st.lists(URIS, min_size=1, max_size=3)},
        optional={**OPTIONAL, "parentID": URIS, "childQuantityList": QUANTITIES},
    ),
    st.fixed_dictionaries(
        {**HEAD, "type": st.just("TransformationEvent"), "transformationID": st.just("urn:t:1"),
         "inputEPCList": st.lists(URIS, min_size=1, max_size=3)},
        optional={**OPTIONAL, "outputEPCList": st.lists(URIS, max_size=3), "outputQuantityList": QUANTITIES, "ilmd": ILMD},
    ),
)  # fmt: skip


@given(EVENTS)
def test_any_valid_event_is_judged_the_same_twice(event: dict[str, Any]) -> None:
    body = document(event)
    (sent,) = collected(body)
    if not isinstance(sent.outcome, Item):
        return
    values = wires([sent])
    first, again = WHOLE.run(fresh_state(), values), WHOLE.run(fresh_state(), values)
    assert first.passed == again.passed
    assert first.unanswered == []
    (item,) = items_of(first)
    rules = [each.rule for each in item.facts.verdicts]
    assert rules == sorted(set(rules))
    assert all(len(each.detail) <= 500 for each in item.facts.verdicts)
    json.loads(facts_format.encode(item.facts))


def test_a_judge_of_no_rules_finds_nothing() -> None:
    (item,) = processed_document(document(PAIRS[0].faulty))
    item = item.decoded()
    assert item.event is not None
    assert Judge(()).judge(item.event, item.facts, "other", b"{}?", 0).verdicts == ()
