"""How often a network that is not signed in may ask: a bucket for each, in bounded memory."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_NETWORKS: Final = 10_000


class Rates:
    """Token buckets by network; who has not asked for longest is forgotten first, which gives it a full bucket again."""

    def __init__(self, per_min: int, clock_s: Callable[[], float]) -> None:
        """Let each network ask `per_min` times a minute, in bursts of as many; `clock_s` is monotonic."""
        self._per_min, self._clock_s = per_min, clock_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, network: str) -> bool:
        """Take one; False where the network has none left."""
        now = self._clock_s()
        left, since = self._left.pop(network, (float(self._per_min), now))
        left = min(float(self._per_min), left + (now - since) * self._per_min / 60)
        granted = left >= 1
        self._left[network] = (left - 1 if granted else left, now)
        if len(self._left) > MOST_NETWORKS:
            self._left.popitem(last=False)
        return granted
