"""What a recall withholds, told as it goes on: once something that was shown leads to a name by which it was found."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from goodstrace.entry import Position
from goodstrace.query.v1 import withheld_pb2
from goodstrace.tracing.model import Name, NameKind
from goodstrace.tracing.recall_memory import Seen
from goodstrace.tracing.recall_names import NamesShown
from goodstrace.tracing.recalling import Found
from goodstrace.visibility import told_names
from services.query.sight import VisibleLogs
from services.query.withheld import Held
from services.query.withheld_streams import WithheldStream

MAX_WAITING: Final = 10_000
_SECRET_BYTES: Final = 16


class RecallWithheld:
    """What one recall withholds. It remembers some 32 bytes of each name shown and entry told, where its caller does not see all.

    A walk looks up more than it shows in the end, and may show later what leads to a name: what was found by such names waits, MAX_WAITING
    finds of an entry by a name at the most: those of the name that waited longest are dropped for others.

    Attributes:
        is_cut: whether one was dropped whose entry was not told, so that there may be more than is told.
    """

    def __init__(self, logs: VisibleLogs, sizes: Mapping[str, int], page_bytes: int) -> None:
        """Tell of what `logs` met; for the others see WithheldStream."""
        self._logs = logs
        self._stream = WithheldStream(logs, sizes, page_bytes)
        self._names = NamesShown(Seen(os.urandom(_SECRET_BYTES)))
        self._waiting: dict[Name, dict[Position, bytes]] = {}
        self._waiting_count = 0
        self._due: dict[Position, tuple[bytes, Name]] = {}
        self.is_cut = False

    @property
    def told(self) -> int:
        """How many entries were told."""
        return self._stream.told

    def show(self, found: Found) -> None:
        """Take note of a piece that was sent."""
        if self._logs.eyes.sees_all:
            return
        for name in _names(found):
            self._names.add(name)
            for place, tag in self._taken(name).items():
                self._due.setdefault(place, (tag, name))

    async def messages(self, names: Mapping[bytes, Name]) -> AsyncIterator[list[withheld_pb2.WithheldEntry]]:
        """Give what may be told by now, a message at a time; what was met is taken from the logs, so that a recall may withhold any number.

        Args:
            names: by tag those that were looked up since the last time.
        Raises: UnavailableError, CorruptError, EntryError.
        """
        for place, tags in self._logs.withheld.items():
            for tag in sorted(tags & names.keys()):
                self._meet(place, tag, names[tag])
        self._logs.forget()
        due, self._due = self._due, {}
        async for entries in self._stream.messages(Held(tuple(sorted(due)), due)):
            yield entries

    def _meet(self, place: Position, tag: bytes, name: Name) -> None:
        if name in self._names:
            self._due.setdefault(place, (tag, name))
            return
        places = self._waiting.setdefault(name, {})
        self._waiting_count += place not in places
        places[place] = tag
        while self._waiting_count > MAX_WAITING:
            dropped = self._taken(next(iter(self._waiting)))
            self.is_cut = self.is_cut or not all(map(self._is_told, dropped))

    def _is_told(self, place: Position) -> bool:
        return place in self._due or self._stream.has_told(place)

    def _taken(self, name: Name) -> dict[Position, bytes]:
        """Take out what waits for a name: places, each with the name's tag."""
        places = self._waiting.pop(name, {})
        self._waiting_count -= len(places)
        return places


def _names(found: Found) -> Iterator[Name]:
    """Give the names that lead on from a piece; `goodstrace.recalls` reads them from it again."""
    yield from ((NameKind.KEY, each.reached.key) for each in found.goods)
    yield from ((NameKind.KEY, each.key) for each in found.containers)
    for each in found.events:
        yield from told_names(each.event.facts)
