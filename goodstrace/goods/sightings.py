"""Sightings: what single events say of single goods, and how few of them are kept. Pure, and the same in whatever order events come.

Two sets of sightings of a key join into one (`joined`): for each field the newest `KEPT` that say something of it stay, corrections among
them. That may be done in any order, in any pieces, and again and again: it always ends in the same set, from which
`state.derived` reads the state of the goods. Order and corrections as in "Tracing, exactly", 1 and 3.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import msgspec

from goodstrace.errors import EntryError, EventContentError
from goodstrace.event_content import read_event
from goodstrace.facts import Facts, Flag, Role, Severity, Verdict
from goodstrace.facts import identity as identity_of
from goodstrace.identifiers import Grade
from goodstrace.tracing import SealedFacts
from goodstrace.tracing.events import (
    AGGREGATION,
    TRANSACTION,
    TRANSFORMATION,
    Event,
    ends_items,
    goods_in,
    grade,
    is_counted,
)
from goodstrace.vocabulary import term

KEPT: Final = 6
"""Sightings kept of each field: an event taken back and its correction are two."""
KEPT_CORRECTIONS: Final = 12
CORRECTED: Final = "corrected"
PERSISTENT: Final = "persistent:"
FLAG: Final = "flag:"
VERDICT: Final = "verdict:"
CONTAINED: Final = ("moved", "seen")
ORDERED: Final = "ordered"
EMPTIED_ORDER: Final = "emptied:"
"""Fields: that the event is a correction; persistent dispositions, flags and verdicts of rules, before their names; what was put in or taken
out, and seen in; the orders that it was listed in or taken off; of an order, before its type, that all goods were taken off it."""
MOST_VERDICTS: Final = 16
"""Verdicts told of one event, the gravest first: a field is bounded, and so is the number of fields."""

MANY: Final = "many"
"""What is said of orders where they are too many, or too long, to be kept."""
MOST_ORDERS: Final = 8
MOST_ORDER_CHARS: Final = 1024
ORDER_END: Final = "\x1e"
ORDER_JOINT: Final = "\x1f"
LISTED: Final = "+"
TRADED: Final = "*"
TAKEN_OFF: Final = "-"
"""What is said of an order: an event lists it; a TransactionEvent does; one takes it off."""

MOST_GOODS: Final = 64
MOST_GOODS_CHARS: Final = 4096
"""So many goods of a correction are kept, to tell whether a delegate spoke for them."""
UNKNOWN: Final = -1
"""The merchant of a sighting that was kept before merchants were."""

_ROLES: Final = (Role.EPC, Role.LOT, Role.PARENT, Role.CHILD, Role.INPUT, Role.OUTPUT)
_WITHOUT_STATE: Final = (Grade.CLASS, Grade.LOCATION, Grade.PARTY, Grade.DOCUMENT, Grade.SERVICE)
_BOOKKEEPING: Final = (Flag.NORMALISED_VOCABULARY, Flag.SIGNED_LATER)
_TOWARDS: Final = (("owner", "owning_party"), ("holder", "possessing_party"), ("destination", "location"))
_GRAVITY: Final = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
DIGEST: Final = 12

Says = tuple[tuple[str, str], ...]


class Declared(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a correction declares an error, as it is held against events of other merchants.

    goods: of its event, sorted; empty where they are too many to be kept.
    """

    event_id: str
    event_hash: str
    goods: tuple[str, ...]


class Sighting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one event says of one key.

    identity: digest of the event's identity. name, content: digests of merchant and event ID, and of merchant and event hash.
    has_id: it has an event ID of its own. place: record time, log, offset and record ID of the first place it is sealed at.
    says: field and value; a correction names the fields only. merchant: who says so, UNKNOWN of old. declared: by a correction.
    New members stand at the end with a default: what was kept before is read as it is.
    """

    identity: bytes
    name: bytes
    content: bytes
    has_id: bool
    correction: bool
    time_us: int
    is_delete: bool
    place: tuple[int, str, int, str]
    says: Says
    merchant: int = UNKNOWN
    declared: Declared | None = None

    @property
    def age(self) -> tuple[int, int, bytes]:
        """What decides whether it is kept: corrections outlast what they correct, which has their time."""
        return (self.time_us, 2 if self.correction else 0 if self.is_delete else 1, self.identity)

    @property
    def order(self) -> tuple[int, int, tuple[int, str, int, str]]:
        """Its place in the order of rule 1."""
        return (self.time_us, 0 if self.is_delete else 1, self.place)

    @property
    def rank(self) -> tuple[tuple[int, str, int, str], bool]:
        """Which of several sightings of one event is kept: that of the first place, and there rather one that says who says so."""
        return (self.place, self.merchant == UNKNOWN)


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The sightings kept of one key, by identity, and the fields of which some were let go; both sorted."""

    sightings: tuple[Sighting, ...]
    cut: tuple[str, ...] = ()


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An event and where it lies.

    log: its log. index: its place in it, or the Kafka offset, which grows with that. record_ms: its record time, Unix
    milliseconds. record_id: of its record, hex. content: its exact bytes, empty where they are not there any more.
    """

    log: str
    index: int
    merchant: int
    record_ms: int
    record_id: str
    facts: Facts
    content: bytes


# ---- joining


def joined(one: Kept, other: Kept) -> Kept:
    """Join what is kept of a key. Commutative, associative, and joining the same again changes nothing."""
    found: dict[bytes, Sighting] = {}
    for each in (*one.sightings, *other.sightings):
        known = found.get(each.identity)
        if known is None or each.rank < known.rank:
            found[each.identity] = each
    cut = {*one.cut, *other.cut}
    kept = found.keys() if len(found) <= KEPT else _newest(found.values(), cut)
    return Kept(tuple(found[identity] for identity in sorted(kept)), tuple(sorted(cut)))


def _newest(sightings: Iterable[Sighting], cut: set[str]) -> set[bytes]:
    """Choose what stays; the fields that lose something are added to `cut`."""
    by_field: dict[str, list[tuple[int, int, bytes]]] = {}
    for each in sightings:
        for field, _ in each.says:
            by_field.setdefault(field, []).append(each.age)
    kept: set[bytes] = set()
    for field, ages in by_field.items():
        most = KEPT_CORRECTIONS if field == CORRECTED else KEPT
        if len(ages) > most:
            cut.add(field)
            ages.sort(reverse=True)
        kept.update(age[2] for age in ages[:most])
    return kept


# ---- from events


def sightings(events: Iterable[Placed], only: Collection[str] | None = None) -> dict[str, Kept]:
    """Gather what events say of goods, by key; where `only` is given, of these keys.

    Raises: EntryError where the content of an event cannot be read.
    """
    found: dict[str, Kept] = {}
    for each in events:
        for key, fresh in _of_event(each, only):
            known = found.get(key)
            found[key] = fresh if known is None else joined(known, fresh)
    return found


def _of_event(placed: Placed, only: Collection[str] | None) -> Iterator[tuple[str, Kept]]:
    """Yield what an event says of each key; where it says the same of several, it is one value."""
    facts = placed.facts
    correction = facts.correction is not None
    declared = Declared(facts.event_id, facts.event_hash, _bounded(goods_in(facts))) if correction else None
    identity = bytes.fromhex(identity_of(placed.merchant, facts))[:DIGEST]
    name, content = digest(placed.merchant, facts.event_id), digest(placed.merchant, facts.event_hash)
    has_id, is_delete = facts.event_id != facts.event_hash, facts.action == "DELETE"
    place = (placed.record_ms, placed.log, placed.index, placed.record_id)
    alike: dict[Says, Kept] = {}
    for key, says in _said(placed, only):
        kept = alike.get(says)
        if kept is None:
            sighting = Sighting(
                identity,
                name,
                content,
                has_id,
                correction,
                facts.time_us,
                is_delete,
                place,
                (*((field, "") for field, _ in says), (CORRECTED, "")) if correction else says,
                placed.merchant,
                declared,
            )
            kept = alike[says] = Kept((sighting,))
        yield key, kept


def _said(placed: Placed, only: Collection[str] | None) -> Iterator[tuple[str, Says]]:
    """Yield what an event says of each of its goods, then of each order that it takes all goods off."""
    facts = placed.facts
    goods = {key for role in _ROLES for key in facts.keys.get(role, ())}
    common = tuple(_said_of_all(facts))
    of_subject = (*common, *_said_of_subjects(facts, placed.content))
    event = _moving(placed)
    for key in goods if only is None else goods.intersection(only):
        if grade(key) in _WITHOUT_STATE:
            continue
        says = of_subject
        if event is not None:
            is_used_up = key in event.inputs and key not in event.outputs
            says = (*(common if is_used_up else of_subject), *_containment(event, key))
        if key in facts.lot_of:
            says = (*says, ("lot", facts.lot_of[key]))
        yield key, says
    if facts.type == TRANSACTION and facts.action == "DELETE" and not goods_in(facts):
        for order in {each.key for each in facts.transactions}:
            if only is None or order in only:
                types = sorted({each.type for each in facts.transactions if each.key == order})
                yield order, tuple((EMPTIED_ORDER + each, "emptied") for each in types)


def _moving(placed: Placed) -> Event | None:
    """Give an event as the rules read it where it may put goods somewhere, use them up or end their life; most do none of it."""
    facts = placed.facts
    if facts.type in (AGGREGATION, TRANSFORMATION) or Role.INPUT in facts.keys or ends_items(facts):
        return Event(SealedFacts(placed.log, placed.index, placed.merchant, placed.record_ms, facts))
    return None


def _bounded(goods: Collection[str]) -> tuple[str, ...]:
    few = len(goods) <= MOST_GOODS and sum(map(len, goods)) <= MOST_GOODS_CHARS
    return tuple(sorted(goods)) if few else ()


def _said_of_all(facts: Facts) -> list[tuple[str, str]]:
    place = facts.business_location or facts.read_point
    flags = [(FLAG + flag, "") for flag in facts.flags if flag not in _BOOKKEEPING]
    verdicts = [(VERDICT + each.rule, each.severity) for each in _gravest(facts.verdicts)]
    orders = [(ORDERED, _orders(facts))] if facts.transactions else []
    return [("step", facts.step), *flags, *verdicts, *([("place", place)] if place else []), *orders]


def _gravest(verdicts: tuple[Verdict, ...]) -> Iterable[Verdict]:
    if len(verdicts) <= MOST_VERDICTS:
        return verdicts
    return sorted(verdicts, key=lambda each: (_gravity(each.severity), each.rule))[:MOST_VERDICTS]


def _gravity(severity: str) -> int:
    return _GRAVITY.index(severity) if severity in _GRAVITY else len(_GRAVITY)


def _orders(facts: Facts) -> str:
    """Rule 11, of the goods that an event names: it lists them in orders, or takes them off."""
    verb = LISTED
    if facts.type == TRANSACTION:
        verb = TAKEN_OFF if facts.action == "DELETE" else TRADED
    told = sorted({ORDER_JOINT.join((verb, each.type, each.key)) for each in facts.transactions})
    text = ORDER_END.join(told)
    return MANY if len(told) > MOST_ORDERS or len(text) > MOST_ORDER_CHARS else text


def _said_of_subjects(facts: Facts, content: bytes) -> list[tuple[str, str]]:
    """What holds for what goes on after the event, and not for what it uses up."""
    said = [("disposition", facts.disposition)] if facts.disposition else []
    if facts.destinations:
        towards = {each.type: each.key for each in reversed(facts.destinations)}
        said += [(field, towards[kind]) for field, kind in _TOWARDS if towards.get(kind)]
    lasting = _read(content, facts).get("persistentDisposition") or {}
    for name in ("unset", "set") if lasting else ():
        words = {term("disp", each) for each in lasting.get(name) or ()} - {None}
        said += [(f"{PERSISTENT}{word}", name) for word in sorted(map(str, words))]
    return said


def _read(content: bytes, facts: Facts) -> dict[str, Any]:
    try:
        return read_event(content, facts.context, exact_numbers=True) if content else {}
    except EventContentError as error:
        raise EntryError(f"not an event: {error}") from error


def _containment(event: Event, key: str) -> Iterator[tuple[str, str]]:
    """Rules 4 and 10: what the event says of what `key` is in, and of what is in `key`. Lots are in many things at once: rule 5."""
    if event.ends_inside(key):
        yield "emptied", "emptied"
    if grade(key) is Grade.LOT or is_counted(event, key):
        return
    if event.puts(key, event.parent) and event.parent != key:
        yield ("seen" if event.facts.action == "OBSERVE" else "moved"), f"{event.facts.action} {event.parent}"
    elif event.ends(key):
        yield "moved", "END "


def digest(merchant: int, text: str) -> bytes:
    """Give what stands for an event ID, or an event hash, of a merchant's."""
    return hashlib.sha256(f"{merchant}/{text}".encode("utf-8", "surrogatepass")).digest()[:DIGEST]
