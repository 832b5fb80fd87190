"""The load of the drill: captures and look-ups that go on whatever happens, and count what became of them."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from goodstrace.capture import Job
from goodstrace.errors import GoodstraceError
from goodstrace.simulate import Simulation, SimulationOptions
from tests.system.harness import System

THREADS = 3
"""Of each kind: one that waits for a neighbour that is away must not be the only one."""
EVERY_S = 0.3


class Load:
    """Captures and look-ups by several threads. `counts` has how many of each went well or failed."""

    def __init__(self, system: System, item: str) -> None:
        """Prepare; `item` is what is looked up."""
        self._system, self._item = system, item
        self._stop, self._lock = threading.Event(), threading.Lock()
        self.counts: Counter[str] = Counter()
        self.jobs: list[Job] = []
        options = SimulationOptions(seed=77, events=200_000, events_per_document=5)
        self._documents = (document.to_bytes() for document in Simulation(options).documents())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Go on within."""
        threads = [
            threading.Thread(target=each) for each in (self._capture, self._look) for _ in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(90)

    def _again(self, kind: str, act: Callable[[], None]) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                act()
            except (GoodstraceError, httpx.HTTPError):
                outcome = "failed"
            else:
                outcome = "done"
            with self._lock:
                self.counts[f"{kind} {outcome}"] += 1

    def _capture(self) -> None:
        with self._system.collector(timeout_s=30) as collector:

            def capture() -> None:
                with self._lock:
                    document = next(self._documents)
                taken = collector.send(document)
                assert isinstance(taken, Job), taken
                with self._lock:
                    self.jobs.append(taken)

            self._again("captures", capture)

    def _look(self) -> None:
        with self._system.client(timeout_s=15) as client:

            def look() -> None:
                client.trace(self._item, max_depth=2, complete=False)
                client.browses(user="tester", limit=5)

            self._again("look-ups", look)
