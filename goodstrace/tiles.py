"""C2SP tlog-tiles: the Merkle tree stored as tiles of 256 hashes, appended to without re-reading, proofs made from them.

Tile (level, n) holds the hashes of the nodes (8 * level, 256 * n + i) for i in 0..255: level 0 the leaves, level 1 the
roots of level-0 tiles, and so on. The rightmost tile of each level may be partial. A tile is the concatenation of its
32-byte hashes. Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from goodstrace.errors import TreeError
from goodstrace.merkle import (
    HASH_SIZE,
    MAX_SIZE,
    Frontier,
    Range,
    consistency_path,
    fold,
    inclusion_path,
    parents_of,
    range_nodes,
)
from goodstrace.multiproof import multiproof_path

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
TILE_BYTES: Final = TILE_WIDTH * HASH_SIZE
MAX_LEVEL: Final = 63
_NUMBER: Final = re.compile(r"((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)
_TILE: Final = re.compile(r"tile/(0|[1-9][0-9]?)/(.+)", re.ASCII)

Tiles: TypeAlias = Mapping[tuple[int, int], bytes]
"""Tile data by (level, n). A tile may be wider than a proof needs, since the log grew: the rest is not looked at."""


Place: TypeAlias = tuple[int, int, int, int]
"""Where a node is found: tile level, tile number, the row within the tile (0 the lowest), place in the row."""


class Tile(NamedTuple):
    """A tile's coordinates, and how many hashes it has (1..256) in the tree that is asked about."""

    level: int
    n: int
    width: int


def tile_path(level: int, n: int, width: int = TILE_WIDTH) -> str:
    """Return the tile's path below the log's URL, as in `tile/0/x001/x234/067.p/12`.

    Args:
        level: 0..63.
        n: the tile's number within the level, not negative.
        width: 1..256; only a partial tile (under 256) has the suffix `.p/<width>`.
    Raises: TreeError, if an argument is out of range.
    """
    if not (0 <= level <= MAX_LEVEL and n >= 0 and 1 <= width <= TILE_WIDTH):
        raise TreeError(f"there is no tile with level {level}, n {n}, width {width}")
    return f"tile/{level}/{number_path(n, width)}"


def parse_tile_path(path: str) -> Tile:
    """Read a tile's path: the inverse of `tile_path`, and nothing that it would write otherwise.

    Raises: TreeError, unless `path` is written in the only way and a tree of MAX_SIZE leaves may have such a tile.
    """
    match = _TILE.fullmatch(path)
    level = int(match[1]) if match else MAX_LEVEL + 1
    if match is None or level > MAX_LEVEL:
        raise TreeError(f"not the path of a tile: {path[:80]!r}")
    return Tile(level, *parse_number_path(match[2]))


def number_path(n: int, width: int = TILE_WIDTH) -> str:
    """Write the number of a tile or bundle, and its width where it is partial, as in `x001/x234/067.p/12`."""
    *higher, last = f"{n:,}".split(",")
    number = "".join(f"x{group:0>3}/" for group in higher) + f"{last:0>3}"
    return number + ("" if width == TILE_WIDTH else f".p/{width}")


def parse_number_path(path: str) -> tuple[int, int]:
    """Read a number and width (1..256) as `number_path` writes them. Raises: TreeError."""
    match = _NUMBER.fullmatch(path)
    n = int(match[1].replace("x", "").replace("/", "")) if match else -1
    width = int(match[2] or TILE_WIDTH) if match else 0
    # Written again it must be the same: no leading group of zeros, no full width spelt out.
    if not 0 <= n <= MAX_SIZE // TILE_WIDTH or width > TILE_WIDTH or number_path(n, width) != path:
        raise TreeError(f"not the number of a tile: {path[:80]!r}")
    return n, width


def width_at(size: int, level: int, n: int) -> int:
    """Return how many hashes (0..256) the tile has in a tree of `size` leaves; an entry bundle is as wide as at level 0."""
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - n * TILE_WIDTH))


def edge_tiles(size: int) -> set[Tile]:
    """Return the partial tiles at the right edge of a tree: what `TileEdge.from_tiles` and `root` need."""
    _check_size(size)
    widths = {level: size >> TILE_HEIGHT * level & (TILE_WIDTH - 1) for level in _levels(size)}
    return {Tile(level, size >> TILE_HEIGHT * (level + 1), width) for level, width in widths.items() if width}


def changed_tiles(old_size: int, new_size: int) -> set[Tile]:
    """Return the tiles that are new or wider once the tree has grown from `old_size` to `new_size` leaves.

    Raises: TreeError, unless 0 <= old_size <= new_size <= MAX_SIZE.
    """
    _check_size(new_size)
    if not 0 <= old_size <= new_size:
        raise TreeError(f"a tree cannot grow from size {old_size} to {new_size}")
    tiles = set()
    for level in _levels(new_size):
        old, new = old_size >> TILE_HEIGHT * level, new_size >> TILE_HEIGHT * level
        for n in range(old >> TILE_HEIGHT, (new + TILE_WIDTH - 1) >> TILE_HEIGHT) if old < new else ():
            tiles.add(Tile(level, n, min(TILE_WIDTH, new - n * TILE_WIDTH)))
    return tiles


@dataclass(frozen=True, slots=True)
class TileEdge:
    """A tree's right edge in tiles: all a writer keeps in order to write the tiles of a log that grows.

    Attributes:
        frontier: the tree's size and frontier hashes.
        partial: partial[level] is the data of the partial tile of that level, empty where there is none.

    Made by `TileEdge()` for an empty log, by `from_tiles` when a writer starts, and by `append`. At most 8 partial tiles.
    """

    frontier: Frontier = field(default_factory=Frontier)
    partial: tuple[bytes, ...] = ()

    @classmethod
    def from_tiles(cls, size: int, tiles: Tiles) -> TileEdge:
        """Take up a log of `size` leaves from its stored tiles (those of `edge_tiles(size)`).

        The caller compares `frontier.root()` with the log's checkpoint before appending.
        Raises: TreeError, if a tile is missing, malformed or too narrow.
        """
        edge = edge_tiles(size)
        # The frontier takes the last hash of each edge tile, so this also refuses a tile that is too narrow.
        frontier = Frontier(size, tuple(_node_at(tiles, _place(*node)) for node in range_nodes(0, size)))
        partial = [b""] * len(_levels(size))
        for level, n, width in edge:
            partial[level] = tiles[level, n][: width * HASH_SIZE]
        return cls(frontier, tuple(partial))

    def append(self, hashes: Sequence[bytes]) -> tuple[TileEdge, dict[tuple[int, int], bytes]]:
        """Append leaf hashes.

        Args:
            hashes: new leaf hashes in log order, 32 bytes each.
        Returns: the new edge, and the data of every tile that is new or wider, by (level, n), exactly those of
            `changed_tiles`. Each node is hashed once.
        Raises: TreeError, if a hash is not 32 bytes or the tree would be larger than MAX_SIZE.
        """
        frontier, rows = self.frontier.grow(hashes)
        partial = list(self.partial)
        changed: dict[tuple[int, int], bytes] = {}
        for level, row in enumerate(rows[::TILE_HEIGHT]):
            if level == len(partial):
                partial.append(b"")
            data = partial[level] + b"".join(row)
            first = self.frontier.size >> TILE_HEIGHT * (level + 1)
            for n, start in enumerate(range(0, len(data), TILE_BYTES), first):
                changed[level, n] = data[start : start + TILE_BYTES]
            partial[level] = data[len(data) - len(data) % TILE_BYTES :]
        return TileEdge(frontier, tuple(partial)), changed


def tiles_for_inclusion(index: int, size: int) -> set[Tile]:
    """Return the tiles, as wide as they are at `size`, from which the inclusion proof can be made.

    Raises: ProofError, unless 0 <= index < size <= MAX_SIZE.
    """
    return _tiles_of(_inclusion_places(index, size), size)


def tiles_for_multiproof(indexes: Sequence[int], size: int) -> set[Tile]:
    """Return the tiles, as wide as they are at `size`, from which the multiproof of leaves, named in order, can be made.

    Raises: ProofError as `multiproof_path`.
    """
    return _tiles_of(_places(multiproof_path(indexes, size)), size)


def tiles_for_consistency(old_size: int, new_size: int) -> set[Tile]:
    """Return the tiles, as wide as they are at `new_size`, from which the consistency proof can be made.

    Raises: ProofError, unless 0 <= old_size <= new_size <= MAX_SIZE.
    """
    return _tiles_of(_places(consistency_path(old_size, new_size)), new_size)


def inclusion_proof(index: int, size: int, tiles: Tiles) -> list[bytes]:
    """Make the proof that leaf `index` is in the tree of `size` leaves: 32-byte hashes, from the leaf upwards.

    Only hashes within `size` are used. The tiles are not checked: the proof is, by `verify_inclusion`.
    Raises: ProofError, if there is no such leaf; TreeError, if a needed tile is missing, malformed or too narrow.
    """
    return [_hash_of(tiles, subtree) for subtree in _inclusion_places(index, size)]


def multiproof(indexes: Sequence[int], size: int, tiles: Tiles) -> list[bytes]:
    """Make the proof that leaves, named in order, are in the tree of `size` leaves: 32-byte hashes, each once.

    Only hashes within `size` are used. The tiles are not checked: the proof is, by `verify_multiproof`.
    Raises: ProofError as `multiproof_path`; TreeError, if a needed tile is missing, malformed or too narrow.
    """
    return [_hash_of(tiles, subtree) for subtree in _places(multiproof_path(indexes, size))]


def consistency_proof(old_size: int, new_size: int, tiles: Tiles) -> list[bytes]:
    """Make the proof that the tree of `new_size` leaves begins with the one of `old_size`: 32-byte hashes in order.

    Only hashes within `new_size` are used. The tiles are not checked: the proof is, by `verify_consistency`.
    Raises: ProofError, if the sizes are out of order; TreeError, if a needed tile is missing, malformed or too narrow.
    """
    return [_hash_of(tiles, subtree) for subtree in _places(consistency_path(old_size, new_size))]


def root(size: int, tiles: Tiles) -> bytes:
    """Return the root of the tree's first `size` leaves from the tiles of `edge_tiles(size)` or wider ones.

    Raises: TreeError, if a needed tile is missing, malformed or too narrow.
    """
    _check_size(size)
    return fold([_node_at(tiles, _place(*node)) for node in range_nodes(0, size)])


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise TreeError(f"tree size {size} is not in 0..2**63-1")


def _levels(size: int) -> range:
    """Return the tile levels that have any tile in a tree of `size` leaves."""
    return range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT)


def _place(level: int, n: int) -> Place:
    """Return where the node `n` of a level of the tree, not of tiles, is found."""
    tile_level, row = divmod(level, TILE_HEIGHT)
    tile, place = divmod(n, TILE_WIDTH >> row)
    return tile_level, tile, row, place


def _places(path: Iterable[Range]) -> tuple[tuple[Place, ...], ...]:
    """Return for each subtree of a path where the nodes are found that make up its hash."""
    return tuple(_places_of(start, end) for start, end in path)


def _places_of(start: int, end: int) -> tuple[Place, ...]:
    size = end - start
    if size & size - 1:
        return _places_of_incomplete(start, end)
    # Complete, as nearly all are, and then one node, whose range begins at a multiple of its size.
    return (_place(size.bit_length() - 1, start // size),)


@lru_cache(maxsize=256)
def _places_of_incomplete(start: int, end: int) -> tuple[Place, ...]:
    """Remembered, because the paths of all leaves share the subtrees at the right edge."""
    return tuple(_place(*node) for node in range_nodes(start, end))


@lru_cache(maxsize=256)
def _inclusion_places(index: int, size: int) -> tuple[tuple[Place, ...], ...]:
    """Remembered, because who made out which tiles a proof needs makes the proof next. An entry takes about 3 KB."""
    return _places(inclusion_path(index, size))


def _tiles_of(places: Iterable[Iterable[Place]], size: int) -> set[Tile]:
    names = {(level, n) for subtree in places for level, n, _, _ in subtree}
    return {Tile(level, n, width_at(size, level, n)) for level, n in names}


def _hash_of(tiles: Tiles, subtree: Sequence[Place]) -> bytes:
    if len(subtree) == 1:
        return _node_at(tiles, subtree[0])
    return fold([_node_at(tiles, place) for place in subtree])


def _node_at(tiles: Tiles, where: Place) -> bytes:
    level, n, row, place = where
    data = _tile_data(tiles, level, n)
    nodes = _upper_rows(data)[row - 1] if row else data
    found = nodes[place * HASH_SIZE : (place + 1) * HASH_SIZE]
    if not found:
        raise TreeError(f"tile ({level}, {n}) is too narrow")
    return found


def _tile_data(tiles: Tiles, level: int, n: int) -> bytes:
    data = tiles.get((level, n))
    if data is None:
        raise TreeError(f"tile ({level}, {n}) is missing")
    if not 0 < len(data) <= TILE_BYTES or len(data) % HASH_SIZE:
        raise TreeError(f"tile ({level}, {n}) has {len(data)} bytes, not 1 to 256 hashes of 32")
    return data


@lru_cache(maxsize=4096)
def _upper_rows(data: bytes) -> tuple[bytes, ...]:
    """Hash a tile's complete nodes above its own hashes: rows of height 1..7, each joined.

    Remembered, because proofs share tiles, and a full tile never changes: 254 hashes cost about 0.1 ms, a look-up
    here 0.001 ms. A remembered tile takes 8 KiB for its rows and as much for its data: 64 MiB for those of a million leaves.
    """
    row = [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)]
    rows = []
    for _ in range(TILE_HEIGHT - 1):
        row = parents_of(row)
        rows.append(b"".join(row))
    return tuple(rows)
