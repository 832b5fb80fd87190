"""Hashing passwords with argon2id: off the event loop, so many at a time, and who is known before who is not."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.query.accounts.errors import BusyError
from services.query.accounts.metrics import LoginMetrics

T = TypeVar("T")
_PRESSED: Final = 0.5


class Turns:
    """So many run at a time, so many wait, in two lines: whoever stands in the first one goes before all of the other."""

    def __init__(self, running: int, waiting: int) -> None:
        """Let `running` run and `waiting` wait in each line."""
        self._free, self._most = running, waiting
        self._lines: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (deque(), deque())

    def waiting(self) -> int:
        """Tell how many wait."""
        return sum(map(len, self._lines))

    def is_pressed(self) -> bool:
        """Tell whether half of the places for who is not known are taken."""
        return len(self._lines[1]) >= self._most * _PRESSED

    @asynccontextmanager
    async def turn(self, *, first: bool) -> AsyncIterator[None]:
        """Wait for a turn. Raises: BusyError where the line is full."""
        line = self._lines[0 if first else 1]
        if self._free > 0:
            self._free -= 1
        elif len(line) >= self._most:
            raise BusyError("many sign in at the same time: try again")
        else:
            await self._wait(line)
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, line: "deque[asyncio.Future[None]]") -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._hand_on()  # it was my turn already
            elif mine in line:
                line.remove(mine)
            raise

    def _hand_on(self) -> None:
        for line in self._lines:
            while line:
                following = line.popleft()
                if not following.done():
                    following.set_result(None)
                    return
        self._free += 1


class Hasher:
    """Hashes and verifies. A password that nobody has is verified against as others are, in the same time."""

    def __init__(
        self, *, memory_kib: int, passes: int, threads: int, queue: int, metrics: LoginMetrics
    ) -> None:
        """Hash with argon2id, one lane; other parameters than a hash has are noticed by `is_old`."""
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._turns = Turns(threads, queue)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._metrics = metrics
        self._nobody = self._argon2.hash("nobody has this password")
        self.verified = 0  # how many were, for who looks at whether all attempts cost the same

    def is_pressed(self) -> bool:
        """Tell whether whoever is not known should work before being let into the queue."""
        return self._turns.is_pressed()

    def is_old(self, hashed: str) -> bool:
        """Tell whether a hash has other parameters than those of now."""
        return self._argon2.check_needs_rehash(hashed)

    async def hash(self, password: str, *, first: bool) -> str:
        """Hash a password. Raises: BusyError."""
        return await self.run(partial(self._argon2.hash, password), first=first)

    async def verify(self, hashed: str, password: str, *, first: bool) -> bool:
        """Say whether a password is that of a hash; where there is none ("") take the same time and say no. Raises: BusyError."""
        same = await self.run(partial(self._verify, hashed or self._nobody, password), first=first)
        return same and bool(hashed)

    async def run(self, job: Callable[[], T], *, first: bool) -> T:
        """Do something that takes as long as hashing, in its turn. Raises: BusyError."""
        async with self._turns.turn(first=first):
            self._metrics.waiting.set(self._turns.waiting())
            began = perf_counter()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool, job)
            finally:
                self._metrics.hash_seconds.observe(perf_counter() - began)
                self._metrics.waiting.set(self._turns.waiting())

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, hashed: str, password: str) -> bool:
        self.verified += 1
        try:
            return self._argon2.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False
