"""A thread of its own for what only one may use at a time, or what takes long: the loop goes on meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class OneThread:
    """One thread, in which calls are made one after the other."""

    def __init__(self, name: str) -> None:
        """Name the thread; it begins with the first call."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    def run(self, work: Callable[[*Arguments], T], *arguments: *Arguments) -> asyncio.Future[T]:
        """Make a call in the thread, after those before it."""
        return asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def close(self) -> None:
        """Wait for the calls that were made, then end the thread. Blocks."""
        self._pool.shutdown()
