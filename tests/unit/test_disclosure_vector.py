"""The checkpoints an answer is made from: of logs of one kind alone, whatever sizes a caller or a token names."""

from typing import Any

import pytest

from services.runtime.call_errors import InvalidRequestError, NotFoundError
from services.sealing.disclosure import exactly, vector
from tests.unit.epcis_builders import MemoryLogs


class Signed(MemoryLogs):
    """Has a checkpoint of every log, of looks too."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked: list[str] = []

    async def checkpoint(self, log: str, size: int) -> Any:
        del size
        self.asked.append(log)
        raise AssertionError("it must not be looked for")


async def test_a_log_of_another_kind_is_in_no_vector() -> None:
    reader: Any = Signed()
    with pytest.raises(InvalidRequestError, match="not those of these logs"):
        await vector(reader, "goods", page={"browse/0": 5})
    with pytest.raises(NotFoundError):
        await vector(reader, "goods", as_of={"browse/0": 5})
    assert await exactly(reader, "goods", {"browse/0": 5}) is None
    assert not reader.asked
