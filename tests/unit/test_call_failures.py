"""Every error that a call may end with has its code and one ErrorInfo, and tells the caller no cause it should not know."""

from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from goodstrace.call_failures import call_error
from goodstrace.errors import EntryError, ProofError
from services.runtime.call_errors import ExhaustedError, InvalidRequestError, NotFoundError, OutOfRangeError
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
        (ExhaustedError("as many as may be"), grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY"),
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
    info = error_details_pb2.ErrorInfo()
    assert message.details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason, "goodstrace")
    assert message.message == status.details


def test_a_request_error_names_the_field() -> None:
    error = InvalidRequestError("over 2048 characters", "key")
    status = status_of(error, failure_of(error, FAILURES))
    assert status.details == "key: over 2048 characters"
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(status.trailing_metadata[0][1]).details[0].Unpack(info)
    assert dict(info.metadata) == {"field": "key"}


def test_details_name_the_field_and_when_to_try_again() -> None:
    def details(error: Exception) -> list[str]:
        status = status_of(error, failure_of(error, FAILURES))
        return [each.type_url.rpartition(".")[2] for each in _details(status)]

    assert details(InvalidRequestError("too long", "key")) == ["ErrorInfo", "BadRequest"]
    assert details(InvalidRequestError("nothing is right")) == ["ErrorInfo"]
    assert details(OutOfRangeError("not so far yet", "cursor")) == ["ErrorInfo", "BadRequest"]
    assert details(NotFoundError("no such log", "log")) == ["ErrorInfo"]
    assert details(UnavailableError(CAUSE)) == ["ErrorInfo", "RetryInfo"]
    assert details(KeyError(CAUSE)) == ["ErrorInfo"]
    told = ExhaustedError("as many as may be")
    told.retry_after_s = 2.5
    status = status_of(told, failure_of(told, FAILURES))
    retry = error_details_pb2.RetryInfo()
    assert _details(status)[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 2500


def test_the_client_reads_them() -> None:
    class Call(grpc.RpcError):
        def __init__(self, status: Any) -> None:
            self.status = status

        def code(self) -> grpc.StatusCode:
            return self.status.code

        def details(self) -> str:
            return self.status.details

        def trailing_metadata(self) -> Any:
            return self.status.trailing_metadata

    wrong = InvalidRequestError("1 to 2048 characters, please, not 0", "key")
    error = call_error(Call(status_of(wrong, failure_of(wrong, FAILURES))))
    assert str(error) == "INVALID_ARGUMENT: key: 1 to 2048 characters, please, not 0"
    assert (error.reason, error.field, error.retry_after_s) == ("INVALID_REQUEST", "key", 0)
    away = UnavailableError(CAUSE)
    error = call_error(Call(status_of(away, failure_of(away, FAILURES))))
    assert (error.code, error.reason, error.retry_after_s) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE", 1)
    assert str(error).endswith("try again later (in 1 s)")
    plain = Call(SimpleNamespace(code=grpc.StatusCode.CANCELLED, details="", trailing_metadata=None))
    assert str(call_error(plain)) == "CANCELLED: no details"
    forged = (("grpc-status-details-bin", b"\xff\xff"),)
    plain = Call(SimpleNamespace(code=grpc.StatusCode.INTERNAL, details="x", trailing_metadata=forged))
    assert call_error(plain).reason == ""


def _details(status: grpc.Status) -> list[Any]:
    return list(status_pb2.Status.FromString(status.trailing_metadata[0][1]).details)


def test_every_code_of_the_table_is_in_the_closed_set_of_the_metrics() -> None:
    assert {failure.code for failure in (*FAILURES.values(), UNFORESEEN)} <= set(CODES)
