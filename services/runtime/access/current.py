"""Who makes the call that is being answered: set by the guard of each port, read wherever it matters."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import msgspec

from services.runtime.access.values import NOBODY, Principal

Again = Callable[[], Awaitable[Principal]]
"""Asks who somebody is once more. Raises: as `Authentication.known` does."""


class _Acting(msgspec.Struct, frozen=True):
    who: Principal = NOBODY
    again: Again | None = None
    network: str = ""


_NOBODY: Final = _Acting()
_ACTING: ContextVar[_Acting] = ContextVar("acting", default=_NOBODY)


def principal() -> Principal:
    """Give who calls; NOBODY outside a call."""
    return _ACTING.get().who


def network() -> str:
    """Give the network that the call comes from, as `services.runtime.access.networks` names it; "" where that is not known."""
    return _ACTING.get().network


async def still() -> Principal:
    """Give who calls as it counts now: for calls that go on for long, before each thing that they do.

    Raises: UnauthenticatedError where what they showed does not count any more; ForbiddenError for a suspended merchant; UnavailableError.
    """
    acting = _ACTING.get()
    return await acting.again() if acting.again else acting.who


@contextmanager
def acting(who: Principal, again: Again | None = None, network: str = "") -> Iterator[None]:
    """Answer as called by `who` from `network`; tasks made within it inherit that. `again` is what `still` asks."""
    token = _ACTING.set(_Acting(who, again, network))
    try:
        yield
    finally:
        _ACTING.reset(token)
