"""What is answered where an EPCIS query cannot be: one status, one exception of the standard, one RFC 7807 problem. Pure.

QueryProblemError(CallError)   the caller's fault, with the status and the standard's name of it
├── ParameterError             400 QueryParameterException: a parameter is unknown, not supported or not as it must be
├── NotAcceptableError         406 NotAcceptableException: a form is asked for in which nothing is shown
├── TooComplexError            413 QueryTooComplexException: there is no index by which this could be answered
├── NotPermittedError          403 SubscribeNotPermittedException: as many as may be are there already, or whose it is cannot be told, or it must be its owner
├── ExistsError                409 ResourceAlreadyExistsException: the name is taken
├── InUseError                 409 QueryInUseException: it has subscriptions, or another call changes it at this moment
├── TooLargeError              413 QueryTooLargeException: more events than the caller, or the service, allows
└── TooLongError               414 URITooLongException: the query string is over its limit

DamagedError(CorruptError)     500 ImplementationException: what is stored of a named query or subscription cannot be read; of it alone, and it can be removed

Source: EPCIS 2.0 section 12.6 and its OpenAPI; RFC 7807.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

import grpc
import msgspec

from goodstrace.errors import EventContentError
from services.runtime.call_errors import CallError
from services.runtime.calls import Failure, Failures
from services.sealing.errors import CorruptError
from services.sealing.failures import FAILURES

PROBLEM_TYPE: Final = "application/problem+json"


class QueryProblemError(CallError):
    """A query that cannot be answered as it is."""

    status: ClassVar[int] = 400
    kind: ClassVar[str] = "QueryValidationException"


class ParameterError(QueryProblemError):
    """A parameter is unknown, not supported here, or its value is not as it must be; `field` names it."""

    kind = "QueryParameterException"


class NotAcceptableError(QueryProblemError):
    """A header asks for a form in which nothing is shown."""

    status = 406
    kind = "NotAcceptableException"


class TooComplexError(QueryProblemError):
    """Answering would need the whole log read."""

    status = 413
    kind = "QueryTooComplexException"


class NotPermittedError(QueryProblemError):
    """As many queries or subscriptions as may be are there already, it cannot be told whose one would be, or it is for the owner alone."""

    status = 403
    kind = "SubscribeNotPermittedException"


class ExistsError(QueryProblemError):
    """There is something of this name already."""

    status = 409
    kind = "ResourceAlreadyExistsException"


class InUseError(QueryProblemError):
    """It has subscriptions, which have to go first, or another call changes it at this moment."""

    status = 409
    kind = "QueryInUseException"


class TooLargeError(QueryProblemError):
    """More events match than may."""

    status = 413
    kind = "QueryTooLargeException"


class TooLongError(QueryProblemError):
    """The query string is over its limit."""

    status = 414
    kind = "URITooLongException"


class DamagedError(CorruptError):
    """A named query's or subscription's document in the store cannot be read, since it was damaged or a later release wrote it."""


DAMAGED_SAYS: Final = "what is stored of it is damaged: tell the operator, or remove it and make another one"
"""What its owner is told of such a one, wherever it is met."""
QUERY_FAILURES: Final[Failures] = {
    **FAILURES,
    DamagedError: msgspec.structs.replace(FAILURES[CorruptError], message=DAMAGED_SAYS),
    EventContentError: FAILURES[CorruptError],  # what was captured was read before
    QueryProblemError: Failure(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
}
_ANSWERED_AS: Final[Mapping[grpc.StatusCode, tuple[int, str]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (400, "QueryParameterException"),
    grpc.StatusCode.UNAUTHENTICATED: (401, "SecurityException"),
    grpc.StatusCode.PERMISSION_DENIED: (403, "SecurityException"),
    grpc.StatusCode.NOT_FOUND: (404, "NoSuchResourceException"),
    grpc.StatusCode.OUT_OF_RANGE: (400, "QueryParameterException"),
    grpc.StatusCode.UNAVAILABLE: (503, "ImplementationException"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (503, "ImplementationException"),
}
_FAILED: Final = (500, "ImplementationException")


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An RFC 7807 problem; `parameter` is ours: the name of the parameter or header concerned."""

    type: str
    title: str
    status: int
    detail: str
    parameter: str = ""


def problem(status: int, kind: str, detail: str, parameter: str = "") -> Problem:
    """Make a problem of one of the standard's exceptions."""
    return Problem(f"epcisException:{kind}", kind, status, detail, parameter)


def problem_of(error: BaseException, failure: Failure) -> Problem:
    """Say how an error looks to the caller: what to do, never the cause of a fault of ours."""
    if isinstance(error, QueryProblemError):
        status, kind = error.status, error.kind
    else:
        status, kind = _ANSWERED_AS.get(failure.code, _FAILED)
    field = error.field if isinstance(error, CallError) else ""
    return problem(status, kind, failure.message or str(error), field)
