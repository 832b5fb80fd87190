"""Errors of the shell that the services share.

ServiceError
├── SettingsError        a setting is missing, unknown or out of its limits: exit 2
├── EnvelopeError        a Kafka record is not one of ours: the reader stops, it never skips
├── UnavailableError     a neighbour cannot be reached now: retry in place with backoff
│   └── OutOfTimeError   it did not answer in the time that it was given, which may have been none
└── ConflictError        somebody else wrote under the same unique name first
"""

from typing import ClassVar


class ServiceError(Exception):
    """Root of the services' errors. `category` is the metric label, from a closed set; `retry` says whether to try again.

    `retry_after_s` says when a caller may be let through; 0 where that is not known.
    """

    category: ClassVar[str] = "internal"
    retry: ClassVar[bool] = False
    retry_after_s: float = 0.0


class SettingsError(ServiceError):
    """A setting is missing, unknown or out of its limits."""

    category = "settings"


class EnvelopeError(ServiceError):
    """Bytes on a topic are not a record of ours."""

    category = "envelope"


class UnavailableError(ServiceError):
    """Kafka or MongoDB cannot be reached, or did not answer in time; the outcome of a write is unknown."""

    category = "unavailable"
    retry = True


class OutOfTimeError(UnavailableError):
    """MongoDB did not answer in the time that it was given: it is away, or the caller's deadline was too short for it."""


class ConflictError(ServiceError):
    """A unique name was taken already."""

    category = "conflict"
