"""How far long work has come, on standard error: a line that changes where people look, else one line now and then."""

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

EVERY_S: Final = 0.2  # to a terminal
SELDOM_S: Final = 10.0  # to a file


class Progress:
    """Counts what was done of a total and tells of it: share, rate and time left."""

    def __init__(
        self,
        what: str,
        total: int,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin now. `what` is being done; `total` in the same unit as `add` counts, 0 where it is not known."""
        self._what = what
        self._total = total
        self._stream = stream or sys.stderr
        self._clock = clock
        self._begun = self._told = clock()
        self._every = EVERY_S if self._stream.isatty() else SELDOM_S
        self._skipped = 0
        self.done = 0

    def skip(self, count: int) -> None:
        """Count what an earlier run has done: part of the share, not of the rate."""
        self.done += count
        self._skipped += count

    def add(self, count: int) -> None:
        """Count what was done, and tell of it where it is time to."""
        self.done += count
        now = self._clock()
        if now - self._told >= self._every:
            self._told = now
            self._write(now)

    def end(self) -> None:
        """Tell of it a last time, on a terminal."""
        if self._stream.isatty():
            self._write(self._clock())
            self._stream.write("\n")

    def line(self, now: float) -> str:
        """Write how far it has come, at a time of the clock."""
        fresh, seconds = self.done - self._skipped, max(now - self._begun, 1e-9)
        rate = fresh / seconds
        text = f"{self._what}: {self.done:,}"
        if self._total:
            text += f" of {self._total:,} ({min(100, 100 * self.done // self._total)} %)"
        text += f", {rate:,.0f}/s"
        if self._total > self.done and rate > 0:
            text += f", {_duration((self._total - self.done) / rate)} left"
        return text

    def _write(self, now: float) -> None:
        line = self.line(now)
        self._stream.write(f"\r\x1b[K{line}" if self._stream.isatty() else f"{line}\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
