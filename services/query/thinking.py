"""Where the tracing engine computes: a moment on the event loop, then in threads of its own, as many as there are turns; and no longer than its call waits."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

SLICE_S: Final = 0.02
AT_ONCE_S: Final = 0.01  # so long a call may hold up all others; one of 20 events takes a third of it
Result = TypeVar("Result")


class StoppedError(Exception):
    """The call that a computation was for is over: nobody waits for what would come of it."""


class TooLongError(Exception):
    """A computation on the event loop has used up its time: it is to begin again in a thread."""


class Engine:
    """The threads of the engine; nothing else computes in them, and the engine in no others.

    One of them computes at a time, for SLICE_S, then the one that has waited longest: beside each other they would be no faster, since an
    interpreter has one lock, and the event loop would wait for all of them each time that it wants it back.
    """

    def __init__(self, most: int) -> None:
        """Have at most `most` threads: one for each turn, so that no call waits for the thread of another."""
        self._threads: Final = ThreadPoolExecutor(most, thread_name_prefix="engine")
        self._shares: Final = _Shares()

    def thinking(self) -> "Thinking":
        """Begin to think for a call."""
        return Thinking(self._threads, self._shares)


class Thinking:
    """What the engine computes for one call."""

    def __init__(self, threads: ThreadPoolExecutor, shares: "_Shares") -> None:
        """Compute in `threads`, one after the other."""
        self._threads, self._shares = threads, shares
        self._is_stopped = False
        self._until_s: float | None = None  # None while it computes nothing
        self._is_at_once = False
        self._left_s = AT_ONCE_S

    def check(self) -> None:
        """Let others compute where it is their turn; the engine calls it wherever it loops. Raises: StoppedError; TooLongError, on the event loop alone."""
        if self._until_s is not None and time.monotonic() >= self._until_s:
            if self._is_at_once:
                raise TooLongError
            self._shares.pass_on()
            self._until_s = time.monotonic() + SLICE_S
        if self._is_stopped:
            raise StoppedError

    def at_once(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Compute on the event loop, without the way to a thread and back: for AT_ONCE_S in all of a call.

        Raises: TooLongError once that time is over, with the next `check`; what was computed is lost.
        """
        begun_s = time.monotonic()
        self._until_s, self._is_at_once = begun_s + self._left_s, True
        try:
            self.check()
            return work(*arguments)
        finally:
            self._until_s, self._is_at_once = None, False
            self._left_s -= time.monotonic() - begun_s

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Compute in a thread, one computation at a time.

        Where the caller is cancelled, as by its deadline, the computation ends with its next `check`. This returns only then: so who holds
        a turn around it gives it up when the thread is free.
        """
        inside = copy_context()
        done = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: inside.run(self._computed, work, *arguments)
        )
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            self._is_stopped = True
            await _ended(done)
            raise

    def _computed(self, work: Callable[..., Result], *arguments: object) -> Result:
        self._shares.take()
        try:
            self._until_s = time.monotonic() + SLICE_S
            self.check()
            return work(*arguments)
        finally:
            self._until_s = None
            self._shares.give()


class _Shares:
    """Lets one thread compute at a time, first come first served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_taken = False

    def take(self) -> None:
        """Wait for a share."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def give(self) -> None:
        """Give the share to the one that has waited longest, if any."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False

    def pass_on(self) -> None:
        """Give the share up and wait for the next, where anybody waits."""
        if self._waiting:
            self.give()
            self.take()


async def _ended(done: "asyncio.Future[Result]") -> None:
    """Wait for a computation to end, however often this is cancelled: the caller raises that when it is over."""
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError:
            continue
    done.exception()  # looked at, so that asyncio does not report it
