"""One log, fed from a store through a `LogVerifier`: page by page, in memory that does not grow with the log."""

import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from goodstrace.block import MAX_INTEGER
from goodstrace.log_keys import ROOT_LOG
from goodstrace.merkle import HASH_SIZE
from goodstrace.note import Verifier
from goodstrace.policy import Policy
from goodstrace.tiles import TILE_HEIGHT, TILE_WIDTH, changed_tiles
from services.sealing.documents import Document, log_info, tile_id
from services.sealing.errors import CorruptError
from services.sealing.fsck import heads, repair, root_check, rows
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.index_check import IndexCheck
from services.sealing.fsck.keyring import Keyring
from services.sealing.fsck.pack_stream import PackStream, ahead
from services.sealing.fsck.repair import Mend
from services.sealing.fsck.rows import CheckpointRow, Malformed, TileName, TileRow
from services.sealing.fsck.saved import Saved
from services.sealing.fsck.scan import LogDocuments
from services.sealing.fsck.verifier import Edge, LogVerifier, tile_count
from services.sealing.indexes import LOGS, PACKS
from services.sealing.values import Head, LogInfo, Pack, StoredBlock

PAGE_BLOCKS: Final = 32
PAGE_ENTRIES: Final = 8192
MAX_LEVELS: Final = 8  # of tiles, in a tree of up to 2^63 leaves
UNPUBLISHED: Final = 1  # blocks that a writer may be about to publish


class Progress(msgspec.Struct, frozen=True):
    """How far a log was checked: where to go on, and what was found."""

    edge: Edge
    verdict: Verdict


class Check(msgspec.Struct, kw_only=True):
    """How to check one log.

    Attributes:
        info: the log. `trusted`: its public key from elsewhere than the store, or None.
        policy: whose cosignatures to check, or None.
        saved: checkpoints from elsewhere to compare with.
        start: where an earlier run was, or None.
        repair: write what is derived and wrong; only for a log in which nothing else was found.
        told: called after each page.
    """

    info: LogInfo
    trusted: Verifier | None = None
    policy: Policy | None = None
    saved: Sequence[Saved] = ()
    start: Progress | None = None
    repair: bool = False
    told: Callable[[Progress], None] = lambda _: None


async def check_log(store: LogDocuments, check: Check) -> Verdict:
    """Check all that a store holds of one log.

    A writer may be at work: what it commits meanwhile is checked too, up to the newest block that is published.
    Raises: UnavailableError.
    """
    return await _Feeding(store, check).run()


class _Feeding:
    def __init__(self, store: LogDocuments, check: Check) -> None:
        start = check.start
        self._store = store
        self._check = check
        self._log = check.info.name
        self._keys = Keyring(check.info, check.trusted)
        self._verifier = LogVerifier(
            check.info,
            self._keys,
            policy=check.policy,
            saved=check.saved,
            edge=start.edge if start else None,
            verdict=start.verdict if start else None,
        )
        if start:
            start.verdict.resumed = start.verdict.entries

    async def run(self) -> Verdict:
        """Feed the log.

        1. What is published, block by block. Where a writer went on meanwhile, again from there.
        2. A block that is committed and not published yet: its writer is about to, or died and does at its next start.
        3. What must not be there: checkpoints and tiles beyond the blocks.
        """
        head = await self._head()
        while True:
            await self._renew_keys()
            await self._published(head.height + 1 if isinstance(head, Head) else 0)
            end = await self._beyond()
            await self._renew_keys()
            again = await self._head()
            if again != head:
                head = again
            elif len(end.tail) <= UNPUBLISHED and (isinstance(head, Head) or not isinstance(head, Malformed)):
                break
            elif end.tail:  # nobody is at work: the head is behind, malformed, or missing
                seen = self._verifier.height + len(
                    end.tail
                )  # by ID: what a damaged one says of its place counts not
                await self._published(max(await self._last_height() + 1, seen))
            else:
                break
        await self._ended(head, end)
        return self._verifier.verdict

    async def _renew_keys(self) -> None:
        """Read how the log's key has changed by now: a change is stored before the block that makes it is inserted."""
        for document in await self._store.named(LOGS, [self._log]):
            try:
                self._keys.renew(log_info(document))
            except CorruptError:
                return  # told of where the logs are listed

    async def _beyond(self) -> "_Beyond":
        """Read what is there beyond the published blocks, all of it before the head is asked for again."""
        verifier, log = self._verifier, self._log
        runs = await self._store.runs(log)  # before the blocks: a writer puts them after
        tail = await self._blocks(verifier.height, verifier.height + UNPUBLISHED + 1)
        leaves = sum(len(row.leaves) // HASH_SIZE for row in tail if isinstance(row, StoredBlock))
        sizes = {verifier.size, verifier.size + leaves}
        names = verifier.edge_tiles().keys() | {
            (tile.level, tile.n) for tile in changed_tiles(min(sizes), max(sizes))
        }
        return _Beyond(
            runs,
            tail,
            await self._tiles(names),
            [
                rows.checkpoint(each)
                for each in await self._store.checkpoints(log, verifier.size, MAX_INTEGER)
            ],
            await self._store.pins(log, max(sizes), MAX_INTEGER),
            await self._stray_tiles(sizes),
        )

    async def _ended(self, head: Head | Malformed | None, beyond: "_Beyond") -> None:
        verifier, tail = self._verifier, beyond.tail
        published = verifier.edge
        before = verifier.edge_tiles()
        await self._page(tail)
        wrong = verifier.tiles(list(verifier.edge_tiles()), beyond.tiles, before if tail else None)
        mends = [repair.tile(self._log, name, data) for name, data in wrong.items()]
        for checkpoint in beyond.checkpoints:
            of_tail = isinstance(checkpoint, CheckpointRow) and checkpoint.stored.size == verifier.size
            if tail and of_tail:
                verifier.checkpoint(checkpoint, verifier.size)
            else:
                verifier.stray_checkpoint(checkpoint)
        mends += root_check.check_pins(verifier.verdict, beyond.pins, {})
        for key in beyond.tile_ids:
            verifier.verdict.found("tile", f"document {key} is of no tile of a tree of size {verifier.size}")
            mends.append(repair.stray_tile(key))
        verifier.ended()
        if isinstance(head, Head):
            verifier.cut_off(head)
        mends += await self._check_head(head, published)
        await self._mend(mends)
        verifier.sums.ended(verifier.height)
        index = IndexCheck(self._store, self._log, verifier.sums, verifier.verdict)
        await index.run(beyond.runs, published.height - 1, verifier.height - 1)
        await self._mend(index.mends)

    # -- blocks --------------------------------------------------------------------------------------------------

    async def _published(self, end: int) -> None:
        """Feed the blocks that are there up to height end-1, with checkpoints and full tiles."""
        verifier = self._verifier
        while verifier.height < end:
            page = await self._blocks(verifier.height, min(end, verifier.height + PAGE_BLOCKS))
            if not page:
                following = await self._store.next_height(self._log, verifier.height)
                if following is None or following <= verifier.height:
                    return
                verifier.missing(min(end, following))
                continue
            await self._page(page, checkpoints=True)
            await self._full_tiles()
            self._check.told(Progress(verifier.progress(), verifier.verdict))

    async def _last_height(self) -> int:
        """Find the last block, beyond what the head says."""
        height = self._verifier.height
        while (found := await self._store.next_height(self._log, height)) is not None:
            there = await self._store.blocks(self._log, found, found + PAGE_BLOCKS)
            height = max([found, *(each["height"] for each in there)]) + 1
        return height - 1

    async def _blocks(self, height: int, end: int) -> list[StoredBlock | Malformed]:
        """Read blocks in order, up to the first that is missing and to PAGE_ENTRIES entries, at least one if it is there."""
        found: dict[int, Document] = {}
        for each in await self._store.blocks(self._log, height, end):
            found.setdefault(each["height"], each)
        page: list[StoredBlock | Malformed] = []
        entries = 0
        for place in range(height, end):
            document = found.get(place) or await self._store.block(self._log, place)
            if document is None:
                break
            row = rows.block(document)
            entries += len(row.leaves) // HASH_SIZE if isinstance(row, StoredBlock) else 0
            if page and entries > PAGE_ENTRIES:
                break
            page.append(row)
        return page

    async def _page(self, page: Sequence[StoredBlock | Malformed], *, checkpoints: bool = False) -> None:
        """Feed neighbouring blocks: their packs are read in one go, a few at a time."""
        verifier = self._verifier
        if not page:
            return
        first = verifier.size
        end = first + sum(len(row.leaves) // HASH_SIZE for row in page if isinstance(row, StoredBlock))
        starts = [row.first for row in page if isinstance(row, StoredBlock) and row.first > first]
        if not verifier.edge.sound and starts:
            end += min(starts) - first  # blocks before this page are lost, and their entries with them
        stored = await self._checkpoints(first, end) if checkpoints else {}
        pins = await self._store.pins(self._log, first, end) if checkpoints else []
        heights: dict[int, int] = {}
        async with contextlib.aclosing(ahead(self._store.packs(self._log, first, end))) as stream:
            packs = PackStream(stream)
            for row in page:
                if isinstance(row, Malformed):
                    verifier.malformed(row)
                    continue
                await self._block(row, packs)
                heights[verifier.size] = row.height
                if checkpoints:
                    await self._checkpoint(stored)
        for size, stray in stored.items():
            if size <= verifier.size:
                verifier.stray_checkpoint(stray)
        await self._mend(root_check.check_pins(verifier.verdict, pins, heights))
        await self._mend([repair.pack(each) for each in verifier.packs.mends])
        verifier.packs.mends.clear()
        await self._displaced()

    async def _block(self, block: StoredBlock, packs: PackStream) -> None:
        verifier = self._verifier
        names = verifier.around(block)
        found = await self._tiles(names)
        tiles = {name: row.data for name, row in found.items() if isinstance(row, TileRow)}
        upto = max(verifier.size, block.first if names else 0) + len(block.leaves) // HASH_SIZE
        records = await self._with_named(block, await packs.upto(upto))
        verifier.block(block, records, tiles)
        if self._log == ROOT_LOG:
            await self._mend(await root_check.check_records(self._store, verifier.verdict, records))

    async def _displaced(self) -> None:
        """Tell packs that were put in another place from those that no block ever named."""
        displaced = self._verifier.packs.displaced
        for pack in displaced:
            height = pack.id.removeprefix(f"{self._log}#").partition(".")[0]
            known = height.isascii() and height.isdigit() and len(height) < 17
            block = await self._store.block(self._log, int(height)) if known else None
            if block is None or pack.id not in (block.get("packs") or ()):
                problem = f"pack {pack.id}, which no block names, holds other records than are sealed there"
                self._verifier.verdict.found("stray", problem, index=pack.first)
        displaced.clear()

    async def _with_named(self, block: StoredBlock, found: list[Pack | Malformed]) -> list[Pack | Malformed]:
        """Add packs that the block names and that say they are of another place."""
        there = {pack.id for pack in found}
        lost = [each for each in block.packs if each not in there]
        if not lost:
            return found
        return found + [rows.pack(each) for each in await self._store.named(PACKS, lost)]

    # -- beside the blocks ---------------------------------------------------------------------------------------

    async def _head(self) -> Head | Malformed | None:
        document = await self._store.head(self._log)
        return rows.head(document) if document is not None else None

    async def _checkpoints(self, above: int, upto: int) -> dict[int, CheckpointRow | Malformed]:
        found: dict[int, CheckpointRow | Malformed] = {}
        for document in await self._store.checkpoints(self._log, above, min(upto, MAX_INTEGER)):
            found[document["size"]] = rows.checkpoint(document)
        return found

    async def _checkpoint(self, stored: dict[int, CheckpointRow | Malformed]) -> None:
        verifier = self._verifier
        row = stored.pop(verifier.size, None)
        if row is None:
            document = await self._store.checkpoint(self._log, verifier.size)
            row = rows.checkpoint(document) if document is not None else None
        right = verifier.checkpoint(row, verifier.size)
        if right is not None:
            await self._mend([repair.checkpoint(right)])

    async def _full_tiles(self) -> None:
        names = self._verifier.full_tiles()
        wrong = self._verifier.tiles(names, await self._tiles(names))
        await self._mend([repair.tile(self._log, name, data) for name, data in wrong.items()])

    async def _tiles(self, names: Collection[TileName]) -> dict[TileName, TileRow | Malformed]:
        """Read tiles by the names that their IDs say; one that says another place itself is malformed."""
        wanted = {tile_id(self._log, level, n): (level, n) for level, n in names}
        if not wanted:
            return {}
        found = {}
        for document in await self._store.tiles(self._log, wanted.values()):
            row = rows.tile(document)
            name = wanted[document["_id"]]
            if document.get("log") != self._log or (isinstance(row, TileRow) and row.name != name):
                row = Malformed(document["_id"], f"says it is of {document.get('log')}, another place")
            found[name] = row
        return found

    async def _stray_tiles(self, sizes: set[int]) -> list[str]:
        """Find the documents of tiles that no tree of these sizes has."""
        if await self._store.count_tiles(self._log) in {tile_count(size) for size in sizes}:
            return []
        size = max(sizes)
        return [
            document["_id"]
            async for document in self._store.tile_names(self._log)
            if not _has_tile(size, document.get("level"), document.get("n"))
            or document["_id"] != tile_id(self._log, document["level"], document["n"])
        ]

    async def _check_head(self, head: Head | Malformed | None, edge: Edge) -> list[Mend]:
        published = head.published if isinstance(head, Head) else None
        shown = await self._store.checkpoint(self._log, published.size) if published else None
        row = rows.checkpoint(shown) if shown is not None else None
        wrong = list(heads.problems(head, edge.height - 1, edge.newest, row, self._check.policy))
        for field, problem in wrong:
            self._verifier.verdict.found(field, problem)
        if not wrong or edge.newest is None:
            return []
        keep = all(field != "published" for field, _ in wrong) and published is not None
        return [repair.head(heads.right_head(head, edge.height - 1, edge.newest, edge.satisfying, keep=keep))]

    async def _mend(self, mends: Sequence[Mend]) -> None:
        if self._check.repair:
            await repair.write(self._store, mends)


def _has_tile(size: int, level: Any, n: Any) -> bool:
    placed = isinstance(level, int) and isinstance(n, int) and 0 <= level < MAX_LEVELS and n >= 0
    return placed and n * TILE_WIDTH < size >> TILE_HEIGHT * level


class _Beyond(NamedTuple):
    """What is there beyond the published blocks, and the IDs of tiles that are out of place."""

    runs: Document | None
    tail: list[StoredBlock | Malformed]
    tiles: dict[TileName, TileRow | Malformed]
    checkpoints: list[CheckpointRow | Malformed]
    pins: list[Document]
    tile_ids: list[str]
