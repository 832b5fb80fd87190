"""Repeating a call until it succeeds: how often it is called, who is told, and what ends it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime import retry
from services.runtime.errors import ConflictError, ServiceError, UnavailableError
from services.runtime.retry import StopAskedError, retried


class Call:
    """Fails so many times, with a fault of its own each time, then gives 7."""

    def __init__(self, failures: int) -> None:
        self.faults = [UnavailableError(str(number)) for number in range(failures)]
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.calls <= len(self.faults):
            raise self.faults[self.calls - 1]
        return 7


@given(st.integers(0, 6))
async def test_each_failure_is_told_of_once_and_followed_by_one_call(failures: int) -> None:
    call, told = Call(failures), list[ServiceError]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "FIRST_WAIT_S", 0.0)
        assert await retried(call, told.append) == 7
    assert call.calls == failures + 1
    assert told == call.faults


async def test_a_call_that_works_asks_nothing_of_tenacity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(retry, "AsyncRetrying")
    assert await retried(Call(0), lambda _: None) == 7


async def test_a_fault_that_does_not_pass_is_raised_at_once_whenever_it_comes() -> None:
    for faults in ([ConflictError("taken")], [UnavailableError("away"), ConflictError("taken")]):
        call, told = Call(0), list[ServiceError]()
        call.faults = faults  # type: ignore[assignment]
        with pytest.raises(ConflictError):
            await retried(call, told.append)
        assert told == faults[:-1]


async def test_a_stop_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 60.0)
    monkeypatch.setattr(retry, "LONGEST_WAIT_S", 60.0)
    stop = asyncio.Event()
    call = Call(1)
    with pytest.raises(StopAskedError):
        await retried(call, lambda _: stop.set(), stop)
    assert call.calls == 1
