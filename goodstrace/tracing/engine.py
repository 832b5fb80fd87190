"""Tracing without I/O: a generator that yields look-ups, is sent what they find, and returns the trace."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from typing import TypeVar

from goodstrace.tracing.evidence import answer_events
from goodstrace.tracing.model import Lookup, Query, SealedFacts, Trace, TracedEvent
from goodstrace.tracing.pool import Check, Pool, unchecked
from goodstrace.tracing.walk import Walk

Answer = TypeVar("Answer")
Tracing = Generator[Lookup, Iterable[SealedFacts], Trace]
LevelTracing = Generator[Lookup | Trace, Iterable[SealedFacts] | None, Trace]


def trace(query: Query, check: Check = unchecked) -> Tracing:
    """Trace goods by the rules of docs/tracing.md.

    Each yield is one round of look-ups, all names of it known to be needed at that point; there are as many rounds as
    the trace is deep (levels, containers in containers, and two more), however many keys it has. It is sent the sealed
    events of these names in any order, those of all names together; others are passed over.

    The walk is run from its start on what was found so far, until it misses nothing: only that last run is the answer,
    so the answer depends on the events alone and not on the order or number of rounds. What parts of it came to before is not
    computed again (`Pool.settled`). `check` is called wherever it loops: what that raises ends it.

    Returns: the trace. Its events suffice to give the same trace again (see docs/tracing.md), except where more records
        of one name were found than the limit.
    """
    pool = Pool(query.max_events, check)
    walk, identities = yield from _walked(query, pool)
    return _answer(query, walk, pool, identities)


def trace_levels(query: Query, check: Check = unchecked) -> LevelTracing:
    """Trace goods level after level: yields look-ups, and between them the trace of max_depth 0, then 1 and so on.

    It is sent what was found for a look-up, and None for a trace. Nothing is looked up twice. It ends with the level behind which
    there is none, or the query's max_depth. `check` as in `trace`.

    Returns: the last of these traces, the same that `trace` gives.
    """
    pool = Pool(query.max_events, check)
    for depth in range(query.max_depth + 1):
        shallow = replace(query, max_depth=depth)
        walk, identities = yield from _walked(shallow, pool)
        answer = _answer(shallow, walk, pool, identities)
        if walk.is_exhausted or depth == query.max_depth:
            break
        yield answer
    return answer


def _walked(
    query: Query, pool: Pool
) -> Generator[Lookup, Iterable[SealedFacts], tuple[Walk, frozenset[str]]]:
    while True:
        walk, identities = walk_over(query, pool)
        if not pool.missing:
            return walk, identities
        names = frozenset(pool.missing)
        pool.add(names, (yield Lookup(names, query.max_events + 1)))


def drive(
    tracing: Generator[Lookup, Iterable[SealedFacts], Answer],
    source: Callable[[Lookup], Iterable[SealedFacts]],
) -> Answer:
    """Run a trace, or another walk, to its end against a source that answers at once."""
    try:
        lookup = next(tracing)
        while True:
            lookup = tracing.send(source(lookup))
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer


def walk_over(query: Query, pool: Pool) -> tuple[Walk, frozenset[str]]:
    """Walk over what was found so far; also name the events of the answer."""
    walk = Walk(query, pool)
    walk.run()
    return walk, answer_events(walk, pool)


def _answer(query: Query, walk: Walk, pool: Pool, identities: frozenset[str]) -> Trace:
    mentions: dict[str, list[str]] = {}
    for identity, key in walk.mentions:
        mentions.setdefault(identity, []).append(key)
    events = sorted((pool.get(identity) for identity in identities), key=lambda event: event.order)
    return Trace(
        query.key,
        walk.nodes(),
        tuple(
            TracedEvent(
                event.identity,
                tuple((log, index) for _, log, index in event.places),
                event.merchant,
                event.places[0][0],
                event.facts,
                pool.marks(event),
                tuple(walk.mentions[event.identity, key] for key in sorted(mentions.get(event.identity, ()))),
                event.registration,
            )
            for event in events
        ),
        walk.is_truncated or pool.is_cut,
    )
