"""Every error that a call may end with has its code and one ErrorInfo, and tells the caller no cause it should not know."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from goodstrace.errors import EntryError, ProofError
from services.runtime.call_errors import InvalidRequestError, NotFoundError, OutOfRangeError
from services.runtime.calls import CODES, UNFORESEEN, failure_of, status_of
from services.runtime.errors import ConflictError, EnvelopeError, UnavailableError
from services.sealing.browse import NotRecordedError
from services.sealing.errors import CorruptError
from services.sealing.failures import FAILURES

CAUSE = "mongodb://user:secret@10.0.0.1"


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (InvalidRequestError("too long", "key"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        (NotFoundError("no such log", "log"), grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        (OutOfRangeError("not so far yet", "size"), grpc.StatusCode.OUT_OF_RANGE, "OUT_OF_RANGE"),
        (UnavailableError(CAUSE), grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
        (NotRecordedError(CAUSE), grpc.StatusCode.UNAVAILABLE, "BROWSE_NOT_RECORDED"),
        (TimeoutError(CAUSE), grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (CorruptError(CAUSE), grpc.StatusCode.DATA_LOSS, "STORED_DATA_CORRUPT"),
        (EnvelopeError(CAUSE), grpc.StatusCode.DATA_LOSS, "STORED_DATA_CORRUPT"),
        (EntryError(CAUSE), grpc.StatusCode.DATA_LOSS, "STORED_DATA_CORRUPT"),
        (ProofError(CAUSE), grpc.StatusCode.DATA_LOSS, "STORED_DATA_CORRUPT"),
        (ConflictError(CAUSE), grpc.StatusCode.INTERNAL, "INTERNAL"),
        (KeyError(CAUSE), grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
def test_each_error_has_its_code_and_reason(error: Exception, code: grpc.StatusCode, reason: str) -> None:
    failure = failure_of(error, FAILURES)
    status = status_of(error, failure)
    assert status.code is code
    assert code in CODES
    assert CAUSE not in str(status.details)
    [(name, data)] = status.trailing_metadata
    assert name == "grpc-status-details-bin"
    message = status_pb2.Status.FromString(data)
    [detail] = message.details
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert (info.reason, info.domain) == (reason, "goodstrace")
    assert message.message == status.details


def test_a_request_error_names_the_field() -> None:
    error = InvalidRequestError("over 2048 characters", "key")
    status = status_of(error, failure_of(error, FAILURES))
    assert status.details == "key: over 2048 characters"
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(status.trailing_metadata[0][1]).details[0].Unpack(info)
    assert dict(info.metadata) == {"field": "key"}


def test_every_code_of_the_table_is_in_the_closed_set_of_the_metrics() -> None:
    assert {failure.code for failure in (*FAILURES.values(), UNFORESEEN)} <= set(CODES)
