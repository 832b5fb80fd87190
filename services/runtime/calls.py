"""What a gRPC call can fail with, and how each failure looks to the caller: one code, one `google.rpc.ErrorInfo`.

Pure: the server's interceptor (`services.runtime.grpc`) applies it. The caller is told what to do, the log is told the
cause, and neither gets a secret. Source: google.rpc.Status and ErrorInfo (AIP-193).
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import grpc
import msgspec
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.runtime.call_errors import (
    CallError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    OutOfRangeError,
)
from services.runtime.errors import UnavailableError

ERROR_DOMAIN: Final = "goodstrace"
CODES: Final = (
    grpc.StatusCode.OK,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
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
    NotFoundError: Failure(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    OutOfRangeError: Failure(grpc.StatusCode.OUT_OF_RANGE, "OUT_OF_RANGE"),
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
    """Build the status a caller gets: code, message and one ErrorInfo with the field concerned."""
    field = error.field if isinstance(error, CallError) else ""
    info = error_details_pb2.ErrorInfo(reason=failure.reason, domain=ERROR_DOMAIN)
    if field:
        info.metadata["field"] = field
    detail = any_pb2.Any()
    detail.Pack(info)
    code = code_pb2.Code.Value(failure.code.name)
    status: grpc.Status = rpc_status.to_status(
        status_pb2.Status(code=code, message=failure.message or str(error), details=[detail])
    )
    return status
