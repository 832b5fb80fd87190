"""A histogram that takes many values at once: the ages of a block's records, a thousand a time."""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar


class Tally(Collector):
    """A Prometheus histogram without labels. Thread-safe.

    The library's own takes a lock and walks its buckets for each value: 1 us of the event loop for every record sealed.
    """

    def __init__(
        self, name: str, documentation: str, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        """Register it; `buckets` are the upper bounds, ascending, without infinity."""
        self._name, self._documentation = name, documentation
        self._bounds = tuple(buckets)
        self._lock = threading.Lock()
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}
        registry.register(self)

    def observe(self, values: Iterable[float], exemplar: Mapping[str, str] | None = None) -> None:
        """Count values; `exemplar` says where one of them came from: the last one that falls into a bucket is shown."""
        bounds = self._bounds
        places = [(bisect_left(bounds, value), value) for value in values]
        with self._lock:
            for place, value in places:
                self._counts[place] += 1
                self._sum += value
            if exemplar is not None and places:
                place, value = places[0]
                self._exemplars[place] = Exemplar(dict(exemplar), value, time.time())

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Give its name and help, for the registry."""
        yield HistogramMetricFamily(self._name, self._documentation)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give its buckets, each with all below it."""
        with self._lock:
            counts, total, exemplars = list(self._counts), self._sum, dict(self._exemplars)
        so_far = 0
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        bounds = (*map(str, map(float, self._bounds)), "+Inf")
        for place, (bound, count) in enumerate(zip(bounds, counts, strict=True)):
            so_far += count
            found = exemplars.get(place)
            buckets.append((bound, float(so_far), found) if found else (bound, float(so_far)))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=total)
