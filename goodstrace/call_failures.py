"""What a failed gRPC call says: its code and message, and the details that the services put beside them.

Source: google.rpc.Status with ErrorInfo, BadRequest and RetryInfo (AIP-193). Nothing of it is proved, and nothing is believed:
it only makes a message.
"""

from __future__ import annotations

from typing import Final, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from goodstrace.errors import CallError

DETAILS: Final = "grpc-status-details-bin"
_M = TypeVar("_M", bound=Message)


def call_error(error: grpc.RpcError) -> CallError:
    """Make our error of a failed call: what is wrong, in which field, and when to try again."""
    call = cast("grpc.Call", error)  # what a call raises is both
    status = _status(call)
    info = _detail(status, error_details_pb2.ErrorInfo())
    request = _detail(status, error_details_pb2.BadRequest())
    retry = _detail(status, error_details_pb2.RetryInfo())
    retry_s = retry.retry_delay.ToMilliseconds() / 1000
    message = call.details() or "no details"
    if retry_s > 0:
        message += f" (in {retry_s:g} s)"
    return CallError(
        call.code().name,
        message,
        reason=info.reason,
        field=next((each.field for each in request.field_violations), info.metadata.get("field", "")),
        retry_after_s=retry_s,
    )


def detail_of(error: grpc.RpcError, kind: _M) -> _M:
    """Give the first detail of a kind that a failed call carries; `kind` as it is, an empty one, where there is none."""
    return _detail(_status(cast("grpc.Call", error)), kind)


def _status(call: grpc.Call) -> status_pb2.Status:
    data = next((value for key, value in call.trailing_metadata() or () if key == DETAILS), b"")
    try:
        return status_pb2.Status.FromString(data if isinstance(data, bytes) else b"")
    except DecodeError:
        return status_pb2.Status()


def _detail(status: status_pb2.Status, kind: _M) -> _M:
    """Give the first detail of a kind, an empty one where there is none."""
    try:
        any(each.Unpack(kind) for each in status.details)
    except DecodeError:
        kind.Clear()
    return kind
