"""Walking traces for their pages: a next page shows what was walked for the one before, and walks nothing again.

A trace of ten thousand events is fifty pages; were it walked for each of them, the last page would cost as much as all. What is kept is what came of
the walk, and no record: a page reads its own, by the eyes of who asks now. It serves only who sees what the caller before saw: where a policy
has changed meanwhile, the logs are walked again.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from goodstrace import tracing
from goodstrace.tracing.model import Trace
from services.query import core, withheld
from services.query.metrics import QueryMetrics
from services.query.requests import TraceQuery
from services.query.sight import VisibleLogs
from services.query.walk import Walk, walk_over
from services.query.withheld import Held

KEPT_S: Final = 120.0
"""How long what came of a walk is kept after its last page: longer than a program takes for a page."""


class Walked(NamedTuple):
    """What came of a walk, and what of it is withheld."""

    walk: Walk[Trace]
    trace: Trace
    held: Held

    @property
    def items(self) -> int:
        """How much it holds: nodes, events, what is withheld, and itself."""
        return len(self.trace.nodes) + len(self.trace.events) + len(self.held.places) + 1


class Asked(NamedTuple):
    """What a walk was for: the query as page tokens are bound to it, the sizes of the logs, and the merchant who looks."""

    query: bytes
    sizes: frozenset[tuple[str, int]]
    merchant: int


class _Kept(NamedTuple):
    walked: Walked
    logs: VisibleLogs
    since_s: float


class KeptWalks:
    """What came of the last walks that have more pages."""

    def __init__(self, most_items: int, clock_s: Callable[[], float]) -> None:
        """Keep walks of at most `most_items` in all, the last ones; `clock_s` never goes back."""
        self._most, self._clock_s = most_items, clock_s
        self._kept: OrderedDict[Asked, _Kept] = OrderedDict()
        self._items = 0

    def keep(self, asked: Asked, walked: Walked, logs: VisibleLogs) -> None:
        """Keep what came of a walk through `logs`."""
        self.drop(asked)
        if walked.items <= self._most:
            self._kept[asked] = _Kept(walked, logs, self._clock_s())
            self._items += walked.items
        while self._items > self._most:
            self.drop(next(iter(self._kept)))

    def drop(self, asked: Asked) -> None:
        """Keep it no longer, as after its last page."""
        if asked in self._kept:
            self._items -= self._kept.pop(asked).walked.items

    async def find(self, asked: Asked, logs: VisibleLogs) -> Walked | None:
        """Give what came of a walk, its records to be read through `logs`; None where it is not kept, or `logs` are seen in another way.

        Raises: UnavailableError where who may see what cannot be told.
        """
        oldest_s = self._clock_s() - KEPT_S
        for old in [each for each, kept in self._kept.items() if kept.since_s < oldest_s]:
            self.drop(old)
        kept = self._kept.get(asked)
        if kept is None or not await logs.eyes.see_as(kept.logs.eyes):
            return None
        logs.go_on_from(kept.logs)
        return kept.walked._replace(walk=kept.walked.walk.read_by(logs))


class Traces:
    """Walks traces, each once for all of its pages where it can be kept."""

    def __init__(self, secret: bytes, max_events: int, kept: KeptWalks, metrics: QueryMetrics) -> None:
        """Look names up under the index secret; a trace stops at `max_events`."""
        self._secret, self._max_events, self._kept, self._metrics = secret, max_events, kept, metrics

    async def walked(
        self, query: TraceQuery, logs: VisibleLogs, sizes: Mapping[str, int], *, is_first: bool
    ) -> Walked:
        """Walk a trace over the first `sizes` entries of the logs, or where this is not its first page find what came of it before.

        Raises: UnavailableError, CorruptError, EntryError.
        """
        before = None if is_first else await self._kept.find(_asked(query, logs, sizes), logs)
        if before is not None:
            self._metrics.pages_of_kept_walks.inc()
            return before
        wanted = core.engine_query(query, self._max_events)
        walk, trace = await walk_over(logs, self._secret, sizes, tracing.trace(wanted), self._metrics)
        held = withheld.held(logs, walk.names, await withheld.asked_by(wanted, trace, logs))
        return Walked(walk, trace, held)

    def shown(
        self,
        query: TraceQuery,
        logs: VisibleLogs,
        sizes: Mapping[str, int],
        walked: Walked,
        *,
        has_more: bool,
    ) -> None:
        """Keep a walk where there are more pages of it, and let it go after the last one."""
        asked = _asked(query, logs, sizes)
        if has_more:
            self._kept.keep(asked, walked, logs)
        else:
            self._kept.drop(asked)


def _asked(query: TraceQuery, logs: VisibleLogs, sizes: Mapping[str, int]) -> Asked:
    return Asked(query.encode(), frozenset(sizes.items()), logs.eyes.merchant)
