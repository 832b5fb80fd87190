"""Which events a subscription means."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.errors import FilterError
from goodstrace.event_filter import MAX_VALUES, EventFilter, event_filter
from goodstrace.facts import Facts

ITEM = "https://id.gs1.org/01/09521234543213/21/1"
LOT = "https://id.gs1.org/01/09521234543213/10/L"
PLACE = "https://id.gs1.org/414/0614141000005"
FACTS = Facts(
    event_id="urn:e:1",
    event_hash="ni:///sha-256;00?ver=CBV2.0",
    type="ObjectEvent",
    time_us=1,
    offset="+00:00",
    pipeline="2",
    step="logistics",
    business_step="shipping",
    keys={"epc": (ITEM,), "location": (PLACE,)},
    lot_of={ITEM: LOT},
)


@pytest.mark.parametrize(
    ("asked", "is_meant"),
    [
        ({}, True),
        ({"keys": ["urn:epc:id:sgtin:9521234.054321.1"]}, True),
        ({"keys": [LOT]}, True),
        ({"keys": [PLACE]}, True),
        ({"keys": ["https://id.gs1.org/01/09521234543213/21/2"]}, False),
        ({"keys": ["urn:x", ITEM]}, True),
        ({"merchants": [7]}, True),
        ({"merchants": [8]}, False),
        ({"steps": ["shipping"]}, True),
        ({"steps": ["logistics", "sale"]}, True),
        ({"steps": ["sale"]}, False),
        ({"prefixes": ["952123"]}, True),
        ({"prefixes": ["0614141"]}, True),
        ({"prefixes": ["0614142"]}, False),
        ({"keys": [ITEM], "merchants": [8]}, False),
        ({"keys": [ITEM], "merchants": [7], "steps": ["shipping"], "prefixes": ["9521234"]}, True),
    ],
)
def test_every_filter_that_is_given_has_a_value_that_matches(asked: Any, is_meant: bool) -> None:
    assert event_filter(**asked).matches(7, FACTS) is is_meant


def test_without_facts_only_what_they_alone_tell_is_not_known() -> None:
    assert event_filter(keys=[ITEM], merchants=[7]).matches(7, None)
    assert not event_filter(merchants=[8]).matches(7, None)
    assert not event_filter(steps=["shipping"]).matches(7, None)
    assert not event_filter(prefixes=["9521234"]).matches(7, None)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"keys": [""]}, "keys"),
        ({"keys": ["k" * 2049]}, "keys"),
        ({"keys": ["urn:x"] * (MAX_VALUES + 1)}, "keys"),
        ({"merchants": [-1]}, "merchants"),
        ({"merchants": [True]}, "merchants"),
        ({"steps": ["s" * 257]}, "steps"),
        ({"prefixes": ["123"]}, "prefixes"),
        ({"prefixes": ["06141\uff141"]}, "prefixes"),
    ],
)
def test_what_is_out_of_its_limits_is_named(asked: Any, field: str) -> None:
    with pytest.raises(FilterError) as raised:
        event_filter(**asked)
    assert raised.value.field == field


@given(
    st.lists(st.sampled_from([ITEM, LOT, "urn:x"]), max_size=MAX_VALUES // 4),
    st.lists(st.integers(0, 3), max_size=MAX_VALUES // 4),
    st.lists(st.sampled_from("ab"), max_size=MAX_VALUES // 4),
    st.randoms(),
)
def test_order_and_repetition_make_no_other_filter(
    keys: Any, merchants: Any, steps: Any, random: Any
) -> None:
    one = event_filter(keys, merchants, steps)
    for each in (keys, merchants, steps):
        random.shuffle(each)
    assert event_filter(keys * 2, merchants * 2, steps) == one
    assert isinstance(one, EventFilter)
