"""Paths of tiles and entry bundles: what is written is read again, and nothing else is."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.bundles import bundle_path, parse_bundle_path
from goodstrace.errors import TreeError
from goodstrace.merkle import MAX_SIZE
from goodstrace.tiles import TILE_WIDTH, Tile, changed_tiles, parse_tile_path, tile_path, width_at
from services.query.log_paths import Asked, Kind, parse

LEVELS = st.integers(0, 63)
NUMBERS = st.one_of(st.integers(0, 2000), st.integers(0, MAX_SIZE // TILE_WIDTH))
WIDTHS = st.integers(1, TILE_WIDTH)
# Much like a path, so that every rule is met: digits, the marks between them, and what does not belong there.
PATHLIKE = st.one_of(
    st.from_regex(
        r"tile/(entries|[0-9]{1,3})/(x[0-9]{3}/){0,7}[0-9]{2,4}(\.p/[0-9]{1,4})?/?", fullmatch=True
    ),
    st.text(alphabet="tile/entries.px0123456789-+_ ٣\n", max_size=40),
)


@given(LEVELS, NUMBERS, WIDTHS)
def test_a_tile_path_is_read_as_it_was_written(level: int, n: int, width: int) -> None:
    assert parse_tile_path(tile_path(level, n, width)) == Tile(level, n, width)


@given(NUMBERS, WIDTHS)
def test_a_bundle_path_is_read_as_it_was_written(n: int, width: int) -> None:
    assert parse_bundle_path(bundle_path(n, width)) == (n, width)


@given(PATHLIKE)
def test_what_is_read_is_the_only_way_to_write_it(path: str) -> None:
    with suppress(TreeError):
        assert tile_path(*parse_tile_path(path)) == path
    with suppress(TreeError):
        assert bundle_path(*parse_bundle_path(path)) == path


def test_the_examples_of_the_specification() -> None:
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert bundle_path(1_234_067, 5) == "tile/entries/x001/x234/067.p/5"
    tiles = changed_tiles(0, 70_000)
    assert sum(tile.level == 0 and tile.width == TILE_WIDTH for tile in tiles) == 273
    assert {(0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)} <= tiles


@pytest.mark.parametrize("arguments", [(-1, 1), (0, 0), (0, 257)])
def test_there_is_no_such_bundle(arguments: tuple[int, int]) -> None:
    with pytest.raises(TreeError):
        bundle_path(*arguments)


@given(st.integers(0, 1 << 40), st.integers(0, 8), st.integers(0, 1 << 20))
def test_a_tile_is_as_wide_as_the_tree_makes_it(size: int, level: int, n: int) -> None:
    nodes = size // 256**level
    assert width_at(size, level, n) == len(range(n * 256, min(nodes, (n + 1) * 256)))


LOGS = st.one_of(
    st.just("root"),
    st.builds("{}/{}".format, st.sampled_from(["goods", "browse", "goods.v2"]), st.integers(0, 1023)),
)


@given(LOGS, LEVELS, NUMBERS, WIDTHS)
def test_requests_are_told_apart(log: str, level: int, n: int, width: int) -> None:
    assert parse("/") == Asked(Kind.INDEX)
    assert parse("/logs") == Asked(Kind.LIST)
    assert parse(f"/logs/{log}/checkpoint") == Asked(Kind.CHECKPOINT, log)
    assert parse(f"/logs/{log}/keys") == Asked(Kind.KEYS, log)
    assert parse(f"/logs/{log}/{tile_path(level, n, width)}") == Asked(Kind.TILE, log, Tile(level, n, width))
    assert parse(f"/logs/{log}/{bundle_path(n, width)}") == Asked(Kind.ENTRIES, log, Tile(0, n, width))


@given(LOGS, PATHLIKE)
def test_no_two_paths_ask_for_the_same(log: str, path: str) -> None:
    asked = parse(f"/logs/{log}/{path}")
    if asked.kind is not Kind.OTHER:
        assert asked.tile is not None
        written = bundle_path(*asked.tile[1:]) if asked.kind is Kind.ENTRIES else tile_path(*asked.tile)
        assert (asked.log, written) == (log, path)
        assert re.fullmatch(r"[a-z0-9./]+", path)
