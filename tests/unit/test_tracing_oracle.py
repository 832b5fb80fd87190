"""Generated supply chains: the engine against the oracle, against itself shuffled, and over its own answer alone."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.tracing import Direction, Query, SealedFacts, Trace, TracedEvent, drive, trace
from tests.unit.tracing_builders import Chain, Source, key_of
from tests.unit.tracing_oracle import Oracle

ITEMS = ["i1", "i2", "i3"]
LOTS = ["lot:x", "lot:y"]
BOXES = ["b1", "b2", "b3"]
OTHERS = ["class:salt", "place:mill"]
GOODS = [*ITEMS, *LOTS, *BOXES]
AMOUNTS = ["", "*1", "*2.5", "*2 KGM", "*0"]

times = st.integers(1, 9)
merchants = st.sampled_from([1, 1, 1, 2])
event_ids = st.sampled_from(["", "", "", None, "same"])
lots = st.builds(str.__add__, st.sampled_from([*LOTS, "class:salt"]), st.sampled_from(AMOUNTS))
things = st.one_of(st.sampled_from([*ITEMS, *BOXES]), lots)
goods = st.lists(st.one_of(things, st.sampled_from(OTHERS)), min_size=1, max_size=3, unique=True)
children = st.lists(things, max_size=3, unique=True)
parents = st.sampled_from([*BOXES, *BOXES, "i1", "place:mill"])


@st.composite
def chains(draw: st.DrawFn, max_events: int = 14) -> Chain:
    """A chain of few keys and few moments, so that everything meets everything; half of it containment."""
    chain = Chain()
    for _ in range(draw(st.integers(1, max_events))):
        more: dict[str, Any] = {"id": draw(event_ids), "merchant": draw(merchants)}
        match draw(
            st.sampled_from(
                ["pack", "pack", "unpack", "see_in", "make", "make", "see", "end", "wrong", "again", "order"]
            )
        ):
            case "make":
                more["transformation"] = draw(st.sampled_from(["", "", "t"]))
                chain.make(draw(times), draw(goods), draw(goods), **more)
            case "see":
                lot = draw(st.sampled_from(["", "lot:x"]))
                chain.see(draw(times), draw(st.sampled_from([*ITEMS, *BOXES])), lot=lot, **more)
            case "end":
                chain.see(draw(times), draw(st.sampled_from([*ITEMS, *BOXES])), action="DELETE", **more)
            case "order":
                action = draw(st.sampled_from(["ADD", "ADD", "DELETE"]))
                taken = draw(st.lists(st.sampled_from([*ITEMS, *BOXES]), max_size=2, unique=True))
                chain.order(draw(times), action, "po:1", *taken, **more)
            case "wrong" if chain.sealed:
                chain.correct(draw(st.sampled_from(chain.sealed)), merchant=draw(merchants))
            case "again" if chain.sealed:
                chain.seal(draw(st.sampled_from(chain.sealed)).facts)
            case "unpack":
                chain.unpack(draw(times), draw(parents), *draw(children), **more)
            case "see_in":
                chain.see_in(draw(times), draw(parents), *draw(children), **more)
            case _:
                kind = draw(st.sampled_from(["Aggregation"] * 6 + ["Association"]))
                chain.pack(draw(times), draw(parents), *draw(children), kind=kind, **more)
    return chain


roots = st.sampled_from([*GOODS, "class:salt"])
all_roots = st.one_of(roots, st.just("po:1"))


def summary(answer: Trace, key: str) -> dict[str, tuple[bool, int, tuple[str, ...]]]:
    return {
        event.identity: (mention.certainty == "possible", len(mention.path), mention.path)
        for event in answer.events
        for mention in event.mentions
        if mention.key == key
    }


@settings(max_examples=300, deadline=None)
@given(chains(), roots)
def test_history_is_the_oracles(chain: Chain, root: str) -> None:
    key = key_of(root)
    assert summary(chain.trace(root), key) == Oracle(chain.sealed).history(key)


@settings(max_examples=300, deadline=None)
@given(chains(), roots)
def test_containers_and_their_links_are_the_oracles(chain: Chain, root: str) -> None:
    answer = chain.trace(root)
    found = {
        (link.key, node.key, link.identities, link.until_us)
        for node in answer.nodes
        for link in node.links
        if link.kind == "contained"
    }
    oracle = Oracle(chain.sealed)
    order = {event.name: event.order for event in oracle.events}
    expected = set()
    for _, _, _, last in oracle.around(key_of(root)):
        ends = tuple(sorted({name for name in (last.first, last.last) if name}, key=order.__getitem__))
        expected.add((last.child, last.parent, ends, 0 if last.end[0] > 10**9 else last.end[0]))
    assert found == expected


@settings(max_examples=300, deadline=None)
@given(chains(), roots, st.sampled_from([Direction.UPSTREAM, Direction.DOWNSTREAM]))
def test_levels_and_histories_of_the_walk_are_the_oracles(chain: Chain, root: str, way: Direction) -> None:
    key, oracle = key_of(root), Oracle(chain.sealed)
    answer = chain.trace(root, way)
    found = {
        node.key: (node.level, "root" if node.direction == "history" else way.value)
        for node in answer.nodes
        if node.role == "goods"
    }
    assert not answer.truncated
    if root == "class:salt":
        assert found == {key: (0, "root")}
        return
    assert found == oracle.trace(key, way.value)
    for node in answer.nodes:
        is_end = node.grade in ("class", "location", "party")
        if node.role == "goods" and not is_end:
            from_lot = any(link.kind == "serial-of-lot" and "seen" not in link.marks for link in node.links)
            assert summary(answer, node.key) == oracle.history(node.key, from_lot=from_lot)


def resealed(event: TracedEvent) -> list[SealedFacts]:
    return [
        SealedFacts(log, index, event.merchant, event.record_ms, event.facts)
        for log, index in event.positions
    ]


@settings(max_examples=600, deadline=None)
@given(chains(), all_roots, st.sampled_from(list(Direction)))
def test_tracing_over_its_own_answer_gives_the_same_answer(chain: Chain, root: str, way: Direction) -> None:
    answer = chain.trace(root, way)
    kept = [sealed for event in answer.events for sealed in resealed(event)]
    assert drive(trace(Query(key_of(root), way)), Source(kept)) == answer


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


@settings(max_examples=150, deadline=None)
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
