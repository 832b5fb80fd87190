"""What a recall found, as messages. Pure, no I/O."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from goodstrace.entry import Position
from goodstrace.log.v1.log_pb2 import SealedEntry
from goodstrace.query.v1 import recall_pb2
from goodstrace.tracing.model import Node, TracedEvent
from goodstrace.tracing.recalling import Counted, Found, Holder, Order, Totals

__all__ = ["SealedEntry", "event", "head", "holders", "mentions", "orders", "summary"]
_MAX_MARKS: Final = 32


def head(found: Found) -> recall_pb2.RecallResponse:
    """Show the goods and containers of a piece."""
    return recall_pb2.RecallResponse(
        level=found.level,
        goods=[
            recall_pb2.RecallGoods(
                number=each.number,
                key=each.reached.key,
                grade=each.grade,
                from_key=each.reached.from_key,
                kind=each.reached.kind,
                identities=each.reached.identities,
                possible=each.reached.is_possible,
            )
            for each in found.goods
        ],
        containers=map(_container, found.containers),
    )


def _container(node: Node) -> recall_pb2.RecallContainer:
    link = node.links[0]
    return recall_pb2.RecallContainer(
        key=node.key, grade=node.grade, inner_key=link.key, from_us=link.from_us, until_us=link.until_us
    )


def event(
    traced: TracedEvent, shown: Mapping[Position, SealedEntry], most_also_at: int
) -> recall_pb2.RecallEvent:
    """Show an event with its proof."""
    return recall_pb2.RecallEvent(
        identity=traced.identity,
        sealed=shown[traced.positions[0]],
        also_at=[shown[each] for each in traced.positions[1 : 1 + most_also_at]],
        marks=traced.marks[:_MAX_MARKS],
    )


def mentions(events: Iterable[Counted]) -> Iterator[recall_pb2.RecallMention]:
    """Show for which goods events count, those in one container together."""
    for each in events:
        by_container: dict[str, recall_pb2.RecallMention] = {}
        for goods in each.goods:
            container = goods.path[-1] if goods.path else ""
            mention = by_container.get(container)
            if mention is None:
                mention = recall_pb2.RecallMention(identity=each.event.identity, container=container)
                by_container[container] = mention
            (mention.possible if goods.is_possible else mention.certain).append(goods.number)
        yield from by_container.values()


def orders(found: Iterable[Order]) -> list[recall_pb2.RecallOrder]:
    """Show orders."""
    return [recall_pb2.RecallOrder(key=each.key, type=each.type, identity=each.identity) for each in found]


def holders(found: Iterable[Holder]) -> list[recall_pb2.RecallHolder]:
    """Show holders."""
    return [
        recall_pb2.RecallHolder(key=each.party.key, role=each.party.role, identity=each.identity)
        for each in found
    ]


def summary(totals: Totals, erased: int, withheld: int) -> recall_pb2.RecallSummary:
    """Show what there was in all."""
    return recall_pb2.RecallSummary(
        goods=dict(totals.goods),
        containers=totals.containers,
        events=totals.events,
        orders=totals.orders,
        holders=totals.holders,
        levels=totals.levels,
        erased=erased,
        total_withheld=withheld,
        truncated=totals.is_truncated,
    )
