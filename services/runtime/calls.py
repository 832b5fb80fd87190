"""What a gRPC call can fail with, and how each failure looks to the caller: one code, one `google.rpc.ErrorInfo`.

Beside that a `BadRequest` names the field that is wrong, and a `RetryInfo` says when to try again where that can help.
Pure: the server's interceptor (`services.runtime.grpc`) applies it. The caller is told what to do, the log is told the
cause, and neither gets a secret. Source: google.rpc.Status and its details (AIP-193).
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

import grpc
import msgspec
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from goodstrace.retrying import PUSHBACK
from services.runtime.call_errors import (
    AlreadyExistsError,
    CallError,
    ExhaustedError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    OutOfRangeError,
)
from services.runtime.errors import ServiceError, UnavailableError
from services.runtime.merchants.errors import ForbiddenError, UnauthenticatedError

ERROR_DOMAIN: Final = "goodstrace"
STOPPING: Final = "STOPPING"
"""The reason of what another process may answer at once."""
_RETRY_S: Final = 1.0
_RETRIED: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_AT_A_FIELD: Final = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE)
CODES: Final = (
    grpc.StatusCode.OK,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.INTERNAL,
)
"""Every code that a call of ours ends with: the closed set of the metrics' label."""


class Failure(msgspec.Struct, frozen=True):
    """How a type of error is answered: `reason` is the ErrorInfo's; `message` is for the caller, empty for the error's own."""

    code: grpc.StatusCode
    reason: str
    message: str = ""


Failures = Mapping[type[BaseException], Failure]

COMMON_FAILURES: Final[Failures] = {
    InvalidRequestError: Failure(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    NotAllowedError: Failure(grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED"),
    UnauthenticatedError: Failure(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    ForbiddenError: Failure(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
    NotFoundError: Failure(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    AlreadyExistsError: Failure(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"),
    OutOfRangeError: Failure(grpc.StatusCode.OUT_OF_RANGE, "OUT_OF_RANGE"),
    ExhaustedError: Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY"),
    UnavailableError: Failure(
        grpc.StatusCode.UNAVAILABLE,
        "DEPENDENCY_UNAVAILABLE",
        "a part of the service cannot be reached: try again later",
    ),
    asyncio.TimeoutError: Failure(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "DEADLINE_EXCEEDED",
        "the call took longer than its deadline allows",
    ),
}
UNFORESEEN: Final = Failure(grpc.StatusCode.INTERNAL, "INTERNAL", "the service failed; its log says why")


def failure_of(error: BaseException, failures: Failures) -> Failure:
    """Find how an error is answered: by its type or the nearest base type in the table, else as INTERNAL."""
    return next((failures[each] for each in type(error).__mro__ if each in failures), UNFORESEEN)


def status_of(error: BaseException, failure: Failure) -> grpc.Status:
    """Build the status a caller gets: code, message, an ErrorInfo, and a BadRequest and a RetryInfo where they say something."""
    details = []
    for each in _details(error, failure):
        packed = any_pb2.Any()
        packed.Pack(each)
        details.append(packed)
    code = code_pb2.Code.Value(failure.code.name)
    status: grpc.Status = rpc_status.to_status(
        status_pb2.Status(code=code, message=failure.message or str(error), details=details)
    )
    return status


def metadata_of(status: grpc.Status, failure: Failure) -> tuple[tuple[str, str | bytes], ...]:
    """Give what is sent behind a failed call: its details, and for what another attempt at once does not mend that gRPC shall not make it.

    A client tries again by itself where no service answered (`goodstrace.retrying`). Where a neighbour is away each attempt would only wait for it again.
    """
    told = tuple(status.trailing_metadata or ())
    waits = failure.code is grpc.StatusCode.UNAVAILABLE and failure.reason != STOPPING
    return (*told, (PUSHBACK, "-1")) if waits else told


def _details(error: BaseException, failure: Failure) -> Iterator[Message]:
    field = error.field if isinstance(error, CallError) else ""
    reason = (error.reason if isinstance(error, CallError) else "") or failure.reason
    info = error_details_pb2.ErrorInfo(reason=reason, domain=ERROR_DOMAIN)
    if field:
        info.metadata["field"] = field
    yield info
    if isinstance(error, CallError) and field and failure.code in _AT_A_FIELD:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=error.problem)
        yield error_details_pb2.BadRequest(field_violations=[violation])
    if isinstance(error, CallError):
        yield from error.details
    if failure.code in _RETRIED:
        told_s = error.retry_after_s if isinstance(error, ServiceError) else 0.0
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(1000 * (told_s or _RETRY_S)))
        yield error_details_pb2.RetryInfo(retry_delay=delay)
