"""The state of goods follows corrections by delegates, emptied orders and verdicts of rules, as a trace does, in whatever order they come."""

from collections.abc import Sequence
from functools import reduce
from itertools import permutations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.facts import Severity, Verdict
from goodstrace.goods.corrections import Givers, asked
from goodstrace.goods.sightings import MOST_GOODS, MOST_VERDICTS, Kept, joined
from goodstrace.goods.sightings import sightings as of_events
from goodstrace.goods.state import GoodsState, derived, state_of
from services.collector.goods_states import Stored, placed, sightings
from tests.unit.goods_worlds import (
    DELEGATE,
    GIVER,
    HOT,
    PREFIX,
    STRANGER,
    Lent,
    Said,
    sealed,
    told,
    truth,
    worlds,
)
from tests.unit.goods_worlds import given as given_of
from tests.unit.test_goods_state import (
    ITEM,
    ITEM_KEY,
    SITES,
    seen,
    stored,
    taken_back,
    trade,
)

PLACED = seen(1, 1, bizLocation={"id": SITES[0]})
LENT = Lent({DELEGATE: PREFIX}, -1)


def state(*what: Said | Lent, key: str = ITEM_KEY) -> GoodsState:
    return state_in(sealed(what), key)


def state_in(records: Sequence[Stored], key: str = ITEM_KEY) -> GoodsState:
    return state_of(key, sightings(records)[key], Givers(given_of(records)))


# ---- corrections by delegates


@pytest.mark.parametrize(
    ("lent", "stands"),
    [
        ([LENT], False),
        ([Lent({DELEGATE: PREFIX}, 0)], False),
        ([], True),
        ([Lent({DELEGATE: PREFIX}, 1)], True),  # it came later
        ([LENT, Lent({}, 0)], True),  # it was taken back before
        ([LENT, Lent({}, 1)], False),  # it was taken back afterwards
        ([Lent({STRANGER: PREFIX}, -1)], True),
        ([Lent({DELEGATE: "06141419999"}, -1)], True),  # other goods
    ],
)
def test_a_delegate_takes_an_event_back_where_it_spoke_for_the_goods_then(
    lent: list[Lent], stands: bool
) -> None:
    what: list[Said | Lent] = [Said(GIVER, PLACED), Said(DELEGATE, taken_back(PLACED)), *lent]
    for order in permutations(what):
        found = state(*order)
        assert ("place" in found.told) is stands
        assert found.unsure == ()
        assert told(sealed(order), ITEM_KEY)[0] == truth(sealed(order), ITEM_KEY)


def test_who_has_the_same_event_of_its_own_takes_back_that_one() -> None:
    correction = Said(DELEGATE, taken_back(PLACED))
    assert "place" in state(Said(GIVER, PLACED), Said(DELEGATE, PLACED), correction, LENT).told


def test_what_lies_beside_an_event_without_that_id_does_not_count_for_it() -> None:
    unnamed = {name: value for name, value in PLACED.items() if name != "eventID"}
    correction = Said(DELEGATE, taken_back(PLACED))
    for beside in (Said(DELEGATE, unnamed), Said(GIVER, unnamed)):
        records = sealed([Said(GIVER, PLACED), beside, correction, LENT])
        assert told(records, ITEM_KEY) == (truth(records, ITEM_KEY), set())
    other = {**PLACED, "bizLocation": {"id": SITES[1]}}  # two contents; the correction's own has no ID
    records = sealed([Said(GIVER, other), Said(GIVER, unnamed), Said(GIVER, taken_back(PLACED))])
    assert told(records, ITEM_KEY) == (truth(records, ITEM_KEY), set())


def test_where_the_goods_of_an_event_are_not_known_it_is_unsure_and_not_wrong() -> None:
    other = taken_back({**PLACED, "bizLocation": {"id": SITES[1]}})  # the same ID with another content
    found = state(Said(GIVER, PLACED), Said(DELEGATE, other), LENT)
    assert "place" not in found.told
    assert "place" in found.unsure
    assert state(Said(GIVER, PLACED), Said(STRANGER, other), LENT).unsure == ()
    many = {
        **PLACED,
        "epcList": [ITEM, *(f"urn:epc:id:sgtin:0614141.107346.{3000 + each}" for each in range(MOST_GOODS))],
    }
    found = state(Said(GIVER, many), Said(DELEGATE, taken_back(many)), LENT)
    assert "place" in found.unsure
    assert state(Said(GIVER, many), Said(DELEGATE, taken_back(many))).unsure == ()


def test_a_state_names_the_merchants_whose_registrations_it_depends_on() -> None:
    def merchants(*what: Said | Lent) -> list[dict[str, int]]:
        records = sealed(what)
        found: list[dict[str, int]] = derived(ITEM_KEY, sightings(records)[ITEM_KEY]).get("asked", [])
        return found

    correction = Said(DELEGATE, taken_back(PLACED))
    [one] = merchants(correction, Said(GIVER, PLACED))
    assert one["merchant"] == GIVER
    assert merchants(Said(GIVER, PLACED), Said(GIVER, taken_back(PLACED))) == []
    assert merchants(Said(DELEGATE, PLACED), correction, Said(GIVER, PLACED)) == []


# ---- orders emptied as a whole


def test_an_order_says_itself_that_all_goods_were_taken_off_it() -> None:
    add, emptied = trade(1, 1, "ADD", "urn:o:1"), trade(2, 2, "DELETE", "urn:o:1", epcList=None)
    document = derived("urn:o:1", sightings(stored([add, emptied]))["urn:o:1"])
    [entry] = document["emptied_orders"]
    assert (entry["type"], entry["value"], document["grade"]) == ("po", "emptied", "order")
    assert "step" not in document
    assert "emptied_orders" not in derived(
        "urn:o:1", sightings(stored([emptied, taken_back(emptied)]))["urn:o:1"]
    )
    assert "urn:o:1" not in sightings(stored([add, trade(3, 3, "DELETE", "urn:o:1")]))
    [listed] = derived(ITEM_KEY, sightings(stored([add, emptied]))[ITEM_KEY])["orders"]
    assert listed["traded"] is True
    shipped = seen(4, 1, bizTransactionList=[{"type": "po", "bizTransaction": "urn:o:1"}])
    [listed] = derived(ITEM_KEY, sightings(stored([shipped, emptied]))[ITEM_KEY])["orders"]
    assert "traded" not in listed


@pytest.mark.parametrize(
    ("minute", "kind", "is_open"), [(2, "po", False), (2, "inv", True), (1, "po", True), (0, "po", True)]
)
def test_an_order_is_over_where_it_was_emptied_later_under_the_same_type(
    minute: int, kind: str, is_open: bool
) -> None:
    listed = [{"type": kind, "bizTransaction": "urn:o:1"}]
    emptied = seen(
        2, minute, type="TransactionEvent", action="DELETE", epcList=None, bizTransactionList=listed
    )
    records = stored([trade(1, 1, "ADD", "urn:o:1"), emptied])
    found, unsure = told(records, ITEM_KEY)
    assert found == truth(records, ITEM_KEY)
    assert (found.orders == [("po", "urn:o:1")]) is is_open
    assert unsure == set()


def test_only_an_order_that_a_transaction_event_named_with_the_goods_is_emptied_for_them() -> None:
    listed = seen(1, 1, bizTransactionList=[{"type": "po", "bizTransaction": "urn:o:1"}])
    emptied = trade(3, 3, "DELETE", "urn:o:1", epcList=None)
    named = trade(2, 2, "ADD", "urn:o:1")
    for events, is_open in (
        ([listed, emptied], True),
        ([listed, named, emptied], False),
        (
            [listed, named, taken_back(named), emptied],
            False,
        ),  # rule 11 looks at whom it names, not at whether that stands
    ):
        records = stored(events)
        found, _ = told(records, ITEM_KEY)
        assert found == truth(records, ITEM_KEY)
        assert bool(found.orders) is is_open


# ---- verdicts of rules


def test_what_rules_found_stands_among_the_flags_until_its_event_is_taken_back() -> None:
    hot, again = seen(1, 1, sensorElementList=HOT), seen(2, 2, sensorElementList=HOT)
    document = derived(ITEM_KEY, sightings(stored([hot, again, seen(3, 3)]))[ITEM_KEY])
    assert document["flags"] == ["sensor-alarm"]
    [flag] = document["flagged"]
    assert (flag["value"], flag["severity"]) == ("sensor-alarm", Severity.CRITICAL)
    assert flag["time_us"] - flag["since_us"] == 60_000_000
    records = stored([hot, again, taken_back(again)])
    [flag] = derived(ITEM_KEY, sightings(records)[ITEM_KEY])["flagged"]
    assert (flag["time_us"], flag["record"]) == (flag["since_us"], records[0].record.id.hex())
    document = derived(ITEM_KEY, sightings(stored([taken_back(hot), hot]))[ITEM_KEY])
    assert document["flags"] == []
    assert "flagged" not in document


def test_a_rule_and_a_disposition_of_one_name_are_two_flags() -> None:
    [record] = map(placed, stored([seen(1, 1, disposition="expired")]))
    facts = msgspec.structs.replace(record.facts, verdicts=(Verdict("expired", Severity.WARNING),))
    kept = of_events([msgspec.structs.replace(record, facts=facts)])[ITEM_KEY]
    found = state_of(ITEM_KEY, kept)
    assert (list(found.flags), list(found.verdicts)) == (["expired"], ["expired"])
    assert [each.get("severity") for each in derived(ITEM_KEY, kept)["flagged"]] == [None, "warning"]


def test_of_many_verdicts_the_gravest_are_told() -> None:
    [record] = map(placed, stored([seen(1, 1)]))
    found = [Verdict(f"acme.{number:03}", Severity.INFO) for number in range(MOST_VERDICTS)]
    facts = msgspec.structs.replace(record.facts, verdicts=(*found, Verdict("acme.zz", Severity.CRITICAL)))
    kept = of_events([msgspec.structs.replace(record, facts=facts)])[ITEM_KEY]
    verdicts = state_of(ITEM_KEY, kept).verdicts
    assert len(verdicts) == MOST_VERDICTS
    assert verdicts["acme.zz"].type == Severity.CRITICAL


# ---- what was kept before


class Before(msgspec.Struct, frozen=True, array_like=True):
    """A sighting as it was kept before merchants and corrections of others were."""

    identity: bytes
    name: bytes
    content: bytes
    has_id: bool
    correction: bool
    time_us: int
    is_delete: bool
    place: tuple[int, str, int, str]
    says: tuple[tuple[str, str], ...]


def before(kept: Kept) -> Kept:
    """What an older program would have written, read by this one."""
    names = Before.__struct_fields__[:-1]
    old = [
        [
            *(getattr(each, name) for name in names),
            [(field, value) for field, value in each.says if not field.startswith("verdict:")],
        ]
        for each in kept.sightings
    ]
    encoded = msgspec.msgpack.encode([msgspec.convert(old, list[Before]), kept.cut])
    return msgspec.msgpack.decode(encoded, type=Kept)


def test_what_was_kept_before_is_read_and_renewed_when_its_events_come_again() -> None:
    hot = seen(2, 2, sensorElementList=HOT)
    records = sealed([Said(GIVER, PLACED), Said(GIVER, hot), Said(DELEGATE, taken_back(PLACED)), LENT])
    new = sightings(records)[ITEM_KEY]
    old = before(new)
    assert (asked(old), state_of(ITEM_KEY, old).told["place"].value[-1]) == (
        {},
        state_of(ITEM_KEY, new).told["place"].value[-1],
    )
    assert state_of(ITEM_KEY, old).verdicts == {}
    assert joined(old, new) == joined(new, old) == new


# ---- in any order, and against a trace


@given(worlds())
@settings(max_examples=200, deadline=None)
def test_it_is_what_a_trace_says_or_it_says_that_it_is_unsure(what: list[Said | Lent]) -> None:
    records = sealed(what)
    found, unsure = told(records, ITEM_KEY)
    wanted = truth(records, ITEM_KEY)
    if not any(each.startswith("emptied") for each in unsure):
        for field in {"inside", "orders", "place"} - unsure:
            assert getattr(found, field) == getattr(wanted, field), field
    uncertain = {each.removeprefix("verdict:") for each in unsure if each.startswith("verdict:")}
    assert found.verdicts - uncertain == wanted.verdicts - uncertain


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_what_was_seen_once_stands_as_by_all_rules(what: list[Said | Lent]) -> None:
    for record in sealed(what):
        for key, kept in sightings([record]).items():
            assert derived(key, kept) == derived(key, Kept(kept.sightings, ("another",)))


@given(worlds(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_cut_and_repetition_gives_the_same(what: list[Said | Lent], data: st.DataObject) -> None:
    records = sealed(what)
    whole, givers = sightings(records), Givers(given_of(records))
    mixed = data.draw(st.permutations([*records, *records[: len(records) // 2]]))
    size = data.draw(st.integers(1, 4))
    parts = [mixed[start : start + size] for start in range(0, len(mixed), size)]
    again = Givers(each for part in parts for each in given_of(part))
    for key, kept in whole.items():
        pieces = [found[key] for part in parts if key in (found := sightings(part))]
        assert reduce(joined, pieces, Kept(())) == kept
        assert derived(key, kept, again) == derived(key, kept, givers)
