"""The looks that one call has recorded, and what became of their answers: filled by who records, settled by who sends the answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """What became of the answer to a look that was recorded.

    ANSWERED: something of it was handed to the caller's connection, which is also said in doubt. FAILED: nothing was, for an error, or since
    the caller had gone. WITHHELD: nothing of it could be shown to the caller by policy.
    """

    ANSWERED = "answered"
    FAILED = "failed"
    WITHHELD = "withheld"


class Look(msgspec.Struct, frozen=True):
    """A look as it is recorded.

    record_id: of the browse record, 16 bytes. leaf_hash: of its entry, 32 bytes. log: that it will be sealed into, "browse/<partition>". time_ms: the
    record's time.
    """

    record_id: bytes
    leaf_hash: bytes
    log: str
    time_ms: int


Settled = Callable[[bytes, Outcome], None]
"""Told of each outcome with the look's record ID; must not wait."""


class Looks:
    """The looks of one call, until each has its outcome."""

    def __init__(self, settled: Settled) -> None:
        """Tell outcomes to `settled`."""
        self._settled = settled
        self._open: dict[bytes, Look] = {}

    def add(self, look: Look) -> None:
        """Note a look that is about to be recorded."""
        self._open[look.record_id] = look

    def find(self, browse_id: str) -> Look | None:
        """Find a look that has no outcome yet by its record ID as hex."""
        return self._open.get(bytes.fromhex(browse_id))

    @property
    def open(self) -> list[Look]:
        """The looks without an outcome, in the order in which they were noted."""
        return list(self._open.values())

    def settle(self, outcome: Outcome) -> None:
        """Say what became of all that have no outcome yet."""
        looks, self._open = self._open, {}
        for record_id in looks:
            self._settled(record_id, outcome)


_LOOKS: ContextVar[Looks | None] = ContextVar("looks", default=None)


def note(look: Look) -> None:
    """Note a look in the call that is being answered; outside of any its outcome stays unknown."""
    looks = _LOOKS.get()
    if looks is not None:
        looks.add(look)


@contextmanager
def noting(looks: Looks) -> Iterator[Looks]:
    """Note the looks of what is done within this in `looks`; what is open at its end has failed, unless it is settled later on purpose."""
    token = _LOOKS.set(looks)
    try:
        yield looks
    except BaseException:
        looks.settle(Outcome.FAILED)
        raise
    finally:
        _LOOKS.reset(token)
