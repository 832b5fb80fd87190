"""Generated supply chains: the engine against the oracle, against itself shuffled, and over its own answer alone."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.tracing import Direction, Query, SealedFacts, Trace, TracedEvent, drive, trace
from tests.unit.tracing_builders import Chain, Source, key_of
from tests.unit.tracing_chains import ALL_ROOTS, FIXTURES, Trade, chains, loaded, saved, shrunk
from tests.unit.tracing_oracle_walk import Oracle

SMALL = int(os.environ.get("GOODSTRACE_SOAK_CHAINS", "1500"))
TRADES = int(os.environ.get("GOODSTRACE_SOAK_TRADES", "700"))
_UNREAD = ("class", "location", "party")

all_roots = st.sampled_from(ALL_ROOTS)


def summary(answer: Trace, key: str) -> dict[str, tuple[bool, int, tuple[str, ...]]]:
    return {
        event.identity: (mention.certainty == "possible", len(mention.path), mention.path)
        for event in answer.events
        for mention in event.mentions
        if mention.key == key
    }


def check_history(sealed: list[SealedFacts], oracle: Oracle, key: str) -> None:
    """Events with their paths and marks, containers with their links, and orders."""
    answer = drive(trace(Query(key, Direction.HISTORY)), Source(sealed))
    assert summary(answer, key) == oracle.history(key)
    marks = {event.name: oracle.marks(event) for event in oracle.events}
    for event in answer.events:
        assert set(event.marks) == marks.get(event.identity, set())
    [root] = [node for node in answer.nodes if node.role == "goods"]
    assert {(e.key, e.type, e.from_us, e.until_us) for e in root.transactions} == oracle.listings(key)
    found = {
        (link.key, link.kind, node.key, link.identities, link.until_us)
        for node in answer.nodes
        for link in node.links
    }
    assert found == oracle.listed(key)


def check_walk(sealed: list[SealedFacts], oracle: Oracle, key: str, way: Direction) -> None:
    """Keys with their levels, the links between them, and the history of each."""
    answer = drive(trace(Query(key, way, max_depth=30)), Source(sealed))
    assert not answer.truncated
    goods = [node for node in answer.nodes if node.role == "goods"]
    found = {n.key: (n.level, "root" if n.direction == "history" else way.value) for n in goods}
    if goods[0].grade == "class" and goods[0].key == key:
        assert found == {key: (0, "root")}
        return
    assert found == oracle.trace(key, way.value)
    surest: dict[Any, bool] = {}
    for node in goods:
        for link in node.links:
            if link.kind not in ("contained", "contains", "order"):
                each = (link.key, link.kind.value, node.key, "seen" in link.marks)
                surest[each] = surest.get(each, True) and link.certainty == "possible"
    links = {(near, kind, far, possible, seen) for (near, kind, far, seen), possible in surest.items()}
    assert links == oracle.met(key, way.value)
    for node in goods:
        if node.grade not in _UNREAD:
            from_lot = any(link.kind == "serial-of-lot" and "seen" not in link.marks for link in node.links)
            assert summary(answer, node.key) == oracle.history(node.key, from_lot=from_lot)


def check(sealed: list[SealedFacts], key: str) -> None:
    """The engine says of a key what the oracle says: its history, upstream and downstream."""
    oracle = Oracle(sealed)
    check_history(sealed, oracle, key)
    check_walk(sealed, oracle, key, Direction.UPSTREAM)
    check_walk(sealed, oracle, key, Direction.DOWNSTREAM)


def fails(sealed: list[SealedFacts], key: str) -> bool:
    try:
        check(sealed, key)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.json")), ids=lambda path: path.stem)
def test_what_went_wrong_once_is_right(path: Path) -> None:
    sealed, key = loaded(path)
    check(sealed, key)
    check_closed(sealed, key)


def keep(path: Path, sealed: list[SealedFacts], root: str) -> None:
    """Write a counter-example down: put it among the fixtures, under a name that says what was wrong."""
    path.write_text(json.dumps({"root": root, "sealed": saved(sealed)}, indent=1) + "\n")
    print(f"counter-example: {path}")


def test_small_chains_are_the_oracles(tell: Callable[[str], None], tmp_path: Path) -> None:
    count = 0

    @settings(max_examples=SMALL, deadline=None, database=None)
    @given(chains(), all_roots)
    def is_the_oracles(chain: Chain, root: str) -> None:
        nonlocal count
        count += 1
        try:
            check(chain.sealed, key_of(root))
        except AssertionError:
            keep(tmp_path / "small.json", chain.sealed, root)
            raise

    is_the_oracles()
    tell(f"tracing: {count} small chains equal to the oracle, history, upstream and downstream")


def test_trades_are_the_oracles(tell: Callable[[str], None], tmp_path: Path) -> None:
    events = 0
    first = random.randrange(2**32)
    for seed in range(first, first + TRADES):
        chain = Trade(seed).chain()
        events += len(chain.sealed)
        root = random.Random(seed).choice(Trade.ROOTS)
        if fails(chain.sealed, key_of(root)):
            small = shrunk(chain.sealed, lambda sealed, root=root: fails(sealed, key_of(root)))
            keep(tmp_path / f"trade-{seed}.json", small, root)
            check(small, key_of(root))
    tell(
        f"tracing: {TRADES} generated trades from seed {first} equal to the oracle, {events / TRADES:.0f} events each"
    )


def resealed(event: TracedEvent) -> list[SealedFacts]:
    return [
        SealedFacts(log, index, event.merchant, event.record_ms, event.facts, event.registration)
        for log, index in event.positions
    ]


def check_closed(sealed: list[SealedFacts], key: str) -> None:
    for way in Direction:
        answer = drive(trace(Query(key, way)), Source(sealed))
        kept = [each for event in answer.events for each in resealed(event)]
        assert drive(trace(Query(key, way)), Source(kept)) == answer


@settings(max_examples=400, deadline=None)
@given(chains(), all_roots)
def test_tracing_over_its_own_answer_gives_the_same_answer(chain: Chain, root: str) -> None:
    check_closed(chain.sealed, key_of(root))


def test_tracing_over_the_answers_of_trades_gives_the_same_answers() -> None:
    first = random.randrange(2**32)
    for seed in range(first, first + 150):
        chain = Trade(seed).chain()
        root = random.Random(seed).choice(Trade.ROOTS)
        check_closed(chain.sealed, key_of(root))


@settings(max_examples=200, deadline=None)
@given(
    chains(),
    all_roots,
    st.sampled_from(list(Direction)),
    st.integers(1, 4),
    st.integers(1, 8),
    st.integers(0, 2),
)
def test_an_answer_cut_by_a_limit_is_closed_too(  # noqa: PLR0917
    chain: Chain, root: str, way: Direction, nodes: int, events: int, depth: int
) -> None:
    query = Query(key_of(root), way, max_depth=depth, max_nodes=nodes, max_events=20 + events)
    answer = drive(trace(query), Source(chain.sealed))
    kept = [sealed for event in answer.events for sealed in resealed(event)]
    assert drive(trace(query), Source(kept)) == answer


@settings(max_examples=100, deadline=None)
@given(chains(), all_roots, st.sampled_from(list(Direction)), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(
    chain: Chain, root: str, way: Direction, shuffle: random.Random
) -> None:
    expected = chain.trace(root, way)
    source = Source(chain.sealed)

    def shuffled(lookup: Any) -> list[SealedFacts]:
        found = source(lookup)
        shuffle.shuffle(found)
        return found

    assert drive(trace(Query(key_of(root), way)), shuffled) == expected


@pytest.mark.parametrize("depth", [60, 150])
def test_deep_nesting_ends(depth: int) -> None:
    chain = Chain()
    for level in range(depth):
        chain.pack(level, f"box{level + 1}", f"box{level}")
    answer = chain.trace("box0")
    assert answer.truncated == (depth > 100)
    assert len(answer.nodes) == min(depth, 100) + 1


def test_a_hundred_levels_end_and_are_the_oracles() -> None:
    chain = Chain()
    for level in range(100):
        chain.make(level, [f"g{level}"], [f"g{level + 1}"])
    answer = chain.trace("g100", Direction.UPSTREAM, max_depth=100)
    assert {node.key: node.level for node in answer.nodes} == {
        key: level for key, (level, _) in Oracle(chain.sealed).trace("g100", "upstream").items()
    }
    assert not answer.truncated
