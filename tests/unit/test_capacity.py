"""The capacity page: arithmetic that grows with what is wanted, and a page that is what the model says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.capacity.__main__ import ROOT
from tools.capacity.model import Measured, Prices, plan
from tools.capacity.page import PAGE, RATES, page

rates = st.floats(1, 1e6, allow_nan=False)


def test_the_committed_page_is_what_the_model_says() -> None:
    assert (ROOT / PAGE).read_text() == page(), "run `python -m tools.capacity --write`"
    assert all(f"{rate:,}" in page() for rate in RATES)


@given(events=rates, looks=rates)
def test_no_worker_takes_more_than_its_share_of_a_core(events: float, looks: float) -> None:
    told, figures = plan(events, looks), Measured()
    for name, rate, each_us in (
        ("collector", events, figures.ways_in_us),
        ("stages", events, figures.stages_us),
        ("keeper", events, figures.keeper_us),
        ("ledger", events, figures.ledger_us),
        ("query", looks, figures.query_us),
        ("audit", looks, figures.recorder_us),
        ("watch", looks, figures.watch_us),
    ):
        assert rate * each_us <= told.pods[name] * figures.share * 1e6 * (1 + 1e-9), name
    assert events / told.partitions <= figures.partition_most * (1 + 1e-9)
    assert told.brokers >= 3
    assert told.breaks_first


@given(events=rates, looks=rates, times=st.floats(1, 10))
def test_more_wants_no_less(events: float, looks: float, times: float) -> None:
    small, large = plan(events, looks), plan(events * times, looks * times)
    assert small.partitions <= large.partitions
    assert all(small.pods[name] <= large.pods[name] for name in small.pods)
    assert small.cores <= large.cores
    assert small.month_cost(Prices(), 30) <= large.month_cost(Prices(), 30)


def test_every_pod_of_the_stages_has_a_partition() -> None:
    for rate in RATES:
        told = plan(rate, rate / 100)
        for name in ("stages", "keeper", "ledger"):
            assert told.pods[name] <= told.partitions, (rate, name)
        for name in ("audit", "watch"):
            assert told.pods[name] <= told.browse_partitions, (rate, name)


@pytest.mark.parametrize("wrong", [0, -1, math.nan, math.inf])
def test_no_rate_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        plan(wrong, 1)
    with pytest.raises(ValueError, match="more than 0"):
        plan(1, wrong)
