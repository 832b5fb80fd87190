"""The system's clock."""

import time


class SystemClock:
    """The machine's time; it may jump: blocks never go back in time all the same."""

    def now_ms(self) -> int:
        """See Clock."""
        return time.time_ns() // 1_000_000
