"""The state of goods: where a key is, with whom, in what, since when, how it stands. Pure.

It is read off the sightings that are kept of a key, so a correction that takes an event back brings up what stood before. Where all that was
kept of a field is taken back, the field is `unsure` and never wrong: a trace tells it. docs/goods.md says what the fields mean.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from goodstrace.goods.corrections import NOBODY, Givers, asked, has_corrections, standing
from goodstrace.goods.sightings import (
    CONTAINED,
    CORRECTED,
    EMPTIED_ORDER,
    FLAG,
    KEPT,
    LISTED,
    MANY,
    ORDER_END,
    ORDER_JOINT,
    ORDERED,
    PERSISTENT,
    TAKEN_OFF,
    VERDICT,
    Kept,
    Sighting,
)
from goodstrace.tracing.events import grade

ALERTS: Final = frozenset(
    (
        *(
            "damaged",
            "expired",
            "mismatch_class",
            "mismatch_instance",
            "mismatch_quantity",
            "needs_replacement",
        ),
        *("no_pedigree_match", "non_conformant", "recalled", "stolen"),
    )
)
"""Dispositions that are shown among the flags while they hold."""
SIMPLE: Final = ("step", "place", "owner", "holder", "destination", "disposition", "lot", "emptied")
INSIDE: Final = "inside"
ORDERS: Final = "orders"
ORDER: Final = "order"
"""The grade of what is known as an order alone."""
ASKED: Final = "asked"
"""Of a document: the merchants whose registrations it depends on, which say for whom they let others speak."""
_NOT_TOLD: Final = (*CONTAINED, CORRECTED, ORDERED)

Said = Sequence[tuple[Sighting, str]]
"""What the sightings that count say of one field, in the order of rule 1."""


class Told(msgspec.Struct, frozen=True, gc=False):
    """What holds of one field.

    since: the sighting since which it is so, which may be earlier where `at_latest`. newest: the newest that says so.
    start_unknown: an OBSERVE was the first to say so. type: of an order; of a verdict its severity. traded: a TransactionEvent named the
    order with the goods, so that one that takes all goods off it takes them off too.
    """

    value: str
    since: Sighting
    newest: Sighting
    at_latest: bool = False
    start_unknown: bool = False
    type: str = ""
    traded: bool = False


class GoodsState(msgspec.Struct, frozen=True):
    """How one key stands.

    told: by name of a simple field. persistent: the persistent dispositions that are set, by CBV word. flags: by name, with what
    puts it there. verdicts: what rules found in its events, by the rule's ID; `type` is the severity.
    inside: what the key is directly in. orders: in which orders it is listed. emptied_orders: of an order, by its type, when all goods
    were taken off it at once. unsure: fields that cannot be told; `inside` and `orders` there may be more than what is told.
    """

    grade: str
    told: dict[str, Told]
    persistent: dict[str, Told]
    flags: dict[str, Told]
    verdicts: dict[str, Told]
    inside: tuple[Told, ...]
    orders: tuple[Told, ...]
    emptied_orders: dict[str, Told]
    unsure: tuple[str, ...]


class _Field(msgspec.Struct, gc=False):
    """What is known of one field: `live` counts, in the order of rule 1; what was `cut` is no newer than `oldest_us`.

    doubtful: an event may have been taken back or not. whole: what counts and what does not.
    """

    cut: bool
    oldest_us: int
    doubtful: bool
    live: list[tuple[Sighting, str]]
    whole: list[tuple[Sighting, str]]

    @property
    def is_unsure(self) -> bool:
        """Whether what was let go, or is doubtful, might decide."""
        return self.doubtful or (self.cut and (not self.live or self.live[-1][0].time_us == self.oldest_us))


def state_of(key: str, kept: Kept, givers: Givers = NOBODY) -> GoodsState:
    """Give the state of a key. See docs/goods.md.

    Args:
        key: canonical.
        kept: what it follows from.
        givers: the registrations of the merchants that `corrections.asked` names, at least.
    """
    told = _seen_once(kept)
    if told is not None:
        return _state(key, told, is_goods=_is_goods(told))
    fields = _fields(kept, givers)
    told, unsure = _told(fields)
    inside, is_whole = _inside(fields)
    orders, are_whole = _orders(fields.get(ORDERED))
    unsure += ([] if is_whole else [INSIDE]) + ([] if are_whole else [ORDERS])
    return _state(key, told, inside, orders, unsure, is_goods=_is_goods(fields))


def _seen_once(kept: Kept) -> dict[str, Told] | None:
    """Give what holds of goods of which one event tells, and nothing of what they are in: what it says. Most documents are made of such."""
    if len(kept.sightings) != 1 or kept.cut or kept.sightings[0].correction:
        return None
    [one] = kept.sightings
    told = {name: Told(value, one, one) for name, value in one.says}
    return told if told.keys().isdisjoint(_NOT_TOLD) else None


def _state(
    key: str,
    told: Mapping[str, Told],
    inside: tuple[Told, ...] = (),
    orders: tuple[Told, ...] = (),
    unsure: Iterable[str] = (),
    *,
    is_goods: bool,
) -> GoodsState:
    """Sort what holds by what it is about."""
    named: dict[str, dict[str, Told]] = {}
    for name, said in told.items():
        if ":" in name:
            kind, colon, rest = name.partition(":")
            named.setdefault(kind + colon, {})[rest] = said
    lasting = {word: said for word, said in _sorted(named.get(PERSISTENT)) if said.value == "set"}
    return GoodsState(
        grade=str(grade(key)) if is_goods else ORDER,
        told={name: told[name] for name in SIMPLE if name in told},
        persistent=lasting,
        flags=_flags(told, lasting, named.get(FLAG, {})),
        verdicts={
            rule: msgspec.structs.replace(said, type=said.value) for rule, said in _sorted(named.get(VERDICT))
        },
        inside=inside,
        orders=orders,
        emptied_orders=dict(_sorted(named.get(EMPTIED_ORDER))),
        unsure=tuple(sorted(unsure)),
    )


def _told(fields: Mapping[str, _Field]) -> tuple[dict[str, Told], list[str]]:
    """Give what holds of each field, and which cannot be told."""
    told: dict[str, Told] = {}
    unsure = []
    for name, field in fields.items():
        if name in _NOT_TOLD:
            continue
        if field.is_unsure:
            unsure.append(name)
        elif field.live:
            told[name] = _newest_value(field.live, cut=field.cut)
    return told, unsure


def derived(key: str, kept: Kept, givers: Givers = NOBODY) -> dict[str, Any]:
    """Give the state of a key as plain values, each field with the record that decided it. See docs/goods.md."""
    state, merchants = state_of(key, kept, givers), asked(kept)
    flagged = [_plain_flag(name, said) for name, said in (*state.flags.items(), *state.verdicts.items())]
    emptied = [{"type": kind, **_plain(said)} for kind, said in state.emptied_orders.items()]
    return {
        "grade": state.grade,
        **{name: _plain(said) for name, said in state.told.items()},
        **({INSIDE: [_plain_stay(said) for said in state.inside]} if state.inside else {}),
        **({ORDERS: [_plain_order(said) for said in state.orders]} if state.orders else {}),
        **({"emptied_orders": emptied} if emptied else {}),
        "persistent": {word: _plain(said) for word, said in state.persistent.items()},
        "flags": sorted({each["value"] for each in flagged}),
        **({"flagged": flagged} if flagged else {}),
        "unsure": list(state.unsure),
        **(
            {ASKED: [{"merchant": who, "until_ms": merchants[who]} for who in sorted(merchants)]}
            if merchants
            else {}
        ),
    }


def _plain(said: Told) -> dict[str, Any]:
    found = {
        "value": said.value,
        "since_us": said.since.time_us,
        "time_us": said.newest.time_us,
        "record": said.newest.place[3],
    }
    return {**found, "since_at_latest": True} if said.at_latest else found


def _plain_stay(said: Told) -> dict[str, Any]:
    found = {"value": said.value, "since_us": said.since.time_us}
    found |= {"start_unknown": True} if said.start_unknown else {}
    return found | {"time_us": said.newest.time_us, "record": said.newest.place[3]}


def _plain_order(said: Told) -> dict[str, Any]:
    return {"type": said.type, **_plain(said), **({"traded": True} if said.traded else {})}


def _plain_flag(name: str, said: Told) -> dict[str, Any]:
    return {**_plain(said), "value": name, **({"severity": said.type} if said.type else {})}


def _flags(
    told: Mapping[str, Told], lasting: Mapping[str, Told], raised: Mapping[str, Told]
) -> dict[str, Told]:
    """Name the flags: those that stages put on events that stand, and dispositions that warn while they hold."""
    now = told.get("disposition")
    found = dict(raised)
    if now is not None and now.value in ALERTS:
        found[now.value] = now
    if lasting:
        found |= {word: said for word, said in lasting.items() if word in ALERTS}
    return dict(_sorted(found)) if found else found


def _sorted(told: Mapping[str, Told] | None) -> Iterable[tuple[str, Told]]:
    return sorted(told.items(), key=lambda each: each[0]) if told else ()


def _is_goods(fields: Collection[str]) -> bool:
    """Tell whether anything is said of a key but that goods were taken off it."""
    if not fields or "step" in fields:  # of goods every event says a step
        return True
    return any(name != CORRECTED and not name.startswith(EMPTIED_ORDER) for name in fields)


def _fields(kept: Kept, givers: Givers) -> dict[str, _Field]:
    """Sort what is kept by field; of a field that was cut only the newest count, since what is older may not be all."""
    by_field: dict[str, list[tuple[Sighting, str]]] = {}
    for each in kept.sightings:
        for name, value in each.says:
            by_field.setdefault(name, []).append((each, value))
    if not kept.cut and not has_corrections(kept):  # most goods: all of it counts
        return {name: _whole(said) for name, said in by_field.items()}
    stands = standing(kept, givers)
    fields = {}
    for name, said in by_field.items():
        cut = name in kept.cut
        said.sort(key=lambda each: each[0].age)
        whole = said[-KEPT:] if cut else said
        live = [each for each in whole if stands.get(each[0].identity) is True]
        fields[name] = _Field(
            cut=cut,
            oldest_us=whole[0][0].time_us,
            doubtful=any(stands.get(each.identity) is None and not each.correction for each, _ in whole),
            live=sorted(live, key=lambda each: each[0].order),
            whole=whole,
        )
    return fields


def _whole(said: list[tuple[Sighting, str]]) -> _Field:
    """Give a field of which nothing was let go or taken back."""
    if len(said) > 1:
        said.sort(key=lambda each: each[0].order)
    return _Field(False, said[0][0].time_us, False, said, said)


def _newest_value(said: Said, *, cut: bool) -> Told:
    newest, value = said[-1]
    since, whole = newest, True
    for each, other in reversed(said):
        if other != value:
            break
        since = each
    else:
        whole = not cut
    return Told(value, since, newest, not whole)


def _inside(fields: Mapping[str, _Field]) -> tuple[tuple[Told, ...], bool]:
    """Give what a key is in now, and whether that is all.

    An ADD and an end of life settle everything before them. What was let go may matter where none of them is newer.
    """
    known = [fields[name] for name in CONTAINED if name in fields]
    if not known:
        return (), True
    if any(field.doubtful for field in known):
        return (), False
    moved = fields["moved"].live if "moved" in fields else []
    settled_us = max((each.time_us for each, text in moved if not text.startswith("DELETE ")), default=None)
    lost = [field for field in known if field.cut and (settled_us is None or settled_us <= field.oldest_us)]
    if "moved" in fields and fields["moved"] in lost:
        return (), False
    said = [each for field in known for each in field.live]
    return _open(sorted(said, key=lambda each: each[0].order)), not lost


def _open(said: Said) -> tuple[Told, ...]:
    """Rule 4, of a key's own events. What empties or ends a parent is in the parent's own document."""
    open_: dict[str, Told] = {}
    for each, text in said:
        what, _, parent = text.partition(" ")
        if what == "END":
            open_.clear()
        elif what == "DELETE":
            open_.pop(parent, None)
        else:
            if what == "ADD":
                open_ = {name: known for name, known in open_.items() if name == parent}
            known = open_.get(parent)
            open_[parent] = (
                msgspec.structs.replace(known, newest=each)
                if known
                else Told(parent, each, each, start_unknown=what == "OBSERVE")
            )
    return _in_order(open_.values())


def _orders(field: _Field | None) -> tuple[tuple[Told, ...], bool]:
    """Rule 11, of a key's own events: give the orders it is listed in, and whether these are all.

    What takes all goods off an order at once names none of them: that is in the order's own document.
    """
    if field is None:
        return (), True
    if field.doubtful:
        return (), False
    traded = {key for _, text in field.whole for verb, _, key in _orders_in(text) if verb != LISTED}
    listed: dict[tuple[str, str], Told] = {}
    for each, text in field.live:
        for verb, kind, key in _orders_in(text):
            known = listed.get((kind, key))
            if verb == TAKEN_OFF:
                listed.pop((kind, key), None)
            elif known is not None:
                listed[kind, key] = msgspec.structs.replace(known, newest=each)
            else:
                listed[kind, key] = Told(
                    key, each, each, at_latest=field.cut, type=kind, traded=key in traded
                )
    return _in_order(listed.values()), not field.cut and all(text != MANY for _, text in field.live)


def _orders_in(text: str) -> list[list[str]]:
    """Take apart what is said of orders: verb, type, key of each."""
    return [each.split(ORDER_JOINT, 2) for each in text.split(ORDER_END)] if text not in ("", MANY) else []


def _in_order(told: Iterable[Told]) -> tuple[Told, ...]:
    return tuple(sorted(told, key=lambda said: (said.since.time_us, said.value, said.type)))
