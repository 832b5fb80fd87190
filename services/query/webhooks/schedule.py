"""When a delivery that failed is tried again: exponential backoff with full jitter. Pure but for the jitter."""

from typing import Any, Final

from tenacity import RetryCallState, wait_random_exponential

LEAST_S: Final = 0.5
_RETRYING: Final[Any] = None  # the state is made for its number alone


def wait_s(failures: int, longest_s: float, told_s: float = 0.0) -> float:
    """Give after how many seconds to try again.

    Args:
        failures: how often it failed without a success in between, at least 1.
        longest_s: the longest wait.
        told_s: what the receiver said by `Retry-After`, 0 where it said nothing.
    """
    state = RetryCallState(_RETRYING, None, (), {})
    state.attempt_number = failures
    drawn_s = wait_random_exponential(multiplier=1, max=longest_s, min=min(LEAST_S, longest_s))(state)
    return min(longest_s, max(drawn_s, told_s))
