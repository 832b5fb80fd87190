"""Walking traces for their pages: a next page shows what was walked for the one before, and walks nothing again.

A trace of ten thousand events is fifty pages; were it walked for each of them, the last page would cost as much as all. What is kept is what came of
the walk, and no record: a page reads its own, by the eyes of who asks now. It serves only its caller, and only as long as they see what they saw:
where a policy has changed meanwhile, or what a record said is gone, the logs are walked again.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from goodstrace import tracing
from goodstrace.tracing.model import Trace
from services.query import core, withheld
from services.query.metrics import QueryMetrics
from services.query.requests import TraceQuery
from services.query.sight import VisibleLogs
from services.query.thinking import Engine
from services.query.walk import Walk, walk_over
from services.query.withheld import Held
from services.runtime.access.current import principal
from services.runtime.shares import caller_of
from services.sealing.remembered import FairlyRemembered

KEPT_S: Final = 120.0
"""How long what came of a walk is kept after its last page: longer than a program takes for a page."""
_ITEM_BYTES: Final = 600  # a node, or what is withheld with its proof's names
_FACTS_TIMES: Final = 2  # facts take as objects what the whole record takes in an answer, and as much again for links and mentions


class Walked(NamedTuple):
    """What came of a walk, and what of it is withheld."""

    walk: Walk[Trace]
    trace: Trace
    held: Held

    @property
    def size_bytes(self) -> int:
        """Estimate what it takes while no record is held with it."""
        items = len(self.trace.nodes) + len(self.trace.events) + len(self.held.places)
        records = sum(self.walk.cost(event.positions[0]).full for event in self.trace.events)
        return _ITEM_BYTES * items + _FACTS_TIMES * records


class Asked(NamedTuple):
    """What a walk was for: the query as page tokens are bound to it, the sizes of the logs, the merchant who looks, and the caller whose it is."""

    query: bytes
    sizes: frozenset[tuple[str, int]]
    merchant: int
    caller: str


class _Kept(NamedTuple):
    walked: Walked
    logs: VisibleLogs
    since_s: float


class KeptWalks:
    """What came of the last walks that have more pages: each caller's own, so that who asks for many traces pushes out their own."""

    def __init__(self, most_bytes: int, clock_s: Callable[[], float]) -> None:
        """Keep walks of at most about `most_bytes` in all, of each caller the last ones, each for KEPT_S; `clock_s` never goes back."""
        self._clock_s = clock_s
        self._kept: FairlyRemembered[Asked, _Kept] = FairlyRemembered(most_bytes, lambda asked: asked.caller)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def size_bytes(self) -> int:
        """About what is kept."""
        return self._kept.size_bytes

    def keep(self, asked: Asked, walked: Walked, logs: VisibleLogs) -> None:
        """Keep what came of a walk through `logs`."""
        self.let_old_go()
        bare = walked._replace(walk=walked.walk.read_by(logs))
        self._kept.put(asked, _Kept(bare, logs, self._clock_s()), bare.size_bytes)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT_S / 4, self._look_again)

    def drop(self, asked: Asked) -> None:
        """Keep it no longer, as after its last page."""
        self._kept.drop(asked)

    async def find(self, asked: Asked, logs: VisibleLogs) -> Walked | None:
        """Give what came of a walk, its records to be read through `logs`; None where it is not kept, or `logs` are seen in another way.

        Raises: UnavailableError where who may see what cannot be told.
        """
        self.let_old_go()
        kept = self._kept.get(asked)
        if kept is None or not await logs.eyes.see_as(kept.logs.eyes):
            return None
        logs.go_on_from(kept.logs)
        return kept.walked._replace(walk=kept.walked.walk.read_by(logs))

    def let_old_go(self) -> None:
        """Drop what nobody asked for in time: nothing that was erased since may stay longer."""
        oldest_s = self._clock_s() - KEPT_S
        for asked, kept in self._kept.items():
            if kept.since_s <= oldest_s:
                self._kept.drop(asked)

    def _look_again(self) -> None:
        self.let_old_go()
        again = len(self._kept) > 0
        self._timer = asyncio.get_running_loop().call_later(KEPT_S / 4, self._look_again) if again else None


class Traces:
    """Walks traces, each once for all of its pages where it can be kept."""

    def __init__(
        self, secret: bytes, max_events: int, kept: KeptWalks, metrics: QueryMetrics, engine: Engine
    ) -> None:
        """Look names up under the index secret; a trace stops at `max_events`."""
        self._engine = engine
        self._secret, self._max_events, self._kept, self._metrics = secret, max_events, kept, metrics

    async def walked(
        self, query: TraceQuery, logs: VisibleLogs, sizes: Mapping[str, int], *, anew: bool
    ) -> Walked:
        """Give what comes of walking a trace over the first `sizes` entries of the logs; from what is kept, unless `anew`.

        Raises: UnavailableError, CorruptError, EntryError.
        """
        before = None if anew else await self._kept.find(_asked(query, logs, sizes), logs)
        if before is not None:
            self._metrics.pages_of_kept_walks.inc()
            return before
        wanted = core.engine_query(query, self._max_events)
        thinking = self._engine.thinking()
        walk, trace = await walk_over(
            logs,
            self._secret,
            sizes,
            lambda check: tracing.trace(wanted, check),
            self._metrics,
            thinking=thinking,
        )
        held = withheld.held(logs, walk.names, await withheld.asked_by(wanted, trace, logs, thinking))
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
    return Asked(query.encode(), frozenset(sizes.items()), logs.eyes.merchant, caller_of(principal()))
