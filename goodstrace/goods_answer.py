"""Checking how goods stand: the state is derived once more from the proved events of the answer, and must be the one given. Pure.

What is proved is that these events are sealed and that the state follows from them. Not proved is that there are no others: neither
those that were let go (`cut`) nor a newer registration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from goodstrace import registration
from goodstrace.entry import Kind
from goodstrace.errors import AnswerError, EntryError
from goodstrace.goods.corrections import Given, Givers, deciding
from goodstrace.goods.registered import PART, MasterData, read_registration
from goodstrace.goods.sightings import Kept, Placed, sightings
from goodstrace.goods.standing import (
    by_beginning,
    carriers,
    next_key,
    orders,
    registered_under,
    registration_message,
    state_message,
    traded_in,
)
from goodstrace.goods.state import GoodsState, Told, state_of
from goodstrace.query.v1 import goods_pb2, trace_pb2
from goodstrace.receipts import Receipt, receipts_in
from goodstrace.signatures import MerchantKeys
from goodstrace.tracing.model import NameKind
from goodstrace.verification import (
    VerifiedCheckpoint,
    VerifiedEntry,
    VerifiedEvent,
    verify_entry,
    verify_event,
)
from goodstrace.withheld import Withheld, check_names, check_withheld

Checkpoints = Mapping[str, VerifiedCheckpoint]


@dataclass(frozen=True, slots=True)
class Registered:
    """What is registered of goods, by which merchant, and the entry that proves it."""

    content: MasterData
    merchant: int
    entry: VerifiedEntry


@dataclass(frozen=True, slots=True)
class Goods:
    """How goods stand, verified: every statement follows from `events`, which are sealed.

    states: by key, that asked for first, then what it is in. carriers: the keys among them that it is in now, nearest first: where
    the last of them is, the goods are. orders: those that the goods are in now. messages: the states as they came. delegations: the
    registrations by which corrections by other merchants count or not. truncated: not all records of a key were looked at. withheld: what
    the caller may not see; nothing follows from it.
    """

    key: str
    states: Mapping[str, GoodsState]
    carriers: Sequence[str]
    orders: Sequence[Told]
    messages: Sequence[goods_pb2.GoodsState]
    registered: Registered | None
    events: Mapping[str, VerifiedEvent]
    checkpoints: Checkpoints
    truncated: bool
    browse_ids: tuple[str, ...]
    delegations: tuple[VerifiedEntry, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    receipts: tuple[Receipt, ...] = ()


def check_goods(
    key: str,
    pages: Sequence[goods_pb2.GetGoodsResponse],
    checkpoints: Checkpoints,
    merchants: MerchantKeys | None = None,
) -> Goods:
    """Check a whole answer.

    Args:
        key: asked for, canonical.
        pages: all of them, in order.
        checkpoints: of the answer, verified.
        merchants: whose signatures are checked.
    Raises: AnswerError naming what does not follow; ProofError, EntryError, SignatureError.
    """
    first = pages[0]
    if first.key != key:
        raise AnswerError(f"asked for {key} and answered for {first.key}")
    events = _events((each for page in pages for each in page.events), checkpoints, merchants)
    if len(events) != first.total_events:
        raise AnswerError(f"the answer says it has {first.total_events} events and shows {len(events)}")
    delegations = tuple(verify_entry(each, checkpoints) for each in first.delegations)
    states = _states(key, first.states, events, list(map(_given, delegations)))
    registered = (
        _registered(first.registration, checkpoints, registered_under(key, states[key]))
        if first.HasField("registration")
        else None
    )
    return Goods(
        key=key,
        states=states,
        carriers=carriers(key, states),
        orders=orders(key, states),
        messages=tuple(first.states),
        registered=registered,
        events=events,
        checkpoints=checkpoints,
        truncated=first.truncated,
        browse_ids=tuple(page.browse_id for page in pages),
        delegations=delegations,
        withheld=_withheld(pages, checkpoints, events, states.keys()),
        receipts=receipts_in(pages),
    )


def _withheld(
    pages: Sequence[goods_pb2.GetGoodsResponse],
    checkpoints: Checkpoints,
    events: Mapping[str, VerifiedEvent],
    keys: Iterable[str],
) -> tuple[Withheld, ...]:
    withheld = check_withheld(
        (each for page in pages for each in page.withheld_entries),
        checkpoints,
        count=pages[0].total_withheld,
        shown={(each.position.log, each.position.index) for each in events.values()},
    )
    check_names(withheld, {(NameKind.KEY, key) for key in keys})
    return withheld


def _events(
    messages: Iterable[goods_pb2.GoodsEvent], checkpoints: Checkpoints, merchants: MerchantKeys | None
) -> dict[str, VerifiedEvent]:
    found: dict[str, VerifiedEvent] = {}
    for each in messages:
        traced = trace_pb2.TraceEvent(identity=each.identity, sealed=each.sealed)
        event = verify_event(traced, checkpoints, merchants)
        if event.facts is None:
            raise AnswerError(
                f"the facts of the event {each.identity} are not shown: no state follows from it"
            )
        if each.identity in found:
            raise AnswerError("the answer shows one event twice")
        found[each.identity] = event
    return found


def _states(
    key: str,
    messages: Sequence[goods_pb2.GoodsState],
    events: Mapping[str, VerifiedEvent],
    given: Sequence[Given],
) -> dict[str, GoodsState]:
    """Derive the states again and compare them, one by one, with those given."""
    said = sightings(map(_placed, events.values()), {each.key for each in messages})
    identities = by_beginning(events)
    givers = Givers(given)
    states: dict[str, GoodsState] = {}
    of_all: list[Kept] = []
    used: set[str] = set()
    left: Iterator[str] | None = None
    for message in messages:
        due = next_key(key, states) if left is None else None
        if due is None and left is None:
            left = iter(traded_in(key, states))
        mine = said.get(message.key, Kept(()))
        # Of orders only those are shown of which something is told, each behind those before it.
        if message.key != due and not (left is not None and mine.sightings and message.key in left):
            raise AnswerError(f"the state of {message.key} is not one that belongs to the answer")
        kept = Kept(mine.sightings, tuple(sorted({*mine.cut, *message.cut})))
        if state_message(message.key, kept, identities, givers) != message:
            raise AnswerError(f"the state of {message.key} does not follow from the events of the answer")
        states[message.key] = state_of(message.key, kept, givers)
        of_all.append(kept)
        used.update(message.identities)
    if left is None and next_key(key, states) is not None:
        raise AnswerError("the answer lacks a state that belongs to it")
    if used != events.keys():
        raise AnswerError("the answer shows events that none of its states follows from")
    if deciding(of_all, givers) != list(given):
        raise AnswerError("the answer shows registrations of merchants that decide nothing in it")
    return states


def _placed(event: VerifiedEvent) -> Placed:
    entry, facts = event.position, event.facts
    assert facts is not None
    return Placed(
        log=entry.log,
        index=entry.index,
        merchant=entry.entry.merchant,
        record_ms=entry.entry.time,
        record_id=entry.entry.id,
        facts=facts,
        content=event.content or b"",
    )


def _given(entry: VerifiedEntry) -> Given:
    place = f"{entry.log}[{entry.index}]"
    if entry.entry.kind is not Kind.REGISTRATION or registration.PART not in entry.parts:
        raise AnswerError(f"{place}: no registration is shown there")
    try:
        found = registration.decode(entry.parts[registration.PART])
    except EntryError as error:
        raise AnswerError(f"{place}: {error}") from error
    return Given(entry.entry.time, entry.entry.id, found)


def _registered(
    message: goods_pb2.GoodsRegistration, checkpoints: Checkpoints, under: Sequence[str]
) -> Registered:
    entry = verify_entry(message.sealed, checkpoints)
    place = f"{entry.log}[{entry.index}]"
    if entry.entry.kind != Kind.REGISTRATION or PART not in entry.parts:
        raise AnswerError(f"{place}: no registration is shown there")
    try:
        content, merchant = read_registration(entry.parts[PART])
    except EntryError as error:
        raise AnswerError(f"{place}: {error}") from error
    derived = registration_message(content, merchant)
    derived.sealed.CopyFrom(message.sealed)
    if derived != message or merchant != entry.entry.merchant:
        raise AnswerError(f"{place}: what is said to be registered is not what is sealed")
    if content.key not in under:
        raise AnswerError(f"{place}: the registration of {content.key} is none of the goods asked for")
    return Registered(content, merchant, entry)
