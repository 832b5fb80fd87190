"""Reading logs: records by tag or index, checkpoints, proofs. Used by query and audit; never reads a log from its start.

Answers are limited by sizes that come from published checkpoints. What is returned is not verified here (the client
does that on every answer); where the store contradicts itself it is.
"""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Final

from goodstrace import tiles as tlog
from goodstrace.entry import Position, TagKind, tag
from goodstrace.errors import TreeError
from goodstrace.merkle import HASH_SIZE, leaf_hash
from goodstrace.tiles import TILE_WIDTH, Tile
from services.runtime.mongo import Database, find_all, translated
from services.runtime.together import gathered
from services.sealing import documents
from services.sealing.core import PACK_ENTRIES
from services.sealing.documents import OpenedPack
from services.sealing.errors import CorruptError
from services.sealing.indexes import CHECKPOINTS, PACKS
from services.sealing.lookup import TagLookup
from services.sealing.mongo import MongoBlockStore
from services.sealing.reads import PACKS_PER_QUERY, REMEMBER_BYTES, Reads
from services.sealing.showing import PartKey
from services.sealing.values import LogInfo, SealedRecord, StoredCheckpoint

LOGS_AT_ONCE: Final = 4
MOST_IN_PACK: Final = (
    PACK_ENTRIES  # no pack holds more records: bounds the search for the one that holds an index
)

Sizes = Mapping[str, int]
Found = dict[bytes, dict[int, list[SealedRecord]]]
"""For each tag the records by index; several for one index where a commit was cut off (see `LogReader._settled`)."""


class LogReader:
    """The logs of one database.

    Every method raises UnavailableError where the store is away, CorruptError where what it holds is not what the log
    says.
    """

    def __init__(
        self,
        database: Database,
        index_secret: bytes | None = None,
        *,
        remember_bytes: int = REMEMBER_BYTES,
        remember_packs_bytes: int = REMEMBER_BYTES,
    ) -> None:
        """Read from a database; the index secret (32 bytes) is needed for `tag` only.

        `remember_bytes` bounds the tiles that are not read a second time, `remember_packs_bytes` the packs.
        """
        self._database = database
        self._secret = index_secret
        self._store = MongoBlockStore(database)
        self.lookup = TagLookup(self._store)
        self._reads = Reads(database, self._store, remember_bytes, remember_packs_bytes)

    def tag(self, kind: TagKind, text: str) -> bytes:
        """Derive the tag by which records are found. Raises: ValueError without an index secret."""
        if self._secret is None:
            raise ValueError("this reader was made without the index secret")
        return tag(self._secret, kind, text)

    async def logs(self) -> list[LogInfo]:
        """List the registered logs by name."""
        return await self._store.logs()

    async def info(self, log: str) -> LogInfo | None:
        """Give a log as registered, None where there is no such log."""
        return next((each for each in await self.logs() if each.name == log), None)

    async def signed_logs(self) -> list[LogInfo]:
        """List the logs that have a signed checkpoint by name, also where none of it is published yet."""
        infos = await self.logs()
        heads = await self._store.heads([info.name for info in infos])
        return [info for info in infos if info.name in heads]

    async def signed_size(self, log: str) -> int:
        """Tell how many entries of a log are signed, which may be more than are published."""
        head = await self._store.head(log)
        return head.checkpoint.size if head else 0

    async def checkpoint(self, log: str, size: int | None = None) -> StoredCheckpoint | None:
        """Give the newest published checkpoint of a log, or the one of exactly that size; None where there is none.

        One that is signed and not published yet is not given by its size either.
        """
        head = await self._store.head(log)
        published = head.published if head else None
        if size is None or published is None or size >= published.size:
            return published if published and size in (None, published.size) else None
        async with translated():
            document = await self._database[CHECKPOINTS].find_one({"_id": documents.checkpoint_id(log, size)})
        return documents.stored_checkpoint(document) if document else None

    async def newest(self, prefix: str = "") -> dict[str, StoredCheckpoint]:
        """Give the newest published checkpoint of every log that has one, if its name begins with `prefix` ("goods/")."""
        heads = await self._reads.heads_under(prefix)
        shown = {name: head.published for name, head in sorted(heads.items())}
        return {name: published for name, published in shown.items() if published is not None}

    async def find(self, tags: Sequence[bytes], sizes: Sizes, limit: int) -> dict[bytes, list[SealedRecord]]:
        """Find records by tag.

        Args:
            tags: 16 bytes each.
            sizes: how far to look in each log; logs that are not named are not looked at.
            limit: the most records for each tag, at least 1. Ask for one more than wanted to see that there are more.
        Returns: for each tag its records, by log and index.
        """
        grown = {log: sizes[log] for log in sorted(sizes) if sizes[log]}
        result: dict[bytes, list[SealedRecord]] = {each: [] for each in tags}
        places = await self.lookup.firsts(grown, result)
        holding = [log for log, of_log in places.items() if any(of_log.values())]
        for start in range(0, len(holding), LOGS_AT_ONCE):
            together = holding[start : start + LOGS_AT_ONCE]
            found = await gathered([self._find(log, grown[log], places[log], limit) for log in together])
            for log, of_log in zip(together, found, strict=True):
                await self._take(log, of_log, limit, result)
        return result

    async def find_newest(
        self, tag: bytes, sizes: Sizes, limit: int, before: Position | None = None
    ) -> list[SealedRecord]:
        """Find records by one tag, newest first: by the time their block was sealed, log and index.

        Args:
            tag: 16 bytes.
            sizes: how far to look in each log, the same for all pages.
            limit: the most records, at least 1.
            before: log and index of the last record of the page before, or None.
        """
        bound = await self._bound(before) if before else None
        logs = [(log, size) for log, size in sizes.items() if size]
        pages = await asyncio.gather(*(self._newest(tag, log, size, limit, bound) for log, size in logs))
        merged = sorted((each for page in pages for each in page), key=lambda each: each[0], reverse=True)
        return [record for _, record in merged[:limit]]

    async def find_from(
        self, log: str, tags: Sequence[bytes], first: int, size: int, limit: int
    ) -> list[SealedRecord]:
        """Find the records of a log that have any of some tags, from an index on, oldest first.

        Args:
            log: its name.
            tags: 16 bytes each, at least one.
            first: index of the first entry that counts; runs of the index that end before it are not read.
            size: how far to look, at most a published size.
            limit: the most records, at least 1.
        """
        wanted = frozenset(tags)
        found: dict[int, list[SealedRecord]] = {}
        while True:
            firsts, known = await self._firsts_from(log, tags, first, size, limit)
            for start in range(0, len(firsts), PACKS_PER_QUERY):
                for pack in await self._reads.packs(log, firsts[start : start + PACKS_PER_QUERY], size):
                    for record, _ in _with_any(pack, wanted, known):
                        if record.index >= first:
                            found.setdefault(record.index, []).append(record)
                # A pack that is not read yet may hold what is at its first index too, where a commit was cut off.
                unread = firsts[start + PACKS_PER_QUERY : start + PACKS_PER_QUERY + 1]
                if unread and sum(index < unread[0] for index in found) >= limit:
                    return await self._settled(log, found, limit)
            if known >= size or len(found) >= limit:
                return await self._settled(log, found, limit)
            first = known

    async def _firsts_from(
        self, log: str, tags: Sequence[bytes], first: int, size: int, limit: int
    ) -> tuple[list[int], int]:
        """Name the packs that hold tags from an index on, as many as may be needed; and before which index these are all."""
        most = (
            limit + MOST_IN_PACK
        )  # so many begin after `first`, whatever begins before it and reaches beyond
        begin = max(0, first - MOST_IN_PACK + 1)
        places = (await self.lookup.firsts({log: size}, tags, {log: begin}, most))[log]
        known = min((of_tag[-1] + 1 for of_tag in places.values() if len(of_tag) >= most), default=size)
        return sorted({each for of_tag in places.values() for each in of_tag if each < known}), known

    async def records(self, log: str, indexes: Sequence[int]) -> list[SealedRecord]:
        """Give the records at these indexes, in the order asked. Raises: CorruptError where one is not there."""
        distinct = sorted(set(indexes))
        by_index: dict[int, list[SealedRecord]] = {index: [] for index in distinct}
        for pack in await self._packs_with(log, distinct):
            for index in distinct[bisect_left(distinct, pack.first) : bisect_left(distinct, pack.end)]:
                by_index[index].append(pack.record(index))
        found = {each.index: each for each in await self._settled(log, by_index, len(distinct))}
        return [found[index] for index in indexes]

    async def sealed_ms(self, log: str, index: int) -> int:
        """Tell when the block of an entry was sealed, in Unix milliseconds; where several packs may hold it, the latest of them.

        Raises: CorruptError where it is in no pack.
        """
        query = {"log": log, "first": {"$gt": index - MOST_IN_PACK, "$lte": index}}
        async with translated():
            times = [each["time"] async for each in self._database[PACKS].find(query, {"time": 1})]
        if not times:
            raise CorruptError(f"{log}: entry {index} is in no pack")
        return int(max(times))

    async def part_keys(self, records: Sequence[SealedRecord]) -> Mapping[Position, PartKey]:  # noqa: ARG002 - Proving
        """Open nothing: the logs know no keys, and not who asks."""
        return {}

    async def inclusion_proofs(self, log: str, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        """Make the inclusion proofs of entries in the log at `size`, in the order asked.

        Raises: ProofError, unless 0 <= index < size.
        """
        needed = {tile for index in set(indexes) for tile in tlog.tiles_for_inclusion(index, size)}
        data = await self.tiles(log, needed)
        with _as_corrupt(log):
            return [tlog.inclusion_proof(index, size, data) for index in indexes]

    async def multiproof(self, log: str, indexes: Iterable[int], size: int) -> list[bytes]:
        """Make the proof that entries are in the log at `size`, each hash once, from left to right.

        Raises: ProofError, unless 0 <= each index < size.
        """
        rising = sorted(set(indexes))
        data = await self.tiles(log, tlog.tiles_for_multiproof(rising, size))
        with _as_corrupt(log):
            return tlog.multiproof(rising, size, data)

    async def consistency_proof(self, log: str, old_size: int, new_size: int) -> list[bytes]:
        """Make the proof that the log at `new_size` begins with all of what it was at `old_size`.

        Raises: ProofError, unless 0 <= old_size <= new_size.
        """
        data = await self.tiles(log, tlog.tiles_for_consistency(old_size, new_size))
        with _as_corrupt(log):
            return tlog.consistency_proof(old_size, new_size, data)

    async def tiles(self, log: str, needed: Iterable[Tile]) -> dict[tuple[int, int], bytes]:
        """Get the tiles that are there, by (level, n): see `Reads.tiles`."""
        return await self._reads.tiles(log, needed)

    async def _take(
        self, log: str, found: Found, limit: int, result: dict[bytes, list[SealedRecord]]
    ) -> None:
        """Add what was found in a log to the result, up to the limit for each tag."""
        for each, by_index in found.items():
            result[each].extend(await self._settled(log, by_index, limit - len(result[each])))

    async def _find(self, log: str, size: int, places: Mapping[bytes, Sequence[int]], limit: int) -> Found:
        """Read what was found in one log. For a tag that has enough no more is read: what is read is what is returned."""
        found: Found = {each: {} for each in places}
        held: dict[int, set[bytes]] = {}
        for each, firsts in places.items():
            for first in firsts:
                held.setdefault(first, set()).add(each)
        waiting = deque(sorted(held))
        while waiting:
            some: list[int] = []
            while waiting and len(some) < PACKS_PER_QUERY:
                first = waiting.popleft()
                if any(len(found[each]) < limit for each in held[first]):
                    some.append(first)
            for pack in await self._reads.packs(log, some, size):
                for record, those in _with_any(pack, held[pack.first], size):
                    for each in those:
                        found[each].setdefault(record.index, []).append(record)
        return found

    async def _newest(
        self, tag: bytes, log: str, size: int, limit: int, bound: tuple[int, str, int] | None
    ) -> list[tuple[tuple[int, str, int], SealedRecord]]:
        firsts = (await self.lookup.firsts({log: size}, [tag]))[log][tag]
        if bound:
            firsts = firsts[: await self._until(log, firsts, bound)]
        found: dict[int, list[SealedRecord]] = {}
        times: dict[int, int] = {}
        while firsts and len(found) < limit:
            some = firsts[-PACKS_PER_QUERY:]
            del firsts[-PACKS_PER_QUERY:]
            for pack in await self._reads.packs(log, some, size):
                for record, _ in _with_any(pack, {tag}, size):
                    key = (pack.time, log, record.index)
                    if bound is None or key < bound:
                        found.setdefault(record.index, []).append(record)
                        times.setdefault(record.index, pack.time)
        settled = await self._settled(log, found, len(found))
        return [((times[record.index], log, record.index), record) for record in settled[-limit:]]

    async def _until(self, log: str, firsts: Sequence[int], bound: tuple[int, str, int]) -> int:
        """Count the packs that may hold records from before `bound`: packs are in the order of their time."""
        low, high = 0, len(firsts)
        while low < high:
            middle = (low + high) // 2
            query = {"log": log, "first": firsts[middle]}
            async with translated():
                times = [each["time"] async for each in self._database[PACKS].find(query, {"time": 1})]
            if times and min(times) > bound[0]:
                high = middle
            else:
                low = middle + 1
        return low

    async def _bound(self, before: Position) -> tuple[int, str, int]:
        """Find when the record that ended the page before was sealed."""
        log, index = before
        times = [pack.time for pack in await self._packs_with(log, [index]) if pack.first <= index < pack.end]
        if not times:
            raise CorruptError(f"{log}: entry {index} is in no pack")
        return max(times), log, index

    async def _packs_with(self, log: str, indexes: Sequence[int]) -> list[OpenedPack]:
        """Read the packs that may hold entries, each once: one query for neighbours."""
        packs: list[OpenedPack] = []
        for low, high in _ranges(indexes):
            query = {"log": log, "first": {"$gt": low - MOST_IN_PACK, "$lte": high}}
            stored = map(documents.stored_pack, await find_all(self._database, PACKS, query))
            packs += map(documents.opened_pack, stored)
        return packs

    async def _settled(
        self, log: str, by_index: Mapping[int, Sequence[SealedRecord]], limit: int
    ) -> list[SealedRecord]:
        """Choose one record for each index.

        A commit that was cut off leaves packs that no block names; they hold the same records, since the topic is the
        same. Where they do not, the tree says which is the sealed one.
        """
        settled = []
        for index in sorted(by_index)[:limit]:
            candidates = by_index[index]
            if candidates and any(each.entry != candidates[0].entry for each in candidates):
                leaf = await self._leaf(log, index)
                candidates = [each for each in candidates if leaf_hash(each.entry) == leaf]
            if not candidates:
                raise CorruptError(f"{log}: entry {index} is in no pack, or only others than the tree's")
            settled.append(candidates[0])
        return settled

    async def _leaf(self, log: str, index: int) -> bytes:
        n, place = divmod(index, TILE_WIDTH)
        data = (await self.tiles(log, {Tile(0, n, place + 1)})).get((0, n), b"")
        return data[place * HASH_SIZE : (place + 1) * HASH_SIZE]


@contextmanager
def _as_corrupt(log: str) -> Iterator[None]:
    """Missing or narrow tiles below a published size are corrupt data."""
    try:
        yield
    except TreeError as error:
        raise CorruptError(f"{log}: {error}") from error


def _ranges(indexes: Sequence[int]) -> list[tuple[int, int]]:
    """Give ranges that cover the indexes, which are in order: those that may share a pack are in one."""
    ranges: list[tuple[int, int]] = []
    for index in indexes:
        if ranges and index - ranges[-1][1] < MOST_IN_PACK:
            ranges[-1] = (ranges[-1][0], index)
        else:
            ranges.append((index, index))
    return ranges


def _with_any(
    pack: OpenedPack, tags: AbstractSet[bytes], size: int
) -> Iterator[tuple[SealedRecord, AbstractSet[bytes]]]:
    """Decode a pack's records below `size` that have any of these tags, each with those that it has."""
    for place, those in pack.columns.places_of(tags):
        if pack.first + place < size:
            yield pack.record(pack.first + place), those
