import datetime as dt
import hashlib
import json
import math
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.identifiers import canonical_key
from goodstrace.simulate import OptionError, Simulation, SimulationOptions, simulate, write
from tests.unit.simulate_oracle import (
    Json,
    canonical,
    classes_in,
    content_of,
    keys_in,
    levels_above,
    origins,
    sold_items,
    standing,
    strings_in,
)

LIVELY = {"returns": 0.2, "recalls": 0.5, "corrections": 0.05}
REQUIRED = {
    "ObjectEvent": {"action"},
    "AggregationEvent": {"action", "parentID"},
    "TransactionEvent": {"action", "bizTransactionList"},
    "TransformationEvent": {"transformationID"},
}


def options(**changes: Any) -> SimulationOptions:
    return SimulationOptions(**({"events": 1500} | changes))


def all_bytes(chosen: SimulationOptions) -> bytes:
    return b"".join(document.to_bytes() for document in simulate(chosen))


def events_of(chosen: SimulationOptions) -> list[Json]:
    """All events as a reader of the files sees them, by event time; events of one time in order of capture."""
    events = [
        event
        for document in simulate(chosen)
        for event in json.loads(document.to_bytes())["epcisBody"]["eventList"]
    ]
    return sorted(events, key=lambda event: dt.datetime.fromisoformat(event["eventTime"]))


def test_the_same_options_give_the_same_bytes_in_any_process() -> None:
    chosen = options(**LIVELY)
    here = hashlib.sha256(all_bytes(chosen)).hexdigest()
    assert hashlib.sha256(all_bytes(chosen)).hexdigest() == here
    program = (
        "import hashlib; from goodstrace.simulate import *; "
        f"o = SimulationOptions(events=1500, **{LIVELY!r}); "
        "print(hashlib.sha256(b''.join(d.to_bytes() for d in simulate(o))).hexdigest())"
    )
    for hash_seed, zone in (("1", "Asia/Tokyo"), ("2", "America/St_Johns")):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "TZ": zone, "LC_ALL": "C"}
        there = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert there.stdout.strip() == here


@settings(max_examples=25, deadline=None)
@given(
    st.builds(
        SimulationOptions,
        seed=st.integers(0, 2**63 - 1),
        events=st.integers(0, 700),
        events_per_document=st.integers(1, 60),
        depth=st.integers(1, 6),
        items_per_case=st.integers(1, 8),
        cases_per_pallet=st.integers(1, 5),
        corrections=st.floats(0, 1),
    )
)
def test_exactly_as_many_events_as_asked(chosen: SimulationOptions) -> None:
    documents = list(simulate(chosen))
    assert sum(document.events for document in documents) == chosen.events
    for document in documents:
        listed = json.loads(document.to_bytes())["epcisBody"]["eventList"]
        assert 1 <= len(listed) == document.events <= chosen.events_per_document
    names = [document.name for document in documents]
    assert names == sorted(set(names))


@pytest.mark.parametrize("events", range(40, 60))
def test_no_mistake_is_left_without_its_correction(events: int) -> None:
    made = events_of(options(events=events, corrections=0.9))
    ids = {event.get("eventID") for event in made}
    corrected = [
        event["errorDeclaration"]["correctiveEventIDs"] for event in made if "errorDeclaration" in event
    ]
    assert corrected
    assert all(set(named) <= ids for named in corrected)
    doors = {event["readPoint"]["id"][-5:] for event in standing(made)}
    assert doors == {"DOCK1"}


@pytest.mark.parametrize("seed", range(5))
def test_every_identifier_is_a_gs1_key_with_its_check_digit_right(seed: int) -> None:
    events = events_of(options(seed=seed, **LIVELY))
    keys = [
        text
        for event in events
        for text in strings_in({k: v for k, v in event.items() if k != "eventID"})
        if text.startswith(("urn:epc:", "https:"))
    ]
    for key in keys:
        canonical(key)
    for step in ("packing", "shipping", "retail_selling"):
        texts = " ".join(text for event in events if event["bizStep"] == step for text in strings_in(event))
        assert "urn:epc:id:" in texts, step
        assert "https://id.gs1.org/" in texts, step


def test_every_event_has_what_its_type_requires() -> None:
    events = events_of(options(events=4000, **LIVELY))
    assert {event["type"] for event in events} == set(REQUIRED)
    for event in events:
        assert REQUIRED[event["type"]] <= event.keys()
        assert event.get("action", "OBSERVE") in {"ADD", "OBSERVE", "DELETE"}
        assert ("action" in event) == (event["type"] != "TransformationEvent")
        assert re.fullmatch(r"[+-]\d\d:\d\d", event["eventTimeZoneOffset"])
        assert event["eventTime"].endswith(("Z", event["eventTimeZoneOffset"]))
        named = ("epcList", "quantityList", "childEPCs", "childQuantityList", "inputQuantityList")
        outputs = ("outputEPCList", "outputQuantityList")
        assert any(event.get(name) for name in named + outputs) or event["action"] == "DELETE"
        for name in ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList"):
            assert all(element["quantity"] > 0 for element in event.get(name, []))


def test_documents_are_epcis_documents_in_time_order() -> None:
    for document in simulate(options()):
        content = json.loads(document.to_bytes())
        assert content["@context"] == ["https://ref.gs1.org/standards/epcis/epcis-context.jsonld"]
        assert (content["type"], content["schemaVersion"]) == ("EPCISDocument", "2.0")
        times = [dt.datetime.fromisoformat(event["eventTime"]) for event in content["epcisBody"]["eventList"]]
        assert times == sorted(times)
        assert times[-1] < dt.datetime.fromisoformat(content["creationDate"])


@pytest.mark.parametrize("depth", range(1, 7))
def test_every_sold_item_leads_back_to_raw_lots_through_every_level(depth: int) -> None:
    events = standing(events_of(options(depth=depth, **LIVELY)))
    known, sold = origins(events), sold_items(events)
    assert sold
    for item in sold:
        levels = levels_above(item, known)
        assert len(levels) == depth
        assert len(levels[-1]) >= 2
        assert levels[0] & known.raw, "every theme adds something in its last stage"


def test_things_happen_only_after_what_they_need() -> None:
    events = standing(events_of(options(**LIVELY)))
    known: set[str] = set()
    for event in events:
        used = classes_in(event, "inputQuantityList")
        if event.get("action") != "ADD" or event["type"] != "ObjectEvent":
            used += keys_in(event, "epcList") + classes_in(event, "quantityList")
        used += keys_in(event, "childEPCs")
        assert set(used) <= known | {key for key in used if "/00/" in key}
        for name in ("epcList", "outputEPCList"):
            known.update(keys_in(event, name))
        for name in ("quantityList", "outputQuantityList"):
            known.update(classes_in(event, name))
        if event["type"] == "TransformationEvent" and "outputEPCList" in event:
            known.update(
                item.partition("/21/")[0] + "/10/" + event["ilmd"]["cbvmda:lotNumber"]
                for item in keys_in(event, "outputEPCList")
            )


def test_aggregations_open_and_close_in_order() -> None:
    events = standing(events_of(options(events=3000, **LIVELY)))
    inside: dict[str, str] = {}
    ways = set()
    for event in events:
        if event["type"] != "AggregationEvent":
            continue
        parent = canonical(event["parentID"])
        children = keys_in(event, "childEPCs") + classes_in(event, "childQuantityList")
        if event["action"] == "ADD":
            assert children
            assert not inside.keys() & children, "added while still inside something"
            inside.update(dict.fromkeys(children, parent))
            continue
        held = {child for child, holder in inside.items() if holder == parent}
        assert held, "taken out of an empty container"
        assert held >= set(children)
        ways.add("all" if not children else "full" if held == set(children) else "partial")
        for child in children or held:
            del inside[child]
    assert ways == {"all", "full", "partial"}
    for item in sold_items(events):
        assert item not in inside


def test_seeds_do_not_share_goods() -> None:
    goods = re.compile(r"urn:(?:uuid|epc:id:(?:sgtin|sscc|gdti)|epc:class)|https://id.gs1.org/(?:01|00|253)/")
    seen: set[str] = set()
    for seed in range(8):
        texts = {text for event in events_of(options(seed=seed, events=800)) for text in strings_in(event)}
        keys = {
            text if text.startswith("urn:uuid") else canonical(text) for text in texts if goods.match(text)
        }
        numbers = {key.rpartition("/")[2] for key in keys if "/10/" in key or "/21/" in key}
        assert numbers
        assert not seen & (keys | numbers)
        seen |= keys | numbers


def test_event_ids_name_one_event_each_but_for_declarations() -> None:
    events = events_of(options(events=4000, corrections=0.1))
    declared = [event for event in events if "errorDeclaration" in event]
    others = [event for event in events if "errorDeclaration" not in event]
    named = [event["eventID"] for event in others if "eventID" in event]
    assert len(named) == len(set(named)) < len(others)
    assert len({content_of(event) for event in others}) == len(others)
    assert declared
    contents = {content_of(event) for event in others}
    for event in declared:
        assert content_of(event) in contents
        assert set(event["errorDeclaration"]["correctiveEventIDs"]) <= set(named)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_are_kept_at_their_ends(share: float) -> None:
    events = events_of(options(returns=share, recalls=share, corrections=share))
    found = {event["disposition"] for event in events} & {"returned", "recalled"}
    assert found == ({"returned", "recalled"} if share else set())
    assert sum("errorDeclaration" in event for event in events) == (len(events) // 3 if share else 0)
    known = origins(standing(events))
    for item in sold_items(standing(events)):
        assert len(levels_above(item, known)) == 3


def test_the_index_names_a_sold_item_and_its_levels(tmp_path: pathlib.Path) -> None:
    chosen = options(depth=4, events_per_document=37, **LIVELY)
    calls: list[tuple[int, int]] = []
    found = write(chosen, tmp_path / "out", lambda done, total: calls.append((done, total)))
    assert calls[-1] == (1500, 1500)
    assert calls == sorted(set(calls))
    assert json.loads((tmp_path / "out" / "index.json").read_bytes())["item"] == found.item
    files = sorted((tmp_path / "out").glob("*.jsonld"))
    assert b"".join(file.read_bytes() for file in files) == all_bytes(chosen)

    events = standing(events_of(chosen))
    assert found.item in sold_items(events)
    levels = levels_above(str(found.item), origins(events))
    assert [set(level) for level in found.upstream] == levels
    parents = {
        child: canonical(event["parentID"])
        for event in reversed(events)
        if event["type"] == "AggregationEvent" and event["action"] == "ADD"
        for child in keys_in(event, "childEPCs")
    }
    assert parents[str(found.case)] == found.pallet
    dispositions = {
        (key, event["disposition"])
        for event in events
        for key in keys_in(event, "epcList") + classes_in(event, "quantityList")
    }
    assert (found.returned, "returned") in dispositions
    assert (found.recalled, "recalled") in dispositions
    assert found.corrected in {event.get("eventID") for event in events}


@given(events=st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_the_index_names_nothing_that_was_cut_off(events: int) -> None:
    simulation = Simulation(options(events=events, recalls=1.0, returns=1.0, corrections=0.2))
    text = "".join(document.to_bytes().decode() for document in simulation.documents())
    found = simulation.interesting()
    assert (found.item is None) == (found.pallet is None) == (found.upstream == ())
    for key in (found.item, found.case, found.pallet, found.returned):
        assert key is None or key.rpartition("/")[2][-12:-1] in text.replace(".", "")
    assert ("recalled" in text) >= (found.recalled is not None)
    assert found.corrected is None or found.corrected in text


def test_a_hundred_million_events_start_at_once() -> None:
    first = next(simulate(options(events=10**8, events_per_document=1)))
    assert first.events == 1
    assert len(first.name.partition("-")[0]) == 9


def test_the_largest_event_stays_under_its_limit() -> None:
    chosen = options(items_per_case=100, cases_per_pallet=60, events=60, depth=1, events_per_document=1)
    sizes = [len(document.to_bytes()) for document in simulate(chosen)]
    assert 200_000 < max(sizes) < 1 << 20


def test_everything_happens_within_ten_months_of_the_start() -> None:
    start = dt.date(2031, 7, 1)
    events = events_of(options(events=20_000, depth=6, start=start, events_per_document=1000))
    assert start <= dt.datetime.fromisoformat(events[0]["eventTime"]).date() + dt.timedelta(days=1)
    assert dt.datetime.fromisoformat(events[-1]["eventTime"]).date() < start + dt.timedelta(days=300)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("events", -1),
        ("depth", 0),
        ("depth", 7),
        ("items_per_case", 0),
        ("cases_per_pallet", 61),
        ("events_per_document", 0),
        ("returns", 1.1),
        ("recalls", -0.1),
        ("corrections", math.nan),
        ("start", dt.date(1969, 12, 31)),
    ],
)
def test_an_option_outside_its_limits_is_named(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"^{name} is "):
        options(**{name: value})


def test_both_spellings_have_the_key_that_tracing_goes_by() -> None:
    events = events_of(options(**LIVELY))
    keys = {text for event in events for text in strings_in(event) if text.startswith(("urn:epc:", "https:"))}
    assert {key: canonical_key(key) for key in keys} == {key: canonical(key) for key in keys}
