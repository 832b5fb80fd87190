"""Repeating a call: until it works, not where that is in vain, and no longer than a stop."""

import asyncio
import random

import pytest

from services.runtime import retry
from services.runtime.errors import ConflictError, ServiceError, UnavailableError
from services.runtime.retry import StopAskedError, retried


class Calls:
    """Fails as many times as it is told, and then answers."""

    def __init__(self, *faults: ServiceError) -> None:
        self._faults = list(faults)
        self.noticed: list[ServiceError] = []

    async def __call__(self) -> str:
        if self._faults:
            raise self._faults.pop(0)
        return "done"


@pytest.fixture
def ceilings(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note up to how long each wait may be, and wait for nothing."""
    noted: list[float] = []

    def drawn(_least_s: float, most_s: float) -> float:
        noted.append(most_s)
        return 0.0

    monkeypatch.setattr(random, "uniform", drawn)
    return noted


async def test_a_call_that_works_is_made_once(ceilings: list[float]) -> None:
    calls = Calls()
    assert await retried(calls, calls.noticed.append) == "done"
    assert calls.noticed == ceilings == []


async def test_waits_grow_up_to_the_longest(ceilings: list[float]) -> None:
    faults = [UnavailableError(str(number)) for number in range(8)]
    calls = Calls(*faults)
    assert await retried(calls, calls.noticed.append, asyncio.Event()) == "done"
    assert calls.noticed == faults
    assert ceilings == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, retry.LONGEST_WAIT_S, retry.LONGEST_WAIT_S]


async def test_what_a_retry_does_not_mend_is_raised_at_once(ceilings: list[float]) -> None:
    calls = Calls(UnavailableError("away"), ConflictError("for good"))
    with pytest.raises(ConflictError):
        await retried(calls, calls.noticed.append)
    assert [str(each) for each in calls.noticed] == ["away"]
    assert len(ceilings) == 1


async def test_a_stop_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 3600.0)
    stop = asyncio.Event()
    calls = Calls(UnavailableError("away"))

    def noticed(_: ServiceError) -> None:
        asyncio.get_running_loop().call_soon(stop.set)

    with pytest.raises(StopAskedError):
        await retried(calls, noticed, stop)
