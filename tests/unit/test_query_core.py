"""The pages of an answer: together the whole of it, in order, each within its limits."""

from hypothesis import given
from hypothesis import strategies as st

from goodstrace.entry import Position
from goodstrace.facts import Facts
from goodstrace.query.v1 import trace_pb2
from goodstrace.tracing.model import (
    Certainty,
    Direction,
    Link,
    LinkKind,
    Listing,
    Mention,
    Node,
    NodeRole,
    TracedEvent,
)
from goodstrace.tracing.wire import ABRIDGED
from services.query import core
from services.query.core import Cost

FACTS = Facts(
    event_id="urn:x", event_hash="ni:///x", type="ObjectEvent", time_us=0, offset="+00:00", pipeline="1"
)
PAGE_BYTES = 10_000


def _node(key: str) -> Node:
    return Node(key, 0, Direction.UPSTREAM, "item", NodeRole.GOODS, Certainty.CERTAIN)


def _event(identity: str, positions: tuple[Position, ...]) -> TracedEvent:
    return TracedEvent(
        identity, positions, 1, 0, FACTS, ("corrected",), (Mention("key", Certainty.POSSIBLE, ("box",)),)
    )


def _pages(
    nodes: list[Node], events: list[TracedEvent], costs: dict[Position, Cost], page_size: int
) -> list[core.Page]:
    pages, offset = [], 0
    while True:
        page = core.cut_page(
            nodes, events, offset, page_size=page_size, page_bytes=PAGE_BYTES, cost=costs.__getitem__
        )
        pages.append(page)
        if page.next_offset is None:
            return pages
        assert page.next_offset > offset
        offset = page.next_offset


SIZES = st.lists(st.lists(st.integers(100, 6_000), min_size=1, max_size=4), max_size=30)


@given(SIZES, st.lists(st.integers(1, 3_000), max_size=12), st.integers(1, 20))
def test_pages_hold_every_item_once_in_order_and_within_the_limits(
    sizes: list[list[int]], keys: list[int], page_size: int
) -> None:
    nodes = [_node("k" * length) for length in keys]
    events, costs = [], {}
    for number, of_event in enumerate(sizes):
        positions = tuple(("goods/0", 10 * number + place) for place in range(len(of_event)))
        events.append(_event(f"{number:064x}", positions))
        costs.update({place: Cost(size, 50) for place, size in zip(positions, of_event, strict=True)})
    pages = _pages(nodes, events, costs, page_size)

    assert [node.key for page in pages for node in page.nodes] == [node.key for node in nodes]
    planned = [event for page in pages for event in page.events]
    assert [each.message.identity for each in planned] == [event.identity for event in events]
    for page in pages:
        assert len(page.events) <= page_size
        used = sum(node.ByteSize() for node in page.nodes)
        used += sum(costs[place].full for each in page.events for place in each.full)
        used += sum(costs[place].bare for each in page.events for place in each.bare)
        assert used <= PAGE_BYTES or len(page.nodes) + len(page.events) == 1
    for each, event in zip(planned, events, strict=True):
        assert each.full[0] == event.positions[0]
        if ABRIDGED not in each.message.marks:
            assert (each.full, each.bare) == (event.positions, ())


def test_an_event_sealed_in_too_many_places_is_abridged_and_says_so() -> None:
    places = tuple(("goods/0", index) for index in range(300))
    costs = dict.fromkeys(places, Cost(4_000, 100))
    [page] = _pages([], [_event("a", places)], costs, 10)
    [planned] = page.events
    assert planned.full == places[:2]
    assert 0 < len(planned.bare) < 298
    assert list(planned.message.marks) == [ABRIDGED, "corrected"]


def test_an_event_over_the_limit_is_on_a_page_of_its_own() -> None:
    events = [_event(name, (("goods/0", number),)) for number, name in enumerate("abc")]
    costs = {("goods/0", 0): Cost(10, 5), ("goods/0", 1): Cost(50_000, 5), ("goods/0", 2): Cost(10, 5)}
    pages = _pages([], events, costs, 10)
    assert [[each.message.identity for each in page.events] for page in pages] == [["a"], ["b"], ["c"]]
    assert list(pages[1].events[0].message.marks) == ["corrected"]


def test_a_node_is_shown_with_its_links_and_transactions() -> None:
    link = Link("parent", LinkKind.CONTAINED, ("aa", "bb"), Certainty.POSSIBLE, ("implied",), 5, 9)
    node = Node(
        "k",
        3,
        Direction.DOWNSTREAM,
        "lot",
        NodeRole.CONTAINER,
        Certainty.POSSIBLE,
        (link,),
        ("seen",),
        (Listing("po", "po", 1),),
    )
    shown = core.node_message(node)
    assert (shown.key, shown.level, shown.role, shown.grade) == ("k", 3, "container", "lot")
    assert trace_pb2.Direction.Name(shown.direction) == "DIRECTION_DOWNSTREAM"
    assert trace_pb2.Certainty.Name(shown.certainty) == "CERTAINTY_POSSIBLE"
    [shown_link] = shown.links
    assert (shown_link.kind, list(shown_link.identities), shown_link.from_us, shown_link.until_us) == (
        "contained",
        ["aa", "bb"],
        5,
        9,
    )
    assert (shown.transactions[0].key, shown.transactions[0].until_us) == ("po", 0)
    assert list(shown.marks) == ["seen"]
