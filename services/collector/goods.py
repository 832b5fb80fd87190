"""The goods information database: what each lot or class is, who owns it, where and when it was first and last seen. Pure.

It follows `goods.stored`, behind the stages and not between them, so that sealing never waits for it (docs/decisions/0008).

Every change is one that commutes and may be repeated: the least or greatest of values that begin with the event's time, or
a set. So the order of events, a batch done twice and a replay all end in the same documents. It is a convenience
beside the log, never a source of proofs, and the log does not depend on it.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec

from goodstrace import facts as facts_format
from goodstrace import identifiers
from goodstrace.facts import Facts, Role
from goodstrace.identifiers import Grade
from goodstrace.tracing.events import grade
from services.collector.flow import FACTS_PART, event_of
from services.runtime.envelope import Committed

MAX_ABOUT_BYTES: Final = 4096
_ROLES: Final = (Role.LOT, Role.CLASS, Role.CHILD, Role.INPUT, Role.OUTPUT, Role.EPC, Role.PARENT)
_DESCRIBED: Final = (Role.LOT, Role.CLASS, Role.OUTPUT)
_SEEN_FIELDS: Final = ("time_us", "record", "place", "step", "disposition")
_OWNER: Final = "owning_party"

Change = dict[str, dict[str, Any]]
_Value = tuple[Any, ...]
"""The values of a subdocument in its fields' order, which is how MongoDB compares subdocuments: time first."""


class _Known(msgspec.Struct):
    """What a batch says of one lot or class."""

    first: _Value
    last: _Value
    merchants: set[int]
    owner: _Value = ()
    about: _Value = ()


def changes(stored: Iterable[Committed]) -> tuple[dict[str, Change], dict[int, Change]]:
    """Gather what records of `goods.stored` say of goods (by key) and of merchants (by number), each as one upsert's operators.

    Goods are lots and classes; items belong to their lot or class, which is updated with them.
    Raises: EntryError where a record has no facts of an event.
    """
    goods: dict[str, _Known] = {}
    merchants: dict[int, tuple[int, int]] = {}
    for record in stored:
        least, greatest = merchants.get(record.merchant, (record.time_ms, record.time_ms))
        merchants[record.merchant] = min(least, record.time_ms), max(greatest, record.time_ms)
        _gather(goods, record, facts_format.decode(record.part(FACTS_PART).content))
    return (
        {key: _goods_change(key, known) for key, known in goods.items()},
        {
            number: {"$min": {"first_ms": first}, "$max": {"last_ms": last}}
            for number, (first, last) in merchants.items()
        },
    )


def _gather(goods: dict[str, _Known], record: Committed, facts: Facts) -> None:
    when = (facts.time_us, record.id.hex())
    seen = (*when, facts.business_location or facts.read_point, facts.step, facts.disposition)
    owner, about, described = _owner(facts, when), _about(record, facts, when), _described(facts)
    for key in _goods_of(facts):
        known = goods.get(key)
        if known is None:
            known = goods[key] = _Known(seen, seen, {record.merchant})
        elif seen > known.last:
            known.last = seen
        elif seen < known.first:
            known.first = seen
        known.merchants.add(record.merchant)
        known.owner = max(known.owner, owner)
        if about and key in described:
            known.about = max(known.about, about)


def _goods_of(facts: Facts) -> set[str]:
    found = set(facts.lot_of.values())
    for role in _ROLES:
        for key in facts.keys.get(role, ()):
            found.update(_told_of(key))
    return found


@lru_cache(maxsize=65_536)
def _told_of(key: str) -> tuple[str, ...]:
    """Say which lots and classes an event about `key` tells of."""
    kind = grade(key)
    product = identifiers.class_of(key) if kind in (Grade.LOT, Grade.ITEM) else None
    own = (key,) if kind in (Grade.LOT, Grade.CLASS) else ()
    return (*own, product) if product else own


def _described(facts: Facts) -> set[str]:
    return {key for role in _DESCRIBED for key in facts.keys.get(role, ())}


def _owner(facts: Facts, when: _Value) -> _Value:
    """The newest event that names an owning party as destination says who owns the goods."""
    owner = next((each.key for each in facts.destinations if each.type == _OWNER), None)
    return (*when, owner) if owner is not None and facts.correction is None else ()


def _about(record: Committed, facts: Facts, when: _Value) -> _Value:
    """Master data of a lot comes with the event that made it (ILMD); it is kept while it is short."""
    ilmd = event_of(record, facts).get("ilmd")
    if not ilmd:
        return ()
    text = msgspec.json.encode(ilmd, order="sorted")
    return (*when, text.decode()) if len(text) <= MAX_ABOUT_BYTES else ()


def _goods_change(key: str, known: _Known) -> Change:
    product = identifiers.class_of(key) if grade(key) is Grade.LOT else None
    greatest = {"last": dict(zip(_SEEN_FIELDS, known.last, strict=True))}
    if known.owner:
        greatest["owner"] = dict(zip(("time_us", "record", "party"), known.owner, strict=True))
    if known.about:
        greatest["about"] = dict(zip(("time_us", "record", "ilmd"), known.about, strict=True))
    return {
        "$setOnInsert": {"grade": str(grade(key)), **({"class": product} if product else {})},
        "$min": {"first": dict(zip(_SEEN_FIELDS, known.first, strict=True))},
        "$max": greatest,
        "$addToSet": {"merchants": {"$each": sorted(known.merchants)}},
    }
