"""Which entries of a log a month's are among, by the times of its records, and their count."""

from typing import Final

from goodstrace import block as blocks
from goodstrace import entry as entries
from goodstrace.entry import Kind
from goodstrace.merkle import Frontier, leaf_hashes
from goodstrace.transparency.counting import Counting
from goodstrace.transparency.values import Month, Span
from services.sealing.bundles import EntryReader
from services.sealing.errors import CorruptError
from services.sealing.mongo import MongoBlockStore
from services.sealing.reader import LogReader
from services.sealing.values import Head, StoredCheckpoint

SLACK_MS: Final = 86_400_000
"""A record is sealed within seconds, or after an outage; a day later none of the month is to come. So far apart may records be that come in another
order than that of their times, too: recorders have clocks of their own, and one may be cut off from Kafka for a while."""
_AT_ONCE: Final = 4096


class Spans:
    """Finds spans and counts what is in them."""

    def __init__(self, store: MongoBlockStore, reader: LogReader, entry_reader: EntryReader) -> None:
        """Read from a store."""
        self._store, self._reader, self._entries = store, reader, entry_reader

    async def of(self, log: str, month: Month) -> Span | None:
        """Find the span of a month in a log: from a day before the month to a day after it, as far as is published.

        It goes by the records' times, which are sealed. Those of blocks say when a block was sealed: in a store that was made anew from Kafka, all within the hour.

        Returns: None where nothing of the log is published.
        Raises: CorruptError, UnavailableError.
        """
        head = await self._store.head(log)
        if head is None or head.published is None:
            return None
        published = head.published.size
        first = min(published, await self._size_before(log, head, published, month.start_ms - SLACK_MS))
        end = min(published, await self._size_upto(log, head, published, month.end_ms + SLACK_MS))
        return Span(
            log=log,
            first=first,
            end=end,
            first_checkpoint=(await self._checkpoint(log, first)).note if first else "",
            last_checkpoint=(await self._checkpoint(log, end)).note if end else "",
            frontier=tuple(each.hex() for each in await self._frontier(log, first)),
        )

    async def count(self, span: Span, counting: Counting, month: Month) -> list[int]:
        """Count the entries of a span; gives where erasures of the month are. Raises: CorruptError, UnavailableError."""
        counting.begin(span.log)
        erasures = []
        for start in range(span.first, span.end, _AT_ONCE):
            found = await self._entries.entries(span.log, start, min(span.end, start + _AT_ONCE))
            for index, data in enumerate(found, start):
                entry = entries.decode(data)
                counting.add(span.log, entry)
                if entry.kind is Kind.ERASURE and month.day_of(entry.time) is not None:
                    erasures.append(index)
        return erasures

    async def _size_before(self, log: str, head: Head, published: int, time_ms: int) -> int:
        """Give the size after a block that ends before a time; nothing before it is SLACK_MS later than that time."""
        height = await self._first_from(log, head, published, time_ms)
        return (await self._header(log, height - 1)).size if height else 0

    async def _size_upto(self, log: str, head: Head, published: int, time_ms: int) -> int:
        """Give the size after a block that ends at a time or later; nothing behind it is SLACK_MS earlier than that time. The whole log's where there is none."""
        height = await self._first_from(log, head, published, time_ms)
        return (await self._header(log, min(height, head.height))).size

    async def _first_from(self, log: str, head: Head, published: int, time_ms: int) -> int:
        """Find a block whose last record is of a time or later, and that of the block before is not; by halving.

        Where records are not in the order of their times there may be several such blocks, and any will do: by the slack. Blocks that are not
        published count as later; one beyond the last where all are earlier.
        """
        low, high = 0, head.height + 1
        while low < high:
            middle = (low + high) // 2
            size = (await self._header(log, middle)).size
            if size > published or await self._time_before(log, size) >= time_ms:
                high = middle
            else:
                low = middle + 1
        return low

    async def _time_before(self, log: str, size: int) -> int:
        """Give the time of the last of the first `size` entries."""
        [last] = await self._entries.entries(log, size - 1, size)
        return entries.decode(last).time

    async def _header(self, log: str, height: int) -> blocks.BlockHeader:
        block = await self._store.block(log, height)
        if block is None:
            raise CorruptError(f"{log}: there is no block {height}")
        return blocks.decode(block.header)

    async def _checkpoint(self, log: str, size: int) -> StoredCheckpoint:
        found = await self._reader.checkpoint(log, size)
        if found is None:
            raise CorruptError(f"{log}: there is no checkpoint of size {size}")
        return found

    async def _frontier(self, log: str, size: int) -> list[bytes]:
        """Give the hashes of the complete subtrees of the first `size` entries, the largest first."""
        if not size:
            return []
        before = await self._reader.multiproof(log, [size - 1], size)
        last = await self._entries.entries(log, size - 1, size)
        return Frontier.decode(size - 1, before).append(leaf_hashes(last)).encode()
