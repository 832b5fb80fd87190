"""Guards for tests of what stands behind one: they let everybody through, or as whom the test says."""

from collections.abc import Sequence

from services.runtime.access.authenticator import Everybody, Headers, Known
from services.runtime.access.guard import Guard
from services.runtime.access.values import Principal


def open_guard(service: str = "query") -> Guard:
    """A guard where accounts are off."""
    return Guard(service, Everybody(), lambda _refusal: None)


class Always:
    """Authentication that always tells the same: `who` may be changed."""

    def __init__(self, who: Principal) -> None:
        self.who = who

    async def known(self, headers: Headers, certificate_names: Sequence[str] = ()) -> Known:
        del headers, certificate_names
        return Known(self.who, self._again)

    async def _again(self) -> Principal:
        return self.who
