"""Stage `record`: identifiers to canonical keys by role, quantities, vocabulary in its bare words. Pure.

Everything here is read from the event's own bytes; the time is there already, since the identity of an event needs no less.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import msgspec

from goodstrace import identifiers
from goodstrace.facts import Facts, Flag, Quantity, Role, Typed
from goodstrace.identifiers import Grade, Named
from goodstrace.vocabulary import Kind, term
from services.collector.flow import Accepted, Item, Outcome
from services.collector.pipeline import pipeline_of

LOT_NUMBERS: Final = (
    "cbvmda:lotNumber",
    "lotNumber",
    "urn:epcglobal:cbv:mda#lotNumber",
    "urn:epcglobal:cbv:mda:lotNumber",
    "https://ref.gs1.org/cbv/mda/lotNumber",
    "gs1:hasBatchLotNumber",
    "https://gs1.org/voc/hasBatchLotNumber",
    "https://ref.gs1.org/voc/hasBatchLotNumber",
)
_MAX_DIGITS: Final = 40
_LOT_SIZE: Final = 20
_EPC_ROLES: Final = (
    ("epcList", None),
    ("childEPCs", Role.CHILD),
    ("inputEPCList", Role.INPUT),
    ("outputEPCList", Role.OUTPUT),
)
_QUANTITY_ROLES: Final = (
    ("quantityList", None),
    ("childQuantityList", Role.CHILD),
    ("inputQuantityList", Role.INPUT),
    ("outputQuantityList", Role.OUTPUT),
)
_GRADE_ROLES: Final = {Grade.LOT: Role.LOT, Grade.CLASS: Role.CLASS}

named = lru_cache(maxsize=16_384)(identifiers.named)


def canonical_key(uri: str) -> str:
    """Give `identifiers.canonical_key(uri)`, remembered."""
    return named(uri).key


def record(item: Item) -> Outcome:
    """Find the event's keys by role and what it says of them; nothing is refused."""
    item = item.decoded()
    facts = item.facts
    assert item.event is not None
    reading = _Reading(item.event)
    found = reading.facts(sensors=pipeline_of(item.record.pipeline_version).sensors)
    if reading.normalised:
        found["flags"] = tuple(sorted({*facts.flags, Flag.NORMALISED_VOCABULARY}))
    return Accepted(item.with_facts(**found))


class _Reading:
    """One pass over one event: gathers keys, quantities and whether a term had to be normalised."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._event = event
        self._keys: dict[str, set[str]] = {}
        self._quantities: dict[str, list[Quantity]] = {}
        self._lot_of: dict[str, str] = {}
        self.normalised = False

    def facts(self, *, sensors: bool) -> dict[str, Any]:
        event = self._event
        self._goods()
        read_point, location = self._place("readPoint"), self._place("bizLocation")
        found: dict[str, Any] = {
            "action": _as_written(event.get("action", "")),
            "business_step": self._term("bizstep", event.get("bizStep", "")),
            "disposition": self._term("disp", event.get("disposition", "")),
            "read_point": read_point,
            "business_location": location,
            "transactions": self._typed("bizTransactionList", "bizTransaction", "btt"),
            "sources": self._typed("sourceList", "source", "sdt"),
            "destinations": self._typed("destinationList", "destination", "sdt"),
            "transformation": _as_written(event.get("transformationID", "")),
        }
        if sensors:
            found["sensor_reports"] = self._sensors()
        found["keys"] = {role: tuple(sorted(self._keys[role])) for role in sorted(self._keys)}
        found["quantities"] = {role: tuple(self._quantities[role]) for role in sorted(self._quantities)}
        found["lot_of"] = self._lot_of
        return found

    def _add(self, role: str, key: str) -> None:
        keys = self._keys.get(role)
        if keys is None:
            self._keys[role] = {key}
        else:
            keys.add(key)

    def _goods(self) -> None:
        event = self._event
        for name, role in _EPC_ROLES:
            for uri in event.get(name, ()):
                self._epc(role, uri)
        for name, role in _QUANTITY_ROLES:
            for element in event.get(name, ()):
                self._quantity(role, element)
        parent = event.get("parentID")
        if parent is not None:
            found = named(parent)
            self._add(Role.PARENT, found.key)
            self._lot_in_link(found)
        ilmd = event.get("ilmd")
        if ilmd:
            self._lot_in_ilmd(ilmd, (*event.get("epcList", ()), *event.get("outputEPCList", ())))

    def _epc(self, role: str | None, uri: str) -> None:
        found = named(uri)
        self._add(role or _GRADE_ROLES.get(found.grade, Role.EPC), found.key)
        self._lot_in_link(found)

    def _quantity(self, role: str | None, element: dict[str, Any]) -> None:
        key, kind, _ = named(element["epcClass"])
        place = role or (Role.LOT if kind is Grade.LOT else Role.CLASS)
        self._add(place, key)
        quantity = Quantity(key, decimal_text(element.get("quantity")), _as_written(element.get("uom", "")))
        self._quantities.setdefault(place, []).append(quantity)

    def _lot_in_link(self, found: Named) -> None:
        """A Digital Link of a serial may name its lot too."""
        if found.lot:
            self._lot_of[found.key] = found.lot

    def _lot_in_ilmd(self, ilmd: dict[str, Any], serials: Iterable[str]) -> None:
        """Commissioning says the lot number: with the GTIN of each serial it is the key of its lot."""
        number = lot_number(ilmd)
        for uri in serials if number else ():
            key = canonical_key(uri)
            lot = numbered_lot(key, number)
            if lot:
                self._lot_of.setdefault(key, lot)

    def _sensors(self) -> int:
        """Name the devices that measured, and count what they report."""
        count = 0
        for element in self._event.get("sensorElementList", ()):
            reports = element["sensorReport"]
            count += len(reports)
            for head in (element.get("sensorMetadata") or {}, *reports):
                if head.get("deviceID"):
                    self._add(Role.SENSOR, canonical_key(head["deviceID"]))
        return count

    def _place(self, name: str) -> str:
        place = self._event.get(name)
        if place is None:
            return ""
        key = named(place["id"]).key
        self._add(Role.LOCATION, key)
        return key

    def _typed(self, name: str, member: str, kind: Kind) -> tuple[Typed, ...]:
        if name not in self._event:
            return ()
        listed = []
        for element in self._event[name]:
            found = named(element[member])
            typed = Typed(found.key, self._term(kind, element.get("type", "")))
            listed.append(typed)
            self._add(_typed_role(typed, found.grade, kind), typed.key)
        return tuple(listed)

    def _term(self, kind: Kind, text: str) -> str:
        word = term(kind, text)
        if word is None:
            return text
        if word != text:
            self.normalised = True
        return word


def lot_number(said: Mapping[str, Any]) -> str:
    """Give the lot number among what is said of goods (ILMD, or attributes of a registration); empty where there is none."""
    number = next((said[name] for name in LOT_NUMBERS if type(said.get(name)) is str), "").strip()
    return number if len(number) <= _LOT_SIZE else ""


def numbered_lot(key: str, number: str) -> str:
    """Give the key of the lot of this number that an item is of; empty where the key is no item's, or the number none."""
    product = identifiers.class_of(key) if named(key).grade is Grade.ITEM else None
    lot = named(f"{product}/10/{quote(number, safe='')}") if product and number else None
    return lot.key if lot is not None and lot.grade is Grade.LOT else ""


def _typed_role(typed: Typed, named_as: Grade, kind: Kind) -> str:
    if kind == "btt":
        return Role.TRANSACTION
    if typed.type == "location":
        return Role.LOCATION
    if typed.type in ("owning_party", "possessing_party"):
        return Role.PARTY
    return Role.LOCATION if named_as is Grade.LOCATION else Role.PARTY


def _as_written(value: Any) -> Any:
    """Give what the next stage reads, where it reads the value from its topic: of an event of before it may be no text."""
    return value if type(value) is str else msgspec.to_builtins(value)


def decimal_text(value: Decimal | int | None) -> str:
    """Write a quantity as a plain decimal: no exponent, no trailing zeros, at most 40 digits on either side of the point.

    None gives the empty text; digits further right are cut off.
    """
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if value.adjusted() < -_MAX_DIGITS or value == 0:
        return "0"
    text = format(value, "f") if value.as_tuple().exponent >= -_MAX_DIGITS else f"{value:.{_MAX_DIGITS}f}"  # type: ignore[operator]
    return text.rstrip("0").rstrip(".") if "." in text else text


def keys_of(facts: Facts) -> set[str]:
    """List everything the event can be found by as a key: all roles, and the lots of its serials."""
    found: set[str] = set()
    for keys in facts.keys.values():
        found.update(keys)
    found.update(facts.lot_of.values())
    return found
