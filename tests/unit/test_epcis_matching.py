"""Which events a query means: the same as a brute-force filter over the events' own JSON."""

from typing import Any
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from goodstrace.identifiers import canonical_key
from services.query.epcis_matching import matches, names, tags
from services.query.epcis_parameters import EventsQuery, asked, pairs
from tests.unit.collector_builders import NOW_MS, SECRET
from tests.unit.epcis_builders import (
    LINKS,
    LOTS,
    ORDERS,
    PALLETS,
    PLACES,
    SERIALS,
    STEPS,
    TIMES,
    as_collected,
    events,
)

EPCS = SERIALS + LINKS + PALLETS
STEP_SPELLINGS = (*STEPS, "urn:epcglobal:cbv:bizstep:shipping", "cbv:BizStep-receiving")
POOLS: dict[str, tuple[str, ...]] = {
    "MATCH_epc": EPCS + LOTS,
    "MATCH_parentID": EPCS,
    "MATCH_inputEPC": EPCS,
    "MATCH_outputEPC": EPCS,
    "MATCH_anyEPC": EPCS + LOTS,
    "MATCH_epcClass": LOTS + SERIALS,
    "MATCH_inputEPCClass": LOTS,
    "MATCH_outputEPCClass": LOTS,
    "MATCH_anyEPCClass": LOTS,
    "EQ_eventID": tuple(f"urn:uuid:{number:032x}" for number in range(7)),
    "EQ_transformationID": ("urn:t:1", "urn:t:2"),
    "EQ_bizTransaction_po": ORDERS,
    "EQ_bizTransaction_urn:epcglobal:cbv:btt:inv": ORDERS,
    "EQ_source_location": PLACES,
    "EQ_readPoint": PLACES,
    "EQ_bizLocation": PLACES,
    "EQ_action": ("ADD", "OBSERVE", "DELETE"),
    "EQ_bizStep": STEP_SPELLINGS,
    "EQ_disposition": ("in_transit", "active", "urn:epcglobal:cbv:disp:active"),
    "eventType": ("ObjectEvent", "AggregationEvent", "TransformationEvent"),
    "EQ_errorReason": ("incorrect_data", "did_not_occur"),
    "EQ_correctiveEventID": ("urn:uuid:other", "urn:uuid:another"),
}
SINGLE: dict[str, tuple[str, ...]] = {
    "GE_eventTime": TIMES,
    "LT_eventTime": TIMES,
    "GE_recordTime": ("2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"),
    "LT_recordTime": ("2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"),
    "GE_errorDeclarationTime": TIMES,
    "LT_errorDeclarationTime": TIMES,
    "EXISTS_errorDeclaration": ("true", "false"),
}


@st.composite
def queries(draw: st.DrawFn) -> dict[str, list[str]]:
    """Some parameters with some values each."""
    chosen = draw(st.lists(st.sampled_from((*POOLS, *SINGLE)), min_size=1, max_size=3, unique=True))
    return {
        name: draw(st.lists(st.sampled_from(POOLS[name]), min_size=1, max_size=3, unique=True))
        if name in POOLS
        else [draw(st.sampled_from(SINGLE[name]))]
        for name in chosen
    }


def read(parameters: dict[str, list[str]]) -> EventsQuery:
    text = urlencode({name: "|".join(values) for name, values in parameters.items()})
    return asked(pairs(text.encode()), {}).query


def bare(text: str) -> str:
    """The last word of a term of the standard; another vocabulary's URI as it is."""
    for beginning in ("urn:epcglobal:cbv:bizstep:", "urn:epcglobal:cbv:disp:", "cbv:BizStep-"):
        text = text.removeprefix(beginning)
    return text


def listed(event: dict[str, Any], *members: str) -> set[str]:
    found: set[str] = set()
    for member in members:
        value = event.get(member, [])
        values = [value] if isinstance(value, str) else value
        found.update(canonical_key(each if isinstance(each, str) else each["epcClass"]) for each in values)
    return found


MEMBERS = {
    "MATCH_epc": ("epcList", "childEPCs"),
    "MATCH_parentID": ("parentID",),
    "MATCH_inputEPC": ("inputEPCList",),
    "MATCH_outputEPC": ("outputEPCList",),
    "MATCH_anyEPC": ("epcList", "childEPCs", "parentID", "inputEPCList", "outputEPCList"),
    "MATCH_epcClass": ("quantityList", "childQuantityList"),
    "MATCH_inputEPCClass": ("inputQuantityList",),
    "MATCH_outputEPCClass": ("outputQuantityList",),
    "MATCH_anyEPCClass": ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList"),
}


def fits(event: dict[str, Any], name: str, values: list[str]) -> bool:  # noqa: C901, PLR0911 - one line for each parameter
    """The standard's words, parameter by parameter, over the event's JSON."""
    correction = event.get("errorDeclaration")
    if name in MEMBERS:
        return bool(listed(event, *MEMBERS[name]) & {canonical_key(each) for each in values})
    if name.startswith("EQ_bizTransaction_"):
        kind = "inv" if name.endswith("inv") else "po"
        transactions = event.get("bizTransactionList", [])
        return any(each.get("type") == kind and each["bizTransaction"] in values for each in transactions)
    if name == "EQ_source_location":
        return any(each["source"] in values for each in event.get("sourceList", []))
    if name in ("EQ_readPoint", "EQ_bizLocation"):
        return event.get(name[3:], {}).get("id") in values
    if name.endswith("_eventTime"):
        later = event["eventTime"] >= values[0]
        return later if name.startswith("GE") else not later
    if name.endswith("_recordTime"):
        later = values[0] < "2026"  # NOW_MS is in 2027
        return later if name.startswith("GE") else not later
    if name.endswith("_errorDeclarationTime"):
        later = correction is not None and correction["declarationTime"] >= values[0]
        return later if name.startswith("GE") else correction is not None and not later
    if name == "EXISTS_errorDeclaration":
        return values == ["false"] or correction is not None
    if name == "EQ_errorReason":
        return correction is not None and correction["reason"] in values
    if name == "EQ_correctiveEventID":
        return correction is not None and not set(values).isdisjoint(correction["correctiveEventIDs"])
    member = "type" if name == "eventType" else name.removeprefix("EQ_")
    return event.get(member) in [bare(value) for value in values]


@given(events(), queries())
def test_a_query_means_what_a_filter_over_the_events_json_means(
    event: dict[str, Any], parameters: dict[str, list[str]]
) -> None:
    facts, record = as_collected(event)
    query = read(parameters)
    means = matches(query, facts, NOW_MS)
    assert means == all(fits(event, name, values) for name, values in parameters.items())
    found_by = tags(query, SECRET)
    assert not means or not found_by or not set(found_by).isdisjoint(record.tags)
    assert bool(found_by) == bool(names(query))


def test_an_event_without_an_id_is_found_by_its_hash() -> None:
    event = {
        "type": "ObjectEvent",
        "eventTime": TIMES[0],
        "eventTimeZoneOffset": "+00:00",
        "epcList": [SERIALS[0]],
        "action": "ADD",
    }
    facts, _ = as_collected(event)
    assert matches(read({"EQ_eventID": [facts.event_hash]}), facts, NOW_MS)


def test_of_several_parameters_the_one_that_names_the_fewest_is_looked_up() -> None:
    query = read({"EQ_readPoint": [PLACES[0]], "MATCH_epc": [SERIALS[0]], "EQ_eventID": ["a", "b"]})
    assert tags(query, SECRET) == tags(read({"MATCH_epc": [LINKS[0]]}), SECRET)
    assert names(query) == tuple(sorted((LINKS[0], "a", "b", canonical_key(PLACES[0]))))
