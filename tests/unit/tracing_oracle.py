"""Tracing once more, as plainly as the rules are written: slow, over all events at once, sharing no code with the engine.

No look-ups, no queues, no covering: containment by scanning on from each event that may open it, every path through
containers, levels by relaxing all links until nothing changes.
"""

from collections.abc import Iterator
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


def is_place(key: str) -> bool:
    return grade(key) in ("location", "party")


class Oracle:
    def __init__(self, sealed: list[SealedFacts]) -> None:
        first: dict[str, Ev] = {}
        for each in sealed:
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
        self.inside = [each for child in sorted(self.goods) for each in self.intervals(child)]

    def corrected(self, event: Ev) -> bool:
        return any(self.corrects(other, event) for other in self.events)

    def corrects(self, other: Ev, event: Ev) -> bool:
        a, b = other.facts, event.facts
        if not a.correction or b.correction or other.merchant != event.merchant:
            return False
        if a.event_hash == b.event_hash:
            return b.event_id in (a.event_id, b.event_hash)
        twins = [
            each
            for each in self.events
            if each.facts.event_id == a.event_id
            and each.facts.event_hash == a.event_hash
            and each.merchant == other.merchant
            and not each.facts.correction
        ]
        return a.event_id == b.event_id and not twins

    # ---- rules 4 and 5

    def intervals(self, child: str) -> Iterator[In]:
        for parent in sorted(self.goods):
            if parent != child:
                listed = [e for e in self.live if self.aggregates(e, child, parent)]
                yield from self.serial(child, parent, [e for e in listed if not self.is_counted(e, child)])
                yield from self.counted(child, parent, [e for e in listed if self.is_counted(e, child)])

    def aggregates(self, e: Ev, child: str, parent: str) -> bool:
        return e.facts.type == "AggregationEvent" and e.parent == parent and child in e.all("child")

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
        is_all = e.facts.type == "AggregationEvent" and e.facts.action == "DELETE" and not e.all("child")
        return self.dies(e, parent) or (is_all and e.parent == parent)

    def stops_serial(self, e: Ev, child: str, parent: str) -> bool:
        if e.facts.type == "AggregationEvent" and child in e.all("child") and e.parent:
            if e.facts.action == "DELETE" and e.parent == parent:
                return True
            moved = e.facts.action == "ADD" and e.parent not in (parent, child)
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
        shorter = Oracle.__new__(Oracle)
        shorter.events = shorter.live = [e for e in self.live if e.order < at.order]
        earlier = [e for e in listed if e.order < at.order]
        units = {q.unit for e in listed for q in e.facts.quantities.get("child", ()) if q.key == child} | {""}
        return any(
            i.end == NEVER for unit in units for i in shorter.counted_unit(child, parent, unit, earlier)
        )

    # ---- rule 6

    def around(self, key: str) -> Iterator[tuple[tuple[str, ...], tuple[Any, Any], bool, In]]:
        """Every path outwards that uses no interval twice: (path, window, possible, last interval)."""

        def go(inner: str, used: tuple[In, ...], start: Any, end: Any, possible: bool) -> Iterator[Any]:
            for each in self.inside:
                low, high = max(start, each.start), min(end, each.end)
                if each.child == inner and each.parent != key and each not in used and low <= high:
                    longer = (*used, each)
                    yield tuple(one.parent for one in longer), (low, high), possible or each.counted, each
                    if not is_place(each.parent):
                        yield from go(each.parent, longer, low, high, possible or each.counted)

        yield from go(key, (), *ALL, possible=False)

    def during(self, e: Ev, window: tuple[Any, Any]) -> bool:
        low, high = window
        if e.facts.action in ("ADD", "DELETE"):
            return bool(low <= e.order[:2] <= high)
        return bool(low[0] <= e.order[0] <= high[0])

    def moves_others(self, e: Ev, container: str, inner: str) -> bool:
        is_move = e.facts.type in ("AggregationEvent", "AssociationEvent") and e.facts.action in (
            "ADD",
            "DELETE",
        )
        children = e.all("child")
        return is_move and e.parent == container and bool(children) and inner not in children

    def passing(self, key: str) -> Iterator[tuple[Ev, tuple[str, ...], bool, tuple[Any, Any]]]:
        for path, window, possible, last in self.around(key):
            if not is_place(path[-1]):
                for e in self.events:
                    named = any(path[-1] in keys for keys in e.facts.keys.values())
                    if named and self.during(e, window) and not self.moves_others(e, path[-1], last.child):
                        yield e, path, possible, window

    def history(self, key: str, *, from_lot: bool = False) -> dict[str, tuple[bool, int, tuple[str, ...]]]:
        """Events by identity: (possible, length of path, path)."""
        found: dict[str, tuple[bool, int, tuple[str, ...]]] = {}

        def add(e: Ev, possible: bool, path: tuple[str, ...]) -> None:
            best = (possible, len(path), path)
            found[e.name] = min(found.get(e.name, best), best)

        for e in self.events:
            if e.names(key):
                add(e, not any(key in keys for keys in e.facts.keys.values()), ())
        for e, path, possible, _ in self.passing(key):
            add(e, possible, path)
        lots = {e.facts.lot_of[key] for e in self.live if key in e.facts.lot_of}
        for lot in set() if from_lot else lots:
            for e in self.events:
                if any(lot in keys for keys in e.facts.keys.values()):
                    add(e, True, (lot,))
        return found

    # ---- rules 7, 8, 9

    def groups(self) -> list[list[Ev]]:
        found: dict[Any, list[Ev]] = {}
        for e in self.live:
            if e.facts.type == "TransformationEvent":
                found.setdefault(
                    (e.merchant, e.facts.transformation) if e.facts.transformation else e.name, []
                ).append(e)
        return list(found.values())

    def contents(self, container: str, windows: list[tuple[Any, Any]]) -> set[tuple[str, str, bool]]:
        """(content, its own container, some of it only), at any depth."""
        found: set[tuple[str, str, bool]] = set()

        def go(outer: str, low: Any, high: Any, path: tuple[str, ...]) -> None:
            for each in self.inside:
                start, end = max(low, each.start), min(high, each.end)
                if each.parent == outer and start <= end:
                    found.add((each.child, outer, each.counted))
                    ends = grade(each.child) in ("class", "location", "party")
                    if not ends and each.child not in path:
                        go(each.child, start, end, (*path, each.child))

        for low, high in [] if grade(container) in ("class", "location", "party") else windows:
            go(container, low, high, (container,))
        return found

    def links(self, way: str) -> set[tuple[str, str, str, bool]]:
        """(key nearer to the root, kind, key further away, possible); contents hang on their container."""
        found: set[tuple[str, str, str, bool]] = set()
        for group in self.groups():
            outputs = {key for e in group for key in e.all("output")}
            for e in group:
                at = ((e.order[0], 1), (e.order[0], 1))
                for source in e.all("input"):
                    if way == "upstream":
                        found |= {(out, "transformation", source, False) for out in outputs}
                    else:
                        found |= {(source, "transformation", out, False) for out in outputs}
                        for key in self.goods - {source}:
                            for path, (low, high), possible, _ in self.around(key):
                                if path[-1] == source and not is_place(source) and low <= at[0] <= high:
                                    found |= {
                                        (key, "transformation", out, possible)
                                        for out in outputs
                                        if out != source
                                    }
        for e in self.live:
            for serial, lot in e.facts.lot_of.items():
                up = way == "upstream"
                found.add(
                    (serial, "lot-of-serial", lot, False) if up else (lot, "serial-of-lot", serial, False)
                )
        return {link for link in found if link[0] != link[2]}

    def trace(self, root: str, way: str) -> dict[str, tuple[int, str]]:
        """The goods met one way: key -> (level, root or way); the root's contents count as roots."""
        links = self.links(way)
        ends = {
            key
            for link in links
            for key in (link[0], link[2])
            if grade(key) in ("class", "location", "party")
        }
        roots = {root: 0} | {key: 0 for key, _, _ in self.contents(root, [ALL])}
        levels = dict(roots)
        edges = [
            (near, kind, far) for near, kind, far, _ in links if near not in ends and grade(near) != "class"
        ]
        inner: dict[tuple[str, str], set[tuple[str, str, bool]]] = {}
        if way == "upstream":
            for group in self.groups():
                for source in {key for e in group for key in e.all("input")}:
                    moments = [((e.order[0], 1), (e.order[0], 1)) for e in group if source in e.all("input")]
                    for out in {key for e in group for key in e.all("output")} - {source}:
                        inner.setdefault((out, source), set()).update(self.contents(source, moments))
        changed = True
        while changed:
            changed = False
            for near, _, far in edges:
                if near in levels:
                    reached = [far] + [key for key, _, _ in inner.get((near, far), ()) if key != near]
                    for key in reached:
                        if levels.get(key, 1 << 30) > levels[near] + 1:
                            levels[key] = levels[near] + 1
                            changed = True
        return {key: (level, "root" if key in roots else way) for key, level in levels.items()}
