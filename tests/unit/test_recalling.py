"""Recalls: the same goods, levels, events and containers as a trace downstream, in small steps."""

import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodstrace.facts import Typed
from goodstrace.identifiers import grade
from goodstrace.tracing import Direction, Query, SealedFacts, drive, trace
from goodstrace.tracing.model import Name
from goodstrace.tracing.pool import Pool
from goodstrace.tracing.recall import Reached
from goodstrace.tracing.recall_memory import Seen, Waiting
from goodstrace.tracing.recalling import Found, RecallQuery
from tests.unit.recall_builders import drive_recall
from tests.unit.tracing_builders import Chain, Source, key_of
from tests.unit.tracing_chains import ALL_ROOTS, Trade, chains


def check(sealed: list[SealedFacts], key: str) -> None:
    answer = drive(trace(Query(key, Direction.DOWNSTREAM, max_depth=100)), Source(sealed))
    found, totals = drive_recall(RecallQuery(key), sealed)
    nodes = {node.key: node for node in answer.nodes if node.role == "goods"}
    goods = {each.reached.key: (each, piece.level) for piece in found for each in piece.goods}
    assert {key: level for key, (_, level) in goods.items()} == {
        key: node.level for key, node in nodes.items()
    }
    assert sorted(each.number for each, _ in goods.values()) == list(range(len(nodes)))
    by_number = {each.number: each.reached.key for each, _ in goods.values()}
    mentions = {
        (counted.event.identity, by_number[each.number]): each
        for piece in found
        for counted in piece.events
        for each in counted.goods
    }
    expected = {
        (event.identity, mention.key)
        for event in answer.events
        for mention in event.mentions
        if mention.key in nodes
    }
    assert expected <= mentions.keys()
    for extra in mentions.keys() - expected:
        # A step does not know that a serial was met from its lot as well, if it was met otherwise before.
        assert mentions[extra].is_possible
        assert [grade(each) for each in mentions[extra].path] == ["lot"]
    shown = [counted.event.identity for piece in found for counted in piece.events if counted.is_new]
    assert len(shown) == len(set(shown)) == totals.events
    for each, _ in goods.values():
        assert set(each.reached.identities) <= set(shown)
    carried = {node.key for node in answer.nodes if node.role == "container"}
    containers = [each.key for piece in found for each in piece.containers]
    assert len(containers) == len(set(containers)) == totals.containers
    assert carried <= set(containers) <= carried | set(nodes)
    assert totals.goods.total() == len(nodes)
    assert totals.levels == max(level for _, level in goods.values())
    assert not totals.is_truncated


@settings(max_examples=300, deadline=None)
@given(chains(), st.sampled_from(ALL_ROOTS))
def test_a_recall_of_a_small_chain_is_the_trace_downstream(chain: Chain, root: str) -> None:
    if root != "class:salt":
        check(chain.sealed, key_of(root))


def test_recalls_of_trades_are_the_traces_downstream() -> None:
    first = random.randrange(2**32)
    for seed in range(first, first + 100):
        root = random.Random(seed).choice(Trade.ROOTS)
        check(Trade(seed).chain().sealed, key_of(root))


def test_orders_and_holders_come_once_with_the_event_that_says_so() -> None:
    chain = Chain()
    chain.see(1, "a", "b", lot="lot:x", action="ADD", id="made")
    chain.pack(2, "case", "a", "b")
    to = (Typed("shop", "owning_party"), Typed("place:yard", "location"))
    chain.see(3, "case", transactions=(Typed("po:1", "po"),), destinations=to, business_location="store")
    wrong = chain.see(4, "a", transactions=(Typed("po:2", "po"),))
    chain.correct(wrong)
    found, totals = drive_recall(RecallQuery(key_of("lot:x")), chain.sealed)
    assert [(each.key, each.type) for piece in found for each in piece.orders] == [("po:1", "po")]
    holders = [each.party for piece in found for each in piece.holders]
    assert sorted(holders) == [
        ("place:yard", "location"),
        ("shop", "owning_party"),
        ("store", "seen_at"),
    ]
    assert (totals.orders, totals.holders, totals.containers, dict(totals.goods)) == (
        1,
        3,
        1,
        {"lot": 1, "other": 2},
    )


def test_limits_end_it_and_are_told() -> None:
    chain = Chain()
    for level in range(5):
        chain.make(level, [f"g{level}"], [f"g{level + 1}", f"h{level + 1}"])
    found, totals = drive_recall(RecallQuery("g0", max_depth=2), chain.sealed)
    assert (totals.levels, totals.goods.total(), totals.is_truncated) == (2, 5, True)
    found, totals = drive_recall(RecallQuery("g0", max_goods=3), chain.sealed)
    assert sum(len(piece.goods) for piece in found) <= 4
    assert totals.is_truncated


@given(st.lists(st.text(max_size=4)))
def test_seen_is_a_set(texts: list[str]) -> None:
    seen, known = Seen(b"any"), set[str]()
    for text in texts:
        assert seen.add(text) == (text not in known)
        known.add(text)
    assert len(seen) == len(known)


@pytest.mark.parametrize("count", [0, 1, 499, 500, 1250])
def test_waiting_gives_back_what_was_put_in_its_order(count: int) -> None:
    waiting = Waiting()
    goods = [Reached(f"k{number}", "order", "f", ("i",), bool(number % 2)) for number in range(count)]
    for each in goods:
        waiting.put(each)
    assert len(waiting) == count
    assert list(waiting.drain()) == goods
    assert len(waiting) == 0


def large(cases: int, items: int) -> Chain:
    """A lot of `cases` times `items` serials, each case packed on its own, twenty on a pallet, which is shipped."""
    chain = Chain()
    for case in range(cases):
        serials = [f"item:{case:05}{item:04}" for item in range(items)]
        chain.see(1, *serials, lot="lot:x", action="ADD")
        chain.pack(2, f"case{case}", *serials)
        chain.pack(3, f"pallet{case // 20}", f"case{case}")
    for pallet in range((cases + 19) // 20):
        chain.see(4, f"pallet{pallet}", transactions=(Typed(f"po:{pallet}", "po"),))
    return chain


def test_memory_grows_by_little_for_each_item(tell: Callable[[str], None]) -> None:
    """By what is remembered of a key, and of each event that names the lot itself, up to the limit of records."""
    query = RecallQuery(key_of("lot:x"))
    sizes = {}
    for cases in (60, 180):
        source = Source(large(cases, 8).sealed)
        pieces: Counter[str] = Counter()

        def told(piece: Found, pieces: Counter[str] = pieces) -> None:
            pieces["goods"] += len(piece.goods)

        drive_recall(
            query, source, told, page=32
        )  # what is kept for speed, in caches that are bounded, is kept then
        pieces.clear()
        tracemalloc.start()
        drive_recall(query, source, told, page=32)
        sizes[cases * 8] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert pieces["goods"] == cases * 8 + 1
    each = (sizes[1440] - sizes[480]) / 960
    tell(
        f"memory of a recall: {sizes[480] / 2**20:.2f} MiB for 480 items in 60 cases, {each:.0f} bytes for each more"
    )
    assert each < 1024


@pytest.mark.parametrize("also", [0, 1, 30])
def test_a_lot_with_more_events_of_its_items_than_the_limit_is_whole(also: int) -> None:
    chain = Chain()
    for number in range(also):
        chain.see(1 + number, f"item:old{number}", lot="lot:x", action="ADD")
    chain.see(100, "lot:x*50", action="ADD")
    chain.pack(101, "pallet", "lot:x*50")
    chain.unpack(102, "pallet", "lot:x*50")
    chain.pack(200, "crate", "item:0")
    for number in range(20):
        chain.see(300 + number, f"item:{number}", lot="lot:x")
    found, totals = drive_recall(RecallQuery(key_of("lot:x"), limit=10), chain.sealed)
    # Whether the pallet's end reaches back to one of the events left out cannot be known.
    assert totals.is_truncated
    whole = [each for each in chain.sealed if each.facts.action != "DELETE"]
    found, totals = drive_recall(RecallQuery(key_of("lot:x"), limit=10), whole)
    assert not totals.is_truncated
    assert totals.goods == {"lot": 1, "item": 20 + also}
    assert {node.key for piece in found for node in piece.containers} == {"pallet", "crate"}


def test_a_lot_that_is_named_itself_more_often_than_the_limit_is_truncated() -> None:
    chain = Chain()
    for number in range(11):
        chain.pack(number, f"box{number}", "lot:x*1")
    assert not drive_recall(RecallQuery(key_of("lot:x"), limit=11), chain.sealed)[1].is_truncated
    assert drive_recall(RecallQuery(key_of("lot:x"), limit=10), chain.sealed)[1].is_truncated


def test_what_is_kept_of_a_lot_does_not_grow_with_its_items(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[tuple[int, int]] = []
    add_outlines = Pool.add_outlines

    def counted(pool: Pool, name: Name, asked: Collection[Name], found: Collection[SealedFacts]) -> None:
        kept.append((len(asked), len(found)))
        add_outlines(pool, name, asked, found)

    monkeypatch.setattr(Pool, "add_outlines", counted)
    chain = Chain()
    for number in range(100):
        chain.see(number, f"item:{number}", lot="lot:x")
    _, totals = drive_recall(RecallQuery(key_of("lot:x"), limit=10), chain.sealed)
    assert kept == [(10, 10)]
    assert not totals.is_truncated
