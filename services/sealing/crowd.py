"""Which of many refusals have a record each, and how the others are counted together: who knocks without end shall hide nobody else.

A second has `EACH_S` records of their own. `NETWORK_S` of them are for one network and outcome, and `NOBODY_S` for refusals that name nobody: these cost
their maker nothing, where a wrong password costs a hash. The others are counted by operation, outcome and network, and told of every `TOGETHER_S`: those of which there
are most with their network, `APART` that name somebody and `APART` that do not, the rest without. So a process makes at the most
`EACH_S` records a second, and every `TOGETHER_S` 2 x `APART` + `OPERATIONS` + one for each outcome.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

EACH_S: Final = 10
NETWORK_S: Final = 5
NOBODY_S: Final = 5
APART: Final = 8
OPERATIONS: Final = 5
TOGETHER_S: Final = 10.0
MAX_KINDS: Final = 1024  # counted apart, of either sort; a network is in a record only if it was


class Kind(NamedTuple):
    """What refusals that are counted together have in common. network, operation: empty for any; names_somebody: whether each was of somebody known."""

    outcome: str
    operation: str
    network: str
    names_somebody: bool


class Crowd:
    """Refusals of one process, by kind."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        """Count by the seconds of `clock_s`, which never goes back."""
        self._clock_s = clock_s
        self._second, self._in_second, self._of_nobody = 0, 0, 0
        self._of_network: Counter[tuple[str, str]] = Counter()
        self._joined: dict[bool, Counter[Kind]] = {True: Counter(), False: Counter()}

    def has_own(self, kind: Kind) -> bool:
        """Say whether a refusal that came now has a record of its own, and count it if so; else it is to be joined."""
        second = int(self._clock_s())
        if second != self._second:
            self._second, self._in_second, self._of_nobody = second, 0, 0
            self._of_network.clear()
        by = (kind.network, kind.outcome)
        if (
            self._in_second >= EACH_S
            or self._of_network[by] >= NETWORK_S
            or (not kind.names_somebody and self._of_nobody >= NOBODY_S)
        ):
            return False
        self._in_second += 1
        self._of_nobody += not kind.names_somebody
        self._of_network[by] += 1
        return True

    def join(self, kind: Kind, times: int = 1) -> None:
        """Count refusals of a kind with the others of it."""
        joined = self._joined[kind.names_somebody]
        if kind not in joined and len(joined) >= MAX_KINDS:
            kind = Kind(kind.outcome, "", "", kind.names_somebody)
        joined[kind] += times

    def taken(self) -> list[tuple[Kind, int]]:
        """Take what was joined, and how often, as it is to be recorded: sorted by kind, in the numbers that the module states."""
        apart: Counter[Kind] = Counter()
        rest: Counter[Kind] = Counter()
        for joined in self._joined.values():
            most = dict(_most([each for each in joined.items() if each[0].network], APART))
            apart.update(most)
            for kind, times in joined.items():
                if kind not in most:
                    rest[Kind(kind.outcome, kind.operation, "", names_somebody=False)] += times
            joined.clear()
        kept = dict(_most([each for each in rest.items() if each[0].operation], OPERATIONS))
        apart.update(kept)
        for kind, times in rest.items():
            if kind not in kept:
                apart[Kind(kind.outcome, "", "", names_somebody=False)] += times
        return sorted(apart.items())


def _most(counts: list[tuple[Kind, int]], most: int) -> list[tuple[Kind, int]]:
    """Give those of which there are most; of as many, always the same."""
    return sorted(counts, key=lambda each: (-each[1], each[0]))[:most]
