"""Renewals in memory, as `RenewalStore` keeps them, with calls that can be told to fail before or after they are done."""

from collections.abc import Collection, Mapping

import msgspec

from services.collector.renewals import Renewal, Renewed, begun
from services.runtime.errors import ConflictError, UnavailableError


class Failing:
    """Counts calls, and fails one of them: not done (`is_done` False), or done with the answer lost."""

    def __init__(self) -> None:
        """Fail none."""
        self.calls, self.at, self.is_done = 0, 0, False

    def before(self) -> None:
        """Count a call; fail it where it shall not be done."""
        self.calls += 1
        if self.calls == self.at and not self.is_done:
            raise UnavailableError("not done")

    def after(self) -> None:
        """Fail the call where its answer shall be lost."""
        if self.calls == self.at and self.is_done:
            raise UnavailableError("done, but the answer was lost")


class MemoryRenewals:
    """Keeps them."""

    def __init__(self, failing: Failing | None = None) -> None:
        """Begin with none."""
        self.kept: dict[Renewed, Renewal] = {}
        self._failing = failing or Failing()
        self._stamps = 0

    async def find(self, logs: Collection[str] | None) -> list[Renewal]:
        """See RenewalStore."""
        self._failing.before()
        found = [each for _, each in sorted(self.kept.items()) if logs is None or each.log in logs]
        self._failing.after()
        return sorted(found, key=lambda each: each.merchant)

    async def add(self, firsts: Mapping[Renewed, int]) -> None:
        """See RenewalStore."""
        self._failing.before()
        for of, first_ms in firsts.items():
            self._put(begun(self.kept.get(of), of, first_ms))
        self._failing.after()

    async def advance(self, seen: Renewal, following: Renewal | None) -> Renewal | None:
        """See RenewalStore."""
        self._failing.before()
        known = self.kept.get(seen.of)
        if known is None or known.stamp != seen.stamp:
            raise ConflictError("changed by another")
        if following is None:
            del self.kept[seen.of]
        else:
            following = self._put(following)
        self._failing.after()
        return following

    def _put(self, renewal: Renewal) -> Renewal:
        self._stamps += 1
        self.kept[renewal.of] = msgspec.structs.replace(renewal, stamp=str(self._stamps))
        return self.kept[renewal.of]
