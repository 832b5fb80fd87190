from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.errors import ProofError, TreeError
from goodstrace.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    leaf_hashes,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from goodstrace.tiles import (
    Tile,
    TileEdge,
    changed_tiles,
    consistency_proof,
    edge_tiles,
    inclusion_proof,
    root,
    tile_path,
    tiles_for_consistency,
    tiles_for_inclusion,
)
from tests.vector_files import vectors

VECTORS = vectors("merkle")
LARGE = max(tree["size"] for tree in VECTORS["trees"])
HASHES = leaf_hashes(b"leaf %d" % n for n in range(LARGE))
_, TILES = TileEdge().append(HASHES)  # of the whole log; proofs for smaller sizes must come from them too

sizes = st.one_of(st.integers(1, 1500), st.integers(65_530, LARGE))


def only(tiles: set[Tile]) -> dict[tuple[int, int], bytes]:
    """Exactly these tiles, as wide as asked."""
    return {(level, n): TILES[level, n][: width * 32] for level, n, width in tiles}


@pytest.mark.parametrize(
    "tree", [tree for tree in VECTORS["trees"] if "leaves" not in tree], ids=lambda t: t["size"]
)
def test_vectors_made_elsewhere(tree: dict[str, Any]) -> None:
    size, old_size = tree["size"], tree["tiles_from_size"]
    edge, _ = TileEdge().append(HASHES[:old_size])
    edge, changed = edge.append(HASHES[old_size:size])
    made = {
        tile_path(level, n, len(data) // 32): sha256(data).hexdigest() for (level, n), data in changed.items()
    }
    assert made == tree["tiles"]
    assert {tile_path(*tile) for tile in changed_tiles(old_size, size)} == set(tree["tiles"])
    assert edge.frontier.root().hex() == root(size, TILES).hex() == tree["root"]
    for case in tree["inclusion"]:
        assert [h.hex() for h in inclusion_proof(case["index"], size, TILES)] == case["proof"]
    for case in tree["consistency"]:
        assert [h.hex() for h in consistency_proof(case["old_size"], size, TILES)] == case["proof"]


def test_the_example_of_the_specification() -> None:
    tiles = changed_tiles(0, 70_000)
    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert {tile for tile in tiles if tile.width < 256} == {Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)}
    assert {tile for tile in tiles if tile.width < 256} == edge_tiles(70_000)
    assert changed_tiles(0, 256) == {Tile(0, 0, 256), Tile(1, 0, 1)}
    assert edge_tiles(256) == {Tile(1, 0, 1)}
    assert edge_tiles(0) == changed_tiles(5, 5) == set()


@given(st.lists(st.integers(0, 600), max_size=6))
def test_appending_any_batches_writes_the_changed_tiles(batches: list[int]) -> None:
    edge, size = TileEdge(), 0
    for batch in batches:
        edge, changed = edge.append(HASHES[size : size + batch])
        wanted = changed_tiles(size, size + batch)
        size += batch
        assert changed == only(wanted)
        assert edge.frontier == Frontier().append(HASHES[:size])
        assert root(size, only(edge_tiles(size))) == root_of(HASHES[:size])


@given(sizes, st.integers(1, 300))
def test_a_writer_takes_up_the_log_from_its_edge_tiles(size: int, more: int) -> None:
    edge = TileEdge.from_tiles(size, only(edge_tiles(size)))
    assert edge == TileEdge.from_tiles(size, TILES)
    assert edge.frontier.root() == root_of(HASHES[:size])
    edge, changed = edge.append(HASHES[size : size + more])
    assert changed == only(changed_tiles(size, edge.frontier.size))


@given(st.data(), sizes)
def test_inclusion_proofs_from_exactly_the_tiles_named(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert tiles_for_inclusion(index, size) <= changed_tiles(0, size)
    tiles = only(tiles_for_inclusion(index, size))
    proof = inclusion_proof(index, size, tiles)
    assert proof == inclusion_proof(index, size, TILES)
    assert len(proof) == len(inclusion_path(index, size))
    verify_inclusion(HASHES[index], index, size, proof, root_of(HASHES[:size]))
    for missing in tiles:
        with pytest.raises(TreeError):
            inclusion_proof(index, size, {at: tile for at, tile in tiles.items() if at != missing})


@given(st.data(), sizes)
def test_consistency_proofs_from_exactly_the_tiles_named(data: st.DataObject, size: int) -> None:
    old_size = data.draw(st.integers(0, size))
    assert tiles_for_consistency(old_size, size) <= changed_tiles(0, size)
    proof = consistency_proof(old_size, size, only(tiles_for_consistency(old_size, size)))
    assert proof == consistency_proof(old_size, size, TILES)
    assert len(proof) == len(consistency_path(old_size, size))
    verify_consistency(old_size, root_of(HASHES[:old_size]), size, root_of(HASHES[:size]), proof)


def test_the_rest_of_a_wider_tile_is_not_looked_at() -> None:
    honest, garbage = TILES[0, 0][: 100 * 32], bytes(156 * 32)
    assert root(100, {(0, 0): honest + garbage}) == root_of(HASHES[:100])
    assert inclusion_proof(99, 100, {(0, 0): honest + garbage}) == inclusion_proof(99, 100, TILES)
    assert TileEdge.from_tiles(100, {(0, 0): honest + garbage}) == TileEdge().append(HASHES[:100])[0]


@pytest.mark.parametrize(
    "tile", [b"", bytes(31), bytes(33), bytes(257 * 32), bytes(9 * 32), bytes(10 * 32 + 1)]
)
def test_malformed_or_narrow_tiles_are_refused(tile: bytes) -> None:
    for use in (
        lambda: root(10, {(0, 0): tile}),
        lambda: inclusion_proof(0, 10, {(0, 0): tile}),
        lambda: consistency_proof(9, 10, {(0, 0): tile}),
        lambda: TileEdge.from_tiles(10, {(0, 0): tile}),
    ):
        with pytest.raises(TreeError):
            use()


def test_out_of_range() -> None:
    for index, size in [(0, 0), (1, 1), (-1, 1), (0, MAX_SIZE + 1)]:
        with pytest.raises(ProofError):
            inclusion_proof(index, size, TILES)
        with pytest.raises(ProofError):
            tiles_for_inclusion(index, size)
    with pytest.raises(ProofError):
        consistency_proof(2, 1, TILES)
    with pytest.raises(ProofError):
        tiles_for_consistency(2, 1)
    for old_size, new_size in [(2, 1), (-1, 1), (0, MAX_SIZE + 1)]:
        with pytest.raises(TreeError):
            changed_tiles(old_size, new_size)
    for size in (-1, MAX_SIZE + 1):
        with pytest.raises(TreeError):
            root(size, TILES)
    assert root(0, {}) == EMPTY_ROOT
    assert len(edge_tiles(MAX_SIZE)) == 8
    with pytest.raises(TreeError):
        TileEdge().append([leaf_hash(b"")[:31]])


def test_tile_paths() -> None:
    for tile in VECTORS["paths"]:
        assert tile_path(tile["level"], tile["n"], tile["width"]) == tile["path"]
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(0, 1234067, 12) == "tile/0/x001/x234/067.p/12"
    assert tile_path(63, 0, 255) == "tile/63/000.p/255"
    assert tile_path(1, 1000) == "tile/1/x001/000"
    for level, n, width in [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)]:
        with pytest.raises(TreeError):
            tile_path(level, n, width)
