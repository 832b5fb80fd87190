"""Finding the browse records of a page: by key in the logs themselves, else through the index, and of users then those from before there was one."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from goodstrace.entry import TagKind, tag
from services.audit.browse_index import BrowseIndex
from services.audit.core import ListQuery, ListState
from services.audit.index_values import Place, Row, Wanted
from services.audit.part_keys import record_id_of, time_of
from services.sealing.reader import LogReader
from services.sealing.values import SealedRecord

LATE_MS: Final = 86_400_000
"""Records are in the order in which they were sealed, which is seconds after their time, or an outage."""
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

    async def find(
        self,
        query: ListQuery,
        subject: bytes | None,
        sizes: dict[str, int],
        state: ListState | None,
        limit: int,
    ) -> Found:
        """Find the records of a page, newest first.

        Args:
            query: which.
            subject: the hash of the user asked for, if one is.
            sizes: how far to look in each log.
            state: where the page before ended.
            limit: the most records, at least 1.
        """
        if query.key:
            return await self._by_tag(query, subject, sizes, state, limit)
        if subject is not None:
            return await self._by_user(query, subject, sizes, state, limit)
        return await self.indexed(query.wanted(None), sizes, state.row if state else None, limit)

    async def rows(self, records: Sequence[SealedRecord]) -> dict[bytes, Row]:
        """Give what the index has of records, by their IDs, or will have in a moment."""
        return await self._index.rows_of({record_id_of(each): time_of(each) for each in records})

    async def _by_tag(
        self,
        query: ListQuery,
        subject: bytes | None,
        sizes: dict[str, int],
        state: ListState | None,
        limit: int,
    ) -> Found:
        """Find the records that have the tag of what is asked for: a key, or the user in records of before the index."""
        before = state.before if state else None
        records: list[SealedRecord] = []
        for _ in range(MOST_ROUNDS):
            asked = limit - len(records)
            some = await self._reader.find_newest(query.tag(self._secret), sizes, asked, before)
            records += await self._fitting(query, subject, some)
            if len(records) >= limit or _is_end(query, some, asked):
                return Found(records, {}, None)
            before = (some[-1].log, some[-1].index)
        return Found(records, {}, ListState(sizes, before=before))

    async def _fitting(
        self, query: ListQuery, subject: bytes | None, found: Sequence[SealedRecord]
    ) -> list[SealedRecord]:
        """Keep the records that fit what is asked beside the key."""
        if not query.narrows:
            return list(found)
        of_key = subject if query.key else None  # what was found by the user's tag is the user's
        rows = await self.rows(found)
        return [each for each in found if query.fits(time_of(each), rows.get(record_id_of(each)), of_key)]

    async def _by_user(
        self,
        query: ListQuery,
        subject: bytes,
        sizes: dict[str, int],
        state: ListState | None,
        limit: int,
    ) -> Found:
        """Find the records of a user, whose hash is `subject`."""
        if state and state.before:
            return await self._by_tag(query, subject, sizes, state, limit)
        found = await self.indexed(query.wanted(subject), sizes, state.row if state else None, limit)
        if found.more is not None or len(found.records) >= limit:
            return found
        older = await self._by_tag(query, subject, sizes, None, limit - len(found.records))
        return Found([*found.records, *older.records], found.places, older.more)

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


def _is_end(query: ListQuery, found: Sequence[SealedRecord], asked: int) -> bool:
    """Say whether none can follow: no more is there, or it is sealed long before what is asked for."""
    return len(found) < asked or time_of(found[-1]) < query.start_ms - LATE_MS


def after(found: Found, shown: Sequence[SealedRecord], sizes: dict[str, int]) -> ListState | None:
    """Say where the next page goes on where so many of what was found are shown; None at the end. Pure."""
    if len(shown) == len(found.records):
        return found.more
    last = shown[-1]
    place = found.places.get(record_id_of(last))
    return ListState(sizes, row=place) if place else ListState(sizes, before=(last.log, last.index))
