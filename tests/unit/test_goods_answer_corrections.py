"""How goods stand where delegates correct and orders are emptied: registrations and orders are in the answer, with proofs."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings

from goodstrace.errors import VerificationError
from goodstrace.goods.corrections import Givers
from goodstrace.goods.state import state_of
from goodstrace.query.v1 import goods_pb2
from services.collector.goods_states import Stored, sightings
from services.query import standing
from services.query.standing import Standings
from tests.unit.collector_builders import NOW_MS, SECRET
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
from tests.unit.test_goods_answer import Asking
from tests.unit.test_goods_state import CASE, ITEM, ITEM_KEY, SITES, moved, seen, stored, taken_back, trade

PLACED = seen(1, 1, bizLocation={"id": SITES[0]})
LENT = Lent({DELEGATE: PREFIX}, -1)
ORDER = "urn:o:1"


def asking(*what: Said | Lent, max_events: int = 10_000) -> Asking:
    return Asking([each.record for each in sealed(what)], logs=1, max_events=max_events)


async def test_the_registration_by_which_a_correction_counts_is_shown_with_its_proof() -> None:
    here = asking(Lent({}, -3), Said(GIVER, PLACED), Said(DELEGATE, taken_back(PLACED)), LENT, Lent({}, 1))
    goods = await here.goods(ITEM)
    assert "place" not in goods.states[ITEM_KEY].told
    [giver] = goods.delegations
    assert (giver.entry.merchant, giver.index) == (GIVER, 3)
    assert here.browses[-1].events == 3
    pages = await here.pages(ITEM, 1)
    assert [len(page.delegations) for page in pages] == [1, 0]
    here.check(ITEM, pages)


async def test_where_no_other_merchant_corrects_no_registration_is_shown() -> None:
    goods = await asking(LENT, Said(GIVER, PLACED), Said(GIVER, taken_back(PLACED))).goods(ITEM)
    assert goods.delegations == ()
    assert "place" not in goods.states[ITEM_KEY].told


async def test_where_more_registrations_are_sealed_than_are_looked_at_it_says_so() -> None:
    later = [Lent({}, after_ms) for after_ms in range(1, 5)]
    what = [LENT, Said(GIVER, PLACED), Said(DELEGATE, taken_back(PLACED)), *later]
    goods = await asking(*what, max_events=4).goods(ITEM)
    assert goods.truncated
    assert goods.delegations == ()
    assert goods.messages[0].cut == []
    whole = await asking(*what, max_events=5).goods(ITEM)
    assert not whole.truncated
    assert "place" not in whole.states[ITEM_KEY].told
    assert len(whole.delegations) == 1


async def test_of_registrations_no_more_is_held_than_what_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "BATCH", 2)
    here = asking(Lent({}, -3), Said(GIVER, PLACED), Said(DELEGATE, taken_back(PLACED)), LENT, Lent({}, 1))
    found = await Standings(here.logs, SECRET, 10).find(ITEM_KEY, {"goods/0": 5})
    assert found.deciding == (("goods/0", 3),)
    assert found.costs.keys() == {*found.places.values(), *found.deciding}
    newest = found.givers.newest(GIVER, NOW_MS)
    assert newest is not None
    assert newest.registration.content.keys() == {"prefixes", "delegations"}


async def test_an_order_that_was_emptied_is_shown_and_the_goods_are_not_in_it_any_more() -> None:
    add, emptied = trade(1, 1, "ADD", ORDER), trade(2, 2, "DELETE", ORDER, epcList=None)
    inside = moved(3, 3, "ADD", CASE)
    goods = await Asking([each.record for each in stored([add, inside, emptied])]).goods(ITEM)
    assert list(goods.states)[-1] == ORDER
    assert goods.states[ORDER].emptied_orders.keys() == {"po"}
    [statement] = goods.messages[-1].statements
    assert (statement.field, statement.type, goods.messages[-1].grade) == ("emptied", "po", "order")
    assert list(goods.orders) == []
    assert len(goods.events) == 3
    goods = await Asking([each.record for each in stored([add, inside])]).goods(ITEM)
    assert ORDER not in goods.states
    assert [each.value for each in goods.orders] == [ORDER]


EMPTIED_BY_A_STRANGER = [
    Said(GIVER, moved(1, 1, "ADD", CASE)),
    Said(GIVER, trade(2, 2, "ADD", ORDER)),
    Said(STRANGER, moved(3, 3, "DELETE", CASE, childEPCs=None)),
    Said(STRANGER, trade(4, 4, "DELETE", ORDER, epcList=None)),
]


async def test_whoever_says_so_empties_a_container_or_an_order_as_in_a_trace_and_is_named() -> None:
    records = sealed(EMPTIED_BY_A_STRANGER)
    wanted = truth(records, ITEM_KEY)
    assert (wanted.inside, wanted.orders) == ([], [])
    of_states, unsure = told(records, ITEM_KEY)
    assert (of_states, unsure) == (wanted, set())
    goods = await asking(*EMPTIED_BY_A_STRANGER).goods(ITEM)
    assert (goods.carriers, goods.orders) == ([], [])
    emptied = [each for of_key in goods.messages for each in of_key.statements if each.field == "emptied"]
    by = {goods.events[identity].position.entry.merchant for each in emptied for identity in each.identities}
    assert (len(emptied), by) == (2, {STRANGER})


async def test_what_is_put_in_again_later_is_inside_again() -> None:
    again = [Said(GIVER, moved(5, 5, "ADD", CASE)), Said(GIVER, trade(6, 6, "ADD", ORDER))]
    what = [*EMPTIED_BY_A_STRANGER, *again]
    wanted = truth(sealed(what), ITEM_KEY)
    goods = await asking(*what).goods(ITEM)
    assert goods.carriers == wanted.inside != []
    assert [(each.type, each.value) for each in goods.orders] == wanted.orders == [("po", ORDER)]


async def test_what_rules_found_is_a_flag_with_its_severity_and_event() -> None:
    goods = await asking(Said(GIVER, seen(1, 1, sensorElementList=HOT))).goods(ITEM)
    [flag] = [each for each in goods.messages[0].statements if each.field == "flag"]
    assert (flag.value, flag.type, list(flag.identities)) == ("sensor-alarm", "critical", list(goods.events))


Change = Callable[[goods_pb2.GetGoodsResponse], object]


def _other_registration(page: goods_pb2.GetGoodsResponse) -> None:
    page.delegations[0].parts[0].content = page.delegations[0].parts[0].content.replace(b"giver", b"taker")


def _milder(page: goods_pb2.GetGoodsResponse) -> None:
    [flag] = [each for each in page.states[0].statements if each.field == "flag"]
    flag.type = "info"


CHANGES: dict[str, Change] = {
    "no registration": lambda page: page.ClearField("delegations"),
    "a registration twice": lambda page: page.delegations.append(page.delegations[0]),
    "an event in its place": lambda page: page.delegations[0].CopyFrom(page.events[0].sealed),
    "other bytes": _other_registration,
    "without its content": lambda page: page.delegations[0].ClearField("parts"),
    "no order": lambda page: page.states.pop(),
    "the order twice": lambda page: page.states.append(page.states[-1]),
    "the order first": lambda page: page.states.reverse(),
    "another severity": _milder,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_was_changed_on_the_way_is_refused(change: Change) -> None:
    here = asking(
        LENT,
        Said(GIVER, PLACED),
        Said(DELEGATE, taken_back(PLACED)),
        Said(GIVER, trade(2, 2, "ADD", ORDER, sensorElementList=HOT)),
        Said(GIVER, trade(3, 3, "DELETE", ORDER, epcList=None)),
    )
    [page] = await here.pages(ITEM)
    here.check(ITEM, [page])
    change(page)
    with pytest.raises(VerificationError):
        here.check(ITEM, [page])


async def test_a_registration_that_decides_nothing_is_refused() -> None:
    packed = Said(GIVER, seen(2, 2, epcList=[CASE]))
    here = asking(LENT, Said(GIVER, PLACED), Said(DELEGATE, taken_back(PLACED)), packed)
    [of_item], [of_case] = await here.pages(ITEM), await here.pages(CASE)
    of_case.delegations.extend(of_item.delegations)
    with pytest.raises(VerificationError, match="decide nothing"):
        here.check(CASE, [of_case])


@given(worlds())
@settings(max_examples=60, deadline=None)
async def test_it_is_the_collectors_state_and_what_a_trace_says(what: list[Said | Lent]) -> None:
    records = [each.record for each in sealed(what)]
    kept_as = [Stored(f"goods/{number % 2}", number // 2, each) for number, each in enumerate(records)]
    goods = await Asking(records).goods(ITEM)
    said, givers = sightings(kept_as), Givers(given_of(kept_as))
    assert goods.states == {key: state_of(key, said[key], givers) for key in goods.states}
    if not any(state.unsure for state in goods.states.values()):
        wanted = truth(kept_as, ITEM_KEY)
        assert sorted((each.type, each.value) for each in goods.orders) == wanted.orders
        assert set(wanted.inside) <= {*goods.carriers} <= goods.states.keys()
