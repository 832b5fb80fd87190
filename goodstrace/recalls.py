"""A recall as it comes: each piece verified, in memory that does not grow with what it shows.

What is checked beside the proofs: every key is named by a proved event that links it, every mention, order and holder by one that came
before, what is withheld was found by a name that something that came before leads to, nothing comes twice, and the counts at the end are
those of what came.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from goodstrace import registration
from goodstrace.entry import Kind
from goodstrace.errors import AnswerError
from goodstrace.facts import Facts
from goodstrace.log.v1 import log_pb2
from goodstrace.query.v1 import recall_pb2, withheld_pb2
from goodstrace.registration import Registration
from goodstrace.signatures import MerchantKeys
from goodstrace.tracing.recall_memory import Seen
from goodstrace.tracing.recall_names import NamesShown
from goodstrace.verification import VerifiedCheckpoint, VerifiedEvent, verify_entry, verify_event
from goodstrace.withheld import Withheld, not_asked, verify_found_by

_SECRET_BYTES: Final = 16
Opened = Callable[[Sequence[log_pb2.Checkpoint]], Mapping[str, VerifiedCheckpoint]]


@dataclass(frozen=True, slots=True)
class RecalledEvent:
    """A verified event of a recall, with the marks that the server gives it."""

    event: VerifiedEvent
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecallPiece:
    """A verified piece of a recall; the first one has no more than checkpoints, the last one is the one with a `summary`."""

    level: int
    goods: tuple[recall_pb2.RecallGoods, ...]
    containers: tuple[recall_pb2.RecallContainer, ...]
    events: tuple[RecalledEvent, ...]
    mentions: tuple[recall_pb2.RecallMention, ...]
    orders: tuple[recall_pb2.RecallOrder, ...]
    holders: tuple[recall_pb2.RecallHolder, ...]
    registrations: tuple[Registration, ...]
    checkpoints: Mapping[str, VerifiedCheckpoint]
    browse_id: str
    summary: recall_pb2.RecallSummary | None = None
    withheld_entries: tuple[Withheld, ...] = ()


class RecallVerifier:
    """Verifies one stream. It remembers some 32 bytes of every key, event, name of a key in an event, and entry that is withheld."""

    def __init__(self, key: str, *, opened: Opened, merchant_keys: MerchantKeys | None) -> None:
        """Begin with nothing; `opened` verifies the checkpoints of the first piece."""
        self._key: Final = key
        self._opened: Final = opened
        self._merchants: Final = merchant_keys
        self._checkpoints: Mapping[str, VerifiedCheckpoint] = {}
        self._browse_id = ""
        self._seen: Final = Seen(os.urandom(_SECRET_BYTES))
        self._names: Final = NamesShown(self._seen)
        self._goods: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._withheld = 0
        self._level = 0

    def pieces(self, messages: Iterable[recall_pb2.RecallResponse]) -> Iterator[RecallPiece]:
        """Yield the pieces, each once it is verified.

        Raises: what `verify_event` does; AnswerError where pieces do not fit together, or the stream ends before its summary.
        """
        for number, message in enumerate(messages):
            if number == 0:
                if message.key != self._key:
                    raise AnswerError(f"asked for {self._key} and answered for {message.key}")
                self._checkpoints = self._opened(message.checkpoints)
                self._browse_id = message.browse_id
            yield self._piece(message)
            if message.HasField("summary"):
                return
        raise AnswerError("the stream of the recall ended before its summary")

    def _piece(self, message: recall_pb2.RecallResponse) -> RecallPiece:
        if message.HasField("summary"):
            self._check_summary(message.summary)
        elif message.level < self._level:
            raise AnswerError(f"level {message.level} comes after level {self._level}")
        self._level = max(self._level, message.level)
        events = tuple(self._event(each) for each in message.events)
        for goods in message.goods:
            self._check_goods(goods)
        for container in message.containers:
            self._once("containers", f"container {container.key}")
            self._names.add_key(container.key)
        for mention in message.mentions:
            self._check_mention(mention)
        for order in message.orders:
            self._once("orders", f"order {order.type} {order.key}")
            self._check_named(order.identity, order.key)
        for holder in message.holders:
            self._once("holders", f"holder {holder.role} {holder.key}")
            self._check_named(holder.identity, holder.key)
        return RecallPiece(
            level=message.level,
            goods=tuple(message.goods),
            containers=tuple(message.containers),
            events=events,
            mentions=tuple(message.mentions),
            orders=tuple(message.orders),
            holders=tuple(message.holders),
            registrations=tuple(self._registration(each) for each in message.registrations),
            withheld_entries=tuple(self._withheld_entry(each) for each in message.withheld_entries),
            checkpoints=self._checkpoints,
            browse_id=self._browse_id,
            summary=message.summary if message.HasField("summary") else None,
        )

    def _once(self, kind: str, name: str) -> None:
        if not self._seen.add(name):
            raise AnswerError(f"the recall shows one of its {kind} twice: {name}")
        self._counts[kind] += 1

    def _event(self, message: recall_pb2.RecallEvent) -> RecalledEvent:
        event = verify_event(message, self._checkpoints, self._merchants)
        self._once("events", f"event {message.identity}")
        self._withheld += event.position.is_hidden
        if not self._seen.add(_record(event.position.log, event.position.index)):
            raise AnswerError(f"the event {message.identity} stands where something came before")
        if event.facts is None:
            self._seen.add(f"hidden {message.identity}")
        else:
            for key in _names(event.facts):
                self._seen.add(f"named {message.identity} {key}")
            self._names.add_event(event.facts)
        return RecalledEvent(event, tuple(message.marks))

    def _check_goods(self, goods: recall_pb2.RecallGoods) -> None:
        if goods.number != self._counts["goods"]:
            raise AnswerError(f"goods {goods.number} come in the place of number {self._counts['goods']}")
        if bool(goods.from_key) != bool(goods.number) or (not goods.number and goods.key != self._key):
            raise AnswerError(f"the recall does not begin with {self._key}, or another key has no link")
        self._once("goods", f"goods {goods.key}")
        self._names.add_key(goods.key)
        self._goods[goods.grade] += 1
        if goods.from_key:
            if f"goods {goods.from_key}" not in self._seen:
                raise AnswerError(f"{goods.key} is linked to {goods.from_key}, which was not shown")
            if not any(self._is_named(identity, goods.key) for identity in goods.identities):
                raise AnswerError(f"no event shown links {goods.key} to {goods.from_key}")

    def _check_mention(self, mention: recall_pb2.RecallMention) -> None:
        if f"event {mention.identity}" not in self._seen:
            raise AnswerError(f"the event {mention.identity} is said to count for goods, and was not shown")
        if max((*mention.certain, *mention.possible), default=0) >= self._counts["goods"]:
            raise AnswerError(f"the event {mention.identity} is said to count for goods that were not shown")

    def _check_named(self, identity: str, key: str) -> None:
        if not self._is_named(identity, key):
            raise AnswerError(f"the event {identity}, which is said to name {key}, was not shown or does not")

    def _is_named(self, identity: str, key: str) -> bool:
        return f"named {identity} {key}" in self._seen or f"hidden {identity}" in self._seen

    def _registration(self, sealed: log_pb2.SealedEntry) -> Registration:
        entry = verify_entry(sealed, self._checkpoints)
        told = registration.of_parts(entry.parts) if entry.entry.kind is Kind.REGISTRATION else None
        if told is None or told.merchant != entry.entry.merchant:
            raise AnswerError(f"{entry.log}[{entry.index}]: no registration stands where one should")
        return told

    def _withheld_entry(self, message: withheld_pb2.WithheldEntry) -> Withheld:
        withheld = verify_found_by(message.sealed, message.found_by, self._checkpoints)
        log, index = withheld.place
        if not self._seen.add(_record(log, index)):
            raise AnswerError(f"{log}[{index}]: it is named as withheld, and came before")
        self._counts["withheld"] += 1
        if (withheld.kind, withheld.name) not in self._names:
            raise not_asked(withheld)
        return withheld

    def _check_summary(self, summary: recall_pb2.RecallSummary) -> None:
        said = {name: getattr(summary, name) for name in ("containers", "events", "orders", "holders")}
        came = {name: self._counts[name] for name in said}
        if said != came or dict(summary.goods) != dict(self._goods):
            raise AnswerError(
                f"the recall says it has {said} and goods {dict(summary.goods)}; there came {came} and {dict(self._goods)}"
            )
        if summary.levels != self._level or summary.withheld + summary.erased != self._withheld:
            raise AnswerError("the recall is not what its summary says of levels, or of parts not shown")
        if summary.total_withheld != self._counts["withheld"]:
            raise AnswerError(
                f"the recall says that {summary.total_withheld} records are withheld, and names {self._counts['withheld']}"
            )


def _record(log: str, index: int) -> str:
    return f"record {log} {index}"


def _names(facts: Facts) -> Iterator[str]:
    for keys in facts.keys.values():
        yield from keys
    for serial, lot in facts.lot_of.items():
        yield serial
        yield lot
