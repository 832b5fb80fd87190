"""Traces level after level: each is the trace to that depth, and what is sent adds up to it."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing import (
    Direction,
    EventFilter,
    Lookup,
    Mark,
    NameKind,
    Query,
    SealedFacts,
    Trace,
    drive,
    trace,
    trace_levels,
)
from goodstrace.tracing.engine import walk_over
from goodstrace.tracing.model import NodeRole
from goodstrace.tracing.names import names_asked, names_walked
from goodstrace.tracing.pool import WholePool
from goodstrace.tracing.wire import node_message
from services.query.core import event_message
from services.query.level_changes import Sent
from tests.unit.tracing_builders import Chain, Source, key_of
from tests.unit.tracing_chains import ALL_ROOTS, Trade, chains


def levels_of(query: Query, sealed: list[SealedFacts]) -> tuple[list[Trace], int]:
    source = Source(sealed)
    asked: set[Any] = set()
    tracing = trace_levels(query)
    found: list[Trace] = []
    sent: list[SealedFacts] | None = None
    while True:
        try:
            step = tracing.send(sent)
        except StopIteration as stop:
            return [*found, stop.value], source.rounds
        if isinstance(step, Lookup):
            assert asked.isdisjoint(step.names)
            asked |= step.names
            sent = source(step)
        else:
            found.append(step)
            sent = None


@settings(max_examples=150, deadline=None)
@given(chains(), st.sampled_from(ALL_ROOTS), st.sampled_from(list(Direction)), st.integers(0, 4))
def test_each_level_is_the_trace_to_that_depth(chain: Chain, root: str, way: Direction, depth: int) -> None:
    query = Query(key_of(root), way, depth)
    found, _ = levels_of(query, chain.sealed)
    assert found[-1] == drive(trace(query), Source(chain.sealed))
    for level, answer in enumerate(found[:-1]):
        assert answer == drive(trace(Query(key_of(root), way, level)), Source(chain.sealed))


def check_names(sealed: list[SealedFacts], root: str, way: Direction, depth: int) -> None:
    """Each level walks over its own events alone as it did over all, by names for which the last level asks, too."""
    query = Query(key_of(root), way, depth)
    found, _ = levels_of(query, sealed)
    last = names_asked(query, resealed(found[-1]))
    for level, answer in enumerate(found):
        shallow = replace(query, max_depth=min(level, depth))
        events = resealed(answer)
        walk, identities = walk_over(shallow, WholePool(events))
        assert walk.nodes() == answer.nodes
        assert identities == {each.identity for each in answer.events}
        names = names_walked(shallow, events)
        assert names <= names_asked(shallow, events)
        assert names <= last
        goods = [each for each in answer.nodes if each.role is NodeRole.GOODS and each.level <= level]
        expanded = {(NameKind.KEY, each.key) for each in goods if Mark.NOT_EXPANDED not in each.marks}
        assert expanded <= names


def resealed(answer: Trace) -> list[SealedFacts]:
    return [
        SealedFacts(log, index, each.merchant, each.record_ms, each.facts, each.registration)
        for each in answer.events
        for log, index in each.positions
    ]


@settings(max_examples=150, deadline=None)
@given(chains(), st.sampled_from(ALL_ROOTS), st.sampled_from(list(Direction)), st.integers(0, 4))
def test_the_names_of_a_level_are_asked_by_each_deeper_one(
    chain: Chain, root: str, way: Direction, depth: int
) -> None:
    check_names(chain.sealed, root, way, depth)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(Trade.ROOTS), st.sampled_from(list(Direction)))
def test_the_names_of_a_level_of_a_trade_are_asked_by_each_deeper_one(
    seed: int, root: str, way: Direction
) -> None:
    check_names(Trade(seed).chain().sealed, root, way, 30)


@settings(max_examples=150, deadline=None)
@given(chains(), st.sampled_from(ALL_ROOTS), st.sampled_from(list(Direction)), st.sampled_from([0, 5]))
def test_what_is_sent_adds_up(chain: Chain, root: str, way: Direction, from_us: int) -> None:
    only = EventFilter(from_us=from_us)
    sent, nodes = Sent(), dict[Any, Any]()
    events: dict[str, Any] = {}
    for answer in levels_of(Query(key_of(root), way), chain.sealed)[0]:
        shown = only.shown(answer.events)
        changes = sent.changes(answer, shown)
        for gone in changes.removed_nodes:
            del nodes[gone.key, gone.direction]
        nodes |= {(each.key, each.direction): each for each in changes.nodes}
        for identity in changes.removed_events:
            del events[identity]
        assert not {each.identity for each in changes.events} & set(events)
        events |= {each.identity: event_message(each) for each in changes.events}
        assert {each.identity for each in changes.changed} <= set(events)
        events |= {each.identity: each for each in changes.changed}
        expected = [node_message(node) for node in answer.nodes]
        assert sorted(nodes.values(), key=lambda n: (n.level, n.direction, n.key)) == expected
        assert events == {each.identity: event_message(each) for each in shown}


def test_a_container_that_turns_out_to_be_goods_is_taken_back() -> None:
    chain = Chain()
    chain.make(1, ["drum"], ["paint"])
    chain.pack(2, "case", "paint")
    chain.make(3, ["case"], ["waste"])
    chain.make(4, ["waste"], ["case"])
    sent = Sent()
    removed: list[trace_pb2.TraceNode] = []
    for answer in levels_of(Query("paint", Direction.DOWNSTREAM), chain.sealed)[0]:
        removed += sent.changes(answer, answer.events).removed_nodes
    assert [each.key for each in removed] == ["case"]


def test_nothing_is_looked_up_twice() -> None:
    chain = Chain()
    for level in range(6):
        chain.make(level, [f"g{level}"], [f"g{level + 1}"])
    query = Query("g6", Direction.UPSTREAM)
    found, rounds = levels_of(query, chain.sealed)
    assert [max(node.level for node in answer.nodes) for answer in found] == [0, 1, 2, 3, 4, 5, 6, 6]
    assert rounds <= 2 * 7
