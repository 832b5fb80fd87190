"""A transparency report as values, and its file: JSON with sorted members. Pure.

`public` is what the entries of the logs `browse/<n>` show to anybody: how many there are, of what kind, and when. `operator` is what only the operator
sees: its word. docs/audit.md describes the members.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final

import msgspec

from goodstrace.errors import AnswerError

VERSION: Final = 1
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])", re.ASCII)


class Month(msgspec.Struct, frozen=True):
    """A calendar month in UTC: from `start_ms` up to, not including, `end_ms`, Unix milliseconds."""

    name: str
    start_ms: int
    end_ms: int

    @classmethod
    def parse(cls, name: str) -> Month:
        """Read a month such as "2026-11". Raises: ValueError."""
        if not _MONTH.fullmatch(name):
            raise ValueError(f"{name!r} is no month: such as 2026-11")
        first = dt.date.fromisoformat(f"{name}-01")
        following = (first + dt.timedelta(days=31)).replace(day=1)
        return cls(name, _ms(first), _ms(following))

    def day_of(self, time_ms: int) -> str | None:
        """Give the day (UTC) of a time, such as "2026-11-01"; None where it is not in the month."""
        if not self.start_ms <= time_ms < self.end_ms:
            return None
        return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).date().isoformat()


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries of a log the month's are among: those from `first` up to, not including, `end`.

    log: its name. first_checkpoint: the signed note of size `first`, from before the month; empty where the log had no entry then. last_checkpoint: that of
    size `end`. frontier: the hashes (hex) of the complete subtrees of the first `first` entries, the largest first: with them and the entries of the
    span both roots can be computed.
    """

    log: str
    first: int
    end: int
    first_checkpoint: str
    last_checkpoint: str
    frontier: tuple[str, ...]


class Shown(msgspec.Struct):
    """What entries show: how many records of looks (also of sign-ins and refusals), of batches of outcomes, and of erasures."""

    looks: int = 0
    outcomes: int = 0
    erasures: int = 0


class PublicFigures(msgspec.Struct):
    """What anybody can derive again: in all, by log, and by day."""

    total: Shown
    by_log: dict[str, Shown]
    by_day: dict[str, Shown]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A month's report.

    month: such as "2026-11". made_ms: when, Unix milliseconds. complete: whether the month was over for a day then. spans: by log, in order.
    operator: figures by name, plain JSON.
    """

    version: int
    month: str
    made_ms: int
    complete: bool
    spans: tuple[Span, ...]
    public: PublicFigures
    operator: dict[str, Any]


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(Report)


def encode(report: Report) -> bytes:
    """Write a report as JSON."""
    return msgspec.json.format(_ENCODER.encode(report), indent=2) + b"\n"


def decode(data: bytes) -> Report:
    """Read a report; nothing of it is verified. Raises: AnswerError, whatever the bytes."""
    if len(data) > MAX_FILE_BYTES:
        raise AnswerError(f"a report has at most {MAX_FILE_BYTES} bytes")
    try:
        report = _DECODER.decode(data)
        Month.parse(report.month)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise AnswerError(f"not a transparency report: {error}") from error
    if report.version != VERSION:
        raise AnswerError(f"a transparency report of version {report.version}; this program knows {VERSION}")
    return report


def _ms(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) * 1000
