"""What requests to WatchService ask, read and checked. Pure."""

from typing import Final

import msgspec

from goodstrace.audit.v1 import watch_pb2
from goodstrace.identifiers import canonical_key
from services.runtime.call_errors import InvalidRequestError
from services.runtime.call_limits import MAX_KEY_CHARS, MAX_PURPOSE_CHARS, MAX_USER_CHARS, check_text

DEFAULT_PAGE_SIZE: Final = 100
MAX_RULE_CHARS: Final = 64
MAX_SPAN_MS: Final = 7 * 86_400_000
_ABOUT: Final = ("user", "network", "merchant", "key")
_LATEST_MS: Final = 2**53


class AlertsWanted(msgspec.Struct, frozen=True):
    """Which alerts: empty members are any. user: a name, of whose pseudonyms they must be."""

    rule: str = ""
    subject: str = ""
    after_ms: int = 0
    user: str = ""


class Window(msgspec.Struct, frozen=True):
    """Whose statistics, and of which time."""

    about: str
    subject: str
    start_ms: int
    end_ms: int


class Before(msgspec.Struct, frozen=True):
    """Where a list goes on: a number by which it is sorted, and the ID of the last one shown."""

    at: int
    last: str


class Since(msgspec.Struct, frozen=True):
    """Where a stream goes on: when the last alert was stored, Unix milliseconds."""

    stored_ms: int


def alerts_wanted(request: watch_pb2.ListAlertsRequest) -> AlertsWanted:
    """Read which alerts are asked for. Raises: InvalidRequestError naming the field."""
    check_text(request.rule, "rule", MAX_RULE_CHARS)
    check_text(request.subject, "subject", MAX_KEY_CHARS)
    check_text(request.user, "user", MAX_USER_CHARS)
    if request.user and request.subject:
        raise InvalidRequestError("one of subject and user, please", "user")
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    _check_time(request.after_ms, "after_ms")
    return AlertsWanted(request.rule, request.subject, request.after_ms, request.user)


def window_of(request: watch_pb2.GetActivityRequest, now_ms: int) -> Window:
    """Read whose statistics are asked for. Raises: InvalidRequestError naming the field."""
    _check_about(request.about, "all")
    least = 0 if request.about == "all" else 1
    check_text(request.subject, "subject", MAX_KEY_CHARS if least else 0, least=least)
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    _check_time(request.start_ms, "start_ms")
    _check_time(request.end_ms, "end_ms")
    end_ms = request.end_ms or now_ms
    if not 0 <= end_ms - request.start_ms <= MAX_SPAN_MS:
        raise InvalidRequestError("from start_ms on, at most 7 days later, please", "end_ms")
    subject = canonical_key(request.subject) if request.about == "key" else request.subject
    return Window(request.about, subject, request.start_ms, end_ms)


def check_busiest(request: watch_pb2.ListBusiestRequest) -> None:
    """Check a request. Raises: InvalidRequestError naming the field."""
    _check_about(request.about)
    check_text(request.purpose, "purpose", MAX_PURPOSE_CHARS)
    _check_time(request.at_ms, "at_ms")


def _check_about(about: str, *more: str) -> None:
    if about not in (*_ABOUT, *more):
        raise InvalidRequestError(f"one of {', '.join((*_ABOUT, *more))}, please", "about")


def _check_time(time_ms: int, field: str) -> None:
    if not 0 <= time_ms < _LATEST_MS:
        raise InvalidRequestError("Unix milliseconds, please", field)
