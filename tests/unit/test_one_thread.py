"""One thread: calls in their order, in the same thread, and the loop free meanwhile."""

import threading

import pytest

from services.runtime.threads import OneThread


async def test_calls_are_made_in_their_order_in_one_thread() -> None:
    thread, made = OneThread("own"), list[tuple[int, str]]()
    let = threading.Event()

    def call(number: int) -> int:
        let.wait(5)
        made.append((number, threading.current_thread().name))
        return number

    begun = [thread.run(call, number) for number in range(3)]
    let.set()  # reached while the first call waits for it
    assert [await each for each in begun] == [0, 1, 2]
    assert [number for number, _ in made] == [0, 1, 2]
    [name] = {name for _, name in made}
    assert name.startswith("own")
    thread.close()


async def test_an_error_is_that_of_its_call_alone() -> None:
    thread = OneThread("own")
    failing, after = thread.run(int, "none"), thread.run(int, "7")
    with pytest.raises(ValueError, match="none"):
        await failing
    assert await after == 7
    thread.close()
