"""Starts a worker again where it ends by a fault: status 70, with which it asks to read again, a crash, a kill. The same in compose and on one machine.

The worker is a child in the same process group. It ends with who started it (Linux tells it by PR_SET_PDEATHSIG), also where that is killed.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Final

import structlog

from services.runtime.settings import EXIT_BAD_SETTINGS

EXIT_GIVEN_UP: Final = 1
MAX_RESTARTS: Final = 6
"""In a minute. One more, and the supervisor ends with an error: whoever watches over it shall see it."""
PERIOD_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_LOOK_S: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1


class Restarts:
    """Says how long to wait before the next start, and whether there is one. Pure but for the times that it is told."""

    def __init__(self) -> None:
        """Nothing has ended yet."""
        self.total = 0
        self._lately = deque[float](maxlen=MAX_RESTARTS)

    def pause_s(self, now_s: float) -> float | None:
        """Count an end at a time; gives the seconds to wait, twice as many after each end of the last minute, or None where it ended too often."""
        while self._lately and now_s - self._lately[0] >= PERIOD_S:
            self._lately.popleft()
        if len(self._lately) == MAX_RESTARTS:
            return None
        self._lately.append(now_s)
        self.total += 1
        return float(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (len(self._lately) - 1)))


class Supervisor:
    """Runs a command until it is asked to stop, or the command ends too often."""

    def __init__(
        self,
        command: Sequence[str],
        log: structlog.stdlib.BoundLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start nothing yet; the command gets the number of restarts as its last argument."""
        self._command, self._log, self._clock = command, log, clock
        self._restarts, self._is_asked = Restarts(), False
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Run in the main thread until SIGTERM or SIGINT; gives the exit status.

        Returns: the worker's where it was asked to stop, or ended with 0 or for a wrong setting; else EXIT_GIVEN_UP.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)
        while True:
            status = self._run_once()
            if status in (0, EXIT_BAD_SETTINGS) or self._is_stopping():
                return max(0, status)
            pause_s = self._restarts.pause_s(self._clock())
            if pause_s is None:
                self._log.error(
                    "the worker ends again and again", status=status, restarts=self._restarts.total
                )
                return EXIT_GIVEN_UP
            self._log.warning("the worker ended: starting it again", status=status, after_s=pause_s)
            self._pause(pause_s)
            if self._is_stopping():
                return 0

    def _run_once(self) -> int:
        self._child = subprocess.Popen(  # noqa: S603 - the command is ours
            [*self._command, str(self._restarts.total)],
            preexec_fn=partial(_end_with_parent, os.getpid()),  # noqa: PLW1509 - no thread runs here but this one
        )
        if self._is_stopping():
            self._child.terminate()  # asked between the two
        return self._child.wait()

    def _is_stopping(self) -> bool:
        return self._is_asked  # a signal changes it at any time

    def _pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while not self._is_stopping() and time.monotonic() < until_s:
            time.sleep(_LOOK_S)

    def _forward(self, _number: int, _frame: FrameType | None) -> None:
        """Ask the worker to stop; a second time it ends at once. SIGINT it does not get from a terminal, so that each comes once."""
        self._is_asked = True
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()


def _end_with_parent(parent: int) -> None:
    """In the child, before it becomes the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(EXIT_GIVEN_UP)
