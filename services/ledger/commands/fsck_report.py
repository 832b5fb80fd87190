"""What `goodstrace fsck` shows: how far it is, and what it found."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from services.runtime.progress import Progress as Line
from services.sealing.fsck.faults import Kind, Verdict, kinds_of
from services.sealing.fsck.feeding import Progress
from services.sealing.fsck.jobs import Job


class ShownProgress:
    """One line on a terminal for all logs together, with the one told of last; nothing where standard error is no terminal."""

    def __init__(self, what: str, sizes: Mapping[str, int], jobs: Sequence[Job]) -> None:
        """Begin now."""
        self._begun = time.monotonic()
        self._done = {job.info.name: job.start.verdict.entries if job.start else 0 for job in jobs}
        self._sizes = sizes
        total = sum(sizes.get(log, 0) for log in self._done)
        self._line = Line(f"entries {what}", total) if sys.stderr.isatty() else None
        if self._line is not None:
            self._line.skip(sum(self._done.values()))

    def told(self, log: str, progress: Progress) -> None:
        """Show how far a log is."""
        more = progress.verdict.entries - self._done[log]
        self._done[log] = progress.verdict.entries
        if self._line is not None:
            self._line.add(more)

    def ended(self) -> float:
        """Leave the line as it is; give the seconds since the beginning."""
        if self._line is not None:
            self._line.end()
        return time.monotonic() - self._begun


class Report:
    """The result of one run."""

    def __init__(self, verdicts: Sequence[Verdict], *, trusted_keys: bool, seconds: float) -> None:
        """Take the verdicts of all logs."""
        self._verdicts = verdicts
        self._trusted_keys = trusted_keys
        self._seconds = seconds

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not any(verdict.counts for verdict in self._verdicts)

    @property
    def _kinds(self) -> dict[str, Kind]:
        return kinds_of(field for verdict in self._verdicts for field in verdict.counts)

    def json(self) -> str:
        """Give one JSON document."""
        answer: dict[str, Any] = {
            "sound": self.sound,
            "trusted_keys": self._trusted_keys,
            "seconds": round(self._seconds, 3),
            "logs": [msgspec.to_builtins(each) for each in self._verdicts],
            "kinds": self._kinds,
        }
        return msgspec.json.format(msgspec.json.encode(answer)).decode()

    def text(self) -> str:
        """Give lines for people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for verdict in self._verdicts:
            yield _summary(verdict)
            for fault in verdict.faults:
                yield f"  {fault.place}: {fault.problem}"
            for field, count in verdict.counts.items():
                listed = sum(fault.field == field for fault in verdict.faults)
                if count > listed:
                    yield f"  {verdict.log}, {field}: {count - listed} more"
        for field, kind in self._kinds.items():
            yield kind.told(field)
        entries = sum(verdict.entries - verdict.resumed for verdict in self._verdicts)
        yield f"{entries:,} entries in {self._seconds:.1f} s, {entries / max(self._seconds, 1e-9):,.0f}/s"
        if not self._trusted_keys:
            yield "signatures were checked with the keys that the store names: give --vkeys to trust your own"


def _summary(verdict: Verdict) -> str:
    more = [
        f"{verdict.orphans} orphan packs" if verdict.orphans else "",
        f"{verdict.saved} saved checkpoints compared" if verdict.saved else "",
        f"{verdict.resumed} of them in an earlier run" if verdict.resumed else "",
    ]
    state = "FAULTY" if verdict.counts else "sound"
    said = ", ".join([f"{verdict.entries} entries in {verdict.blocks} blocks", *filter(None, more)])
    return f"{verdict.log:<12}{state:<8}{said}  {verdict.root}"
