"""Finding the browse records of a page: by key in the logs themselves, by user through the index, and then those from before there was one."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from goodstrace.entry import TagKind, tag
from services.audit.browse_index import BrowseIndex
from services.audit.core import ListQuery, ListState
from services.audit.index_values import Place, Row, Wanted
from services.audit.part_keys import record_id_of
from services.sealing.reader import LogReader
from services.sealing.values import SealedRecord

MOST_ROUNDS: Final = 8
"""Of rows that are looked up for a page, where many are not sealed yet, or never were: then a page has fewer records, or none."""


class Found(msgspec.Struct, frozen=True):
    """What was found for a page. records: newest first. places: in the index, of those that were found by it. more: where to go on after all of them, None at the end."""

    records: Sequence[SealedRecord]
    places: Mapping[bytes, Place]
    more: ListState | None


class Listing:
    """Finds browse records."""

    def __init__(self, reader: LogReader, index: BrowseIndex, secret: bytes) -> None:
        """Read from `reader`'s logs; `secret` is the index secret."""
        self._reader, self._index, self._secret = reader, index, secret

    async def by_tag(
        self, query: ListQuery, sizes: dict[str, int], state: ListState | None, limit: int
    ) -> Found:
        """Find the records that have the tag of what is asked for: a key, or the user in records of before the index."""
        before = state.before if state else None
        records = await self._reader.find_newest(query.tag(self._secret), sizes, limit, before)
        return Found(records, {}, None)

    async def by_user(
        self, query: ListQuery, subject: bytes, sizes: dict[str, int], state: ListState | None, limit: int
    ) -> Found:
        """Find the records of a user, whose hash is `subject`."""
        if state and state.before:
            return await self.by_tag(query, sizes, state, limit)
        found = await self.indexed(Wanted(subject=subject), sizes, state.row if state else None, limit)
        if found.more is not None or len(found.records) >= limit:
            return found
        older = await self.by_tag(query, sizes, None, limit - len(found.records))
        return Found([*found.records, *older.records], found.places, None)

    async def indexed(self, wanted: Wanted, sizes: dict[str, int], place: Place | None, limit: int) -> Found:
        """Find the records of which the index has rows, newest first.

        Args:
            wanted: which.
            sizes: how far to look in each log: what is sealed later is left out.
            place: of the last one of the page before.
            limit: the most records, at least 1.
        """
        records: list[SealedRecord] = []
        places: dict[bytes, Place] = {}
        for _ in range(MOST_ROUNDS):
            asked = limit - len(records)
            rows = await self._index.find(wanted, place, asked)
            sealed = await self._sealed(rows, sizes)
            for row in rows:
                if row.record_id in sealed:
                    records.append(sealed[row.record_id])
                    places[row.record_id] = row.place
            if len(rows) < asked or len(records) >= limit:
                return Found(records, places, None)
            place = rows[-1].place
        return Found(records, places, ListState(sizes, row=place))

    async def _sealed(self, rows: Sequence[Row], sizes: Mapping[str, int]) -> dict[bytes, SealedRecord]:
        """Find the records of rows in the logs, by their IDs."""
        if not rows:
            return {}
        tags = {tag(self._secret, TagKind.RECORD, row.record_id.hex()): row.record_id for row in rows}
        found = await self._reader.find(list(tags), sizes, 1)
        return {record_id_of(each): each for those in found.values() for each in those}


def after(found: Found, shown: Sequence[SealedRecord], sizes: dict[str, int]) -> ListState | None:
    """Say where the next page goes on where so many of what was found are shown; None at the end. Pure."""
    if len(shown) == len(found.records):
        return found.more
    last = shown[-1]
    place = found.places.get(record_id_of(last))
    return ListState(sizes, row=place) if place else ListState(sizes, before=(last.log, last.index))
