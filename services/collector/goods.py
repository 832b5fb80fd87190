"""The goods information database: what each lot or class is, who owns it, where and when it was first and last seen. Pure.

Every change is one that commutes and may be repeated: the least or greatest of values that begin with the event's time, or
a set. So the order of events, a batch done twice and a replay all end in the same documents. It is a convenience
beside the log, never a source of proofs, and the log does not depend on it.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from goodstrace import identifiers
from goodstrace.facts import Facts, Role
from goodstrace.identifiers import Grade
from services.collector.flow import Item
from services.collector.record import grade

MAX_ABOUT_BYTES: Final = 4096
_ROLES: Final = (Role.LOT, Role.CLASS, Role.CHILD, Role.INPUT, Role.OUTPUT, Role.EPC, Role.PARENT)
_DESCRIBED: Final = (Role.LOT, Role.CLASS, Role.OUTPUT)
_OWNER: Final = "owning_party"

Change = dict[str, dict[str, Any]]


def changes(items: Iterable[Item]) -> tuple[dict[str, Change], dict[int, Change]]:
    """Gather what a batch says of goods (by key) and of merchants (by number), each as one upsert's operators.

    Goods are lots and classes; items belong to their lot or class, which is updated with them.
    """
    goods: dict[str, Change] = {}
    merchants: dict[int, Change] = {}
    for item in items:
        sighting = _sighting(item)
        for key in _goods_of(item.facts):
            change = goods.setdefault(key, _new_goods(key))
            _merge(change, sighting)
            _owner(change, item)
            _about(change, key, item)
            change["$addToSet"]["merchants"]["$each"].add(item.record.merchant)
        merchant = merchants.setdefault(item.record.merchant, {"$min": {}, "$max": {}})
        _least(merchant["$min"], "first_ms", item.record.time_ms)
        _greatest(merchant["$max"], "last_ms", item.record.time_ms)
    for change in goods.values():
        each = change["$addToSet"]["merchants"]
        each["$each"] = sorted(each["$each"])
    return goods, merchants


def _goods_of(facts: Facts) -> set[str]:
    found = set(facts.lot_of.values())
    for role in _ROLES:
        for key in facts.keys.get(role, ()):
            kind = grade(key)
            if kind in (Grade.LOT, Grade.CLASS):
                found.add(key)
            if kind in (Grade.LOT, Grade.ITEM):
                product = identifiers.class_of(key)
                if product:
                    found.add(product)
    return found


def _new_goods(key: str) -> Change:
    product = identifiers.class_of(key) if grade(key) is Grade.LOT else None
    told = {"grade": str(grade(key)), **({"class": product} if product else {})}
    return {"$setOnInsert": told, "$min": {}, "$max": {}, "$addToSet": {"merchants": {"$each": set()}}}


def _sighting(item: Item) -> dict[str, Any]:
    """Say where and when; the fields' order decides which of two is the later one."""
    facts = item.facts
    return {
        "time_us": facts.time_us,
        "record": item.record.id.hex(),
        "place": facts.business_location or facts.read_point,
        "step": facts.step,
        "disposition": facts.disposition,
    }


def _merge(change: Change, sighting: dict[str, Any]) -> None:
    _least(change["$min"], "first", sighting)
    _greatest(change["$max"], "last", sighting)


def _owner(change: Change, item: Item) -> None:
    """The newest event that names an owning party as destination says who owns the goods."""
    owner = next((each.key for each in item.facts.destinations if each.type == _OWNER), None)
    if owner is not None and item.facts.correction is None:
        told = {"time_us": item.facts.time_us, "record": item.record.id.hex(), "party": owner}
        _greatest(change["$max"], "owner", told)


def _about(change: Change, key: str, item: Item) -> None:
    """Master data of a lot comes with the event that made it (ILMD); the exact JSON is kept while it is short."""
    ilmd = item.event.get("ilmd") if item.event else None
    if not ilmd or not any(key in item.facts.keys.get(role, ()) for role in _DESCRIBED):
        return
    text = msgspec.json.encode(ilmd, order="sorted").decode()
    if len(text) <= MAX_ABOUT_BYTES:
        told = {"time_us": item.facts.time_us, "record": item.record.id.hex(), "ilmd": text}
        _greatest(change["$max"], "about", told)


def _order(value: Any) -> Any:
    """Order as MongoDB orders such documents: field by field."""
    return tuple(value.values()) if isinstance(value, dict) else value


def _least(fields: dict[str, Any], name: str, value: Any) -> None:
    if name not in fields or _order(value) < _order(fields[name]):
        fields[name] = value


def _greatest(fields: dict[str, Any], name: str, value: Any) -> None:
    if name not in fields or _order(value) > _order(fields[name]):
        fields[name] = value
