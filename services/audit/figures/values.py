"""Figures of looks over windows of time, as values that add up: counts of one partition of browse records in one window. Pure.

Each state holds the offset of the last record that it has counted, and counts none at or below it: so a batch that comes twice counts once.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from services.audit.watch.sketches import DISTINCT_KEPT, distinct, hashed, keep, union
from services.runtime.goods_browses.days import DAY_MS, day_of
from services.runtime.goods_browses.days import start_ms as first_ms

HOUR_MS: Final = 3_600_000
MOST_NAMES: Final = 100
"""Of methods and of reasons, which are few; what comes beyond them is counted together."""
OTHER: Final = "other"
_ACCOUNT_CHANGE: Final = "account-change"
_SUMS: Final = ("records", "looks", "refusals", "sign_ins", "sign_ins_refused", "account_changes", "shown")
ANSWERED, FAILED, WITHHELD, UNKNOWN = "answered", "failed", "withheld", "unknown"
OUTCOMES: Final = (ANSWERED, FAILED, WITHHELD, UNKNOWN)


class Window(StrEnum):
    """How long a window is."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def start(self, time_ms: int) -> int:
        """Give when the window that holds a time begins, Unix milliseconds."""
        if self is not Window.MONTH:
            size_ms = HOUR_MS if self is Window.HOUR else DAY_MS
            return time_ms - time_ms % size_ms
        return first_ms(day_of(time_ms).replace(day=1))

    def next(self, start_ms: int) -> int:
        """Give when the window after the one that begins then begins, Unix milliseconds."""
        if self is not Window.MONTH:
            return start_ms + (HOUR_MS if self is Window.HOUR else DAY_MS)
        return first_ms((day_of(start_ms) + dt.timedelta(days=31)).replace(day=1))


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One browse record as it is counted, in the order of its partition.

    offset: in its partition. kind: "look", "sign-in", "refusal" or "account-change". user: the daily pseudonym of who looked. role, method, merchant: of the caller.
    refused: why it was refused, else empty. times: how many it stands for. shown: records of goods shown. keys: what was looked at.
    """

    offset: int
    time_ms: int
    kind: str
    user: str = ""
    role: str = ""
    method: str = ""
    merchant: int = 0
    refused: str = ""
    times: int = 1
    shown: int = 0
    keys: tuple[str, ...] = ()


class Marks(msgspec.Struct, frozen=True):
    """What became of looks: how many answers were sent, failed, or were withheld; in the order of its partition."""

    offset: int
    time_ms: int
    answered: int = 0
    failed: int = 0
    withheld: int = 0


class Tally(msgspec.Struct, array_like=True):
    """What those of one role, or by one method, did."""

    looks: int = 0
    refusals: int = 0
    sign_ins: int = 0
    account_changes: int = 0


class Counts(msgspec.Struct):
    """What was counted of one partition in one window; `offset` of the last record that was. Distinct things are sketches."""

    offset: int = -1
    records: int = 0
    looks: int = 0
    refusals: int = 0
    sign_ins: int = 0
    sign_ins_refused: int = 0
    shown: int = 0
    users: list[int] = []
    keys: list[int] = []
    merchants: list[int] = []
    by_role: dict[str, Tally] = {}
    by_method: dict[str, Tally] = {}
    by_reason: dict[str, int] = {}
    by_outcome: dict[str, int] = {}
    account_changes: int = 0

    def add(self, said: "Look | Marks") -> bool:
        """Count a record, unless it was; tells whether it was new."""
        if said.offset <= self.offset:
            return False
        self.offset = said.offset
        if isinstance(said, Marks):
            for name in (ANSWERED, FAILED, WITHHELD):
                self.by_outcome[name] = self.by_outcome.get(name, 0) + getattr(said, name)
        else:
            self._count(said)
        return True

    def _count(self, look: Look) -> None:
        self.records += 1
        self.shown += look.shown
        for name, tallies in ((look.role, self.by_role), (look.method, self.by_method)):
            _tally(tallies, name, look)
        _raise(self, look)
        if look.refused:
            _more(self.by_reason, look.refused, look.times)
        if look.user:
            keep(self.users, hashed(look.user), DISTINCT_KEPT)
        if look.merchant:
            keep(self.merchants, hashed(str(look.merchant)), DISTINCT_KEPT)
        for key in look.keys if look.kind != _ACCOUNT_CHANGE else ():
            keep(self.keys, hashed(key), DISTINCT_KEPT)


class Figures(msgspec.Struct, frozen=True):
    """What was counted of all partitions in one window."""

    counts: Counts

    @property
    def users(self) -> int:
        """How many different users, each counted once a day."""
        return distinct(self.counts.users)

    @property
    def keys(self) -> int:
        """How many different keys."""
        return distinct(self.counts.keys)

    @property
    def merchants(self) -> int:
        """For how many different merchants callers acted."""
        return distinct(self.counts.merchants)

    @property
    def outcomes(self) -> dict[str, int]:
        """Looks by outcome; what nothing is known of, and what is to be told yet, is "unknown"."""
        told = {name: self.counts.by_outcome.get(name, 0) for name in (ANSWERED, FAILED, WITHHELD)}
        return {**told, UNKNOWN: max(0, self.counts.looks - sum(told.values()))}


def figures(of_partitions: Iterable[Counts]) -> Figures:
    """Add up what was counted of the partitions in one window."""
    every = list(of_partitions)
    whole = Counts(
        users=union((each.users for each in every), DISTINCT_KEPT),
        keys=union((each.keys for each in every), DISTINCT_KEPT),
        merchants=union((each.merchants for each in every), DISTINCT_KEPT),
    )
    for each in every:
        for name in _SUMS:
            setattr(whole, name, getattr(whole, name) + getattr(each, name))
        for name in ("by_role", "by_method"):
            _join(getattr(whole, name), getattr(each, name))
        for name in ("by_reason", "by_outcome"):
            for key, count in getattr(each, name).items():
                _more(getattr(whole, name), key, count)
    return Figures(whole)


def windows_of(said: Iterable[Look | Marks]) -> Iterator[tuple[Window, int]]:
    """List the windows that a batch is counted in, each once: how long, and when it begins."""
    starts = {(window, window.start(each.time_ms)) for each in said for window in Window}
    return iter(sorted(starts))


def counted(known: Counts, window: Window, start_ms: int, said: Iterable[Look | Marks]) -> bool:
    """Count those of a batch that are in a window; tells whether any of them was new.

    Args:
        known: what was counted before; is changed.
        window: how long the window is.
        start_ms: when it begins.
        said: records of one partition, in its order.
    """
    return sum(known.add(each) for each in said if window.start(each.time_ms) == start_ms) > 0


def _raise(counts: Counts, look: Look) -> None:
    if look.kind == "sign-in":
        counts.sign_ins += look.times
        counts.sign_ins_refused += look.times if look.refused else 0
    elif look.kind == "refusal" or look.refused:
        counts.refusals += look.times
    elif look.kind == _ACCOUNT_CHANGE:
        counts.account_changes += look.times
    else:
        counts.looks += look.times


def _tally(tallies: dict[str, Tally], name: str, look: Look) -> None:
    name = name if name in tallies or len(tallies) < MOST_NAMES else OTHER
    tally = tallies.setdefault(name, Tally())
    if look.kind == "sign-in":
        tally.sign_ins += look.times
    elif look.kind == "refusal" or look.refused:
        tally.refusals += look.times
    elif look.kind == _ACCOUNT_CHANGE:
        tally.account_changes += look.times
    else:
        tally.looks += look.times


def _more(counts: dict[str, int], name: str, by: int) -> None:
    name = name if name in counts or len(counts) < MOST_NAMES else OTHER
    counts[name] = counts.get(name, 0) + by


def _join(whole: dict[str, Tally], other: Mapping[str, Tally]) -> None:
    for name, tally in other.items():
        into = whole.setdefault(name if name in whole or len(whole) < MOST_NAMES else OTHER, Tally())
        into.looks += tally.looks
        into.refusals += tally.refusals
        into.sign_ins += tally.sign_ins
        into.account_changes += tally.account_changes
