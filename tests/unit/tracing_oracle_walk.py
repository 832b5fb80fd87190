"""The walk of the oracle: histories, links and levels (rules 6 to 12), over what `Records` says was in what."""

from collections.abc import Iterator
from typing import Any

from goodstrace.identifiers import grade
from tests.unit.tracing_oracle import ALL, GOODS, NEVER, Ev, In, Records, is_place


class Oracle(Records):
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

    def sensed(self, key: str) -> Iterator[tuple[Ev, tuple[str, ...], bool]]:
        """Rule 10: what sensors reported that were attached to the key, or to what it was in at the time."""
        around = [
            ((), ALL, False),
            *((path, window, possible) for path, window, possible, _ in self.around(key)),
        ]
        for path, window, possible in around:
            parent = (key, *path)[-1]
            for each in self.attached:
                low, high = max(window[0], each.start), min(window[1], each.end)
                if each.parent != parent or low > high or each.child in (key, *path) or is_place(parent):
                    continue
                for e in self.events if grade(each.child) not in ("class", "location", "party") else ():
                    by = (*e.facts.keys.get("epc", ()), *e.facts.keys.get("sensor", ()))
                    if e.facts.sensor_reports and each.child in by and self.during(e, (low, high)):
                        yield e, (*path, each.child), possible or each.counted

    def listed(self, key: str) -> set[tuple[str, str, str, tuple[str, ...], int]]:
        """Containers and places with the links by which they are listed: (nearer, kind, itself, events, until)."""
        order = {event.name: event.order for event in self.events}
        shown = [(last, "contained") for _, _, _, last in self.around(key)]
        shown += [
            (each, "has-component") for each in self.attached if each.child == key and is_place(each.parent)
        ]
        found = set()
        for each, kind in shown:
            ends = tuple(sorted({name for name in (each.first, each.last) if name}, key=order.__getitem__))
            found.add((each.child, kind, each.parent, ends, 0 if each.end == NEVER else each.end[0]))
        return found

    def marks(self, e: Ev) -> set[str]:
        """Rules 2 and 3."""
        same = {o.facts.event_hash for o in self.events if o.facts.event_id == e.facts.event_id}
        found = set(e.facts.flags) | ({"conflicting-id"} if len(same) > 1 else set())
        if e.facts.correction:
            return found | {"correction"}
        return found | ({"corrected"} if self.corrected(e) else set())

    def listings(self, key: str) -> set[tuple[str, str, int, int]]:
        """Rule 11: the orders of a key; of one taken off and put on again the last time."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for e in self.live:
            goods = {each for role in GOODS for each in e.facts.keys.get(role, ())}
            named = any(key in keys for keys in e.facts.keys.values()) or key in e.facts.lot_of.values()
            is_off = e.facts.type == "TransactionEvent" and e.facts.action == "DELETE"
            for each in e.facts.transactions:
                since = found.get((each.key, each.type))
                # only of orders that a TransactionEvent named with it is known that they were emptied
                opened = any(
                    o.facts.type == "TransactionEvent"
                    and o.names(key)
                    and each.key in {t.key for t in o.facts.transactions}
                    for o in self.events
                )
                if is_off and since and not since[1] and (named or (not goods and opened)):
                    found[each.key, each.type] = (since[0], e.facts.time_us)
                if not is_off and named and (since is None or since[1]):
                    found[each.key, each.type] = (e.facts.time_us, 0)
        return {(*name, *times) for name, times in found.items()}

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
        for e, path, possible in self.sensed(key):
            add(e, possible, path)
        lots = {lot for serial, lot in self.lots if serial == key}
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

    def links(self, way: str) -> set[tuple[str, str, str, bool]]:  # noqa: C901  # one case a rule
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
        up = way == "upstream"
        for serial, lot in self.lots:
            found.add((serial, "lot-of-serial", lot, False) if up else (lot, "serial-of-lot", serial, False))
        for each in self.attached:
            if up:
                found.add((each.parent, "component-of", each.child, each.counted))
            elif not is_place(each.parent):
                found.add((each.child, "has-component", each.parent, each.counted))
        return {link for link in found if link[0] != link[2]}

    def trace(self, root: str, way: str) -> dict[str, tuple[int, str]]:  # noqa: C901  # one fixpoint
        """The goods met one way: key -> (level, root or way); the root's contents count as roots."""
        links = self.links(way)
        ends = {
            key
            for link in links
            for key in (link[0], link[2])
            if grade(key) in ("class", "location", "party")
        }
        roots = {root: 0} | {key: 0 for key, _, _ in self.contents(root, [ALL])}
        for e in self.live:
            if root in {each.key for each in e.facts.transactions}:
                goods = {key for role in GOODS for key in e.facts.keys.get(role, ())}
                roots = dict.fromkeys(goods, 1) | roots
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

    def met(self, root: str, way: str) -> set[tuple[str, str, str, bool, bool]]:
        """Links between the goods met: (nearer, kind, further, possible, only seen again), each as sure as it is."""
        levels = {key: level for key, (level, _) in self.trace(root, way).items()}
        surest: dict[tuple[str, str, str], bool] = {}
        places = {
            (each.child, "has-component", each.parent, each.counted)
            for each in self.attached
            if is_place(each.parent)
        }
        for near, kind, far, possible in self.links(way) | places:
            is_end = grade(near) in ("class", "location", "party")
            if near in levels and far in levels and not is_end:
                surest[near, kind, far] = surest.get((near, kind, far), True) and possible
        return {
            (*link, possible, levels[link[2]] != levels[link[0]] + 1) for link, possible in surest.items()
        }
