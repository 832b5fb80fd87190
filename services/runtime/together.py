"""Reads that are asked for at about the same time, made together: a call to a store costs much, one more thing in it little."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from contextvars import Context
from typing import Any, Final, Generic, NamedTuple, TypeVar

from services.runtime.errors import UnavailableError
from services.runtime.mongo import in_time

AT_ONCE: Final = 2

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Read = Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]]


class _Asked(NamedTuple, Generic[Key, Value]):
    keys: Collection[Key]
    found: asyncio.Future[Mapping[Key, Value]]


class Together(Generic[Key, Value]):
    """Joins reads by key. What is asked for while AT_ONCE reads are under way waits, and goes into the next one.

    Every read begins after it was asked for, so that nobody gets what was so before. Where a read for several callers fails on what the
    store holds, such as a document that is damaged, it is made again for each alone: only who asked for that gets the error.
    """

    def __init__(self, read: "Read[Key, Value]", most: int) -> None:
        """Read by `read`, which gives what is there of the keys: at most `most` different ones, unless one caller asks for more."""
        self._read, self._most = read, most
        self._waiting: deque[_Asked[Key, Value]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def get(self, keys: Collection[Key]) -> Mapping[Key, Value]:
        """Give what is there of these keys, and perhaps of others that were asked for with them.

        Raises: what `read` raises; OutOfTimeError where the caller's time for the store is over before.
        """
        asked = _Asked[Key, Value](keys, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._begin()
        return await in_time(asked.found)

    def _begin(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            # With no caller's deadline: it is not only his.
            task = asyncio.get_running_loop().create_task(self._serve(self._next()), context=Context())
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._begin()

    def _next(self) -> "list[_Asked[Key, Value]]":
        some, keys = list[_Asked[Key, Value]](), set[Key]()
        while self._waiting and (not some or len(keys.union(self._waiting[0].keys)) <= self._most):
            asked = self._waiting.popleft()
            if not asked.found.done():  # its caller gave up
                some.append(asked)
                keys.update(asked.keys)
        return some

    async def _serve(self, some: "list[_Asked[Key, Value]]") -> None:
        try:
            found = await self._read({key for asked in some for key in asked.keys}) if some else {}
        except Exception as error:  # noqa: BLE001 - handed to those who wait for it
            if len(some) > 1 and not isinstance(error, UnavailableError):
                for asked in some:
                    await self._serve([asked])
                return
            for asked in some:
                if not asked.found.done():
                    asked.found.set_exception(error)
        else:
            for asked in some:
                if not asked.found.done():
                    asked.found.set_result(found)


async def gathered(calls: Sequence[Coroutine[Any, Any, Value]]) -> list[Value]:
    """Give what several calls come to, in their order; one alone is awaited without a task of its own, which costs as much as a small call."""
    return [await calls[0]] if len(calls) == 1 else list(await asyncio.gather(*calls))
