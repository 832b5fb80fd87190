"""The state of goods: the same whatever order, cut and repetition; right, or said to be unsure; corrections taken back."""

from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.facts import Role, decode
from goodstrace.goods.sightings import KEPT, Kept, joined
from goodstrace.goods.state import derived
from goodstrace.tracing import SealedFacts
from goodstrace.tracing.containers import Containers
from goodstrace.tracing.events import ASSOCIATION, Event, names
from goodstrace.tracing.intervals import FOREVER, contain
from goodstrace.tracing.links import Links
from goodstrace.tracing.pool import Pool
from services.collector.flow import StageName
from services.collector.goods_states import Stored, sightings
from services.collector.state_store import Documents
from services.collector.state_store import document as state_document
from services.runtime import envelope
from tests.unit.collector_builders import (
    WHOLE,
    collected,
    counted,
    document,
    fresh_state,
    object_event,
    wires,
)

ITEM, CASE, OTHER = (
    "urn:epc:id:sgtin:0614141.107346.2017",
    "urn:epc:id:sscc:0614141.1234567890",
    "urn:epc:id:sscc:0614141.1234567891",
)
ITEM_KEY = "https://id.gs1.org/01/10614141073464/21/2017"
CASE_KEY, OTHER_KEY = "https://id.gs1.org/00/106141412345678908", "https://id.gs1.org/00/106141412345678915"
LOT = "urn:epc:class:lgtin:0614141.107346.L1"
LOT_KEY = "https://id.gs1.org/01/10614141073464/10/L1"
SITES = [f"urn:epc:id:sgln:0614141.0000{number}.0" for number in range(3)]
DECLARED = {"declarationTime": "2026-02-01T00:00:00Z", "reason": "did_not_occur"}


def at(minute: int) -> str:
    return f"2026-01-02T03:{minute:02}:00Z"


def seen(number: int, minute: int, **changes: Any) -> dict[str, Any]:
    plain = {"eventID": f"urn:e:{number}", "eventTime": at(minute), "epcList": [ITEM], "disposition": None}
    return object_event(**{**plain, **changes})


def moved(number: int, minute: int, action: str, parent: str = CASE, **changes: Any) -> dict[str, Any]:
    plain = {
        "type": "AggregationEvent",
        "epcList": None,
        "parentID": parent,
        "childEPCs": [ITEM],
        "action": action,
    }
    return seen(number, minute, **{**plain, **changes})


def taken_back(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "errorDeclaration": DECLARED}


def stored(events: list[dict[str, Any]]) -> list[Stored]:
    """The events sealed one after the other, each a document of its own time; duplicates stay out."""
    random = counted()
    values = [value for event in events for value in wires(collected(document(event), random=random))]
    output = WHOLE.run(fresh_state(), values)
    return [
        Stored("goods/0", offset, envelope.decode(value))
        for offset, value in enumerate(output.passed[StageName.STORE])
    ]


def state_of(key: str, *events: dict[str, Any]) -> dict[str, Any]:
    return derived(key, sightings(stored(list(events)))[key])


def test_an_item_is_where_it_was_last_seen_and_since_when() -> None:
    state = state_of(
        ITEM_KEY,
        seen(1, 1, bizLocation={"id": SITES[0]}),
        seen(2, 2, bizLocation={"id": SITES[1]}, disposition="in_progress"),
        seen(3, 3, bizLocation={"id": SITES[1]}),
    )
    assert state["place"]["value"] == "https://id.gs1.org/414/0614141000012"
    assert state["place"]["time_us"] - state["place"]["since_us"] == 60_000_000
    assert state["disposition"]["value"] == "in_progress"
    assert (state["grade"], state["unsure"], state["flags"]) == ("item", [], [])


def test_who_has_it_and_where_it_goes() -> None:
    towards = [
        {"type": "owning_party", "destination": "urn:ex:owner"},
        {"type": "possessing_party", "destination": "urn:ex:carrier"},
        {"type": "location", "destination": SITES[2]},
    ]
    state = state_of(ITEM_KEY, seen(1, 1, destinationList=towards), seen(2, 2))
    assert [state[name]["value"] for name in ("owner", "holder", "destination")] == [
        "urn:ex:owner",
        "urn:ex:carrier",
        "https://id.gs1.org/414/0614141000029",
    ]


def test_what_it_is_in() -> None:
    add, out = moved(1, 1, "ADD"), moved(2, 2, "DELETE")
    assert [each["value"] for each in state_of(ITEM_KEY, add)["inside"]] == [CASE_KEY]
    assert "inside" not in state_of(ITEM_KEY, add, out)
    assert [each["value"] for each in state_of(ITEM_KEY, add, moved(3, 3, "ADD", OTHER))["inside"]] == [
        OTHER_KEY
    ]
    assert [each["value"] for each in state_of(ITEM_KEY, add, out, taken_back(out))["inside"]] == [CASE_KEY]
    assert "inside" not in state_of(ITEM_KEY, add, seen(4, 4, action="DELETE", bizStep="destroying"))
    (start,) = state_of(ITEM_KEY, moved(5, 5, "OBSERVE"))["inside"]
    assert start["start_unknown"] is True
    assert (
        state_of(CASE_KEY, add, moved(6, 6, "DELETE", childEPCs=None))["emptied"]["time_us"]
        > start["since_us"]
    )


def test_dispositions_that_last_and_flags() -> None:
    events = [
        seen(1, 1, persistentDisposition={"set": ["completeness_verified", "recalled"]}),
        seen(2, 2, persistentDisposition={"unset": ["completeness_verified"]}, disposition="damaged"),
        seen(3, 3, eventTime="2032-01-01T00:00:00Z"),
    ]
    state = state_of(ITEM_KEY, *events)
    assert list(state["persistent"]) == ["recalled"]
    assert state["flags"] == ["damaged", "future-time", "recalled"]
    assert state_of(ITEM_KEY, *events, taken_back(events[2]))["flags"] == ["damaged", "recalled"]
    assert state_of(ITEM_KEY, *events[:2], seen(4, 4, disposition="active"))["flags"] == ["recalled"]


def test_a_lot_is_described_and_its_serial_names_it() -> None:
    made = seen(1, 1, action="ADD", bizStep="commissioning", ilmd={"cbvmda:lotNumber": "L1"})
    assert state_of(ITEM_KEY, made)["lot"]["value"] == LOT_KEY
    lot = seen(2, 2, epcList=None, quantityList=[{"epcClass": LOT, "quantity": 5}], disposition="recalled")
    assert state_of(LOT_KEY, lot)["flags"] == ["recalled"]


def test_what_is_used_up_has_no_disposition_of_what_is_made() -> None:
    made = seen(
        2, 2, type="TransformationEvent", action=None, epcList=None, disposition="active",
        inputEPCList=[ITEM], outputEPCList=[OTHER], transformationID="urn:t:1",
    )  # fmt: skip
    state = state_of(ITEM_KEY, moved(1, 1, "ADD"), made)
    assert "disposition" not in state
    assert "inside" not in state
    assert state_of(OTHER_KEY, made)["disposition"]["value"] == "active"


def trade(number: int, minute: int, action: str, *orders: str, **changes: Any) -> dict[str, Any]:
    """A TransactionEvent."""
    listed = [{"type": "po", "bizTransaction": each} for each in orders]
    return seen(number, minute, type="TransactionEvent", action=action, bizTransactionList=listed, **changes)


def test_in_which_orders_it_is() -> None:
    shipped = seen(1, 1, bizTransactionList=[{"type": "inv", "bizTransaction": "urn:o:1"}])
    add, off = trade(2, 2, "ADD", "urn:o:2", "urn:o:3"), trade(3, 3, "DELETE", "urn:o:2")
    state = state_of(ITEM_KEY, shipped, add, off)
    assert [(each["type"], each["value"]) for each in state["orders"]] == [
        ("inv", "urn:o:1"),
        ("po", "urn:o:3"),
    ]
    assert state["unsure"] == []
    again = trade(4, 4, "OBSERVE", "urn:o:3")
    (_, order) = state_of(ITEM_KEY, shipped, add, off, again)["orders"]
    assert order["time_us"] - order["since_us"] == 120_000_000
    assert len(state_of(ITEM_KEY, shipped, add, off, taken_back(off))["orders"]) == 3
    many = [f"urn:o:{number}" for number in range(20)]
    assert state_of(ITEM_KEY, shipped, trade(5, 5, "ADD", *many))["unsure"] == ["orders"]
    more = [trade(number, number, "OBSERVE", "urn:o:9") for number in range(10, 10 + KEPT)]
    state = state_of(ITEM_KEY, shipped, *more)
    assert ([each["value"] for each in state["orders"]], state["unsure"]) == (["urn:o:9"], ["orders"])
    assert state["orders"][0]["since_at_latest"] is True


def test_where_more_was_taken_back_than_is_kept_it_says_so() -> None:
    events = [seen(number, number, bizLocation={"id": SITES[number % 3]}) for number in range(20)]
    last = events[-KEPT:]
    state = state_of(ITEM_KEY, *events, *map(taken_back, last))
    assert "place" in state["unsure"]
    assert "place" not in state
    state = state_of(ITEM_KEY, *events, *map(taken_back, last[-2:]))
    assert state["place"]["time_us"] % 3_600_000_000 == (17 + 3) * 60_000_000 - 180_000_000
    assert state["unsure"] == []


def test_where_a_correction_may_mean_an_event_that_is_not_kept_it_says_so() -> None:
    # Two contents under one ID; the correction means the first, which was let go. What the second says is in doubt, not gone.
    wrong = seen(1, 0, readPoint=None)
    other = seen(1, 1, bizLocation={"id": SITES[0]})
    more = [seen(number, number, readPoint=None) for number in range(2, KEPT + 3)]
    state = state_of(ITEM_KEY, wrong, taken_back(wrong), other, *more)
    assert "place" in state["unsure"]
    assert "place" not in state
    assert state_of(ITEM_KEY, wrong, taken_back(wrong), other)["place"]["value"].endswith("0614141000005")


@pytest.mark.parametrize("merchant", [1, 2])
def test_only_the_same_merchant_takes_an_event_back(merchant: int) -> None:
    random = counted()
    event = seen(1, 1, bizLocation={"id": SITES[0]})
    values = wires(collected(document(event), random=random))
    values += wires(collected(document(taken_back(event)), random=random, merchant=merchant))
    output = WHOLE.run(fresh_state(), values).passed[StageName.STORE]
    placed = [Stored("goods/0", offset, envelope.decode(value)) for offset, value in enumerate(output)]
    assert ("place" in derived(ITEM_KEY, sightings(placed)[ITEM_KEY])) is (merchant == 2)


# ---- in any order, and against a derivation by brute force

ACTIONS = ["ADD", "OBSERVE", "DELETE"]
observed = st.builds(
    lambda minute, site, word, lasting, owner, end: {
        "eventTime": at(minute),
        "bizLocation": {"id": SITES[site]} if site is not None else None,
        "readPoint": None,
        "disposition": word,
        "persistentDisposition": lasting,
        "destinationList": [{"type": "owning_party", "destination": f"urn:ex:{owner}"}] if owner else None,
        "action": "DELETE" if end else "OBSERVE",
    },
    st.integers(0, 12),
    st.sampled_from([None, 0, 1, 2]),
    st.sampled_from([None, "active", "recalled", "damaged"]),
    st.sampled_from([None, {"set": ["recalled"]}, {"unset": ["recalled"]}, {"set": ["expired"]}]),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([False] * 9 + [True]),
)
traded = st.builds(
    lambda minute, action, orders: trade(0, minute, action, *orders),
    st.integers(0, 12),
    st.sampled_from(ACTIONS),
    st.lists(st.sampled_from(["urn:o:1", "urn:o:2"]), min_size=1, max_size=2, unique=True),
)
aggregated = st.builds(
    lambda minute, action, parent: moved(0, minute, action, parent),
    st.integers(0, 12),
    st.sampled_from(ACTIONS),
    st.sampled_from([CASE, OTHER]),
)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of one item, some of which are declared errors, before or after they come."""
    events: list[dict[str, Any]] = []
    for number, drawn in enumerate(
        draw(st.lists(st.one_of(observed, aggregated, traded), min_size=1, max_size=14))
    ):
        named = draw(st.sampled_from([f"urn:e:{number}", f"urn:e:{number}", None, "urn:e:0"]))
        event = {**seen(number, 0), **drawn, "eventID": named}
        events.append({name: value for name, value in event.items() if value is not None})
        if draw(st.sampled_from([False, False, False, True])):
            events.append(taken_back(events[-1]))
    return list(draw(st.permutations(events)))


def brute(placed: list[Stored]) -> dict[str, Any]:
    """The newest event that counts, for each field, and the containment that is open, by the tracing engine's own rules."""
    pool = Pool(10_000)
    facts = {each.offset: decode(each.record.part("facts").content) for each in placed}
    sealed = [
        SealedFacts(each.log, each.offset, each.record.merchant, each.record.time_ms, facts[each.offset])
        for each in placed
    ]
    pool.add({name for each in sealed for name in names(each.facts)}, sealed)
    content = {
        (each.log, each.offset): each.record.part("event").content
        for each in placed
    }  # fmt: skip
    own = pool.naming(ITEM_KEY)
    found: dict[str, Any] = {}
    for event in own:
        if pool.is_live(event):
            found |= _says(event, content[event.places[0][1:]])
    intervals = contain(ITEM_KEY, own, {}, pool.is_live)
    found["inside"] = sorted(each.parent for each in intervals if each.window.end == FOREVER)
    containers, associations = Containers(pool, 1000), Containers(pool, 1000, ASSOCIATION)
    listings = Links(pool, containers, associations).listings(ITEM_KEY).listings
    found["orders"] = sorted((each.type, each.key) for each in listings if not each.until_us)
    return found


def _says(event: Event, content: bytes) -> dict[str, Any]:
    facts = event.facts
    assert ITEM_KEY in facts.keys.get(Role.EPC, ()) or ITEM_KEY in facts.keys.get(Role.CHILD, ())
    lasting = {
        word: b'"%s": ["%s"]' % (how, word.encode()) in content
        for how in (b"set",)
        for word in ("recalled", "expired")
    }
    gone = b'"unset": ["recalled"]' in content
    said = {
        "place": facts.business_location or facts.read_point,
        "disposition": facts.disposition,
        "owner": next((each.key for each in facts.destinations), ""),
        "persistent recalled": "set" if lasting["recalled"] else "unset" if gone else "",
        "persistent expired": "set" if lasting["expired"] else "",
    }
    return {name: value for name, value in said.items() if value}


@given(histories())
@settings(max_examples=100, deadline=None)
def test_it_is_what_a_derivation_from_all_events_gives_or_says_that_it_is_unsure(
    events: list[dict[str, Any]],
) -> None:
    placed = stored(events)
    state, truth = derived(ITEM_KEY, sightings(placed)[ITEM_KEY]), brute(placed)
    for field in ("place", "disposition", "owner"):
        if field not in state["unsure"]:
            assert state.get(field, {}).get("value") == truth.get(field), field
    for word in ("recalled", "expired"):
        if f"persistent:{word}" not in state["unsure"]:
            assert (word in state["persistent"]) is (truth.get(f"persistent {word}") == "set")
    inside = sorted(each["value"] for each in state.get("inside", ()))
    if "inside" not in state["unsure"]:
        assert inside == truth["inside"]
    assert set(inside) <= set(truth["inside"])
    orders = sorted((each["type"], each["value"]) for each in state.get("orders", ()))
    if "orders" not in state["unsure"]:
        assert orders == truth["orders"]
    assert set(orders) <= set(truth["orders"])


@given(histories(), st.data())
@settings(max_examples=40, deadline=None)
def test_any_order_cut_and_repetition_gives_the_same(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    placed = stored(events)
    whole = sightings(placed)
    mixed = data.draw(st.permutations([*placed, *placed[: len(placed) // 2]]))
    size = data.draw(st.integers(1, 4))
    pieces = [sightings(mixed[start : start + size]) for start in range(0, len(mixed), size)]
    for key, kept in whole.items():
        again = reduce(joined, (piece[key] for piece in pieces if key in piece), Kept(()))
        assert again == kept
        assert derived(key, again) == derived(key, kept)


def test_a_document_is_bounded() -> None:
    events = [
        seen(number, number % 60, eventTime=f"2026-01-{1 + number // 60:02}T03:{number % 60:02}:00Z",
             bizLocation={"id": SITES[number % 3]}, disposition="recalled")
        for number in range(300)
    ]  # fmt: skip
    kept = sightings(stored(events))[ITEM_KEY]
    assert len(kept.sightings) == KEPT


def test_goods_that_an_event_says_the_same_of_share_what_is_made_and_no_more() -> None:
    """Items of one lot have the same document but for the key; a container is of another grade, and who has no lot says none."""
    items = [ITEM, ITEM.replace("2017", "2018")]
    said = sightings(stored([seen(1, 1, epcList=[*items, CASE]), moved(2, 2, "ADD", childEPCs=items)]))
    once = sightings(stored([seen(1, 1, epcList=[*items, CASE])]))
    assert once.keys() == {ITEM_KEY, ITEM_KEY.replace("2017", "2018"), CASE_KEY}
    assert len({id(each) for each in once.values()}) == 1
    for kept in (once, said):
        documents = Documents()
        made = {key: documents.of(key, each, 1) for key, each in kept.items()}
        assert made == {key: state_document(key, each, 1) for key, each in kept.items()}
        assert made == {
            key: {"_id": key, "rev": 1, **derived(key, each), "kept": made[key]["kept"]}
            for key, each in kept.items()
        }
        assert {key: each["grade"] for key, each in made.items()} == {
            key: "container" if key == CASE_KEY else "item" for key in kept
        }
