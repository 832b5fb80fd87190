"""Deriving a report's public figures again from the logs' entries: what anybody can do who has the logs' keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from goodstrace import entry as entries
from goodstrace.errors import AnswerError, EntryError, QuorumError, TreeError
from goodstrace.log_keys import LogKeys
from goodstrace.merkle import EMPTY_ROOT, Frontier, leaf_hashes
from goodstrace.policy import Policy
from goodstrace.transparency.counting import Counting
from goodstrace.transparency.values import Month, PublicFigures, Report, Span

AROUND: Final = 256
"""So many entries before and after a span are looked at: none of the month may be among them, nor may all lie on its other side."""
_AT_ONCE: Final = 4096


class PublicEntries(Protocol):
    """Where the entries of logs are read; `goodstrace.transparency.public_log` has two ways."""

    def entries(self, log: str, first: int, end: int) -> Sequence[bytes]:
        """Give the entries first..end-1, unverified; fewer where the log is not that long. Raises: AnswerError, CallError."""
        ...

    def size(self, log: str) -> int:
        """Say how many entries of a log are there to be read, unverified. Raises: AnswerError, CallError."""
        ...


def verify(
    report: Report, keys: LogKeys, source: PublicEntries, policy: Policy | None = None
) -> PublicFigures:
    """Derive the public figures of a report again, and check that they are those that it states.

    Checked is: that the checkpoints are signed by the logs' keys (and cosigned as `policy` wants), that the entries make up the trees of both checkpoints of
    each log, that no entry of the month is among the 256 before and, where the report says that it is complete, after, nor are these all later or all earlier than the month, that no trusted browse log is left out, and that the entries count up to
    the figures.

    Args:
        report: as it was read.
        keys: of the logs that are trusted.
        source: of entries; it need not be trusted.
        policy: which witnesses must have cosigned the last checkpoints.
    Returns: the figures as derived.
    Raises: AnswerError, TreeError, NoteError, CheckpointError, UnknownLogError, QuorumError, EntryError; CallError.
    """
    logs = [span.log for span in report.spans]
    trusted = [log for log in keys.logs() if log.startswith("browse/")]
    if sorted(set(logs)) != logs or set(trusted) - set(logs):
        raise AnswerError(f"the report is of {', '.join(logs) or 'no log'}; trusted are {', '.join(trusted)}")
    checking = _Checking(Month.parse(report.month), keys, source, policy, complete=report.complete)
    for span in report.spans:
        checking.span(span)
    derived = checking.counting.figures()
    if derived != report.public:
        raise AnswerError(
            f"the report states {_said(report.public)}, and the entries of its logs are {_said(derived)}, or of other days or logs"
        )
    return derived


class _Checking:
    """Checks log after log, and counts."""

    def __init__(
        self,
        month: Month,
        keys: LogKeys,
        source: PublicEntries,
        policy: Policy | None,
        *,
        complete: bool,
    ) -> None:
        self._month, self._keys, self._source, self._policy = month, keys, source, policy
        self._complete = complete
        self.counting = Counting(month)

    def span(self, span: Span) -> None:
        """Check one log: signatures, both roots, every entry, and what lies around."""
        self.counting.begin(span.log)
        first_root = _root(span.log, span.first_checkpoint, span.first, self._keys)
        last_root = _root(span.log, span.last_checkpoint, span.end, self._keys)
        if self._policy is not None and span.end and not self._policy.satisfied_by(span.last_checkpoint):
            raise QuorumError(f"{span.log}: its last checkpoint is not cosigned as the policy wants")
        frontier = _frontier(span)
        if frontier.root() != first_root:
            raise TreeError(
                f"{span.log}: the frontier does not give the root of the checkpoint of size {span.first}"
            )
        self._reaching(span)
        before = self._around(span.log, max(0, span.first - AROUND), span.first)
        if before and min(before) >= self._month.end_ms:
            raise AnswerError(
                f"{span.log}: what lies before the entry {span.first} is of after {self._month.name}"
            )
        for start in range(span.first, span.end, _AT_ONCE):
            frontier = frontier.append(self._counted(span.log, start, min(span.end, start + _AT_ONCE)))
        if frontier.root() != last_root:
            raise TreeError(
                f"{span.log}: the entries do not give the root of the checkpoint of size {span.end}"
            )
        if self._complete:
            after = self._around(span.log, span.end, span.end + AROUND)
            if after and max(after) < self._month.start_ms:
                raise AnswerError(
                    f"{span.log}: what lies from the entry {span.end} on is of before {self._month.name}"
                )

    def _reaching(self, span: Span) -> None:
        """See that what is read is not simply older than the report: nothing is lost then, and a newer copy answers it."""
        size = self._source.size(span.log) if span.end else 0
        if size < span.end:
            raise AnswerError(
                f"{span.log}: what is read ends at {size} entries, before the report's {span.end}: where it is an export, export again"
            )

    def _counted(self, log: str, first: int, end: int) -> list[bytes]:
        """Count entries and give their leaf hashes."""
        found = self._source.entries(log, first, end)
        if len(found) != end - first:
            raise AnswerError(f"{log}: the entries {first}..{end - 1} are not all there")
        for each in found:
            self.counting.add(log, entries.decode(each))
        return leaf_hashes(found)

    def _around(self, log: str, first: int, end: int) -> list[int]:
        """See that no entry is of the month, and give their times; these are not proved, so what is no entry says nothing."""
        times = []
        for index, data in enumerate(self._source.entries(log, first, end) if first < end else (), first):
            try:
                entry = entries.decode(data)
            except EntryError:
                continue
            times.append(entry.time)
            if self._month.day_of(entry.time) is not None:
                raise AnswerError(
                    f"{log}[{index}] is of {self._month.name} and is not among what the report counts"
                )
        return times


def _root(log: str, note: str, size: int, keys: LogKeys) -> bytes:
    if not note and not size:
        return EMPTY_ROOT
    checkpoint = keys.open(log, note)
    if checkpoint.size != size:
        raise AnswerError(f"{log}: a checkpoint of size {checkpoint.size} stands for one of size {size}")
    return checkpoint.root


def _frontier(span: Span) -> Frontier:
    if span.end < span.first:
        raise AnswerError(f"{span.log}: a span from {span.first} to {span.end}")
    try:
        return Frontier.decode(span.first, map(bytes.fromhex, span.frontier))
    except ValueError as error:
        raise TreeError(f"{span.log}: the frontier is not hexadecimal") from error


def _said(figures: PublicFigures) -> str:
    total = figures.total
    return f"{total.looks} looks, {total.outcomes} batches of outcomes, {total.erasures} erasures"
