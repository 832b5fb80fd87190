"""Events as the rules read them: their place in the order, and what they say of a key."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from goodstrace import identifiers, registration
from goodstrace.facts import GOODS_ROLES, Facts, Role, identity
from goodstrace.identifiers import Grade
from goodstrace.tracing.model import Name, NameKind, SealedFacts

OBJECT: Final = "ObjectEvent"
AGGREGATION: Final = "AggregationEvent"
ASSOCIATION: Final = "AssociationEvent"
TRANSACTION: Final = "TransactionEvent"
TRANSFORMATION: Final = "TransformationEvent"
REGISTRATION: Final = registration.TYPE

grade = lru_cache(maxsize=65_536)(identifiers.grade)

_ENDING_STEPS: Final = frozenset({"decommissioning", "destroying"})
_ENDING_DISPOSITIONS: Final = frozenset({"destroyed", "inactive"})

Order = tuple[int, int, int, str, int]


class Event:
    """One identity with all the places it is sealed at; the facts are those of the first place.

    named: every key it names; items: those of role EPC; serials: serials by the lot it says they are of.
    """

    __slots__ = (
        "children",
        "facts",
        "identity",
        "inputs",
        "items",
        "merchant",
        "named",
        "outputs",
        "parent",
        "places",
        "registration",
        "serials",
    )

    def __init__(self, sealed: SealedFacts) -> None:
        self.identity = identity(sealed.merchant, sealed.facts)
        self.merchant = sealed.merchant
        self.registration = sealed.registration
        self.places = [(sealed.record_ms, sealed.log, sealed.index)]
        self._read(sealed.facts)

    def _read(self, facts: Facts) -> None:
        """Take over the facts, with their keys as sets: an event may name 20,000, each of which is asked for."""
        self.facts = facts
        self.items = frozenset(facts.keys.get(Role.EPC, ()))
        self.named = frozenset(key for keys in facts.keys.values() for key in keys)
        self.serials: dict[str, list[str]] = {}
        for serial, lot in facts.lot_of.items():
            self.serials.setdefault(lot, []).append(serial)
        self.inputs = _goods(facts, Role.INPUT)
        self.outputs = _goods(facts, Role.OUTPUT)
        self.children = _goods(facts, Role.CHILD)
        self.parent = next(iter(facts.keys.get(Role.PARENT, ())), "")

    def merge(self, sealed: SealedFacts) -> None:
        """Add another place of the same identity (rule 2)."""
        place = (sealed.record_ms, sealed.log, sealed.index)
        self.places = sorted({*self.places, place})
        if self.places[0] == place:
            self._read(sealed.facts)

    def complete(self, sealed: SealedFacts) -> None:
        """Take over the facts of a place of which only an outline was known."""
        if self.places[0] == (sealed.record_ms, sealed.log, sealed.index):
            self._read(sealed.facts)

    @property
    def order(self) -> Order:
        """Place in the order of rule 1: event time, DELETE first, record time, log, index."""
        facts = self.facts
        return (facts.time_us, 0 if facts.action == "DELETE" else 1, *self.places[0])

    @property
    def is_transformation(self) -> bool:
        """Tell whether it may make links of rule 7."""
        return self.facts.type == TRANSFORMATION

    @property
    def record_ms(self) -> int:
        """When it was recorded first, Unix milliseconds."""
        return self.places[0][0]

    def joins(self, kind: str) -> bool:
        """Tell whether it may open or close containment (AGGREGATION; rules 4 and 5), or associations (ASSOCIATION; rule 10)."""
        return self.facts.type == kind and bool(self.parent)

    def empties(self, parent: str, kind: str = AGGREGATION) -> bool:
        """Tell whether it takes all children out of `parent`: a DELETE naming no child (rule 4)."""
        return (
            self.joins(kind) and self.facts.action == "DELETE" and self.parent == parent and not self.children
        )

    def ends(self, key: str) -> bool:
        """Tell whether `key` is consumed or its life ends here (rule 4)."""
        if self.is_transformation:
            return key in self.inputs
        return ends_items(self.facts) and key in self.items

    def ends_inside(self, parent: str, kind: str = AGGREGATION) -> bool:
        """Tell whether nothing is inside `parent`, or a component of it, from here on."""
        return (self.empties(parent, kind) or self.ends(parent)) and is_followed(parent)

    def puts(self, child: str, parent: str, kind: str = AGGREGATION) -> bool:
        """Tell whether it is an aggregation (or, of that kind, an association) that names both."""
        return self.joins(kind) and self.parent == parent and child in self.children

    def senses(self, key: str) -> bool:
        """Tell whether it is a sensor event of `key`: it reports measurements, and `key` is what they are of, or made them."""
        return self.facts.sensor_reports > 0 and (
            key in self.items or key in self.facts.keys.get(Role.SENSOR, ())
        )

    def only_moves_others(self, container: str, inner: str) -> bool:
        """Tell whether all it does to `container` is to move children other than `inner` (rule 6)."""
        return (
            self.facts.type in (AGGREGATION, ASSOCIATION)
            and self.facts.action in ("ADD", "DELETE")
            and self.parent == container
            and bool(self.children)
            and inner not in self.children
        )

    def names_itself(self, key: str) -> bool:
        """Tell whether `key` is named as such, and not only as the lot of a serial (rule 8)."""
        return key in self.named


def _goods(facts: Facts, role: str) -> frozenset[str]:
    return frozenset(facts.keys.get(role, ())).union(amount.key for amount in facts.quantities.get(role, ()))


def goods_of(event: Event) -> set[str]:
    """Return all goods that an event names."""
    return goods_in(event.facts)


def goods_in(facts: Facts) -> set[str]:
    """Return all goods that an event with these facts names."""
    return {key for role in GOODS_ROLES for key in facts.keys.get(role, ())}


def ends_items(facts: Facts) -> bool:
    """Tell whether the life of the items that an event with these facts is about ends with it (rule 4)."""
    return facts.type == OBJECT and (
        facts.action == "DELETE"
        or facts.business_step in _ENDING_STEPS
        or facts.disposition in _ENDING_DISPOSITIONS
    )


def names(facts: Facts) -> Iterator[Name]:
    """Name everything an event is looked up by; the same names as the tags of its record."""
    if facts.type == REGISTRATION:
        for key in facts.keys.get(Role.REGISTERED, ()):
            yield NameKind.REGISTRATION, key
        return
    for keys in facts.keys.values():
        for key in keys:
            yield NameKind.KEY, key
    for lot in facts.lot_of.values():
        yield NameKind.KEY, lot
    yield NameKind.EVENT_ID, facts.event_id
    yield NameKind.EVENT_ID, facts.event_hash
    if facts.transformation:
        yield NameKind.TRANSFORMATION, facts.transformation
    for transaction in facts.transactions:
        yield NameKind.ORDER, transaction.key


def is_followed(container: str) -> bool:
    """Tell whether what happens to a parent happens to what is in it: not for a location or party (rule 10)."""
    return grade(container) not in (Grade.LOCATION, Grade.PARTY)


def is_counted(event: Event, child: str) -> bool:
    """Tell whether `child` is in the event by quantity (rule 5), and not one thing that is in one place (rule 4)."""
    if grade(child) in (Grade.LOT, Grade.CLASS):
        return True
    return any(amount.key == child for amount in event.facts.quantities.get(Role.CHILD, ()))


def means(correction: Event, event: Event) -> bool:
    """Tell whether `correction` declares `event` an error, whoever says so (rule 3).

    It has the event's own ID, or the same hash where that has no ID of its own.
    """
    if correction.facts.correction is None or event.facts.correction is not None:
        return False
    if correction.facts.event_id == event.facts.event_id:
        return True
    has_no_id = event.facts.event_id == event.facts.event_hash
    return has_no_id and correction.facts.event_hash == event.facts.event_hash
