"""The one table by which the errors of services that show sealed records become gRPC codes (AIP-193)."""

from typing import Final

import grpc

from goodstrace.errors import VerificationError
from services.runtime.calls import COMMON_FAILURES, Failure, Failures
from services.runtime.errors import EnvelopeError
from services.sealing.browse import NotRecordedError
from services.sealing.errors import CorruptError

_CORRUPT: Final = Failure(
    grpc.StatusCode.DATA_LOSS,
    "STORED_DATA_CORRUPT",
    "what is stored is not what was sealed: tell the operator",
)
FAILURES: Final[Failures] = {
    **COMMON_FAILURES,
    NotRecordedError: Failure(
        grpc.StatusCode.UNAVAILABLE,
        "BROWSE_NOT_RECORDED",
        "the look could not be recorded, so nothing is shown: try again later",
    ),
    CorruptError: _CORRUPT,
    EnvelopeError: _CORRUPT,
    VerificationError: _CORRUPT,
}
