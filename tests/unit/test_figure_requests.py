"""What may be asked for of figures, and how they are paged and shown."""

import datetime as dt

import pytest

from goodstrace.audit.v1 import audit_pb2
from services.audit.figures import requests
from services.audit.figures.requests import Next, Span
from services.audit.figures.values import HOUR_MS, Counts, Window, figures
from services.runtime.access.values import EVERYBODY, Principal, Role
from services.runtime.call_errors import InvalidRequestError, NotAllowedError
from services.runtime.goods_browses.days import DAY_MS, days, span_of, start_ms
from services.runtime.goods_browses.values import DayCounts, RoleCounts

NOW_MS = start_ms(dt.date(2026, 11, 27))
HOUR, DAY, MONTH = (
    audit_pb2.STATISTICS_WINDOW_HOUR,
    audit_pb2.STATISTICS_WINDOW_DAY,
    audit_pb2.STATISTICS_WINDOW_MONTH,
)


def _asked(
    window: audit_pb2.StatisticsWindow.ValueType, start_ms: int, end_ms: int = 0
) -> audit_pb2.GetStatisticsRequest:
    return audit_pb2.GetStatisticsRequest(window=window, start_ms=start_ms, end_ms=end_ms)


def test_windows_begin_at_the_time_asked_for_or_later() -> None:
    assert requests.span_of(_asked(HOUR, NOW_MS - 1), NOW_MS) == Span(Window.HOUR, NOW_MS, NOW_MS)
    assert requests.span_of(_asked(DAY, NOW_MS - DAY_MS, NOW_MS), NOW_MS).start_ms == NOW_MS - DAY_MS
    month = requests.span_of(_asked(MONTH, NOW_MS - 40 * DAY_MS), NOW_MS)
    assert month.start_ms == start_ms(dt.date(2026, 11, 1))


@pytest.mark.parametrize(
    "request_",
    [
        _asked(audit_pb2.STATISTICS_WINDOW_UNSPECIFIED, 1),
        _asked(HOUR, -1),
        _asked(HOUR, 0),
        _asked(HOUR, NOW_MS, NOW_MS - 2 * HOUR_MS),
        _asked(HOUR, NOW_MS - 1001 * HOUR_MS),
        _asked(DAY, NOW_MS, 2**60),
        audit_pb2.GetStatisticsRequest(window=HOUR, start_ms=NOW_MS, purpose="p" * 257),
    ],
)
def test_what_is_no_span_of_windows_is_refused(request_: audit_pb2.GetStatisticsRequest) -> None:
    with pytest.raises(InvalidRequestError):
        requests.span_of(request_, NOW_MS)


@pytest.mark.parametrize(("window", "count"), [(Window.HOUR, 24), (Window.DAY, 31), (Window.MONTH, 12)])
@pytest.mark.parametrize("size", [1, 5, 24, 1000])
def test_pages_are_the_span_cut_once(window: Window, count: int, size: int) -> None:
    start = first = start_ms(dt.date(2026, 1, 1))
    for _ in range(count):
        first = window.next(first)
    span = Span(window, start, first)
    found: list[int] = []
    while True:
        page, rest = requests.page_of(span, size)
        while page.start_ms < page.end_ms:
            found.append(page.start_ms)
            page = Span(window, window.next(page.start_ms), page.end_ms)
        if rest is None:
            break
        assert isinstance(rest, Next)
        span = Span(window, rest.start_ms, rest.end_ms)
    assert len(found) == len(set(found)) == count
    assert found == sorted(found)


def test_only_its_own_merchant_is_told_but_auditors_and_operators_are_told_of_any() -> None:
    own = Principal(roles=frozenset({Role.MERCHANT}), merchant=4)
    auditor = Principal(roles=frozenset({Role.AUDITOR}))
    asked = audit_pb2.CountGoodsBrowsesRequest
    assert requests.merchant_of(asked(), own) == 4
    assert requests.merchant_of(asked(merchant=4), own) == 4
    assert requests.merchant_of(asked(merchant=5), auditor) == 5
    assert requests.merchant_of(asked(merchant=5), EVERYBODY) == 5
    with pytest.raises(NotAllowedError):
        requests.merchant_of(asked(merchant=5), own)
    with pytest.raises(InvalidRequestError):
        requests.merchant_of(asked(), auditor)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2026-11-02", "2026-11-01"),
        ("2026-01-01", "2026-12-31"),
        ("20261101", "2026-11-02"),
        ("2026-11-01T00:00", "2026-11-02"),
        ("", "2026-11-02"),
        ("2026-02-30", "2026-03-01"),
    ],
)
def test_only_whole_days_may_be_asked_for(first: str, last: str) -> None:
    """Windows that could be shifted would tell by their differences what a day does not tell."""
    with pytest.raises(InvalidRequestError):
        span_of(first, last)


def test_ninety_two_days_may_be_asked_for() -> None:
    first, last = span_of("2026-10-01", "2026-12-31")
    assert len(list(days(first, last))) == 92


def test_a_day_is_shown_role_by_role_and_without_a_total_where_it_is_small() -> None:
    told = DayCounts({"shopper": RoleCounts(12, {"sale": 7})}, 18)
    shown = requests.day_message("2026-11-01", told)
    assert [(each.role, each.step, each.viewers) for each in shown.counts] == [
        ("shopper", "", 12),
        ("shopper", "sale", 7),
    ]
    assert shown.total_viewers == 18
    assert not requests.day_message("2026-11-01", DayCounts()).HasField("total_viewers")


def test_a_window_is_shown_with_its_end() -> None:
    shown = requests.statistics_message(
        Window.MONTH, start_ms(dt.date(2026, 2, 1)), figures([Counts(looks=3)])
    )
    assert shown.end_ms == start_ms(dt.date(2026, 3, 1))
    assert {each.name: each.value for each in shown.by_outcome} == {"unknown": 3}
