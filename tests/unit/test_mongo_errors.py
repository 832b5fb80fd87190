"""What a bulk write's faults become: a taken name, or an outcome that is not known."""

from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from services.runtime.errors import ConflictError, OutOfTimeError, UnavailableError
from services.runtime.mongo import translated

DUPLICATE = {"code": 11000, "index": 0}


@pytest.mark.parametrize(
    ("details", "becomes"),
    [
        ({"writeErrors": [DUPLICATE]}, ConflictError),
        ({"writeErrors": [DUPLICATE], "writeConcernErrors": [{"code": 64}]}, UnavailableError),
        ({"writeErrors": [DUPLICATE, {"code": 8, "index": 1}]}, UnavailableError),
        ({"writeErrors": [], "writeConcernErrors": [{"code": 64}]}, UnavailableError),
    ],
)
async def test_a_bulk_write_is_a_conflict_only_when_all_else_is_durable(
    details: dict[str, Any], becomes: type[Exception]
) -> None:
    with pytest.raises(becomes):
        async with translated():
            raise BulkWriteError(details)


async def test_a_store_that_is_away_is_told_without_the_state_of_the_driver() -> None:
    with pytest.raises(OutOfTimeError) as caught:
        async with translated():
            raise ServerSelectionTimeoutError(
                "127.0.0.1:1: [Errno 111] Connection refused (configured timeouts: socketTimeoutMS: 20000.0ms, "
                "connectTimeoutMS: 20000.0ms), Timeout: 9.99s, Topology Description: <TopologyDescription id: 6b03>"
            )
    assert str(caught.value) == "MongoDB: 127.0.0.1:1: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (ExecutionTimeout("operation would exceed time limit"), OutOfTimeError),
        (NetworkTimeout("timed out"), OutOfTimeError),
        (AutoReconnect("connection closed"), UnavailableError),
    ],
)
async def test_time_that_was_up_is_told_from_a_store_that_is_away(
    error: PyMongoError, becomes: type[Exception]
) -> None:
    with pytest.raises(UnavailableError) as caught:
        async with translated():
            raise error
    assert type(caught.value) is becomes
