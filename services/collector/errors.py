"""Errors of the collector.

DocumentError            what was sent is no document of events, or breaks a limit: 4xx, nothing kept
KeyReusedError           an Idempotency-Key came before with another request: 422, nothing kept
KeyBusyError             the request of an Idempotency-Key is still under way: 409, try again
ServiceError (runtime)
├── BookError            a table of steps or a file of rules is none: exit 2, or what the rule author is told
├── OverloadedError      too much waits to be captured: 503, try again
├── HinderedError        a rejection cannot be sent again: 409, and why
├── FaultyReleaseError   the stages fail over records of our own: stop before anything is committed
├── UnregisteredError    whose the ingress is cannot capture: wait
└── OffsetsLostError     Kafka forgot how far a stage had come: stop, never start over
"""

import msgspec

from services.runtime.errors import ServiceError


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with what was sent and where.

    `pointer` is an RFC 6901 JSON pointer from the top of the document; `event` the number of the event that the fault is in,
    from 0, None where it is in none.
    """

    pointer: str
    detail: str
    event: int | None = None

    def under(self, prefix: str) -> "Fault":
        """Give the same fault seen from further up: `prefix` is the pointer of what it was found in."""
        return Fault(prefix + self.pointer, self.detail, self.event)


class DocumentError(Exception):
    """What was sent cannot be captured.

    `too_large`: it is a limit of size that it breaks. `forbidden`: it is sound, and not the caller's to say. `ours`: the program failed over it.
    """

    def __init__(
        self, *faults: Fault, too_large: bool = False, forbidden: bool = False, ours: bool = False
    ) -> None:
        """Hold at least one fault."""
        super().__init__(f"{faults[0].pointer}: {faults[0].detail}")
        self.faults = faults
        self.too_large = too_large
        self.forbidden = forbidden
        self.ours = ours


class BookError(ServiceError):
    """A file is no table of steps or no set of rules that the stages could go by."""

    category = "settings"


class KeyReusedError(Exception):
    """An Idempotency-Key was used before, for another request."""


class KeyBusyError(Exception):
    """The request that an Idempotency-Key stands for has not ended; `retry_after_s` says when to ask again."""

    def __init__(self, retry_after_s: int) -> None:
        """Say how long to wait."""
        super().__init__(f"under way: ask again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class OverloadedError(ServiceError):
    """More waits to be captured than the settings allow."""

    category = "overloaded"
    retry = True


class HinderedError(ServiceError):
    """A rejection cannot be sent again as it was asked; the text says why, for the caller."""

    category = "hindered"


class FaultyReleaseError(ServiceError):
    """The stages of this release fail over records of our own, so they would over those of everybody: run the release before."""

    category = "faulty-release"


class UnregisteredError(ServiceError):
    """Whose the ingress is cannot capture: not registered yet, or suspended. What comes waits."""

    category = "unregistered"
    retry = True


class OffsetsLostError(ServiceError):
    """A stage's committed offsets are gone although it has produced before: starting over would seal events twice."""

    category = "offsets-lost"
