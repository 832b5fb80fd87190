"""What a stream withholds: each entry told once, with its proofs, in messages that are no larger than a page."""

import os
from collections.abc import AsyncIterator, Mapping
from typing import Final

from goodstrace.entry import Position
from goodstrace.query.v1 import withheld_pb2
from goodstrace.tracing.recall_memory import Seen
from services.query import withheld
from services.query.sight import VisibleLogs
from services.query.withheld import Held

_SECRET_BYTES: Final = 16


class WithheldStream:
    """What is withheld on the way of one stream. It remembers some 32 bytes of each entry told.

    Attributes:
        told: how many entries were told.
    """

    def __init__(self, logs: VisibleLogs, sizes: Mapping[str, int], page_bytes: int) -> None:
        """Read entries through `logs`, prove them as of `sizes`; `page_bytes` is the most of a message, but for a single entry."""
        self._logs, self._sizes, self._page_bytes = logs, sizes, page_bytes
        self._known = Seen(os.urandom(_SECRET_BYTES))
        self.told = 0

    def has_told(self, place: Position) -> bool:
        """Tell whether an entry was told."""
        return _text(place) in self._known

    async def messages(self, what: Held) -> AsyncIterator[list[withheld_pb2.WithheldEntry]]:
        """Give what was not told before, as many entries at a time as a message holds. Raises: UnavailableError, CorruptError, EntryError."""
        fresh = [place for place in what.places if self._known.add(_text(place))]
        self.told += len(fresh)
        some: list[withheld_pb2.WithheldEntry] = []
        left = self._page_bytes
        for first in range(0, len(fresh), withheld.BATCH):
            places = fresh[first : first + withheld.BATCH]
            for entry in await withheld.entries(self._logs, what, self._sizes, places):
                size_bytes = withheld.size_of(entry)
                if left < size_bytes and some:
                    yield some
                    some, left = [], self._page_bytes
                some.append(entry)
                left -= size_bytes
        if some:
            yield some


def _text(place: Position) -> str:
    return f"{place[0]} {place[1]}"
