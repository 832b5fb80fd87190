"""The walk: from the root level by level, each key once in each direction (rules 6 and 8 to 12)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from goodstrace.tracing.containers import Carrier, Containers, Content
from goodstrace.tracing.events import ASSOCIATION, Event, grade, is_followed
from goodstrace.tracing.intervals import ALWAYS, Bound, Interval, Window
from goodstrace.tracing.links import Links, Neighbour, ends_walk, link_of
from goodstrace.tracing.model import (
    Certainty,
    Direction,
    Link,
    LinkKind,
    Listing,
    Mark,
    Mention,
    Node,
    NodeRole,
    Query,
)
from goodstrace.tracing.pool import Pool

_WAYS: Final = {
    Direction.HISTORY: (),
    Direction.UPSTREAM: (Direction.UPSTREAM,),
    Direction.DOWNSTREAM: (Direction.DOWNSTREAM,),
    Direction.BOTH: (Direction.UPSTREAM, Direction.DOWNSTREAM),
}
_RANK: Final = {
    way: rank for rank, way in enumerate((Direction.HISTORY, Direction.UPSTREAM, Direction.DOWNSTREAM))
}

Place = tuple[str, Direction]
"""A node is a key and the direction it was met in: a key met both ways is two nodes, each with its own level."""


@dataclass(slots=True)
class _Met:
    """A node while the walk goes on; `links` with the place of the node that each one leads to."""

    key: str
    direction: Direction
    level: int
    role: NodeRole = NodeRole.GOODS
    links: dict[Link, Place] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)
    listings: tuple[Listing, ...] = ()
    is_certain: bool = False
    is_from_lot: bool = False

    @property
    def place(self) -> Place:
        return self.key, self.direction


class Walk:
    """One walk over a pool. It may miss look-ups (see Pool): then what it finds is only good for asking them.

    is_exhausted: there is nothing behind the last level met, so that a larger max_depth gives no more.
    """

    def __init__(self, query: Query, pool: Pool) -> None:
        pool.begin()
        self._query: Final = query
        self._pool: Final = pool
        self.containers: Final = Containers(pool, query.max_events)
        self.associations: Final = Containers(pool, query.max_events, ASSOCIATION)
        self._links: Final = Links(pool, self.containers, self.associations)
        self._nodes: dict[Place, _Met] = {}
        self._carried: dict[Place, _Met] = {}
        self._interval_links: dict[
            int, tuple[Interval, Link]
        ] = {}  # with the interval, so that its id stays its own
        self._event_ids: set[str] = set()
        self.mentions: dict[tuple[str, str], Mention] = {}
        self.link_events: set[str] = set()
        self.walked: dict[str, Bound] = {}
        self._is_stopped = False
        self.is_exhausted = False

    def run(self) -> None:
        """Walk from the root until nothing is left or a limit is met."""
        root = _Met(self._query.key, Direction.HISTORY, 0, is_certain=True)
        self._nodes[root.place] = root
        level = [root]
        if _WAYS[self._query.direction]:
            level += self._met(root, self._links.contents(root.key, [ALWAYS]), Direction.HISTORY, 0)
        for depth in range(self._query.max_depth + 1):
            level = self._expand(level, depth)
            if not level:
                self.is_exhausted = depth < self._query.max_depth
                break

    def probe(self, keys: Iterable[str]) -> None:
        """Ask for what a visit of these goods and the way downstream from them wants, without drawing anything from it."""
        for key in keys:
            for carrier in self.containers.carriage(key).carriers:
                if is_followed(carrier.container):
                    self.associations.inside(carrier.container, (carrier.window,))
            self.associations.inside(key, (ALWAYS,))
            self._links.lots_of(key)
            self._links.listings(key)
            self._links.neighbours(key, Direction.DOWNSTREAM, with_contents=True)

    def run_level(self, goods: Iterable[tuple[str, Link | None]], depth: int) -> dict[str, int]:
        """Expand goods of one level downstream, as they were met by these links (None for the root).

        Returns: what is new, each with its level: the next one, or this one for what is inside the root.
        """
        level = []
        for key, link in goods:
            way = Direction.HISTORY if key == self._query.key else Direction.DOWNSTREAM
            met = _Met(key, way, depth, is_certain=True)
            if link is not None:
                met.links[link] = (link.key, Direction.DOWNSTREAM)
                met.is_from_lot = link.kind is LinkKind.SERIAL_OF_LOT
            self._nodes[met.place] = met
            level.append(met)
        inside: list[_Met] = []
        for met in [each for each in level if each.key == self._query.key]:
            inside = self._met(met, self._links.contents(met.key, [ALWAYS]), Direction.HISTORY, depth)
        further = self._expand(level, depth)
        return {met.key: met.level for met in (*inside, *further)}

    def _expand(self, level: list[_Met], depth: int) -> list[_Met]:
        """Give each node of a level its history, and return the nodes of the next one."""
        further: list[_Met] = []
        for node in sorted(level, key=_sorting):
            if len(self._event_ids) >= self._query.max_events:
                self._stop(node)
                continue
            is_end = ends_walk(node.key)
            if not is_end or node.key == self._query.key:
                self._visit(node)
            if is_end:
                node.marks.add(Mark.NOT_EXPANDED)
                continue
            further += self._links_of(node, depth)
        return further

    def _links_of(self, node: _Met, depth: int) -> list[_Met]:
        """Return what is new one level further. What the root contains, and an order's goods, go the root's ways."""
        ways = _WAYS[self._query.direction] if node.direction is Direction.HISTORY else (node.direction,)
        further = []
        if ways and node.key == self._query.key:
            further += self._met(node, self._links.ordered(node.key), Direction.HISTORY, depth + 1)
        for way in ways:
            found = self._links.neighbours(node.key, way, with_contents=depth < self._query.max_depth)
            further += self._met(node, found, way, depth + 1)
        return further

    def _stop(self, node: _Met) -> None:
        node.marks.add(Mark.NOT_EXPANDED)
        self._is_stopped = True

    @property
    def is_truncated(self) -> bool:
        """Tell whether a limit was met anywhere."""
        return self._is_stopped or any(
            each.is_cut for each in (self.containers, self.associations, self._links)
        )

    def _met(self, node: _Met, found: Iterable[Neighbour], way: Direction, level: int) -> list[_Met]:
        """Add what was met from `node`, and return what is new. A key met again is seen, not expanded (rule 12)."""
        new = []
        for key, link in found:
            self._pool.check()
            nearer = self._known(link.key, way) if link.kind is LinkKind.CONTAINS else node
            if nearer is None:
                continue
            self.link_events.update(link.identities)
            known = self._known(key, way)
            if known is None:
                if level > self._query.max_depth or self._is_full():
                    self._stop(node)
                    continue
                known = _Met(key, way, level)
                self._nodes[known.place] = known
                new.append(known)
            if nearer is not known:
                known.links.setdefault(link, nearer.place)
            if link.kind is LinkKind.SERIAL_OF_LOT and nearer.level < known.level:
                known.is_from_lot = True
        return new

    def _known(self, key: str, way: Direction) -> _Met | None:
        return self._nodes.get((key, way)) or self._nodes.get((key, Direction.HISTORY))

    def is_goods(self, key: str) -> bool:
        """Tell whether a key is a node as goods."""
        return any((key, way) in self._nodes for way in _RANK)

    def _is_full(self) -> bool:
        return len(self._nodes) + len(self._carried) >= self._query.max_nodes

    # ---- rule 6: the history of a node

    def _visit(self, node: _Met) -> None:
        for event in self._pool.naming(node.key):
            is_itself = event.names_itself(node.key)
            self._mention((event,), node.key, is_possible=not is_itself, path=())
        carriage = self.containers.carriage(node.key)
        self._is_stopped = self._is_stopped or carriage.is_cut
        for carrier in carriage.carriers:
            self._pool.check()
            self._carry(node, carrier)
            events = self.containers.passing(carrier)
            self._mention(events, node.key, is_possible=carrier.is_possible, path=carrier.path)
            self._sense(
                node, carrier.container, carrier.window, carrier.path, is_possible=carrier.is_possible
            )
        self._sense(node, node.key, ALWAYS, (), is_possible=False)
        self._mention_lots(node)
        for interval in self.associations.intervals(node.key):
            if not is_followed(interval.parent):
                self._list(node.place, node.level, interval, LinkKind.HAS_COMPONENT)
        listed = self._links.listings(node.key)
        node.listings = listed.listings
        self.link_events.update(event.identity for event in listed.events)

    def _mention(
        self, events: Iterable[Event], key: str, *, is_possible: bool, path: tuple[str, ...]
    ) -> None:
        """Note that events belong to a node's history: the surest way, then the shortest."""
        mention = Mention(key, Certainty.POSSIBLE if is_possible else Certainty.CERTAIN, path)
        sureness, mentions = _sureness(mention), self.mentions
        for event in events:
            place = (event.identity, key)
            known = mentions.get(place)
            if known is None or sureness < _sureness(known):
                mentions[place] = mention
                self._event_ids.add(event.identity)

    def _sense(
        self, node: _Met, parent: str, window: Window, path: tuple[str, ...], *, is_possible: bool
    ) -> None:
        """What sensors that were components of `parent` in the meantime reported concerns the node (rule 10)."""
        for stay, events in self._sensed(parent, window):
            if stay.child in (node.key, *path):
                continue
            self.link_events.update(each.identity for each in stay.interval.bounds)
            doubt = is_possible or stay.interval.counted
            self._mention(events, node.key, is_possible=doubt, path=(*path, stay.child))

    def _sensed(self, parent: str, window: Window) -> tuple[tuple[Content, tuple[Event, ...]], ...]:
        """Return the components of `parent` that reported during `window`, each with the events that say what: once for all it carried."""
        if not is_followed(parent):
            return ()
        return self._pool.settled(
            ("sensed", parent, window),
            lambda: tuple(
                (stay, events)
                for stay in self.associations.inside(parent, (window,))
                if not ends_walk(stay.child) and (events := self._reports(stay))
            ),
        )

    def _reports(self, stay: Content) -> tuple[Event, ...]:
        events = self.containers.events_during(stay.child, stay.window)
        return tuple(event for event in events if event.senses(stay.child))

    def _mention_lots(self, node: _Met) -> None:
        """Events of its lots may have concerned a serial (rule 8); not repeated for serials met from a lot."""
        for lot, events in self._links.lots_of(node.key).items():
            self.link_events.update(event.identity for event in events)
            if not node.is_from_lot:
                named = [event for event in self._pool.naming(lot) if event.names_itself(lot)]
                self._mention(named, node.key, is_possible=True, path=(lot,))

    def _carry(self, node: _Met, carrier: Carrier) -> None:
        """List a container at the level of its goods, unless it is goods of this trace itself (rule 9)."""
        container, inner = carrier.container, carrier.inner
        if is_followed(container):
            self.walked[container] = max(self.walked.get(container, carrier.window.end), carrier.window.end)
        nearer = node.place if inner == node.key else (inner, Direction.HISTORY)
        self._list(nearer, node.level, carrier.intervals[-1], LinkKind.CONTAINED)

    def _list(self, nearer: Place, level: int, interval: Interval, kind: LinkKind) -> None:
        link = self._listed(interval, kind)
        known = self._carried.get((interval.parent, Direction.HISTORY))
        if known is None:
            known = _Met(interval.parent, Direction.HISTORY, level, NodeRole.CONTAINER)
            self._carried[known.place] = known
        known.level = min(known.level, level)
        known.links.setdefault(link, nearer)

    def _listed(self, interval: Interval, kind: LinkKind) -> Link:
        """Make the link of an interval, once for all who shared it; intervals are told apart as objects, since all else of them is much."""
        interval_link = self._interval_links.get(id(interval))
        if interval_link is None:
            link = link_of(interval, interval.child, kind)
            self.link_events.update(link.identities)
            interval_link = self._interval_links[id(interval)] = (interval, link)
        return interval_link[1]

    # ---- the answer

    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes by level, direction and key."""
        self._settle_carried()
        self._spread_certainty()
        return tuple(self._node(met) for met in sorted(self._nodes.values(), key=_sorting))

    def _settle_carried(self) -> None:
        """Put the containers among the nodes; where one is goods as well, its links go there."""
        # What is shown as a content of a container already: the same stay is not linked both ways.
        shown = {
            (link.key, place)
            for place, met in self._nodes.items()
            for link in met.links
            if link.kind is LinkKind.CONTAINS
        }
        for place in sorted(self._carried, key=lambda place: place[0]):
            carried = self._carried[place]
            goods = [self._nodes.get((carried.key, way)) for way in _RANK]
            known = next((each for each in goods if each is not None), None)
            if known is None:
                self._nodes[place] = carried
            else:
                known.links.update(
                    {
                        link: near
                        for link, near in carried.links.items()
                        if near != known.place and (known.key, near) not in shown
                    }
                )
        self._carried = {}

    def _spread_certainty(self) -> None:
        """A node is certain where a certain link leads to a certain node."""
        roots = [met for met in self._nodes.values() if met.is_certain]
        leading: dict[Place, list[_Met]] = {}
        for met in self._nodes.values():
            for link, nearer in met.links.items():
                if link.certainty is Certainty.CERTAIN:
                    leading.setdefault(self._actual(nearer), []).append(met)
        waiting = list(roots)
        while waiting:
            for met in leading.get(waiting.pop().place, ()):
                if not met.is_certain:
                    met.is_certain = True
                    waiting.append(met)

    def _actual(self, place: Place) -> Place:
        """Return where the key is a node: a container inside a container may be goods of this trace."""
        if place in self._nodes:
            return place
        return next(((place[0], way) for way in _RANK if (place[0], way) in self._nodes), place)

    def _node(self, met: _Met) -> Node:
        links = tuple(
            sorted((self._marked(met, link, near) for link, near in met.links.items()), key=_link_sorting)
        )
        marks = set(met.marks)
        if links and all(Mark.TIME_CONFLICT in link.marks for link in links):
            marks.add(Mark.TIME_CONFLICT)
        return Node(
            met.key,
            met.level,
            met.direction,
            grade(met.key).value,
            met.role,
            Certainty.CERTAIN if met.is_certain else Certainty.POSSIBLE,
            links,
            tuple(sorted(marks)),
            met.listings,
        )

    def _marked(self, met: _Met, link: Link, nearer: Place) -> Link:
        """Mark a link over which the key was only met again: it does not lead one level nearer to the root."""
        near = self._nodes.get(self._actual(nearer))
        if (
            near is None
            or link.kind in (LinkKind.CONTAINED, LinkKind.CONTAINS)
            or met.role is NodeRole.CONTAINER
            or near.level == met.level - 1
        ):
            return link
        marks = tuple(sorted({*link.marks, Mark.SEEN}))
        return Link(link.key, link.kind, link.identities, link.certainty, marks, link.from_us, link.until_us)


def _sorting(met: _Met) -> tuple[int, int, str]:
    return met.level, _RANK[met.direction], met.key


def _sureness(mention: Mention) -> tuple[bool, int, tuple[str, ...]]:
    return mention.certainty is Certainty.POSSIBLE, len(mention.path), mention.path


def _link_sorting(link: Link) -> tuple[str, str, Sequence[str], int, int]:
    return link.key, link.kind, link.identities, link.from_us, link.until_us
