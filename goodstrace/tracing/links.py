"""Links between goods: transformations, lots and their serials, contents, components, orders (rules 7 to 11)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from goodstrace.identifiers import Grade
from goodstrace.tracing.containers import Containers, Content
from goodstrace.tracing.events import TRANSACTION, Event, goods_of, grade, is_followed
from goodstrace.tracing.intervals import ALWAYS, BEGINNING, FOREVER, Bound, Interval, Window
from goodstrace.tracing.model import Certainty, Direction, Link, LinkKind, Listing, Mark, NameKind
from goodstrace.tracing.pool import Pool

_UNLINKED: Final = (Grade.CLASS, Grade.LOCATION, Grade.PARTY)
_CONTENT_LIMIT: Final = 10_000
_CUT: Final = "links-cut"


class Neighbour(NamedTuple):
    """A key one level further, or a content of one, and the link by which it is met."""

    key: str
    link: Link


class Listed(NamedTuple):
    """The business transactions of a key, and the events that the list comes from."""

    listings: tuple[Listing, ...]
    events: tuple[Event, ...]


def ends_walk(key: str) -> bool:
    """Tell whether the walk ends at `key`: a class without lot or serial, a location, a party (rule 12)."""
    return grade(key) in _UNLINKED


def link_of(interval: Interval, key: str, kind: LinkKind) -> Link:
    """Make the link that an interval of containment is."""
    is_start_unknown = Mark.START_UNKNOWN in interval.marks
    return Link(
        key,
        kind,
        _identities(interval.bounds),
        Certainty.POSSIBLE if interval.counted else Certainty.CERTAIN,
        interval.marks,
        0 if is_start_unknown else _time(interval.window.start),
        _time(interval.window.end),
    )


def _time(bound: Bound) -> int:
    return 0 if bound in (BEGINNING, FOREVER) else bound[0]


def _identities(events: Iterable[Event]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(event.identity for event in sorted(events, key=lambda event: event.order)))


class Links:
    """Reads the links of a key out of a pool."""

    def __init__(self, pool: Pool, containers: Containers, associations: Containers) -> None:
        self._pool: Final = pool
        self._containers: Final = containers
        self._associations: Final = associations

    @property
    def is_cut(self) -> bool:
        """Whether a container has more contents, at any depth, than were followed in this run."""
        return _CUT in self._pool.notes

    def neighbours(self, key: str, way: Direction, *, with_contents: bool) -> tuple[Neighbour, ...]:
        """Return what is linked to `key` one level further `way` (UPSTREAM or DOWNSTREAM), never itself.

        First the linked keys by key, then (unless left out) the contents of containers among them, each container's
        own link before what is inside it.
        """
        task = ("neighbours", key, way, with_contents)
        return self._pool.settled(task, lambda: self._neighbours(key, way, with_contents=with_contents))

    def _neighbours(self, key: str, way: Direction, *, with_contents: bool) -> tuple[Neighbour, ...]:
        if way is Direction.UPSTREAM:
            found = [
                *self._made_of(key, with_contents=with_contents),
                *self._lots(key),
                *self._components(key),
            ]
        else:
            found = [*self._made_into(key), *self._serials(key), *self._assemblies(key)]
        return _in_order(each for each in found if each.key != key)

    def direct(self, key: str) -> tuple[Neighbour, ...]:
        """Return what is downstream of `key` by events that name it, as far as they are known: no containers, no registrations."""
        own = self._pool.naming(key)
        consumed = self._consumed(key, (event for event in own if key in event.inputs), ())
        serials = self._by_serial(key).items()
        named = (
            Neighbour(serial, Link(key, LinkKind.SERIAL_OF_LOT, _identities(events)))
            for serial, events in serials
        )
        return _in_order(each for each in (*consumed, *named) if each.key != key)

    # ---- rule 7: transformations

    def _group(self, event: Event) -> Sequence[Event]:
        """Return the events that are one transformation with `event`: same merchant, same transformationID (rule 7)."""
        name = event.facts.transformation
        if not name:
            return (event,)
        same = self._pool.settled(
            ("transformation", name, event.merchant), lambda: self._transformation(name, event.merchant)
        )
        return same or (event,)

    def _transformation(self, name: str, merchant: int) -> tuple[Event, ...]:
        """Return the events of a transformation: once for all that went into it or came out."""
        same = self._pool.find(NameKind.TRANSFORMATION, name)
        return tuple(
            each
            for each in same
            if each.is_transformation and each.merchant == merchant and self._pool.is_live(each)
        )

    def _made_of(self, key: str, *, with_contents: bool) -> Iterator[Neighbour]:
        """Inputs of what `key` came out of, with the contents of containers among them (rules 7 and 9)."""
        for group in self._groups(event for event in self._pool.naming(key) if key in event.outputs):
            outputs = [event for event in group if key in event.outputs]
            for source in sorted({source for event in group for source in event.inputs} - {key}):
                self._pool.check()
                inputs = [event for event in group if source in event.inputs]
                yield Neighbour(source, _transformed(key, inputs, outputs, inputs + outputs))
                if with_contents:
                    yield from self.contents(source, [_moment(event) for event in inputs])

    def _made_into(self, key: str) -> Iterator[Neighbour]:
        """Outputs of what `key` went into: by itself, or inside a container that was an input (rules 7 and 9)."""
        yield from self._consumed(key, (event for event in self._pool.naming(key) if key in event.inputs), ())
        for carrier in self._containers.carriage(key).carriers:
            consuming = (
                event
                for event in self._containers.passing(carrier)
                if carrier.container in event.inputs and carrier.window.meet(_moment(event)) is not None
            )
            certainty = Certainty.POSSIBLE if carrier.is_possible else Certainty.CERTAIN
            yield from self._consumed(key, consuming, (carrier.container,), certainty)

    def _consumed(
        self,
        key: str,
        events: Iterable[Event],
        inside: Sequence[str],
        certainty: Certainty = Certainty.CERTAIN,
    ) -> Iterator[Neighbour]:
        source = inside[0] if inside else key
        consuming = [event for event in events if event.is_transformation and self._pool.is_live(event)]
        own = {event.identity for event in consuming}
        for group in self._groups(consuming):
            inputs = [event for event in group if source in event.inputs and event.identity in own]
            for target in sorted({target for event in group for target in event.outputs} - {key, *inside}):
                self._pool.check()
                outputs = [event for event in group if target in event.outputs]
                yield Neighbour(target, _transformed(key, inputs, outputs, inputs + outputs, certainty))

    def _groups(self, events: Iterable[Event]) -> Iterator[Sequence[Event]]:
        """Yield the transformations that the events are of, each once."""
        seen: set[str] = set()
        for event in events:
            if event.is_transformation and event.identity not in seen and self._pool.is_live(event):
                group = self._group(event)
                seen.update(each.identity for each in group)
                yield group

    # ---- rule 8: lots and serials

    def lots_of(self, key: str) -> dict[str, list[Event]]:
        """Return the lots that `key` is a serial of, each with the events that say so (rule 8)."""
        lots: dict[str, list[Event]] = {}
        for event in self._pool.naming(key):
            lot = event.facts.lot_of.get(key)
            if lot and lot != key and self._pool.is_live(event):
                lots.setdefault(lot, []).append(event)
        registered = self._registered_lot(key)
        if registered is not None:
            lots.setdefault(registered.facts.lot_of[key], []).append(registered)
        return lots

    def _registered_lot(self, serial: str) -> Event | None:
        """Return the newest registration of an item where it says of which lot it is; other goods are registered as of none."""
        registered = self._pool.registered(serial) if grade(serial) is Grade.ITEM else None
        return registered if registered is not None and serial in registered.facts.lot_of else None

    def _lots(self, key: str) -> Iterator[Neighbour]:
        for lot, events in self.lots_of(key).items():
            yield Neighbour(lot, Link(key, LinkKind.LOT_OF_SERIAL, _identities(events)))

    def _by_serial(self, lot: str) -> dict[str, list[Event]]:
        """Return the serials that events say are of a lot, each with these events."""
        serials: dict[str, list[Event]] = {}
        for event in self._pool.naming(lot):
            named = event.serials.get(lot, ())
            if named and self._pool.is_live(event):
                for serial in named:
                    serials.setdefault(serial, []).append(event)
        return serials

    def _serials(self, key: str) -> Iterator[Neighbour]:
        serials = self._by_serial(key)
        for serial, registered in self._registered_serials(key):
            serials.setdefault(serial, []).append(registered)
        for serial, events in serials.items():
            yield Neighbour(serial, Link(key, LinkKind.SERIAL_OF_LOT, _identities(events)))

    def _registered_serials(self, lot: str) -> Iterator[tuple[str, Event]]:
        """Yield the items that were registered as of a lot, and are by their newest registration."""
        found = self._pool.registrations(lot) if grade(lot) is Grade.LOT else ()
        for serial in sorted({serial for event in found for serial in event.serials.get(lot, ())}):
            registered = self._registered_lot(serial)
            if registered is not None and registered.facts.lot_of[serial] == lot:
                yield serial, registered

    # ---- rule 10: components

    def _components(self, key: str) -> Iterator[Neighbour]:
        for stay in self._associations.inside(key, (ALWAYS,)):
            yield Neighbour(stay.child, link_of(stay.interval, key, LinkKind.COMPONENT_OF))

    def _assemblies(self, key: str) -> Iterator[Neighbour]:
        for interval in self._associations.intervals(key):
            if is_followed(interval.parent):
                yield Neighbour(interval.parent, link_of(interval, key, LinkKind.HAS_COMPONENT))

    # ---- rule 9: contents

    def contents(self, container: str, windows: Sequence[Window]) -> Iterator[Neighbour]:
        """Yield what was inside `container` during `windows`, at any depth, each child under its own container."""
        if ends_walk(container):
            return
        covered: dict[str, list[Window]] = {container: list(windows)}
        waiting = [(container, tuple(windows))]
        count = 0
        while waiting:
            if count > _CONTENT_LIMIT:
                self._pool.notes.add(_CUT)
                return
            outer, during = waiting.pop()
            for content in self._containers.inside(outer, during):
                count += 1
                yield Neighbour(content.child, link_of(content.interval, outer, LinkKind.CONTAINS))
                if not ends_walk(content.child) and not _is_covered(content, covered):
                    waiting.append((content.child, (content.window,)))

    # ---- rule 11: orders

    def ordered(self, order: str) -> tuple[Neighbour, ...]:
        """Return the goods of a business transaction (rule 11); those that a TransactionEvent DELETE took off as well."""
        goods: dict[str, list[Event]] = {}
        for event in self._pool.find(NameKind.ORDER, order):
            if any(each.key == order for each in event.facts.transactions) and self._pool.is_live(event):
                for key in goods_of(event) - {order}:
                    goods.setdefault(key, []).append(event)
        return tuple(
            Neighbour(key, Link(order, LinkKind.ORDER, _identities(goods[key]))) for key in sorted(goods)
        )

    def listings(self, key: str) -> Listed:
        """Return the business transactions of `key`, and the events that took it off one (rule 11).

        A TransactionEvent DELETE naming the key, or naming no goods, takes it off; other events only list.
        """
        return self._pool.settled(("listings", key), lambda: self._listings(key))

    def _listings(self, key: str) -> Listed:
        own = [event for event in self._pool.naming(key) if event.facts.transactions]
        named = {event.identity for event in own}
        orders = {
            each.key for event in own if event.facts.type == TRANSACTION for each in event.facts.transactions
        }
        emptied = [
            event
            for order in sorted(orders)
            for event in self._pool.find(NameKind.ORDER, order)
            if _takes_off(event) and event.identity not in named and not goods_of(event)
        ]
        found: dict[tuple[str, str], Listing] = {}
        ends = [
            event
            for event in sorted([*own, *emptied], key=lambda event: event.order)
            if self._pool.is_live(event) and _list(found, event, is_own=event.identity in named)
        ]
        return Listed(tuple(sorted(found.values(), key=lambda each: (each.key, each.type))), tuple(ends))


def _takes_off(event: Event) -> bool:
    return event.facts.type == TRANSACTION and event.facts.action == "DELETE"


def _list(found: dict[tuple[str, str], Listing], event: Event, *, is_own: bool) -> bool:
    """Take over what an event says of transactions; tell whether that changes anything."""
    is_changed = False
    for each in event.facts.transactions:
        name = (each.key, each.type)
        listed = found.get(name)
        if _takes_off(event):
            if listed is not None and not listed.until_us:
                told = Listing(each.key, each.type, listed.from_us, event.facts.time_us)
                is_changed = is_changed or told != listed
                found[name] = told
        elif is_own and (listed is None or listed.until_us):
            found[name] = Listing(each.key, each.type, event.facts.time_us)
            is_changed = True
    return is_changed


def _in_order(neighbours: Iterable[Neighbour]) -> tuple[Neighbour, ...]:
    """Sort by key, then by link, each once; contents stay in their order, after the others."""

    def place(each: Neighbour) -> tuple[str, str, str, tuple[str, ...]]:
        return each.key, each.link.kind, each.link.key, each.link.identities

    distinct = list(dict.fromkeys(neighbours))
    contents = [each for each in distinct if each.link.kind is LinkKind.CONTAINS]
    return (
        *sorted((each for each in distinct if each.link.kind is not LinkKind.CONTAINS), key=place),
        *contents,
    )


def _moment(event: Event) -> Window:
    at = (event.facts.time_us, 1)
    return Window(at, at)


def _is_covered(content: Content, covered: dict[str, list[Window]]) -> bool:
    windows = covered.setdefault(content.child, [])
    if any(window.covers(content.window) for window in windows):
        return True
    windows.append(content.window)
    return False


def _transformed(
    key: str,
    inputs: Sequence[Event],
    outputs: Sequence[Event],
    events: Sequence[Event],
    certainty: Certainty = Certainty.CERTAIN,
) -> Link:
    """Make the link of a transformation; an input later than every output is marked, never cut (rule 7)."""
    earliest_in = min(event.facts.time_us for event in inputs)
    latest_out = max(event.facts.time_us for event in outputs)
    marks = (Mark.TIME_CONFLICT,) if earliest_in > latest_out else ()
    return Link(key, LinkKind.TRANSFORMATION, _identities(events), certainty, marks)
