"""Refusals over HTTP: the only table from errors to statuses, and the only place that writes RFC 7807 problems.

A problem says what is wrong and where: `errors` has the faults of what was sent, each with its JSON pointer and the number of its
event; `header` or `parameter` names what else it was.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi.responses import JSONResponse

from services.collector.errors import DocumentError, Fault, HinderedError, KeyBusyError, KeyReusedError
from services.collector.headers import KEY_HEADER, RefusedHeaderError
from services.runtime.call_errors import InvalidRequestError, NotFoundError
from services.runtime.epcis_negotiation import ANSWERED
from services.runtime.errors import ServiceError
from services.runtime.kafka import OffsetGapError
from services.runtime.merchants.errors import (
    ForbiddenError,
    RateLimitedError,
    TakenError,
    UnauthenticatedError,
    UnknownError,
)

PROBLEM_TYPE: Final = "application/problem+json"
MAX_FAULTS: Final = 100
RETRY_AFTER_S: Final = 2
VALIDATION: Final = "ValidationException"
TOO_LARGE: Final = "CaptureLimitExceededException"
NO_SUCH: Final = "NoSuchResourceException"
SECURITY: Final = "SecurityException"


class BodyTooLargeError(Exception):
    """The body is over the limit: reading was given up."""


class BodyTooSlowError(Exception):
    """The body did not come in time."""


class Problem(msgspec.Struct, frozen=True):
    """A refusal: RFC 7807 members, the faults, and the request's header or parameter that is concerned."""

    status: int
    kind: str
    detail: str
    faults: tuple[Fault, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    header: str = ""
    parameter: str = ""

    def told(self) -> dict[str, Any]:
        """Give the problem as JSON."""
        content: dict[str, Any] = {
            "type": f"epcisException:{self.kind}",
            "title": self.kind,
            "status": self.status,
            "detail": self.detail,
        }
        if self.faults:
            content["errors"] = [_told(fault) for fault in self.faults[:MAX_FAULTS]]
        named = {"header": self.header, "parameter": self.parameter}
        return content | {name: text for name, text in named.items() if text}

    def response(self, headers: Mapping[str, str] | None = None) -> JSONResponse:
        """Answer with it."""
        return JSONResponse(
            self.told(), self.status, {**ANSWERED, **(headers or {}), **dict(self.headers)}, PROBLEM_TYPE
        )


def of_error(error: Exception) -> Problem | None:
    """Say how an error is answered; None for one that is no refusal but a defect."""
    for kind, make in _TABLE:
        if isinstance(error, kind):
            return make(error)
    return None


def of_status(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """Say how a status that no error of ours stands for is answered: a path or method that is not there."""
    kind = NO_SUCH if status == HTTPStatus.NOT_FOUND else HTTPStatus(status).phrase.replace(" ", "")
    return Problem(status, kind, detail, headers=tuple((headers or {}).items()))


def summary(faults: Sequence[Fault]) -> str:
    """Say in one line what the first fault is, and how many more there are."""
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{first.pointer or 'the document'}: {first.detail}{more}"


def _told(fault: Fault) -> dict[str, Any]:
    told: dict[str, Any] = {"pointer": fault.pointer, "detail": fault.detail}
    return told if fault.event is None else {**told, "event": fault.event}


def _of_document(error: DocumentError) -> Problem:
    status, kind = (403, SECURITY) if error.forbidden else (400, VALIDATION)
    if error.too_large:
        status, kind = 413, TOO_LARGE
    return Problem(status, kind, summary(error.faults), faults=error.faults)


def _of_header(error: RefusedHeaderError) -> Problem:
    return Problem(error.status, error.kind, error.detail, headers=tuple(error.headers), header=error.header)


def _of_busy_key(error: KeyBusyError) -> Problem:
    detail = "the first request of the key is still under way; nothing was captured twice"
    wait = (("Retry-After", str(error.retry_after_s)),)
    return Problem(409, "IdempotencyKeyBusy", detail, headers=wait, header=KEY_HEADER)


def _of_reused_key(_error: KeyReusedError) -> Problem:
    detail = "the key came before with another request; nothing was captured"
    return Problem(422, "IdempotencyKeyReused", detail, header=KEY_HEADER)


def _of_unauthenticated(error: UnauthenticatedError) -> Problem:
    """Source: RFC 6750 section 3."""
    fault = ', error="invalid_token"' if error.invalid else ""
    wanted = (("WWW-Authenticate", f'Bearer realm="goodstrace"{fault}'),)
    return Problem(401, SECURITY, str(error), headers=wanted)


def _of_rate(error: RateLimitedError) -> Problem:
    """Source: RFC 6585 section 4."""
    wait = (("Retry-After", str(max(1, math.ceil(error.retry_after_s)))),)
    return Problem(429, "TooManyRequests", str(error), headers=wait)


def _of_gap(_error: OffsetGapError) -> Problem:
    return Problem(410, "Gone", "Kafka no longer has the record: its retention was shortened")


def _of_service(error: ServiceError) -> Problem:
    wait = (("Retry-After", str(RETRY_AFTER_S)),)
    return Problem(
        503, "ImplementationException", f"cannot do that now ({error.category}): try again", headers=wait
    )


_TABLE: Final[tuple[tuple[type[Exception], Callable[[Any], Problem]], ...]] = (
    (DocumentError, _of_document),
    (RefusedHeaderError, _of_header),
    (BodyTooLargeError, lambda _: Problem(413, TOO_LARGE, "the body is over the limit")),
    (BodyTooSlowError, lambda _: Problem(408, "RequestTimeout", "the body did not come in time")),
    (KeyReusedError, _of_reused_key),
    (KeyBusyError, _of_busy_key),
    (InvalidRequestError, lambda error: Problem(400, VALIDATION, str(error), parameter=error.field)),
    (UnauthenticatedError, _of_unauthenticated),
    (ForbiddenError, lambda error: Problem(403, SECURITY, str(error))),
    (UnknownError, lambda error: Problem(404, NO_SUCH, str(error))),
    (NotFoundError, lambda error: Problem(404, NO_SUCH, str(error))),
    (TakenError, lambda error: Problem(409, "ResourceAlreadyExistsException", str(error))),
    (HinderedError, lambda error: Problem(409, "NotResubmittable", str(error))),
    (RateLimitedError, _of_rate),
    (OffsetGapError, _of_gap),
    (ServiceError, _of_service),  # after those that are its kind
)
