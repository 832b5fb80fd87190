"""Tracing once more, as plainly as the rules are written: slow, over all events at once, sharing no code with the engine.

No look-ups, no queues, no covering: containment by scanning on from each event that may open it, every path through
containers, levels by relaxing all links until nothing changes.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from goodstrace.facts import Facts, identity
from goodstrace.identifiers import grade
from goodstrace.tracing import SealedFacts

NEVER = (1 << 70, 9)
ALL = ((-(1 << 70), 0), NEVER)


class Ev(NamedTuple):
    order: tuple[Any, ...]
    name: str
    merchant: int
    facts: Facts

    def all(self, role: str) -> set[str]:
        return set(self.facts.keys.get(role, ())) | {q.key for q in self.facts.quantities.get(role, ())}

    @property
    def recorded(self) -> int:
        return int(self.order[2])

    @property
    def parent(self) -> str:
        return (*self.facts.keys.get("parent", ()), "")[0]

    def names(self, key: str) -> bool:
        return any(key in keys for keys in self.facts.keys.values()) or key in self.facts.lot_of.values()


class In(NamedTuple):
    child: str
    parent: str
    start: tuple[int, int]
    end: tuple[int, int]
    counted: bool
    first: str
    last: str


def is_lot(key: str) -> bool:
    return grade(key) in ("lot", "class")


GOODS = ("epc", "lot", "class", "parent", "child", "input", "output")


def below(key: str, uris: Iterable[str]) -> bool:
    """Whether a key is one of the URIs, or on a level below one."""
    return any(key == uri or (key.startswith(uri) and (uri + key[len(uri)])[-1] in "/:#.?=") for uri in uris)


def is_place(key: str) -> bool:
    return grade(key) in ("location", "party")


class Records:
    """Rules 1 to 5: which events count, and what was in what when; rule 10 for what was attached to what."""

    def __init__(self, sealed: list[SealedFacts]) -> None:
        first: dict[str, Ev] = {}
        self.registered = sorted(
            (each for each in sealed if each.registration is not None),
            key=lambda each: (each.record_ms, each.facts.event_id),
        )
        for each in sealed:
            if each.registration is not None:
                continue
            name = identity(each.merchant, each.facts)
            rank = 0 if each.facts.action == "DELETE" else 1
            order = (each.facts.time_us, rank, each.record_ms, each.log, each.index)
            if name not in first or order < first[name].order:
                first[name] = Ev(order, name, each.merchant, each.facts)
        self.events = sorted(first.values())
        self.live = [
            event for event in self.events if not event.facts.correction and not self.corrected(event)
        ]
        self.goods = {key for event in self.live for role in ("child", "parent") for key in event.all(role)}
        self.inside = [
            each for child in sorted(self.goods) for each in self.intervals(child, "AggregationEvent")
        ]
        self.attached = [
            each for child in sorted(self.goods) for each in self.intervals(child, "AssociationEvent")
        ]
        self.lots = {
            (serial, lot) for e in self.live for serial, lot in e.facts.lot_of.items() if serial != lot
        }
        newest = {each.registration.key: each for each in self.registered if each.registration}
        self.lots |= {
            (serial, lot)
            for key, each in newest.items()
            for serial, lot in each.facts.lot_of.items()
            if serial == key and grade(serial) == "item"
        }

    # ---- rule 3

    def corrected(self, event: Ev) -> bool:
        return any(self.corrects(other, event) for other in self.events if self.means(other, event))

    def means(self, other: Ev, event: Ev) -> bool:
        a, b = other.facts, event.facts
        if not a.correction or b.correction:
            return False
        return b.event_id == a.event_id or b.event_id == b.event_hash == a.event_hash

    def corrects(self, other: Ev, event: Ev) -> bool:
        """Its own before another's that it may speak for; of several contents under the name, its own before others."""
        name = event.facts.event_id
        meant = [
            e for e in self.events if self.means(other, e) and name in (e.facts.event_id, e.facts.event_hash)
        ]
        own = [e for e in meant if e.merchant == other.merchant]
        meant = own or [e for e in meant if self.lent(e, other)]
        same = [e for e in meant if e.facts.event_hash == other.facts.event_hash]
        return event in (same or meant)

    def lent(self, event: Ev, other: Ev) -> bool:
        """Whether the merchant of `event` let that of `other` speak for the goods in it when that was recorded."""
        then = [
            each.registration.content
            for each in self.registered
            if each.registration is not None
            and each.registration.key == f"urn:goodstrace:merchant:{event.merchant}"
            and each.record_ms <= other.recorded
        ]
        if not then or then[-1].get("status") == "suspended":
            return False
        giver = then[-1]
        goods = {key for role in GOODS for key in event.facts.keys.get(role, ())}
        own = [key for key in goods if giver.get("everything") or below(key, giver.get("uris", ()))]
        scopes = [
            each["scope"]
            for each in giver.get("delegations", ())
            if each["to"] == other.merchant
            and other.recorded < each["untilMs"]
            and (giver.get("everything") or below(each["scope"], giver.get("uris", ())))
        ]
        return bool(own) and all(below(key, scopes) for key in own)

    # ---- rules 4 and 5

    def intervals(self, child: str, kind: str) -> Iterator[In]:
        self.kind = kind
        for parent in sorted(self.goods):
            if parent != child:
                listed = [e for e in self.live if self.aggregates(e, child, parent)]
                yield from self.serial(child, parent, [e for e in listed if not self.is_counted(e, child)])
                yield from self.counted(child, parent, [e for e in listed if self.is_counted(e, child)])

    def aggregates(self, e: Ev, child: str, parent: str) -> bool:
        return e.facts.type == self.kind and e.parent == parent and child in e.all("child")

    def is_counted(self, e: Ev, child: str) -> bool:
        return is_lot(child) or any(q.key == child for q in e.facts.quantities.get("child", ()))

    def dies(self, e: Ev, key: str) -> bool:
        f = e.facts
        if f.type == "TransformationEvent":
            return key in e.all("input")
        over = f.action == "DELETE" or f.disposition == "destroyed" or f.business_step == "destroying"
        return f.type == "ObjectEvent" and key in f.keys.get("epc", ()) and over

    def emptied(self, e: Ev, parent: str) -> bool:
        if is_place(parent):
            return False
        is_all = e.facts.type == self.kind and e.facts.action == "DELETE" and not e.all("child")
        return self.dies(e, parent) or (is_all and e.parent == parent)

    def stops_serial(self, e: Ev, child: str, parent: str) -> bool:
        if e.facts.type == self.kind and child in e.all("child") and e.parent:
            if e.facts.action == "DELETE" and e.parent == parent:
                return True
            moved = e.facts.action == "ADD" and e.parent not in (parent, child)
            if self.kind == "AssociationEvent" and is_place(e.parent) != is_place(parent):
                moved = False
            if moved and not self.is_counted(e, child):
                return True
        return self.dies(e, child) or self.emptied(e, parent)

    def serial(self, child: str, parent: str, listed: list[Ev]) -> Iterator[In]:
        until: tuple[Any, ...] = ()
        for e in listed:
            if e.order <= until:
                continue
            if e.facts.action in ("ADD", "OBSERVE"):
                stop = next(
                    (s for s in self.live if s.order > e.order and self.stops_serial(s, child, parent)), None
                )
                start = (e.order[0], 1 if e.facts.action == "ADD" else 0)
                yield In(
                    child,
                    parent,
                    start,
                    stop.order[:2] if stop else NEVER,
                    False,
                    e.name,
                    stop.name if stop else "",
                )
                until = stop.order if stop else (1 << 70,)
            elif e.facts.action == "DELETE":
                yield self.back(child, parent, e, counted=False)

    def back(self, child: str, parent: str, e: Ev, *, counted: bool) -> In:
        before = [own for own in self.live if own.order < e.order and own.names(child)]
        before = [] if grade(child) == "class" else before
        start = (before[-1].order[0], 0) if before else e.order[:2]
        return In(child, parent, start, e.order[:2], counted, before[-1].name if before else "", e.name)

    def counted(self, child: str, parent: str, listed: list[Ev]) -> Iterator[In]:
        units = {q.unit for e in listed for q in e.facts.quantities.get("child", ()) if q.key == child} | {""}
        done: set[In] = set()
        for unit in sorted(units):
            done |= set(self.counted_unit(child, parent, unit, listed))
        yield from sorted(done)

    def changes(self, e: Ev, child: str) -> list[tuple[str, Decimal | None]]:
        listed = [q for q in e.facts.quantities.get("child", ()) if q.key == child]
        return [(q.unit, Decimal(q.quantity) if q.quantity else None) for q in listed] or [("", None)]

    def counted_unit(self, child: str, parent: str, unit: str, listed: list[Ev]) -> Iterator[In]:  # noqa: C901
        total, unknown, start, first = Decimal(0), False, NEVER, ""
        for e in self.live:
            if first and self.emptied(e, parent):
                yield In(child, parent, start, e.order[:2], counted=True, first=first, last=e.name)
                first = ""
            for each, amount in self.changes(e, child) if e in listed else ():
                action = e.facts.action
                if (
                    action in ("ADD", "OBSERVE")
                    and each == unit
                    and amount != 0
                    and not (first and action == "OBSERVE")
                ):
                    if not first:
                        start, first = (e.order[0], 1 if action == "ADD" else 0), e.name
                        total, unknown = Decimal(0), False
                    total, unknown = total + (amount or 0), unknown or amount is None
                if action == "DELETE" and first and (amount is None or each == unit):
                    total = max(total - (amount or 0), Decimal(0))
                    if amount is None or (not total and not unknown):
                        yield In(child, parent, start, e.order[:2], counted=True, first=first, last=e.name)
                        first = ""
                elif action == "DELETE" and not first and each == unit and amount != 0:
                    # without a quantity it takes out what is there, whatever its unit
                    is_of_another_unit = amount is None and self.any_open(child, parent, listed, e)
                    if not is_of_another_unit:
                        yield self.back(child, parent, e, counted=True)
        if first:
            yield In(child, parent, start, NEVER, counted=True, first=first, last="")

    def any_open(self, child: str, parent: str, listed: list[Ev], at: Ev) -> bool:
        """Whether any unit was open just before `at`."""
        shorter = Records.__new__(Records)
        shorter.kind = self.kind
        shorter.events = shorter.live = [e for e in self.live if e.order < at.order]
        earlier = [e for e in listed if e.order < at.order]
        units = {q.unit for e in listed for q in e.facts.quantities.get("child", ()) if q.key == child} | {""}
        return any(
            i.end == NEVER for unit in units for i in shorter.counted_unit(child, parent, unit, earlier)
        )
