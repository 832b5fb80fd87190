"""The root log against the logs: what it has sealed of each is what the store holds, and `pins` says so."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from goodstrace import root
from goodstrace.block import header_hash
from goodstrace.checkpoint import Checkpoint
from goodstrace.errors import TreeError, VerificationError
from goodstrace.grouping import grouped
from goodstrace.note import parse_note
from goodstrace.tiles import TileEdge, edge_tiles
from services.runtime.envelope import content_of
from services.sealing.documents import Document, checkpoint_id, tile_id
from services.sealing.fsck import rows
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.repair import Mend
from services.sealing.fsck.rows import CheckpointRow, Malformed, TileRow
from services.sealing.fsck.scan import LogDocuments
from services.sealing.indexes import BLOCKS, CHECKPOINTS, INSTANCE, LOGS, PINS, REBUILD, RESTORED, TILES
from services.sealing.values import Pack, PackedRecord, StoredBlock, block_id

_AT_ONCE: Final = 256  # entries whose tiles are held, some 10 KiB for each


class _Pinned(NamedTuple):
    """What an entry of the root log says of another log."""

    place: int
    log: str
    height: int
    block: str
    text: str
    size: int
    root: bytes
    changes: list[str]

    @property
    def checkpoint(self) -> str:
        """Where its checkpoint is."""
        return checkpoint_id(self.log, self.size)

    @property
    def pin(self) -> Document:
        """The pin as it should be."""
        key = root.tag_text(self.log, self.size)
        return {"_id": key, "log": self.log, "size": self.size, "height": self.height}


async def check_records(
    store: LogDocuments, verdict: Verdict, packs: Sequence[Pack | Malformed]
) -> list[Mend]:
    """Check what a block of the root log has sealed against the logs; gives the pins that are to be written.

    In a store that was made anew from Kafka the root log begins with what it pinned of another store: its trees are the
    same, its blocks are not. That ends with the first entry that pins a block of this store. One that was put back from a copy pins so what
    was sealed after the copy was made: of each log that ends with the first entry that pins a block of its own above the copy's size.
    """
    pinned = [each for pack in packs if isinstance(pack, Pack) for each in _pinned(pack)]
    notes = {each["_id"]: each for each in await store.named(CHECKPOINTS, {p.checkpoint for p in pinned})}
    blocks = {
        each["_id"]: each for each in await store.named(BLOCKS, {block_id(p.log, p.height) for p in pinned})
    }
    pins = {each["_id"]: each for each in await store.named(PINS, {str(p.pin["_id"]) for p in pinned})}
    infos = {each["_id"]: each for each in await store.named(LOGS, {p.log for p in pinned if p.changes})}
    anew = not verdict.own and bool(pinned and await store.named(INSTANCE, [REBUILD]))
    copied = _copied(await store.named(INSTANCE, [RESTORED]) if pinned else [])
    before: list[_Pinned] = []
    mends = []
    for each in pinned:
        count, newest = verdict.pinned.get(each.log, (0, 0))
        verdict.pinned[each.log] = (count + 1, max(newest, each.size))
        problems = _differing(
            each, infos.get(each.log), notes.get(each.checkpoint), blocks.get(block_id(each.log, each.height))
        )
        if not problems:
            verdict.own = True
            verdict.own_sizes[each.log] = max(verdict.own_sizes.get(each.log, 0), each.size)
        if (anew and not verdict.own) or (problems and _is_lost(each, verdict, copied)):
            before.append(each)
            continue
        for problem in problems:
            verdict.found(
                "root-log", f"entry {each.place} of the root log: {problem}", block=each.height, log=each.log
            )
        if rows.difference(pins.get(str(each.pin["_id"]), {}), each.pin):
            problem = f"size {each.size} is in the root log, entry {each.place}, and not so in `pins`"
            verdict.found("pinned", problem, block=each.height, log=each.log)
            mends.append(Mend(PINS, str(each.pin["_id"]), each.pin))
    await _check_trees(store, verdict, before)
    return mends


def _copied(documents: Sequence[Document]) -> dict[str, list[int]]:
    """Give by log the sizes from which on a store that was put back, once or more often, had to be sealed again."""
    times = documents[0].get("times", []) if documents else []
    return grouped((str(each["log"]), int(each["size"])) for time in times for each in time)


def _is_lost(pinned: _Pinned, verdict: Verdict, copied: Mapping[str, Sequence[int]]) -> bool:
    """Tell whether a pin is of a block that was lost with the store from before: above a copy's size, and none of this store above it yet."""
    own = verdict.own_sizes.get(pinned.log, 0)
    sizes = copied.get(pinned.log, () if not copied else (0,))
    return any(own <= size < pinned.size for size in sizes)


async def _check_trees(store: LogDocuments, verdict: Verdict, pinned: Sequence[_Pinned]) -> None:
    """Check that the logs' trees are those that were pinned, however their blocks are cut and by whatever key they are signed."""
    known = {each["_id"] for each in await store.named(LOGS, {p.log for p in pinned})}
    of_known = [
        each for each in pinned if each.log in known or "." not in each.log
    ]  # else: of rules run again
    for start in range(0, len(of_known), _AT_ONCE):
        some = of_known[start : start + _AT_ONCE]
        names = {key for each in some for key in _tile_ids(each)}
        tiles = {each["_id"]: each for each in await store.named(TILES, names)}
        for each in some:
            if _root_at(each, tiles) != each.root:
                problem = (
                    f"entry {each.place} of the root log: it has sealed another root at size {each.size}"
                )
                verdict.found("root-log", problem, log=each.log)


def _root_at(pinned: _Pinned, tiles: Mapping[str, Document]) -> bytes:
    """Compute a log's root at the size pinned from its tiles; empty where they do not give it."""
    rows_of = [rows.tile(tiles[key]) for key in _tile_ids(pinned) if key in tiles]
    try:
        edge = TileEdge.from_tiles(pinned.size, {r.name: r.data for r in rows_of if isinstance(r, TileRow)})
    except TreeError:
        return b""
    return edge.frontier.root()


def _tile_ids(pinned: _Pinned) -> list[str]:
    return [tile_id(pinned.log, tile.level, tile.n) for tile in edge_tiles(pinned.size)]


def check_pins(verdict: Verdict, pins: Sequence[Document], heights: Mapping[int, int]) -> list[Mend]:
    """Check the pins of a log against its blocks' heights by size; gives those to be removed."""
    mends = []
    for pin in pins:
        height = heights.get(pin["size"], -1)
        key = root.tag_text(verdict.log, pin["size"])
        if rows.difference(pin, {"_id": key, "log": verdict.log, "size": pin["size"], "height": height}):
            problem = f"pin {pin['_id']}: no block of height {pin.get('height')} ends with size {pin['size']}"
            verdict.found("pinned", problem, block=height if height >= 0 else None)
            mends.append(Mend(PINS, pin["_id"], None))
    return mends


def _pinned(pack: Pack) -> list[_Pinned]:
    found = []
    for index, record in enumerate(pack.records, pack.first):
        for part in record.parts:
            if part.name != root.CHECKPOINT_PART:
                continue
            try:
                said = root.decode(part.content)
                text = parse_note(said.note).text
                checkpoint = Checkpoint.parse(text)
            except VerificationError:
                continue  # a part that is not what its entry commits to is told of as such
            found.append(
                _Pinned(
                    index,
                    said.log,
                    said.height,
                    said.block,
                    text,
                    checkpoint.size,
                    checkpoint.root,
                    _changes(record),
                )
            )
    return found


def _changes(record: PackedRecord) -> list[str]:
    """Give the statements of changes of the log's key that were sealed beside its checkpoint."""
    content = content_of(record.parts, root.KEY_CHANGES_PART) or b""
    return content.decode(errors="replace").splitlines()


def _differing(
    pinned: _Pinned, info: Document | None, note: Document | None, block: Document | None
) -> list[str]:
    problems = []
    known = (info or {}).get("changes", [])
    if pinned.changes and known[: len(pinned.changes)] != pinned.changes:
        problems.append("it has sealed other changes of the log's key than the store holds")
    checkpoint = rows.checkpoint(note) if note is not None else None
    stored = rows.block(block) if block is not None else None
    if not isinstance(stored, StoredBlock) or header_hash(stored.header) != pinned.block:
        problems.append("it has sealed another header of this block than the store holds")
    if not isinstance(checkpoint, CheckpointRow) or _text(checkpoint) != pinned.text:
        problems.append(f"it has sealed another checkpoint of size {pinned.size} than the store holds")
    return problems


def _text(row: CheckpointRow) -> str:
    try:
        return parse_note(row.stored.note).text
    except VerificationError:
        return ""
