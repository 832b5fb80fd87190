"""Errors of the witness.

ServiceError (runtime)
├── StoreError           what was cosigned cannot be read or written now: nothing is signed, try again
├── BusyError            other requests for the same log won each time: try again
└── WitnessKeyError      the key's folder is not what it must be: an operator has to look
"""

from services.runtime.errors import ServiceError


class StoreError(ServiceError):
    """The database cannot be read or written: full disk, lock held for too long, damage."""

    category = "store"
    retry = True


class BusyError(ServiceError):
    """Each time that a checkpoint was to be remembered, another had come before it."""

    category = "busy"
    retry = True


class WitnessKeyError(ServiceError):
    """The witness's key is missing, malformed, open to others, or without the memory that belongs to it."""

    category = "witness-key"
