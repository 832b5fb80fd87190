"""What a client refuses of a stream: pieces without proof, out of place, twice, missing, or other than the summary says."""

from collections.abc import Callable
from typing import Any

import pytest

from goodstrace import facts as facts_format
from goodstrace.entry import Kind
from goodstrace.errors import AnswerError, VerificationError
from goodstrace.facts import Facts
from goodstrace.query.v1 import recall_pb2, trace_pb2
from goodstrace.recalls import RecallPiece, RecallVerifier
from goodstrace.streams import TraceAssembly
from goodstrace.tracing import Direction, EventFilter, Query, SealedFacts, drive, trace
from goodstrace.tracing.wire import DIRECTIONS, mention_messages, node_message
from goodstrace.verification import verify_checkpoints
from tests.unit.fake_services import FakeLog, FakeServices
from tests.unit.tracing_builders import Chain, Source, key_of

LOT = key_of("lot:x")


def logged(chain: Chain) -> tuple[FakeLog, list[SealedFacts]]:
    """Seal the facts of a chain in a log in memory; gives them as they lie there."""
    log = FakeLog("goods/0")
    sealed = []
    for each in chain.sealed:
        index = log.append(Kind.EVENT, {"facts": facts_format.encode(each.facts)})
        sealed.append(SealedFacts("goods/0", index, 1, 1_700_000_000_000 + index, each.facts))
    return log, sealed


def name_of(facts: Facts) -> str:
    return facts_format.identity(1, facts)


class Recall:
    """The messages of a small recall: a lot, its two items, their case, an order and a shop. Each may be changed."""

    def __init__(self) -> None:
        chain = Chain()
        made = chain.see(1, "a", "b", lot="lot:x", action="ADD").facts
        sold = chain.event(
            "Object", 2, "OBSERVE", keys={"epc": ["a"], "transaction": ["po:1"], "location": ["shop"]}
        ).facts
        self.log, _ = logged(chain)
        self.made, self.sold = name_of(made), name_of(sold)
        events = [
            recall_pb2.RecallEvent(identity=each, sealed=self.log.sealed(index))
            for index, each in enumerate((self.made, self.sold))
        ]
        goods = [
            recall_pb2.RecallGoods(number=0, key=LOT, grade="lot"),
            *(
                recall_pb2.RecallGoods(
                    number=number,
                    key=key,
                    grade="other",
                    from_key=LOT,
                    kind="serial-of-lot",
                    identities=[self.made],
                )
                for number, key in ((1, "a"), (2, "b"))
            ),
        ]
        self.messages = [
            recall_pb2.RecallResponse(key=LOT, checkpoints=[self.log.checkpoint()], browse_id="ab"),
            recall_pb2.RecallResponse(goods=goods[:1]),
            recall_pb2.RecallResponse(
                events=events[:1], mentions=[recall_pb2.RecallMention(identity=self.made, possible=[0])]
            ),
            recall_pb2.RecallResponse(
                level=1, goods=goods[1:], containers=[recall_pb2.RecallContainer(key="case", inner_key="a")]
            ),
            recall_pb2.RecallResponse(
                level=1,
                events=events[1:],
                mentions=[recall_pb2.RecallMention(identity=self.sold, certain=[1])],
                orders=[recall_pb2.RecallOrder(key="po:1", identity=self.sold)],
                holders=[recall_pb2.RecallHolder(key="shop", role="seen_at", identity=self.sold)],
            ),
            recall_pb2.RecallResponse(
                summary=recall_pb2.RecallSummary(
                    goods={"lot": 1, "other": 2}, containers=1, events=2, orders=1, holders=1, levels=1
                )
            ),
        ]

    def verified(self) -> list[RecallPiece]:
        keys = FakeServices(self.log).keys()
        verifier = RecallVerifier(
            LOT, opened=lambda messages: verify_checkpoints(messages, keys), merchant_keys=None
        )
        return list(verifier.pieces(self.messages))


def test_a_sound_recall_is_given_piece_by_piece() -> None:
    pieces = Recall().verified()
    assert len(pieces) == 6
    assert pieces[-1].summary is not None
    assert [each.key for piece in pieces for each in piece.goods] == [LOT, "a", "b"]


def _tampered(recall: Recall) -> None:
    recall.messages[2].events[0].sealed.parts[0].content += b" "


def _unlinked(recall: Recall) -> None:
    recall.messages[3].goods[0].identities[:] = [recall.sold]


def _copied(recall: Recall, number: int) -> None:
    recall.messages.insert(number, recall.messages[number])


CHANGES: dict[str, Callable[[Recall], Any]] = {
    "another key": lambda r: setattr(r.messages[0], "key", "urn:other"),
    "no proof": _tampered,
    "no event that links it": _unlinked,
    "linked to nothing": lambda r: setattr(r.messages[3].goods[0], "from_key", "nowhere"),
    "no link": lambda r: setattr(r.messages[3].goods[0], "from_key", ""),
    "goods out of order": lambda r: setattr(r.messages[3].goods[0], "number", 2),
    "goods twice": lambda r: setattr(r.messages[3].goods[1], "key", "a"),
    "begins with another": lambda r: setattr(r.messages[1].goods[0], "key", "urn:other"),
    "an event twice": lambda r: _copied(r, 2),
    "a mention of nothing": lambda r: r.messages[2].mentions[0].possible.append(9),
    "a mention of no event": lambda r: setattr(r.messages[2].mentions[0], "identity", "x"),
    "an order of no event": lambda r: setattr(r.messages[4].orders[0], "identity", r.made),
    "a holder of no event": lambda r: setattr(r.messages[4].holders[0], "key", "else"),
    "a level back": lambda r: setattr(r.messages[4], "level", 0),
    "no summary": lambda r: r.messages.pop(),
    "an event left out": lambda r: r.messages[4].ClearField("events"),
    "goods left out": lambda r: r.messages[3].goods.pop(),
    "other counts": lambda r: setattr(r.messages[5].summary, "containers", 2),
    "other levels": lambda r: setattr(r.messages[5].summary, "levels", 2),
    "hidden parts": lambda r: setattr(r.messages[5].summary, "withheld", 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_recall_that_lies_is_refused(change: Callable[[Recall], Any]) -> None:
    recall = Recall()
    change(recall)
    with pytest.raises((AnswerError, VerificationError)):
        recall.verified()


class Stream:
    """The messages of a trace upstream over two levels."""

    def __init__(self) -> None:
        chain = Chain()
        chain.make(1, ["milk"], ["cheese"])
        chain.make(2, ["cheese"], ["toast"])
        self.log, sealed = logged(chain)
        self.messages = [
            trace_pb2.StreamTraceResponse(key="toast", checkpoints=[self.log.checkpoint()], browse_id="ab")
        ]
        shown: set[str] = set()
        for level in range(3):
            answer = drive(trace(Query("toast", Direction.UPSTREAM, level)), Source(sealed))
            events = [
                trace_pb2.TraceEvent(
                    identity=each.identity,
                    mentions=mention_messages(each.mentions),
                    **({} if each.identity in shown else {"sealed": self.log.sealed(each.positions[0][1])}),
                )
                for each in answer.events
            ]
            shown |= {each.identity for each in answer.events}
            summary = trace_pb2.StreamTraceSummary(
                total_events=len(answer.events), truncated=answer.truncated, last=level == 2
            )
            self.messages.append(
                trace_pb2.StreamTraceResponse(
                    level=level, nodes=map(node_message, answer.nodes), events=events, summary=summary
                )
            )

    def traces(self) -> list[Any]:
        keys = FakeServices(self.log).keys()
        assembly = TraceAssembly(
            "toast",
            "upstream",
            EventFilter(),
            max_depth=10,
            opened=lambda messages: verify_checkpoints(messages, keys),
            merchant_keys=None,
        )
        return list(assembly.traces(self.messages))


def test_a_sound_stream_gives_the_trace_up_to_each_level() -> None:
    traces = Stream().traces()
    assert [[node.key for node in each.nodes] for each in traces] == [
        ["toast"],
        ["toast", "cheese"],
        ["toast", "cheese", "milk"],
    ]
    assert [each.tree_verified for each in traces] == [False, False, True]


STREAM_CHANGES: dict[str, Callable[[Stream], Any]] = {
    "another key": lambda s: setattr(s.messages[0], "key", "urn:other"),
    "no last level": lambda s: s.messages.pop(),
    "a level left out": lambda s: s.messages.pop(2),
    "a node invented": lambda s: s.messages[3].nodes.add(
        key="x", level=2, direction=DIRECTIONS[Direction.UPSTREAM]
    ),
    "a node taken back that was not there": lambda s: s.messages[2].removed_nodes.add(key="x"),
    "an event taken back that was not there": lambda s: s.messages[2].removed_events.append("x"),
    "a change of no event": lambda s: s.messages[1].events.add(identity="x"),
    "an event twice": lambda s: s.messages[3].events[-1].CopyFrom(s.messages[1].events[0]),
    "an event left out": lambda s: s.messages[3].events.pop(0) and s.messages[2].ClearField("events"),
    "a wrong total": lambda s: setattr(s.messages[3].summary, "total_events", 5),
    "filtered without a filter": lambda s: setattr(s.messages[1].summary, "filtered", 1),
}


@pytest.mark.parametrize("change", STREAM_CHANGES.values(), ids=STREAM_CHANGES)
def test_a_stream_that_lies_is_refused(change: Callable[[Stream], Any]) -> None:
    stream = Stream()
    change(stream)
    with pytest.raises((AnswerError, VerificationError)):
        stream.traces()
