"""What requests for figures ask, and how figures are shown. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from goodstrace.audit.v1 import audit_pb2, watch_pb2
from services.audit.figures.values import Figures, Tally, Window
from services.runtime.access.values import Principal, Role
from services.runtime.call_errors import InvalidRequestError, NotAllowedError
from services.runtime.call_limits import MAX_PURPOSE_CHARS, check_text, checked_page_size
from services.runtime.goods_browses.values import DayCounts

DEFAULT_PAGE_SIZE: Final = 100
MOST_WINDOWS: Final = 1000
_LATEST_MS: Final = 2**53
_WINDOWS: Final[Mapping[int, Window]] = {
    audit_pb2.STATISTICS_WINDOW_HOUR: Window.HOUR,
    audit_pb2.STATISTICS_WINDOW_DAY: Window.DAY,
    audit_pb2.STATISTICS_WINDOW_MONTH: Window.MONTH,
}


class Span(msgspec.Struct, frozen=True):
    """Which windows are asked for: those that begin from `start_ms` on and before `end_ms`."""

    window: Window
    start_ms: int
    end_ms: int


class Next(msgspec.Struct, frozen=True):
    """Where statistics go on: the window to come next, and before which time windows begin that count."""

    start_ms: int
    end_ms: int


def span_of(request: audit_pb2.GetStatisticsRequest, now_ms: int) -> Span:
    """Read which windows are asked for. Raises: InvalidRequestError naming the field."""
    window = _WINDOWS.get(request.window)
    if window is None:
        raise InvalidRequestError("an hour, a day or a month, please", "window")
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    for field in ("start_ms", "end_ms"):
        if not 0 <= getattr(request, field) < _LATEST_MS:
            raise InvalidRequestError("Unix milliseconds, please", field)
    end_ms = request.end_ms or now_ms
    first = _first(window, request.start_ms)
    if not _few(window, first, end_ms):
        raise InvalidRequestError(f"from start_ms on, at most {MOST_WINDOWS} windows later, please", "end_ms")
    return Span(window, first, end_ms)


def bound_to(request: audit_pb2.GetStatisticsRequest) -> bytes:
    """Give the bytes that page tokens are bound to, and that say in the browse record what was asked."""
    window = _WINDOWS[request.window]
    return f"GetStatistics\n{window}\n{request.start_ms}\n{request.end_ms}".encode()


def page_of(span: Span, size: int) -> tuple[Span, Next | None]:
    """Cut the first `size` windows off, whether anything is in them or not, and say where the next page goes on."""
    end = span.start_ms
    for _ in range(size):
        if end >= span.end_ms:
            return span, None
        end = span.window.next(end)
    following = Next(end, span.end_ms) if end < span.end_ms else None
    return msgspec.structs.replace(span, end_ms=min(end, span.end_ms)), following


def page_size_of(request: audit_pb2.GetStatisticsRequest) -> int:
    """Read how many windows a page may have. Raises: InvalidRequestError."""
    return checked_page_size(request.page_size, DEFAULT_PAGE_SIZE)


def statistics_message(window: Window, start_ms: int, figures: Figures) -> audit_pb2.BrowseStatistics:
    """Show the figures of a window."""
    counts = figures.counts
    return audit_pb2.BrowseStatistics(
        start_ms=start_ms,
        end_ms=window.next(start_ms),
        records=counts.records,
        looks=counts.looks,
        refusals=counts.refusals,
        sign_ins=counts.sign_ins,
        sign_ins_refused=counts.sign_ins_refused,
        shown=counts.shown,
        users=figures.users,
        keys=figures.keys,
        merchants=figures.merchants,
        by_role=_tallies(counts.by_role),
        by_method=_tallies(counts.by_method),
        by_outcome=[
            watch_pb2.Figure(name=name, value=value) for name, value in figures.outcomes.items() if value
        ],
        by_reason=[
            watch_pb2.Figure(name=name, value=counts.by_reason[name]) for name in sorted(counts.by_reason)
        ],
        account_changes=counts.account_changes,
    )


def merchant_of(request: audit_pb2.CountGoodsBrowsesRequest, who: Principal) -> int:
    """Say of which merchant's goods somebody may ask. Raises: InvalidRequestError, NotAllowedError naming the field."""
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    number = int(request.merchant or who.merchant)
    if not number:
        raise InvalidRequestError("whose goods? Who acts for no merchant says its number", "merchant")
    if number != who.merchant and not who.is_any(Role.AUDITOR, Role.OPERATOR):
        raise NotAllowedError("only its own merchant is told who looked at its goods", "merchant")
    return number


def day_message(day: str, told: DayCounts) -> audit_pb2.GoodsBrowsesDay:
    """Show what is told of a day."""
    message = audit_pb2.GoodsBrowsesDay(day=day, total_viewers=told.total)
    for role, counts in told.roles.items():
        message.counts.add(role=role, viewers=counts.viewers)
        for step, viewers in counts.steps.items():
            message.counts.add(role=role, step=step, viewers=viewers)
    return message


def _tallies(tallies: Mapping[str, Tally]) -> Iterator[audit_pb2.BrowseTally]:
    for name in sorted(tallies):
        tally = tallies[name]
        yield audit_pb2.BrowseTally(
            name=name,
            looks=tally.looks,
            refusals=tally.refusals,
            sign_ins=tally.sign_ins,
            account_changes=tally.account_changes,
        )


def _first(window: Window, start_ms: int) -> int:
    """Give the first window that begins at a time or later."""
    start = window.start(start_ms)
    return start if start == start_ms else window.next(start)


def _few(window: Window, start_ms: int, end_ms: int) -> bool:
    longest_ms = 31 * 86_400_000 if window is Window.MONTH else window.next(0)
    return end_ms - start_ms + longest_ms >= 0 and end_ms - start_ms <= MOST_WINDOWS * longest_ms
