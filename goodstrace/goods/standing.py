"""From what is kept of some keys to the messages of an answer: what the service sends, and what a client compares with its own.

The key asked for comes first, then its lot, whose recall is its own, then what it is in, and what that is in. What was emptied since
is shown, so that the emptying can be seen, and is no way further out. Behind them come orders off which all goods were taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from goodstrace import identifiers
from goodstrace.entry import Position
from goodstrace.goods.corrections import Givers
from goodstrace.goods.registered import MasterData
from goodstrace.goods.sightings import DIGEST, Kept
from goodstrace.goods.state import INSIDE, ORDERS, GoodsState, Told, state_of
from goodstrace.query.v1 import goods_pb2
from goodstrace.tracing.events import is_followed

MOST_CARRIERS: Final = 16
MOST_TRADED: Final = 8

Standing = Mapping[str, GoodsState]


def next_key(key: str, states: Standing) -> str | None:
    """Name the next key whose state belongs to the answer, None where there is no more: at most 16 beside the first two.

    Args:
        key: the one asked for.
        states: those known so far, in the order in which they were named.
    """
    if key not in states:
        return key
    lot = states[key].told.get("lot")
    if lot is not None and lot.value not in states:
        return lot.value
    for inner, state in states.items():
        if inner != key and not _carries(inner, states):
            continue
        for stay in state.inside:
            if stay.value not in states and is_followed(stay.value):
                return stay.value if len(states) <= MOST_CARRIERS + (lot is not None) else None
    return None


def traded_in(key: str, states: Standing) -> list[str]:
    """Name the orders whose own events may take the goods off them: the newest 8, newest first.

    Where all goods were taken off one, its state belongs to the answer, behind all others.

    Args:
        key: the one asked for.
        states: all those that `next_key` names.
    """
    newest = sorted((said for said in states[key].orders if said.traded), key=lambda said: said.newest.order)
    named = dict.fromkeys(said.value for said in reversed(newest))
    return [order for order in named if order not in states][:MOST_TRADED]


def orders(key: str, states: Standing) -> list[Told]:
    """Give the orders that the goods are in now: those of which they, or all goods, were not taken off since."""
    return [said for said in states[key].orders if not _is_over(said, states)]


def _is_over(order: Told, states: Standing) -> bool:
    """Say whether all goods were taken off an order since it was last told of them, by the order's own events."""
    if not order.traded or order.value not in states:
        return False
    emptied = states[order.value].emptied_orders.get(order.type)
    return emptied is not None and emptied.newest.order > order.newest.order


def carriers(key: str, states: Standing) -> list[str]:
    """Name what the goods are in now, nearest first, each of which was not emptied since."""
    reached, found = {key}, list[str]()
    for inner, state in states.items():
        if inner in reached:
            near = [stay.value for stay in state.inside if stay.value in states and stay.value not in reached]
            found += (still := [each for each in near if _carries(each, states)])
            reached.update(still)
    return found


def _carries(container: str, states: Standing) -> bool:
    """Say whether anything of the answer is still in a container, by the container's own events."""
    emptied = states[container].told.get("emptied")
    return any(
        stay.value == container and (emptied is None or emptied.newest.order < stay.newest.order)
        for state in states.values()
        for stay in state.inside
    )


def places_in(kept: Mapping[str, Kept]) -> dict[bytes, Position]:
    """Give the events that states follow from: log and index of the first record of each, by the beginning of its identity."""
    return {
        each.identity: (each.place[1], each.place[2]) for of_key in kept.values() for each in of_key.sightings
    }


def registered_under(key: str, state: GoodsState | None) -> list[str]:
    """Name the keys that goods may be registered under, the nearest first: itself, its lot, its product class."""
    lot = state.told.get("lot") if state else None
    return list(
        dict.fromkeys(
            each for each in (key, lot.value if lot else None, identifiers.class_of(key)) if each is not None
        )
    )


def state_message(
    key: str, kept: Kept, identities: Mapping[bytes, str], givers: Givers
) -> goods_pb2.GoodsState:
    """Show a state.

    Args:
        key: canonical.
        kept: what it follows from.
        identities: of the events, hex, by their first 12 bytes.
        givers: registrations of merchants, as `state_of` takes them.
    """
    state = state_of(key, kept, givers)
    return goods_pb2.GoodsState(
        key=key,
        grade=state.grade,
        statements=[_statement(field, said, identities) for field, said in _statements(state)],
        unsure=state.unsure,
        cut=kept.cut,
        identities=sorted(identities[each.identity] for each in kept.sightings),
    )


def registration_message(content: MasterData, merchant: int) -> goods_pb2.GoodsRegistration:
    """Show what is registered, without the record."""
    return goods_pb2.GoodsRegistration(
        key=content.key,
        merchant=merchant,
        names=content.names,
        pictures=[goods_pb2.GoodsPicture(uri=each.uri, sha256=each.sha256) for each in content.pictures],
        attributes=content.attributes,
    )


def by_beginning(identities: Iterable[str]) -> dict[bytes, str]:
    """Sort identities by their beginnings, which is what sightings have of them."""
    return {bytes.fromhex(each)[:DIGEST]: each for each in identities}


def _statements(state: GoodsState) -> Sequence[tuple[str, Told]]:
    found = [
        *state.told.items(),
        *((INSIDE, said) for said in state.inside),
        *((ORDERS, said) for said in state.orders),
        *(("emptied", replace(said, type=kind)) for kind, said in state.emptied_orders.items()),
        *(("persistent", said) for said in _named(state.persistent)),
        *(("flag", said) for told in (state.flags, state.verdicts) for said in _named(told)),
    ]
    return sorted(found, key=lambda each: (each[0], each[1].value, each[1].type))


def _named(told: Mapping[str, Told]) -> Iterable[Told]:
    """Give what is told under names with its name as value."""
    for name, said in told.items():
        yield replace(said, value=name)


def _statement(field: str, said: Told, identities: Mapping[bytes, str]) -> goods_pb2.GoodsStatement:
    return goods_pb2.GoodsStatement(
        field=field,
        value=said.value,
        type=said.type,
        since_us=said.since.time_us,
        since_at_latest=said.at_latest,
        start_unknown=said.start_unknown,
        time_us=said.newest.time_us,
        identities=list(dict.fromkeys(identities[each.identity] for each in (said.newest, said.since))),
    )
