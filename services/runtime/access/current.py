"""Who makes the call that is being answered: set by the guard of each port, read wherever it matters."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from services.runtime.access.values import NOBODY, Principal

_PRINCIPAL: ContextVar[Principal] = ContextVar("principal", default=NOBODY)


def principal() -> Principal:
    """Give who calls; NOBODY outside a call."""
    return _PRINCIPAL.get()


@contextmanager
def acting(who: Principal) -> Iterator[None]:
    """Answer as called by `who`; tasks made within it inherit that."""
    token = _PRINCIPAL.set(who)
    try:
        yield
    finally:
        _PRINCIPAL.reset(token)
