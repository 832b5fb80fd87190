"""Driving a computation of the engine step by step: at once while it is quick, else in a thread, where it begins again."""

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

import msgspec

from goodstrace.tracing.pool import Check
from services.query.thinking import Thinking, TooLongError

Asked = TypeVar("Asked")
Sent = TypeVar("Sent")
Answer = TypeVar("Answer")
Begin = Callable[[Check], Generator[Asked, Sent, Answer]]


class Done(msgspec.Struct, Generic[Answer], frozen=True):
    """The engine came to its answer."""

    answer: Answer


class Steps(Generic[Asked, Sent, Answer]):
    """One computation, which asks for something with each step but the last.

    How long a step takes cannot be told before: it goes by what records say together, as goods times stays. So the first ones are
    computed on the event loop, where they are spared the way to a thread and back. A step that is not through in time cannot be moved
    half way: the computation begins again in a thread, is sent once more what it was sent, and comes to the same, since its answer
    depends on that alone. What is lost is at most AT_ONCE_S.
    """

    def __init__(self, thinking: Thinking, begin: "Begin[Asked, Sent, Answer]") -> None:
        """Compute as `thinking` has it what `begin` begins, with what is to be called wherever it loops."""
        self._thinking, self._begin = thinking, begin
        self._steps = begin(thinking.check)
        self._sent: list[Sent | None] = []
        self._is_at_once = True

    async def next(self, sent: Sent | None, *, at_once: bool = True) -> "Asked | Done[Answer]":
        """Go on with what was found for what was asked last, None at first; not `at_once` where that is known to be much.

        Raises: what the computation raises.
        """
        if not self._is_at_once:
            return await self._thinking.run(_next, self._steps, sent)
        self._sent.append(sent)
        try:
            if at_once:
                return self._thinking.at_once(_next, self._steps, sent)
            return await self._in_thread(_next, self._steps, sent)
        except TooLongError:
            self._steps = self._begin(self._thinking.check)
            return await self._in_thread(_again, self._steps, self._sent)

    async def _in_thread(
        self, work: Callable[..., "Asked | Done[Answer]"], *arguments: object
    ) -> "Asked | Done[Answer]":
        """Compute in a thread, from now on: what was sent is not needed any more."""
        self._is_at_once, self._sent = False, []
        return await self._thinking.run(work, *arguments)


def _next(steps: Generator[Asked, Sent, Answer], sent: Sent | None) -> "Asked | Done[Answer]":
    try:
        return _go_on(steps, sent)
    except StopIteration as stop:
        return Done(stop.value)


def _go_on(steps: Generator[Asked, Sent, Answer], sent: Sent | None) -> Asked:
    return next(steps) if sent is None else steps.send(sent)


def _again(steps: Generator[Asked, Sent, Answer], sent: list[Sent | None]) -> "Asked | Done[Answer]":
    """Send what was sent before, in its order; what is asked on the way is answered already."""
    for each in sent[:-1]:
        _go_on(steps, each)
    return _next(steps, sent[-1])
