"""Errors of the index witness.

ServiceError (runtime)
├── NotYetError          a leaf is not verified yet, or what it covers cannot be read: nothing is signed, ask again
└── IndexWrongError      a leaf is not what the logs' entries give: it is never signed
"""

from services.runtime.errors import ServiceError


class NotYetError(ServiceError):
    """A leaf could not be verified by now."""

    category = "index-not-yet"
    retry = True


class IndexWrongError(ServiceError):
    """A leaf says what the entries that it covers do not give."""

    category = "index-wrong"
