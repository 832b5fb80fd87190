"""A log as plain files in the layout of C2SP tlog-tiles, which any web server can serve and anybody can verify.

Every file is checked against the checkpoint before it is written, from the checkpoint's root downwards: tiles hash to
their place in the tile above, entries to the tile of their leaves. What is there already is read and checked the same
way, and kept where it is right. So an export that was cut off goes on, and damaged files are replaced. Source:
c2sp.org/tlog-tiles.
"""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from goodstrace import tiles as tlog
from goodstrace.bundles import bundle_path, decode_bundle, encode_bundle
from goodstrace.checkpoint import Checkpoint, open_checkpoint
from goodstrace.errors import TreeError, VerificationError
from goodstrace.merkle import leaf_hashes, root_of, verify_consistency
from goodstrace.tiles import TILE_WIDTH, Tile, tile_path
from services.sealing.bundles import EntryReader
from services.sealing.core import split_hashes
from services.sealing.errors import CorruptError
from services.sealing.listing import key_history, listed
from services.sealing.reader import LogReader
from services.sealing.values import LogInfo, StoredCheckpoint

LOGS: Final = "logs"
LIST: Final = "logs.json"  # the folder has the name that the list has over HTTP
AT_ONCE: Final = 8


class ExportError(CorruptError):
    """The folder holds another log than the store, or one that the store's does not begin with."""


class Exported(msgspec.Struct):
    """What an export did to one log: `size` of its checkpoint, files written and kept, bytes written."""

    log: str
    size: int = 0
    written: int = 0
    kept: int = 0
    size_bytes: int = 0


class LogExport:
    """Writes one log into a folder."""

    def __init__(
        self,
        folder: Path,
        reader: LogReader,
        entries: EntryReader,
        info: LogInfo,
        done: Callable[[int], None],
    ) -> None:
        """Write below `folder`/logs/<name>; `done` is told of entries as they are exported or found there."""
        self._folder = folder / LOGS / info.name
        self._reader, self._entries, self._info, self._done = reader, entries, info, done
        self._report = Exported(info.name)
        self._since = 0
        self._outgrown: list[Path] = []

    async def run(self, stored: StoredCheckpoint, *, since_last: bool) -> Exported:
        """Export the log up to a published checkpoint.

        1. The folder's checkpoint, where there is one, must be one that this log goes on from.
        2. Full tiles and bundles are written, each before what lies under it in the tree; then the partial ones.
        3. Once these are on the disk the checkpoint replaces the one before; partial ones that are full now are removed.

        Args:
            stored: the log's published checkpoint.
            since_last: take what the folder's checkpoint covers for right, without reading it again.
        Raises: ExportError, CorruptError, UnavailableError, OSError.
        """
        checkpoint = self._opened(stored.note.encode())
        self._report.size = checkpoint.size
        before = await self._before(checkpoint)
        if since_last:
            self._since = before
            self._done(before - before % TILE_WIDTH)
        edge = await self._edge(checkpoint)
        for level in range(max(edge, default=0), -1, -1):
            if level in edge:
                await self._below(level, *edge[level])
        for level, (n, data) in edge.items():
            self._write(tile_path(level, n, len(split_hashes(data))), data)
        os.sync()
        self._write("keys", msgspec.json.encode(key_history(self._info)))
        self._write("checkpoint", stored.note.encode())
        for path in self._outgrown:
            shutil.rmtree(path)
        return self._report

    def _opened(self, note: bytes) -> Checkpoint:
        """Verify a checkpoint of this log with the key that signed at its size."""
        try:
            size = Checkpoint.parse(note.decode().partition("\n\n")[0] + "\n").size
            checkpoint = open_checkpoint(note, [self._info.verifier_of(size)])
        except (VerificationError, UnicodeDecodeError) as error:
            raise ExportError(f"{self._info.name}: not a checkpoint of this log: {error}") from error
        if checkpoint.origin != self._info.origin:
            raise ExportError(f"{self._info.name}: the checkpoint is one of {checkpoint.origin}")
        return checkpoint

    async def _before(self, now: Checkpoint) -> int:
        """Give the size that the folder's checkpoint has, 0 where there is none; the log must have grown from it."""
        note = _read(self._folder / "checkpoint")
        if note is None:
            return 0
        before = self._opened(note)
        try:
            proof = await self._reader.consistency_proof(self._info.name, before.size, now.size)
            verify_consistency(before.size, before.root, now.size, now.root, proof)
        except VerificationError as error:
            raise ExportError(
                f"{self._info.name}: the folder's checkpoint of size {before.size} is none that the store's log of size "
                f"{now.size} goes on from: one of them was rolled back or forked; nothing was changed"
            ) from error
        return before.size

    async def _edge(self, checkpoint: Checkpoint) -> dict[int, tuple[int, bytes]]:
        """Get the partial tiles by level, as wide as the checkpoint has them; together they give its root."""
        wanted = tlog.edge_tiles(checkpoint.size)
        data = await self._reader.tiles(self._info.name, wanted)
        try:
            root = tlog.root(checkpoint.size, data)
        except TreeError as error:
            raise CorruptError(f"{self._info.name}: {error}") from error
        if root != checkpoint.root:
            raise CorruptError(
                f"{self._info.name}: the tiles do not give the root of checkpoint {checkpoint.size}"
            )
        return {level: (n, b"".join(split_hashes(data[level, n])[:width])) for level, n, width in wanted}

    async def _below(self, level: int, n: int, data: bytes) -> None:
        """Export all that lies under a tile which was checked: the full tiles of the level below, and their bundles."""
        hashes = split_hashes(data)
        if level == 0:
            await self._bundle(n, hashes)
            return
        covered = TILE_WIDTH**level
        below = {
            n * TILE_WIDTH + place: each
            for place, each in enumerate(hashes)
            if (n * TILE_WIDTH + place + 1) * covered > self._since
        }
        tiles = await self._full_tiles(level - 1, below)
        if level > 1:
            for number, tile in tiles.items():
                await self._below(level - 1, number, tile)
            return
        numbers = list(tiles)
        for start in range(0, len(numbers), AT_ONCE):
            together = numbers[start : start + AT_ONCE]
            await asyncio.gather(*(self._bundle(each, split_hashes(tiles[each])) for each in together))

    async def _full_tiles(self, level: int, roots: dict[int, bytes]) -> dict[int, bytes]:
        """Export up to 256 neighbouring full tiles, whose roots were checked."""
        there = {n: _read(self._folder / tile_path(level, n)) for n in roots}
        found = {n: data for n, data in there.items() if data is not None and _root(data) == roots[n]}
        self._report.kept += len(found)
        missing = [Tile(level, n, TILE_WIDTH) for n in roots if n not in found]
        read = await self._reader.tiles(self._info.name, missing)
        for tile in missing:
            data = read.get((level, tile.n), b"")
            if _root(data) != roots[tile.n]:
                raise CorruptError(f"{self._info.name}: {tile_path(*tile)} is missing or not the tree's")
            self._write(tile_path(*tile), data)
            found[tile.n] = data
        return {n: found[n] for n in roots}

    async def _bundle(self, n: int, leaves: list[bytes]) -> None:
        """Export the entries with these leaf hashes, which were checked."""
        path, first = bundle_path(n, len(leaves)), n * TILE_WIDTH
        there = _read(self._folder / path)
        if there is not None and _leaves(there) == leaves:
            self._report.kept += 1
        else:
            entries = await self._entries.entries(self._info.name, first, first + len(leaves))
            if leaf_hashes(entries) != leaves:
                raise CorruptError(
                    f"{self._info.name}: entries {first} to {first + len(leaves) - 1} are not the tree's"
                )
            self._write(path, encode_bundle(entries))
        self._done(len(leaves))

    def _write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, unless it says that already."""
        path = self._folder / name
        if _read(path) == data:
            self._report.kept += 1
            return
        write_file(path, data)
        partial = path.with_name(f"{path.name}.p")
        if partial.is_dir():
            self._outgrown.append(partial)
        self._report.written += 1
        self._report.size_bytes += len(data)


def write_list(folder: Path, infos: list[LogInfo]) -> None:
    """Bring the folder's list of logs up to date; what is there of other logs stays. Raises: OSError, ExportError."""
    path = folder / LIST
    try:
        lines = {
            each["name"]: each
            for each in msgspec.json.decode(_read(path) or b"[]", type=list[dict[str, str]])
        }
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError) as error:
        raise ExportError(f"{path} is not a list of logs: {error}") from error
    lines |= {info.name: listed(info, f"{LOGS}/{info.name}") for info in infos}
    data = msgspec.json.encode([lines[name] for name in sorted(lines)])
    write_file(path, msgspec.json.format(data, indent=1) + b"\n")


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(data)
    unfinished.replace(path)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _root(tile: bytes) -> bytes | None:
    """The root of a full tile; None where it is none."""
    return root_of(split_hashes(tile)) if len(tile) == tlog.TILE_BYTES else None


def _leaves(bundle: bytes) -> list[bytes]:
    try:
        return leaf_hashes(decode_bundle(bundle))
    except TreeError:
        return []
