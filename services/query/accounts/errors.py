"""What is refused here beside the errors of calls.

ExhaustedError
├── LockedError        too many failures in a row from there: wait
├── ChallengedError    work first: the `Challenge` is a detail
└── BusyError          as many passwords as may wait to be hashed do
UnauthenticatedError   for whatever somebody showed who is not let in: one text for all of it
"""

from pathlib import Path
from typing import ClassVar, Final

from goodstrace.query.v1 import login_pb2
from services.runtime.call_errors import ExhaustedError
from services.runtime.errors import ServiceError
from services.runtime.merchants.errors import UnauthenticatedError

REFUSED: Final = "name, password or code do not count here"


class LockedError(ExhaustedError):
    """Too many failures in a row, from this network or device."""

    reason: ClassVar[str] = "LOCKED"

    def __init__(self, wait_s: float) -> None:
        """Say for how long."""
        super().__init__(f"too many attempts have failed from there: try again in {wait_s:.0f} s")
        self.retry_after_s = wait_s


class ChallengedError(ExhaustedError):
    """Many try for this account, or from this network, or at all, or the network is blocked: whoever is not known must work for each attempt.

    for_block: the network is blocked, whatever else there is.
    """

    reason: ClassVar[str] = "CHALLENGE"

    def __init__(self, challenge: str, zero_bits: int, *, for_block: bool = False) -> None:
        """Give the work."""
        self.for_block = for_block
        super().__init__("solve the challenge, and try again with its solution")
        self.details = (login_pb2.Challenge(challenge=challenge, zero_bits=zero_bits),)
        self.retry_after_s = 0.001


class BusyError(ExhaustedError):
    """Too many passwords wait to be hashed; the attempt was not counted."""

    reason: ClassVar[str] = "BUSY"


class KeysError(ServiceError):
    """The keys that sign access tokens cannot be used as they are: the text says what to do."""

    category = "login-keys"


class ReadOnlyError(KeysError):
    """The key set cannot be written where it lies, as in a mounted ConfigMap: whoever put it there has to put `wanted` there."""

    def __init__(self, path: Path, wanted: bytes) -> None:
        """Say which file is not what it should be."""
        super().__init__(f"{path} is read-only, and is not the public keys as they are now: put them there")
        self.wanted = wanted


def refused() -> UnauthenticatedError:
    """Make the one answer to whoever is not let in, whatever was wrong."""
    return UnauthenticatedError(REFUSED)
