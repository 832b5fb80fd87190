"""Errors of the collector.

DocumentError            what was sent is no document of events, or breaks a limit: 4xx, nothing kept
ServiceError (runtime)
├── OverloadedError      too much waits to be captured: 503, try again
└── OffsetsLostError     Kafka forgot how far a stage had come: stop, never start over
"""

import msgspec

from services.runtime.errors import ServiceError


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with what was sent and where: `pointer` is an RFC 6901 JSON pointer from the top of the document."""

    pointer: str
    detail: str

    def under(self, prefix: str) -> "Fault":
        """Give the same fault seen from further up: `prefix` is the pointer of what it was found in."""
        return Fault(prefix + self.pointer, self.detail)


class DocumentError(Exception):
    """What was sent cannot be captured.

    `too_large`: it is a limit of size that it breaks. `forbidden`: it is sound, and not the caller's to say.
    """

    def __init__(self, *faults: Fault, too_large: bool = False, forbidden: bool = False) -> None:
        """Hold at least one fault."""
        super().__init__(f"{faults[0].pointer}: {faults[0].detail}")
        self.faults = faults
        self.too_large = too_large
        self.forbidden = forbidden


class OverloadedError(ServiceError):
    """More waits to be captured than the settings allow."""

    category = "overloaded"
    retry = True


class OffsetsLostError(ServiceError):
    """A stage's committed offsets are gone although it has produced before: starting over would seal events twice."""

    category = "offsets-lost"
