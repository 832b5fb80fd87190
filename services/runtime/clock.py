"""The time of day, which whoever depends on it is given as `now_ms`."""

import time


def now_ms() -> int:
    """Tell the machine's time, Unix milliseconds. It may jump, also backwards."""
    return time.time_ns() // 1_000_000
