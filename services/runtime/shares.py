"""Shares of what there are only some of at a time: one caller who takes all that they get leaves the rest to others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from services.runtime.access.current import principal
from services.runtime.access.values import NOBODY, Principal
from services.runtime.call_errors import ExhaustedError


class Shares:
    """How many each caller has under way, of one kind of calls, in this process. Not for threads."""

    def __init__(self, most: int, share: float, what: str) -> None:
        """Let each caller have a `share` (over 0, up to 1) of `most`, rounded down but at least one; `what` they are, in words for callers."""
        self._each, self._what = max(1, int(most * share)), what
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Count what goes on within as the caller's, be it at work or waiting for its turn.

        Where accounts are off callers cannot be told apart, and nobody has a share.

        Raises: ExhaustedError where they have their share already.
        """
        caller = caller_of(principal())
        if not caller:
            yield
            return
        if self._taken[caller] >= self._each:
            raise ExhaustedError(
                f"you have {self._each} {self._what} under way, as many as one caller may have: end one of them, or try again later"
            )
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]  # else as many would be remembered as ever called


def caller_of(who: Principal) -> str:
    """Tell callers apart: accounts by their IDs, others by the names that records have for them; "" for nobody in particular."""
    if who.account:
        return f"account {who.account}"
    return "" if who.name == NOBODY.name else f"name {who.name}"
